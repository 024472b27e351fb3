//! Directories and single files of a suggestion.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::narrow::{Place, Writing, narrow};
use super::paths::{beneath, join, look, parent};
use super::suggest::{Item, Page};
use super::toml::plural;
use crate::grants::dir::DEFAULT_GUEST;
use crate::grants::{Access, DirSpec, FileSpec};
use crate::trajectory::used::DirUse;

/// A directory or file that is to be granted.
struct Granting {
    host: PathBuf,
    guest: String,
    access: Access,
    why: String,
}

impl Granting {
    fn spec(&self) -> String {
        format!("{}::{}:{}", self.host.display(), self.guest, self.access)
    }
}

impl Page<'_> {
    /// Directories and single files.
    pub(super) fn directories(&mut self) {
        let mut dirs: Vec<Granting> = Vec::new();
        let mut files: Vec<Granting> = Vec::new();
        let mut unused = Vec::new();
        let guests: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.dirs.iter().map(guest_of))
            .collect();
        for guest in guests {
            let granted = self.runs.iter().enumerate().filter_map(|(at, run)| {
                let spec = run.granted.dirs.iter().find(|it| guest_of(it) == guest)?;
                Some((at, spec))
            });
            let granted: Vec<(usize, &DirSpec)> = granted.collect();
            let uses: Vec<(usize, &DirUse)> = self.uses(&guest);
            let wrote = |at: &usize| {
                let of = uses.iter().filter(|(used, _)| used == at);
                of.into_iter()
                    .any(|(_, used)| !used.written.is_empty() || !used.made.is_empty())
            };
            let writing = granted.iter().filter(|(at, _)| wrote(at));
            let writing = writing.map(|(_, spec)| spec.access).max_by_key(reach);
            let writing = writing.unwrap_or(Access::ReadOnly);
            // Access somebody had to one directory of the host is none to another.
            let newest = granted.iter().rfind(|(at, spec)| {
                uses.iter().any(|(used, _)| used == at) && reach(&spec.access) >= reach(&writing)
            });
            let Some((_, spec)) = newest else {
                unused.extend(granted.last().map(|(_, spec)| {
                    format!("not used: {}::{guest}:{}", spec.host.display(), spec.access)
                }));
                continue;
            };
            let others: BTreeSet<_> = granted.iter().map(|(_, it)| &it.host).collect();
            for host in others.into_iter().filter(|host| **host != spec.host) {
                unused.push(format!("other runs had {} at {guest}", host.display()));
            }
            let mode = match writing {
                Access::CopyOnWrite => Writing::Copied,
                Access::ReadOnly | Access::ReadWrite => Writing::Direct,
            };
            let host = |path: &str| match path {
                "" => spec.host.clone(),
                path => spec.host.join(path),
            };
            let fits = |path: &str| can_write(&host(path), &join(&guest, path));
            let looked = |path: &str| look(&spec.host, path);
            let places = narrow(uses.iter().map(|(_, used)| *used), mode, &looked, &fits);
            for (dir, place) in places {
                let access = if place.writes {
                    writing
                } else {
                    Access::ReadOnly
                };
                match &place.files {
                    None => dirs.push(Granting {
                        host: host(&dir),
                        guest: join(&guest, &dir),
                        access,
                        why: why(&uses, &dir, &place),
                    }),
                    Some(names) => {
                        for name in names {
                            let path = match dir.as_str() {
                                "" => name.clone(),
                                dir => format!("{dir}/{name}"),
                            };
                            let one = Place {
                                files: Some([name.clone()].into()),
                                ..place.clone()
                            };
                            files.push(Granting {
                                host: host(&path),
                                guest: join(&guest, &path),
                                access,
                                why: why(&uses, &dir, &one),
                            });
                        }
                    }
                }
            }
        }
        self.single_files(&mut files, &mut unused);
        let mut files = self.together(files);
        let mut apart: Vec<Granting> = Vec::new();
        dirs.sort_by(|a, b| a.guest.cmp(&b.guest));
        for dir in dirs {
            // Directories of different runs: one may be inside of another.
            let outer = apart
                .iter()
                .find(|it| beneath(&it.guest, &dir.guest).is_some());
            match outer {
                // What of the host is granted there is for a person to say.
                Some(outer) => self.notes.push(format!(
                    "{} is inside of {} and left out: check that one directory of the host will do, and {} is enough",
                    dir.spec(),
                    outer.guest,
                    outer.access
                )),
                None => apart.push(dir),
            }
        }
        files.retain(|file| {
            let at = parent_of(&file.guest);
            let with = apart
                .iter()
                .find(|dir| beneath(&dir.guest, at).is_some() || beneath(at, &dir.guest).is_some());
            if let Some(dir) = with {
                self.notes.push(format!(
                    "{} does not go with {}: grant the directory they are in",
                    file.guest, dir.guest
                ));
            }
            with.is_none()
        });
        let items = |granted: &[Granting]| -> Vec<Item> {
            let item = |it: &Granting| Item {
                value: it.spec(),
                why: it.why.clone(),
            };
            granted.iter().map(item).collect()
        };
        self.list("dirs", &items(&apart), &unused);
        self.list("files", &items(&files), &[]);
    }

    /// Files that were granted one by one: those that were used, or all that were listed together.
    fn single_files(&self, files: &mut Vec<Granting>, unused: &mut Vec<String>) {
        let guests: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.files.iter().map(guest_of_file))
            .collect();
        for guest in guests {
            let dir = parent_of(&guest);
            let name = guest.rsplit('/').next().unwrap_or_default();
            let uses = self.uses(dir);
            // They have one access, or could not be granted together.
            let writes = uses.iter().any(|(_, used)| !used.written.is_empty());
            let granted = || {
                let runs = self.runs.iter().rev();
                runs.filter_map(|run| {
                    let mut files = run.granted.files.iter();
                    files.find(|it| guest_of_file(it) == guest)
                })
            };
            let enough = granted().find(|it| !writes || it.access != Access::ReadOnly);
            let Some(spec) = enough.or_else(|| granted().next()) else {
                continue;
            };
            let is = |paths: &[String]| paths.iter().any(|path| path == name || path == "./");
            let all = |used: &DirUse| !used.listed.is_empty() || used.links;
            let used = uses.iter().any(|(_, used)| {
                is(&used.read) || is(&used.seen) || is(&used.written) || all(used)
            });
            if used {
                let one = Place {
                    writes,
                    files: Some([name.to_owned()].into()),
                    links: false,
                };
                files.push(Granting {
                    host: spec.host.clone(),
                    guest: guest.clone(),
                    access: if writes {
                        spec.access
                    } else {
                        Access::ReadOnly
                    },
                    why: why(&uses, "", &one),
                });
            } else {
                unused.push(format!(
                    "not used: {}::{guest}:{}",
                    spec.host.display(),
                    spec.access
                ));
            }
        }
    }

    /// Each file once; those of one directory come from one directory of the host, with one access.
    fn together(&mut self, files: Vec<Granting>) -> Vec<Granting> {
        let of_dir = |a: &Granting, b: &Granting| parent_of(&a.guest) == parent_of(&b.guest);
        let mut kept: Vec<Granting> = Vec::new();
        for file in files {
            if kept.iter().any(|it| {
                of_dir(it, &file)
                    && (it.host.parent() != file.host.parent()
                        || (it.guest == file.guest && it.host != file.host))
            }) {
                self.notes.push(format!(
                    "{} was {} in another run: files of one directory come from one directory",
                    file.guest,
                    file.host.display()
                ));
                continue;
            }
            match kept.iter_mut().find(|it| it.guest == file.guest) {
                Some(it) if file.access != Access::ReadOnly => it.access = file.access,
                Some(_) => {}
                None => kept.push(file),
            }
        }
        let writes = |file: &Granting| {
            let mut beside = kept.iter().filter(|it| of_dir(it, file));
            beside.any(|it| it.access != Access::ReadOnly)
        };
        let raised: Vec<bool> = kept.iter().map(writes).collect();
        let mut together = Vec::new();
        for (mut file, writes) in kept.into_iter().zip(raised) {
            if writes {
                if !self.was_writable(&file.host) {
                    self.notes.push(format!(
                        "{} is left out: files of one directory have one access, and no run had it as rw",
                        file.spec()
                    ));
                    continue;
                }
                file.access = Access::ReadWrite;
            }
            together.push(file);
        }
        together
    }

    /// Whether some run could write this file of the host in place.
    fn was_writable(&self, host: &Path) -> bool {
        self.runs.iter().any(|run| {
            let mut dirs = run.granted.dirs.iter();
            let mut files = run.granted.files.iter();
            dirs.any(|it| it.access == Access::ReadWrite && host.starts_with(&it.host))
                || files.any(|it| it.access == Access::ReadWrite && it.host == host)
        })
    }

    /// What each run has used of a directory of the guest.
    fn uses(&self, guest: &str) -> Vec<(usize, &DirUse)> {
        let runs = self.runs.iter().enumerate();
        runs.flat_map(|(at, run)| run.used.dirs.iter().map(move |used| (at, used)))
            .filter(|(_, used)| used.guest == guest)
            .collect()
    }

    pub(super) fn protection(&mut self) {
        let patterns: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.protect.clone())
            .collect();
        let off = self
            .runs
            .iter()
            .filter(|run| run.granted.no_protect)
            .count();
        if off > 0 {
            self.line("");
            self.line(&format!(
                "# as in {}; whether it was needed is not known",
                plural(off, "run")
            ));
            self.line("no-protect = true");
        } else if !patterns.is_empty() {
            let items = patterns.into_iter().map(|value| Item {
                value,
                why: "as it was".to_owned(),
            });
            self.list("protect", &items.collect::<Vec<_>>(), &[]);
        }
    }
}

