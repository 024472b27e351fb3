//! What the configuration of a git repository names besides: hooks in a folder of their own, files it includes, and
//! programs for filters, diffs and the like. A guest that changes one of them has changed what git runs.
//!
//! Configurations are read on the host, of the directory that was granted, also where the guest works on a copy of it:
//! of every repository that a changed path lies in, within the granted directory and above it, and of the user. They
//! are files of others: bounded in number and size, and whatever they say, it can only protect more.

mod config;

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use config::{Variable, variables, words};

use super::protect::{Act, fold};

/// Largest configuration that is read, in bytes. Git's own are a few hundred.
const FILE_MAX: u64 = 1 << 20;

/// Most configurations that are read for one repository.
const FILES: usize = 64;

/// Most things that the configurations of one repository can name.
const NAMED: usize = 4096;

/// Most folders of which it is remembered what their repositories name.
const FOLDERS: usize = 20_000;

/// Keys whose value git runs, in any section.
const RUN: [&str; 20] = [
    "alternaterefscommand",
    "askpass",
    "clean",
    "cmd",
    "command",
    "diffcmd",
    "difffilter",
    "driver",
    "editor",
    "external",
    "fsmonitor",
    "gitproxy",
    "helper",
    "packobjectshook",
    "pager",
    "process",
    "program",
    "smudge",
    "sshcommand",
    "textconv",
];

/// What git runs as hooks, in whatever folder it looks for them.
const HOOKS: [&str; 28] = [
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "sendemail-validate",
    "fsmonitor-watchman",
    "p4-changelist",
    "p4-prepare-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "post-index-change",
];

/// Something that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    /// Its names from the root of the host on, folded.
    names: Vec<String>,
    what: What,
    rule: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// It, and everything below it.
    Tree,
    /// Hooks that lie in it, among other things.
    Hooks,
}

/// What the repositories in one place name.
type Found = Arc<Vec<Named>>;

/// The configurations that were read in a run.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    folders: Mutex<HashMap<PathBuf, Found>>,
}

impl Repositories {
    /// The rule that keeps something from happening at `rel` in the granted directory `host`.
    pub(super) fn find(&self, host: &Path, rel: &Path, act: Act) -> Option<String> {
        let place = host.join(rel);
        let names = folded(&place);
        let outside = folded(host).len();
        for folder in place.ancestors() {
            for named in self.of(folder).iter() {
                if named.decides(&names, outside, act) {
                    return Some(named.rule.clone());
                }
            }
        }
        None
    }

    /// Forgets what was read: a directory has another name now.
    pub(super) fn forget(&self) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.clear();
    }

    /// What the repository in `folder` names, if it holds one; and for the root of the host, the user's configuration.
    fn of(&self, folder: &Path) -> Found {
        let lock = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().get(folder) {
            return Arc::clone(found);
        }
        let found = Arc::new(Reading::of(folder).named);
        let mut folders = lock();
        if folders.len() >= FOLDERS {
            folders.clear();
        }
        folders.insert(folder.to_owned(), Arc::clone(&found));
        found
    }
}

impl Named {
    /// Whether it decides about the path `names`, of which the first `outside` are not the guest's.
    fn decides(&self, names: &[String], outside: usize, act: Act) -> bool {
        let same = self.names.iter().zip(names).all(|(a, b)| a == b);
        if !same {
            return false;
        }
        if names.len() < self.names.len() {
            // It lies above, and would bring it or take it along.
            return act == Act::Whole && names.len() > outside;
        }
        match self.what {
            // Who grants a folder of hooks itself means it.
            What::Tree => self.names.len() > outside,
            What::Hooks => names
                .get(self.names.len())
                .is_some_and(|name| self.names.len() >= outside && HOOKS.contains(&name.as_str())),
        }
    }
}

/// Reads the configurations of one place.
#[derive(Default)]
struct Reading {
    /// Where commands run and relative names begin.
    worktree: PathBuf,
    seen: HashSet<PathBuf>,
    named: Vec<Named>,
}

impl Reading {
    fn of(folder: &Path) -> Reading {
        let mut reading = Reading {
            worktree: folder.to_owned(),
            ..Reading::default()
        };
        if let Some(dir) = git_dir(folder) {
            let common = common_dir(&dir);
            for config in [
                common.join("config"),
                common.join("config.worktree"),
                dir.join("config"),
                dir.join("config.worktree"),
            ] {
                reading.read(&config);
            }
            // What the user's own configuration says is relative to this repository, too.
            reading.user();
        } else if folder.parent().is_none() {
            reading.user();
        }
        reading
    }

