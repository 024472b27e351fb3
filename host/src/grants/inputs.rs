//! What the host reads, builds or runs because the operator said so: the agent and its project, files of grants and
//! commissions, tools, prices, authorities, scripts, and the programs of tool servers.
//!
//! Who can change these chooses what the next run may do, or what runs outside the sandbox. So they stay as they are where
//! they lie in a directory that the agent may write to: they can be read, and writing is denied. `no-protect` lifts that.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::tools::{find_program, words_as_paths};
use super::{Access, Grants, Protection};
use crate::commission::Commission;
use crate::engine::Artifact;

/// Links that are followed on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;

/// Files and folders of the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(BTreeSet<PathBuf>);

/// One of them that lies where an agent may write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct InReach {
    /// Where the agent finds it: the input itself, a link on the way to it, or a directory that is all part of it.
    pub guest: String,
    /// The same on the host.
    pub host: PathBuf,
}

/// What of the operator's lies where an agent may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files and folders.
    pub inputs: BTreeSet<InReach>,
    /// Whether they are kept from being changed.
    pub kept: bool,
}

impl Inputs {
    /// Adds a file, or a folder with everything in it. It need not exist yet.
    pub fn add(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.0.insert(absolute);
    }

    /// Adds what a command line names: its program, also where that is found in `PATH`, and every word that is a file.
    pub(super) fn add_command(&mut self, words: &[String], cwd: &Path) {
        let Some((program, rest)) = words.split_first() else {
            return;
        };
        if let Some(program) = find_program(program, cwd) {
            self.add(program);
        }
        for path in rest.iter().flat_map(|word| words_as_paths(word)) {
            let path = cwd.join(path);
            if path.is_file() {
                self.add(path);
            }
        }
    }

    /// Absolute paths of all of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// Those that lie where an agent with these grants may write, in the original or in a copy that can be applied.
    #[must_use]
    pub fn in_reach(&self, grants: &Grants) -> BTreeSet<InReach> {
        let dirs = grants
            .dirs
            .iter()
            .filter(|dir| dir.access != Access::ReadOnly)
            .map(|dir| (dir.host.clone(), dir.guest.clone()));
        let files = grants
            .files
            .iter()
            .filter(|file| file.access != Access::ReadOnly)
            .map(|file| (file.host_path(), file.guest_path()));
        let writable: Vec<_> = dirs.chain(files).collect();
        let mut found = BTreeSet::new();
        if writable.is_empty() {
            return found;
        }
        for place in self.0.iter().flat_map(|path| places(path)) {
            for (host, guest) in &writable {
                if let Ok(below) = place.strip_prefix(host) {
                    found.insert(InReach {
                        guest: guest_path(guest, below),
                        host: place.clone(),
                    });
                } else if host.strip_prefix(&place).is_ok_and(decides) {
                    found.insert(InReach {
                        guest: guest.clone(),
                        host: host.clone(),
                    });
                }
            }
        }
        let all = found.clone();
        found.retain(|it| !all.iter().any(|other| it.lies_in(other)));
        found
    }
}

impl InReach {
    fn lies_in(&self, other: &InReach) -> bool {
        let below = Path::new(&self.guest).starts_with(&other.guest);
        self != other && below && self.host.starts_with(&other.host)
    }
}

impl Grants {
    /// Adds what the agent is, and what it was built from.
    pub fn read_agent(&mut self, agent: &Artifact) {
        let sources = agent.sources().iter().map(PathBuf::as_path);
        for path in agent.path().into_iter().chain(sources) {
            self.inputs.add(path);
        }
    }

    /// Adds what a commission names.
    pub fn read_commission(&mut self, commission: &Commission) {
        let model = commission.body().model.as_str();
        if let Some(script) = model.strip_prefix("scripted/") {
            self.inputs.add(script);
        }
    }

    /// Keeps what the host reads, builds or runs from being changed by the agent, as far as these grants let it write
    /// there. Says what lies there; with `no-protect` nothing of it is kept.
    pub fn guard_inputs(&mut self) -> Reach {
        let inputs = self.inputs.in_reach(self);
        let kept = self.protection != Protection::Off;
        if kept {
            let guests = inputs.iter().map(|it| it.guest.clone());
            self.guarded.extend(guests);
        }
        Reach { inputs, kept }
    }
}

/// What of a project folder, or of a target folder, cargo builds from whatever else is in there.
const BUILT_FROM: [&str; 12] = [
    "src",
    "wit",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo",
    "rust-toolchain",
    "rust-toolchain.toml",
    "target",
    "wasm-agent",
    "wasm32-wasip2",
    "release",
];

/// Whether what lies there in an input is part of what the host obeys. Another folder of a project that is granted by
/// itself, with data for example, is meant by who grants it: files of it that were built into the component are inputs
/// of their own.
fn decides(below: &Path) -> bool {
    match below.iter().next() {
        None => true,
        Some(first) => BUILT_FROM.iter().any(|name| first == *name),
    }
}