/// How far an access goes: the higher, the further.
fn reach(access: &Access) -> u8 {
    match access {
        Access::ReadOnly => 0,
        Access::CopyOnWrite => 1,
        Access::ReadWrite => 2,
    }
}

/// What a place is granted for.
fn why(uses: &[(usize, &DirUse)], dir: &str, place: &Place) -> String {
    let within = |path: &str| match path.trim_end_matches('/') {
        "." => dir.is_empty() && place.files.is_none(),
        path => match (&place.files, dir) {
            (Some(files), "") => files.contains(path),
            (Some(files), dir) => beneath(dir, path).is_some_and(|name| files.contains(name)),
            (None, "") => true,
            (None, dir) => beneath(dir, path).is_some(),
        },
    };
    let mut more = false;
    let mut of = |lists: &[fn(&DirUse) -> &Vec<String>]| {
        let (mut runs, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for (run, used) in uses {
            for path in lists.iter().flat_map(|list| list(used)) {
                if within(path) {
                    more |= path.ends_with('/');
                    runs.insert(*run);
                    paths.insert(path.as_str());
                }
            }
        }
        (plural(runs.len(), "run"), paths.len())
    };
    let mut parts = Vec::new();
    let (runs, read) = of(&[|it| &it.read]);
    if read > 0 {
        parts.push(format!("read by {runs}: {}", plural(read, "file")));
    }
    let (runs, seen) = of(&[|it| &it.seen]);
    if seen > 0 && read == 0 {
        parts.push(format!("looked at by {runs}: {}", plural(seen, "file")));
    }
    let (runs, changed) = of(&[|it| &it.written, |it| &it.made]);
    if changed > 0 {
        parts.push(format!("changed by {runs}: {}", plural(changed, "path")));
    }
    let (runs, listed) = of(&[|it| &it.listed]);
    if listed > 0 {
        parts.push(format!("listed by {runs}"));
    }
    let (runs, folders) = of(&[|it| &it.folders]);
    if folders > 0 && parts.is_empty() {
        parts.push(format!("looked at by {runs}"));
    }
    let (runs, missing) = of(&[|it| &it.missing]);
    if missing > 0 {
        parts.push(format!(
            "searched by {runs} for {} that {} not there",
            plural(missing, "path"),
            if missing == 1 { "is" } else { "are" }
        ));
    }
    if place.links && place.files.is_none() {
        parts.push("symbolic links led through it".to_owned());
    }
    if more {
        parts.push("and more than is told one by one".to_owned());
    }
    if parts.is_empty() {
        parts.push("seen in a list".to_owned());
    }
    parts.join("; ")
}

/// Whether a grants file can say this.
fn can_write(host: &Path, guest: &str) -> bool {
    let text = format!("{}::{guest}:ro", host.display());
    let back: Option<DirSpec> = text.parse().ok();
    !guest.chars().any(char::is_control)
        && host.to_str().is_some()
        && back.is_some_and(|it| it.host == host && it.guest.as_deref() == Some(guest))
}

fn parent_of(guest: &str) -> &str {
    match parent(guest) {
        "" => "/",
        dir => dir,
    }
}

/// Where the guest finds a directory.
pub(super) fn guest_of(spec: &DirSpec) -> String {
    let guest = spec.guest.as_deref().unwrap_or(DEFAULT_GUEST);
    let names = guest.split('/').filter(|name| !name.is_empty());
    format!("/{}", names.collect::<Vec<_>>().join("/"))
}

/// Where the guest finds a file.
pub(super) fn guest_of_file(spec: &FileSpec) -> String {
    match &spec.guest {
        Some(guest) => {
            let names = guest.split('/').filter(|name| !name.is_empty());
            format!("/{}", names.collect::<Vec<_>>().join("/"))
        }
        None => {
            let name = spec.host.file_name().unwrap_or_default().to_string_lossy();
            format!("{DEFAULT_GUEST}/{name}")
        }
    }
}