    fn user(&mut self) {
        for config in user_configs() {
            self.read(&config);
        }
    }

    fn read(&mut self, config: &Path) {
        if self.seen.len() >= FILES || !self.seen.insert(config.to_owned()) {
            return;
        }
        let Some(text) = small_file(config) else {
            return;
        };
        for variable in variables(&text) {
            self.takes(config, &variable);
        }
    }

    fn takes(&mut self, config: &Path, variable: &Variable) {
        let Variable {
            section,
            key,
            value,
        } = variable;
        match (section.as_str(), key.as_str()) {
            ("core", "hookspath") => {
                let path = self.worktree.join(expanded(value));
                let rule = said(config, "core.hooksPath", "git runs the hooks in it");
                // The whole working tree is not locked for the sake of the hooks in it.
                let above = folded(&self.worktree).starts_with(&folded(&plain(&path)));
                self.names(&path, if above { What::Hooks } else { What::Tree }, &rule);
            }
            ("include" | "includeif", "path") => {
                let beside = config.parent().unwrap_or(Path::new("/"));
                let path = plain(&beside.join(expanded(value)));
                let rule = said(config, &format!("{section}.path"), "git obeys it");
                self.names(&path, What::Tree, &rule);
                self.read(&path);
            }
            ("core", "attributesfile") | ("gpg", "allowedsignersfile") => {
                let path = self.worktree.join(expanded(value));
                let rule = said(config, &format!("{section}.{key}"), "git obeys it");
                self.names(&path, What::Tree, &rule);
            }
            _ if RUN.contains(&key.as_str())
                || section == "pager"
                || section == "alias" && value.trim_start().starts_with('!')
                || key == "path"
                    && matches!(
                        section.as_str(),
                        "mergetool" | "difftool" | "browser" | "man"
                    ) =>
            {
                let rule = said(config, &format!("{section}…{key}"), "git runs it");
                for word in words(value) {
                    let path = self.worktree.join(expanded(word));
                    if fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
                        self.names(&path, What::Tree, &rule);
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes a path as it is written, and where it leads to now.
    fn names(&mut self, path: &Path, what: What, rule: &str) {
        let written = plain(path);
        let leads = fs::canonicalize(path).ok();
        for path in std::iter::once(written).chain(leads) {
            let named = Named {
                names: folded(&path),
                what,
                rule: rule.to_owned(),
            };
            if self.named.len() < NAMED && !self.named.contains(&named) {
                self.named.push(named);
            }
        }
    }
}

fn said(config: &Path, name: &str, why: &str) -> String {
    let config = config.display();
    format!("`{name}` in `{config}` names it: {why}")
}

/// The repository of a working copy: its `.git`, or where that points; or the folder itself, when it is a bare one.
fn git_dir(folder: &Path) -> Option<PathBuf> {
    let dot = folder.join(".git");
    match fs::metadata(&dot) {
        Ok(meta) if meta.is_dir() => Some(dot),
        Ok(_) => {
            let text = small_file(&dot)?;
            let path = text.strip_prefix("gitdir:")?.trim();
            Some(plain(&folder.join(path)))
        }
        Err(_) => {
            let bare = folder.join("HEAD").is_file()
                && folder.join("config").is_file()
                && folder.join("objects").is_dir();
            bare.then(|| folder.to_owned())
        }
    }
}

/// Where the configuration lies of the repository that a worktree belongs to.
fn common_dir(dir: &Path) -> PathBuf {
    match small_file(&dir.join("commondir")) {
        Some(text) => plain(&dir.join(text.trim())),
        None => dir.to_owned(),
    }
}

fn user_configs() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME");
    let mut configs: Vec<PathBuf> = variable("GIT_CONFIG_GLOBAL").into_iter().collect();
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    configs.extend(folder.map(|folder| folder.join("git/config")));
    configs.extend(home.map(|home| home.join(".gitconfig")));
    configs.push(PathBuf::from("/etc/gitconfig"));
    configs
}

/// A path with the user's home directory in the place of `~`.
fn expanded(path: &str) -> PathBuf {
    match path.strip_prefix("~/").zip(std::env::var_os("HOME")) {
        Some((rest, home)) => Path::new(&home).join(rest),
        None => PathBuf::from(path),
    }
}

/// A path without `.` and `..`, by its names alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn folded(path: &Path) -> Vec<String> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(fold(&name.to_string_lossy())),
        _ => None,
    });
    names.collect()
}