fn guest_path(guest: &str, below: &Path) -> String {
    let below = below.to_string_lossy();
    match below.as_ref() {
        "" => guest.to_owned(),
        below => format!("{}/{below}", guest.trim_end_matches('/')),
    }
}

/// Where a path is without links, and where each link on the way to it is: whoever replaces one of them says what the
/// path leads to.
fn places(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut at = PathBuf::from("/");
    let mut rest: Vec<std::ffi::OsString> = names(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        at.push(&name);
        let Ok(target) = std::fs::read_link(&at) else {
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            break;
        }
        found.insert(at.clone());
        at.pop();
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(names(&target));
    }
    found.insert(at);
    found
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::DirGrant;
    use super::*;

    fn granted(host: &Path, guest: &str, access: Access) -> Grants {
        Grants {
            dirs: vec![DirGrant {
                host: host.to_owned(),
                guest: guest.to_owned(),
                access,
            }],
            ..Grants::default()
        }
    }

    fn guests(inputs: &Inputs, grants: &Grants) -> Vec<String> {
        let found = inputs.in_reach(grants);
        found.into_iter().map(|it| it.guest).collect()
    }

    #[test]
    fn what_can_be_written_to_is_in_reach() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut inputs = Inputs::default();
        inputs.add(root.join("a/grants.toml"));
        inputs.add(root.join("elsewhere/../b.wasm"));
        inputs.add("/nowhere/x");
        for access in [Access::ReadWrite, Access::CopyOnWrite] {
            let grants = granted(&root, "/work", access);
            assert_eq!(
                guests(&inputs, &grants),
                ["/work/a/grants.toml", "/work/b.wasm"]
            );
            let grants = granted(&root.join("a"), "/", access);
            assert_eq!(guests(&inputs, &grants), ["/grants.toml"]);
        }
        assert!(guests(&inputs, &granted(&root, "/work", Access::ReadOnly)).is_empty());
        let sibling = granted(&root.join("a/grants"), "/work", Access::ReadWrite);
        assert!(guests(&inputs, &sibling).is_empty());
    }

    #[test]
    fn what_lies_in_a_project_is_all_part_of_it() {
        let mut inputs = Inputs::default();
        inputs.add("/home/me/agent");
        for decides in ["", "src", "src/tools", "target/wasm-agent"] {
            let host = Path::new("/home/me/agent").join(decides);
            let inside = granted(&host, "/work", Access::ReadWrite);
            assert_eq!(guests(&inputs, &inside), ["/work"], "{decides}");
        }
        // Who grants a folder with data means it, unless it was built into the agent.
        let data = Path::new("/home/me/agent/demo");
        let data = granted(data, "/work", Access::ReadWrite);
        assert!(guests(&inputs, &data).is_empty());
        inputs.add("/home/me/agent/demo/included.txt");
        assert_eq!(guests(&inputs, &data), ["/work/included.txt"]);
    }

    #[test]
    fn every_link_on_the_way_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("work/real")).unwrap();
        std::fs::create_dir(root.join("away")).unwrap();
        std::fs::write(root.join("away/x.wasm"), "").unwrap();
        symlink("real", root.join("work/link")).unwrap();
        symlink(root.join("away/x.wasm"), root.join("work/real/x.wasm")).unwrap();
        symlink("loop", root.join("work/loop")).unwrap();
        let mut inputs = Inputs::default();
        inputs.add(root.join("work/link/x.wasm"));
        let grants = granted(&root.join("work"), "/work", Access::ReadWrite);
        assert_eq!(
            guests(&inputs, &grants),
            ["/work/link", "/work/real/x.wasm"]
        );
        let away = granted(&root.join("away"), "/away", Access::ReadWrite);
        assert_eq!(guests(&inputs, &away), ["/away/x.wasm"]);
        inputs.add(root.join("work/loop/y"));
        assert!(guests(&inputs, &grants).contains(&"/work/loop".to_owned()));
    }

    #[test]
    fn nothing_is_guarded_where_the_operator_says_so() {
        let mut grants = granted(Path::new("/home/me"), "/work", Access::ReadWrite);
        grants.inputs.add("/home/me/grants.toml");
        let mut off = grants.clone();
        off.protection = Protection::Off;
        assert_eq!(off.guard_inputs().inputs.len(), 1);
        assert!(off.guarded.is_empty());
        assert!(grants.guard_inputs().kept);
        assert!(grants.guarded.contains("/work/grants.toml"));
    }

    proptest::proptest! {
        #[test]
        fn a_place_has_no_links_and_nothing_of_the_way_up(path in "/?[a-z./]{0,30}") {
            for place in places(Path::new(&path)) {
                assert!(place.is_absolute());
                assert!(!place.components().any(|part| part == Component::ParentDir));
            }
        }
    }
}
