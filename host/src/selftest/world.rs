//! The little world a case happens in: granted directories, bait beside them, and a folder for runs.
//!
//! ```text
//! outside/    bait: nothing in it may be read, changed or added
//! work/       granted at /work
//! read/       granted at /read, for reading
//! data/       granted at /data
//! runs/       run directories
//! schema.json a schema nothing matches that the guest hands over
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;

use crate::digest::{Digest, hex};

/// What the bait starts with, so that a guest knows it when it sees it.
pub(super) const BAIT: &str = "SECRET-";

/// Largest file whose content is compared; the cases write no larger one.
const COMPARED: u64 = 16 << 20;

/// One case's world. Removed with everything in it when dropped.
pub(super) struct World {
    root: TempDir,
    /// What the bait says; new for every case.
    pub(super) secret: String,
    before: Snapshots,
    /// The directory granted at `/work`, for cases in which it has to stay as it is.
    work: Tree,
}

/// Trees as they were.
#[derive(Default, PartialEq)]
struct Snapshots {
    outside: Tree,
    read: Tree,
    git: Tree,
    beside: Vec<PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
}

/// Everything below a directory that can be compared.
pub(super) type Tree = BTreeMap<PathBuf, String>;

impl World {
    /// Makes it.
    pub(super) fn new() -> io::Result<World> {
        let root = tempfile::Builder::new()
            .prefix("wasm-agent-selftest-")
            .tempdir()?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let secret = format!("{BAIT}{}", hex(&random));
        let world = World {
            root,
            secret,
            before: Snapshots::default(),
            work: Tree::new(),
        };
        world.furnish()?;
        Ok(World {
            before: world.snapshots()?,
            work: tree(&world.path("work"))?,
            ..world
        })
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn furnish(&self) -> io::Result<()> {
        let at = |name: &str| self.path(name);
        for dir in [
            "outside/empty",
            "work/sub/inner",
            "work/swap/empty",
            "read/sub/empty",
            "data",
            "runs",
        ] {
            fs::create_dir_all(at(dir))?;
        }
        for dir in ["hooks", "info", "objects", "refs", "modules"] {
            fs::create_dir_all(at("work/.git").join(dir))?;
        }
        let files = [
            ("outside/secret.txt", self.secret.as_str()),
            ("outside/kept.txt", "this is not yours"),
            ("outside/linked.txt", "this has a second name"),
            ("work/hello.txt", "hello"),
            ("work/gone.txt", "will be removed"),
            ("work/sub/inner/inner.txt", "inner"),
            ("work/swap/secret.txt", "a decoy"),
            ("work/swap/kept.txt", "a decoy"),
            ("work/.git/HEAD", "ref: refs/heads/main\n"),
            (
                "work/.git/config",
                "[core]\n\thooksPath = tools/hooks\n\tfsmonitor = ./watch.sh\n[include]\n\tpath = ../shared/git.inc\n",
            ),
            ("work/watch.sh", "#!/bin/sh\n"),
            ("work/.git/hooks/pre-commit", "#!/bin/sh\n"),
            ("read/file.txt", "for reading"),
            ("data/data.txt", "data"),
            (
                "schema.json",
                r#"{"type":"object","required":["findings"]}"#,
            ),
        ];
        for (path, text) in files {
            fs::write(at(path), text)?;
        }
        fs::hard_link(at("outside/linked.txt"), at("work/hard.txt"))?;
        let outside = at("outside");
        let outside = outside.to_str().unwrap_or("/");
        let secret = format!("{outside}/secret.txt");
        let links = [
            ("../outside/secret.txt", "work/link-file"),
            ("../outside", "work/link-dir"),
            (&secret, "work/link-absolute"),
            ("/", "work/link-root"),
            ("../outside/new.txt", "work/link-dangling"),
            ("/proc/self", "work/link-proc"),
            ("/dev", "work/link-dev"),
            ("../../outside/secret.txt", "work/sub/link-up"),
            ("chain-2", "work/chain-1"),
            ("sub/chain-3", "work/chain-2"),
            ("../link-file", "work/sub/chain-3"),
            ("inside-2", "work/inside-1"),
            ("sub/inner/inner.txt", "work/inside-2"),
            ("loop-b", "work/loop-a"),
            ("loop-a", "work/loop-b"),
            ("loop-self", "work/loop-self"),
            (".", "work/sub/loop-parent"),
            ("../outside", "work/.swap-link"),
            (".git", "work/to-git"),
            ("fifo", "work/to-fifo"),
            ("socket", "work/to-socket"),
            ("device", "work/to-device"),
            ("file.txt", "read/link"),
        ];
        for (target, path) in links {
            symlink(target, at(path))?;
        }
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(CWD, at("work/fifo"), FileType::Fifo, mode, 0)?;
        rustix::fs::mknodat(CWD, at("work/socket"), FileType::Socket, mode, 0)?;
        Ok(())
    }

    /// Puts a device in place: one that would never stop giving zeros. Only root can.
    pub(super) fn add_device(&mut self) -> io::Result<()> {
        let zero = rustix::fs::makedev(1, 5);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(
            CWD,
            self.path("work/device"),
            FileType::CharacterDevice,
            mode,
            zero,
        )?;
        Ok(())
    }

    fn snapshots(&self) -> io::Result<Snapshots> {
        let mut git = tree(&self.path("work/.git"))?;
        // What a commit would change: not protected.
        git.remove(Path::new("HEAD"));
        git.remove(Path::new(""));
        let mut links = BTreeMap::new();
        walk(&self.path("work"), &mut |path, kind| {
            if kind.is_symlink() {
                links.insert(path.to_owned(), fs::read_link(path)?);
            }
            Ok(())
        })?;
        let mut beside = Vec::new();
        for entry in fs::read_dir(self.root.path())? {
            beside.push(entry?.path());
        }
        beside.sort();
        Ok(Snapshots {
            outside: tree(&self.path("outside"))?,
            read: tree(&self.path("read"))?,
            git,
            beside,
            links,
        })
    }

    /// What is different on disk that must not be, in words.
    pub(super) fn damage(&self) -> io::Result<Vec<String>> {
        let now = self.snapshots()?;
        let mut damage = Vec::new();
        let pairs = [
            (
                "outside the granted directory",
                &self.before.outside,
                &now.outside,
            ),
            (
                "in the directory granted for reading",
                &self.before.read,
                &now.read,
            ),
            ("among the protected files", &self.before.git, &now.git),
        ];
        for (place, before, now) in pairs {
            damage.extend(
                difference(before, now)
                    .into_iter()
                    .map(|what| format!("{place}: {what}")),
            );
        }
        if self.before.beside != now.beside {
            damage.push("beside the granted directory: something new".to_owned());
        }
        let work = fs::canonicalize(self.path("work"))?;
        for (link, target) in &now.links {
            if self.before.links.get(link) != Some(target)
                && !self.is_race(link)
                && leaves(&work, link, target)
            {
                damage.push(format!(
                    "a link that leads out: {} -> {}",
                    link.display(),
                    target.display()
                ));
            }
        }
        for place in ["work", "data", "runs"] {
            walk(&self.path(place), &mut |path, kind| {
                if kind.is_file() && self.holds_secret(path)? {
                    damage.push(format!("the bait was carried to {}", path.display()));
                }
                Ok(())
            })?;
        }
        Ok(damage)
    }

    /// What is different in the directory granted at `/work`, in words.
    pub(super) fn work_changes(&self) -> io::Result<Vec<String>> {
        Ok(difference(&self.work, &tree(&self.path("work"))?))
    }

    fn holds_secret(&self, path: &Path) -> io::Result<bool> {
        let mut bytes = Vec::new();
        File::open(path)?.take(COMPARED).read_to_end(&mut bytes)?;
        Ok(bytes
            .windows(self.secret.len())
            .any(|window| window == self.secret.as_bytes()))
    }

    /// The two names that change places during a race.
    fn is_race(&self, path: &Path) -> bool {
        [self.path("work/swap"), self.path("work/.swap-link")]
            .iter()
            .any(|name| name == path)
    }
}

/// Calls `see` for everything below `dir`, links not followed.
pub(super) fn walk(
    dir: &Path,
    see: &mut dyn FnMut(&Path, fs::FileType) -> io::Result<()>,
) -> io::Result<()> {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            // A case makes a tree deeper than any path is long; what lies there has no name to see it by.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                dirs.push(entry.path());
            }
            match see(&entry.path(), kind) {
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// Everything below `dir`: kind, length, permissions, owner, time of change and content.
fn tree(dir: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut see = |path: &Path, _| {
        let meta = fs::symlink_metadata(path)?;
        let content = if meta.is_file() && meta.len() <= COMPARED {
            Digest::of(&fs::read(path)?).to_string()
        } else if meta.is_symlink() {
            fs::read_link(path)?.display().to_string()
        } else {
            String::new()
        };
        let times = format!("{}.{}", meta.mtime(), meta.mtime_nsec());
        let text = format!(
            "{:o} {} {} {times} {content}",
            meta.mode(),
            meta.uid(),
            meta.len()
        );
        tree.insert(path.strip_prefix(dir).unwrap_or(path).to_owned(), text);
        Ok(())
    };
    walk(dir, &mut see)?;
    let meta = fs::metadata(dir)?;
    tree.insert(
        PathBuf::new(),
        format!("{}.{}", meta.mtime(), meta.mtime_nsec()),
    );
    Ok(tree)
}

fn difference(before: &Tree, now: &Tree) -> Vec<String> {
    let name = |path: &PathBuf| {
        if path.as_os_str().is_empty() {
            "the directory itself".to_owned()
        } else {
            path.display().to_string()
        }
    };
    let gone = before
        .keys()
        .filter(|path| !now.contains_key(*path))
        .map(|path| format!("{} is gone", name(path)));
    let new = now
        .keys()
        .filter(|path| !before.contains_key(*path))
        .map(|path| format!("{} is new", name(path)));
    let changed = before
        .iter()
        .filter(|(path, text)| now.get(*path).is_some_and(|now| now != *text))
        .map(|(path, _)| format!("{} has changed", name(path)));
    gone.chain(new).chain(changed).collect()
}

/// Whether a tool that follows `link` would get out of `work`.
fn leaves(work: &Path, link: &Path, target: &Path) -> bool {
    let Ok(parent) = link.parent().unwrap_or(work).canonicalize() else {
        return true;
    };
    match parent.join(target).canonicalize() {
        Ok(end) => !end.starts_with(work),
        // It leads nowhere now, and could lead out once something is there: judged by its words.
        Err(_) => {
            let mut at = parent;
            for part in target.components() {
                match part {
                    std::path::Component::ParentDir => {
                        at.pop();
                    }
                    part => at.push(part),
                }
                if !at.starts_with(work) {
                    return true;
                }
            }
            false
        }
    }
}