/// The text of a regular file that is no larger than a configuration.
fn small_file(path: &Path) -> Option<String> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(i32::try_from(nonblocking).ok()?);
    let file = options.open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Lab {
        dir: tempfile::TempDir,
    }

    impl Lab {
        fn new(files: &[(&str, &str)]) -> Lab {
            let lab = Lab {
                dir: tempfile::tempdir().unwrap(),
            };
            for (path, text) in files {
                let path = lab.path(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            lab
        }

        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().canonicalize().unwrap().join(path)
        }

        fn denied(&self, root: &str, path: &str, act: Act) -> bool {
            let repositories = Repositories::default();
            let rule = repositories.find(&self.path(root), Path::new(path), act);
            rule.is_some()
        }
    }

    #[test]
    fn what_a_configuration_names_is_found() {
        let lab = Lab::new(&[
            (
                "repo/.git/config",
                "[core]\nhooksPath = tools/hooks\nfsmonitor = ./watch.sh --fast\n[include]\npath = ../shared/git.inc\n\
                 [filter \"x\"]\nclean = sh tools/clean.sh %f\n[diff]\nexternal = /nowhere\n",
            ),
            (
                "repo/shared/git.inc",
                "[includeIf \"onbranch:x\"]\npath = more.inc\n",
            ),
            ("repo/shared/more.inc", "[alias]\nst = !./scripts/status\n"),
            ("repo/watch.sh", ""),
            ("repo/tools/clean.sh", ""),
            ("repo/scripts/status", ""),
        ]);
        for path in [
            "tools/hooks",
            "tools/hooks/pre-commit",
            "Tools/HOOKS/pre-commit",
            "watch.sh",
            "tools/clean.sh",
            "shared/git.inc",
            "shared/more.inc",
            "scripts/status",
        ] {
            assert!(lab.denied("repo", path, Act::File), "{path}");
        }
        for path in [
            "tools/other",
            "src/watch.sh",
            "shared/x",
            "scripts/x",
            "hooks/x",
        ] {
            assert!(!lab.denied("repo", path, Act::File), "{path}");
        }
        // What would bring it, or take it away.
        assert!(lab.denied("repo", "tools", Act::Whole));
        assert!(!lab.denied("repo", "tools", Act::Dir));
        // A part of the repository is granted, or what holds it.
        assert!(lab.denied("repo/tools", "hooks/x", Act::File));
        assert!(lab.denied("", "repo/tools/hooks/x", Act::File));
        assert!(
            !lab.denied("repo/tools/hooks", "x", Act::File),
            "who grants it means it"
        );
    }

    #[test]
    fn worktrees_and_submodules_have_the_configuration_of_theirs() {
        let lab = Lab::new(&[
            ("main/.git/config", "[core]\nhooksPath = hk\n"),
            ("main/.git/worktrees/w/commondir", "../..\n"),
            (
                "main/.git/worktrees/w/config.worktree",
                "[core]\nfsmonitor = ./own\n",
            ),
            ("w/.git", "gitdir: ../main/.git/worktrees/w\n"),
            ("w/own", ""),
            (
                "main/.git/modules/s/config",
                "[core]\nworktree = ../../../s\nhooksPath = sub-hooks\n",
            ),
            ("main/s/.git", "gitdir: ../.git/modules/s\n"),
        ]);
        assert!(lab.denied("w", "hk/pre-commit", Act::File));
        assert!(lab.denied("w", "own", Act::File));
        assert!(lab.denied("main", "s/sub-hooks/x", Act::File));
        assert!(lab.denied("main", "hk/x", Act::File));
        assert!(!lab.denied("main", "sub-hooks/x", Act::File));
    }

    #[test]
    fn links_do_not_hide_it_and_the_whole_tree_is_not_locked() {
        let lab = Lab::new(&[
            ("linked/.git/config", "[core]\nhooksPath = hooks\n"),
            ("linked/real/pre-commit", ""),
            ("flat/.git/config", "[core]\nhooksPath = .\n"),
        ]);
        symlink("real", lab.path("linked/hooks")).unwrap();
        assert!(lab.denied("linked", "real/pre-commit", Act::File));
        assert!(lab.denied("linked", "hooks", Act::File));
        assert!(lab.denied("flat", "pre-commit", Act::File));
        assert!(!lab.denied("flat", "README", Act::File));
    }

    #[test]
    fn odd_configurations_end_the_reading() {
        let lab = Lab::new(&[(
            "a/.git/config",
            "[include]\npath = config\npath = ../../b\npath = /dev/zero\n",
        )]);
        fs::create_dir(lab.path("b")).unwrap();
        assert!(!lab.denied("a", "x", Act::File));
    }
}
