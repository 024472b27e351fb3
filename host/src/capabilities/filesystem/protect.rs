//! Paths inside writable directories that a guest cannot change: what other programs of the operator's
//! run, obey or trust without being asked.
//!
//! A rule is about names at any depth, since a working copy holds other working copies. Names are compared
//! without case and without what some file systems ignore in them, on every system: a tree that is written
//! on Linux is checked out on macOS.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

mod marked;
mod table;

pub(crate) use marked::runs;
pub use marked::{MARKED, Marked};
pub use table::{PROTECTED, Protected, Scope};

/// How the folders begin through which `apply` moves things. A guest that could write to one would choose what is moved.
pub(super) const STAGE: &str = ".wasm-agent-apply";

/// Which paths inside writable directories are kept from changing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// [`PROTECTED`], and these patterns of the operator's. One that begins with `/` is a place, as the guest calls it, with
    /// what lies below.
    Standard(Vec<String>),
    /// None; and files with names outside the directory may be written in place. The operator has said so
    /// in as many words.
    Off,
}

impl Default for Protection {
    fn default() -> Protection {
        Protection::Standard(Vec::new())
    }
}

/// What happens to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A file is created, changed or removed.
    File,
    /// A directory is created, changed or removed; it is empty then.
    Dir,
    /// A name comes to stand for something that is there already, or stops to: a rename, a link. What
    /// lies below it comes and goes with it.
    Whole,
}

/// The rules of a run, ready to be compared.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// Rules by their first name.
    first: HashMap<String, Vec<usize>>,
    /// Rules whose first name has a `*`.
    wild: Vec<usize>,
    /// Rules about one place.
    places: Vec<Rule>,
    off: bool,
}

#[derive(Debug)]
struct Rule {
    parts: Vec<String>,
    scope: Scope,
    text: String,
}

impl Rules {
    pub(super) fn new(protection: &Protection) -> Rules {
        let mut rules = Rules::default();
        let Protection::Standard(extra) = protection else {
            rules.off = true;
            return rules;
        };
        for Protected {
            pattern,
            scope,
            reason,
            ..
        } in PROTECTED
        {
            rules.add(pattern, *scope, reason);
        }
        for pattern in extra {
            rules.add(pattern, Scope::Tree, "the operator says so");
        }
        rules
    }

    fn add(&mut self, pattern: &str, scope: Scope, reason: &str) {
        if pattern.starts_with('/') {
            self.places.push(Rule {
                parts: parts_of(pattern),
                scope,
                text: format!("`{pattern}` is protected: the host reads, builds or runs it"),
            });
            return;
        }
        let text = format!("`{pattern}` is protected: {reason}");
        self.push(pattern, scope, text);
    }

    fn push(&mut self, pattern: &str, scope: Scope, text: String) {
        let parts: Vec<String> = pattern
            .split('/')
            .map(fold)
            .filter(|part| !part.is_empty())
            .collect();
        let Some(first) = parts.first() else {
            return;
        };
        let index = self.rules.len();
        if first.contains('*') {
            self.wild.push(index);
        } else {
            self.first.entry(first.clone()).or_default().push(index);
        }
        self.rules.push(Rule { parts, scope, text });
    }

    pub(super) fn off(&self) -> bool {
        self.off
    }

    /// The rule that keeps something from happening at `rel` in a directory whose own last names on the
    /// host are `tail`.
    ///
    /// A rule decides only when its last name is inside: who grants `.vscode` itself means it, who grants
    /// `.git` still has its `hooks` protected.
    pub(super) fn find(&self, tail: &[String], rel: &Path, act: Act) -> Option<&str> {
        if self.rules.is_empty() {
            return None;
        }
        let mut names = tail.to_vec();
        names.extend(rel.iter().map(|name| fold(&name.to_string_lossy())));
        for start in 0..names.len() {
            let here = names.get(start..)?;
            let by_name = here.first().and_then(|name| self.first.get(name));
            let candidates = by_name.into_iter().flatten().chain(&self.wild);
            for rule in candidates.filter_map(|index| self.rules.get(*index)) {
                if rule.decides(here, tail.len().saturating_sub(start), act) {
                    return Some(&rule.text);
                }
            }
        }
        None
    }

    /// The rule that keeps something from happening at a place, as the guest calls it.
    pub(super) fn find_place(&self, path: impl FnOnce() -> String, act: Act) -> Option<&str> {
        if self.places.is_empty() {
            return None;
        }
        let names = parts_of(&path());
        let decides = |rule: &&Rule| {
            let same = rule.parts.iter().zip(&names).all(|(a, b)| a == b);
            // What lies above would take it along.
            same && (names.len() >= rule.parts.len() || act == Act::Whole)
        };
        self.places.iter().find(decides).map(|it| it.text.as_str())
    }

    /// The names that are protected in every `.git`, if git's rules are on.
    pub(super) fn in_git(&self) -> impl Iterator<Item = (&str, &str)> {
        let rules = self.first.get(".git").into_iter().flatten();
        rules
            .filter_map(|index| self.rules.get(*index))
            .filter_map(|rule| match rule.parts.as_slice() {
                [_, name] => Some((name.as_str(), rule.text.as_str())),
                _ => None,
            })
    }
}

impl Rule {
    /// Whether it decides about the path `names`, of which the first `outside` are not the guest's.
    fn decides(&self, names: &[String], outside: usize, act: Act) -> bool {
        let same = self
            .parts
            .iter()
            .zip(names)
            .all(|(part, name)| matches(part, name));
        if !same {
            return false;
        }
        if names.len() < self.parts.len() {
            // It lies above what is protected, and would bring it or take it along.
            return act == Act::Whole && names.len() > outside;
        }
        if self.parts.len() <= outside {
            return false;
        }
        match self.scope {
            Scope::Tree => true,
            Scope::File => names.len() == self.parts.len() && act != Act::Dir,
        }
    }
}

fn parts_of(path: &str) -> Vec<String> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.map(fold).collect()
}

/// Compares a name with a pattern in which `*` stands for any characters. Linear but for the last star.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = name.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    name.ends_with(last)
}

/// A name as the most forgiving file system would take it.
///
/// Case is folded by way of upper case, so that letters that only differ in lower case (`ſ`, `ﬁ`) meet.
/// HFS+ ignores characters without width; Windows ignores dots and spaces at the end, takes what follows a
/// colon for a stream of the same file, and gives `.git` the short name `GIT~1`.
pub(super) fn fold(name: &str) -> String {
    let name = name.split(':').next().unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| !is_ignored(*c))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    let name = name.trim_end_matches(['.', ' ']);
    match name.strip_prefix("git~") {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) => {
            ".git".to_owned()
        }
        _ => name.to_owned(),
    }
}

fn is_ignored(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{200b}'
        | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{00ad}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(path: &str, act: Act) -> bool {
        denied_in(&[], path, act)
    }

    fn denied_in(tail: &[&str], path: &str, act: Act) -> bool {
        let tail: Vec<String> = tail.iter().map(|name| fold(name)).collect();
        let rules = Rules::new(&Protection::Standard(vec!["Secret/*.key".to_owned()]));
        rules.find(&tail, Path::new(path), act).is_some()
    }

    #[test]
    fn what_a_coding_agent_has_to_change_is_free() {
        for path in [
            "package.json",
            "Makefile",
            "build.rs",
            "pyproject.toml",
            "AGENTS.md",
            "docs/mcp.md",
            ".gitignore",
            ".git/index",
            ".git/objects/ab/cd",
            ".git/refs/heads/main",
            ".git/info/exclude",
            "src/mise/lib.rs",
            "misery.toml",
        ] {
            assert!(!denied(path, Act::File), "{path}");
        }
    }

    #[test]
    fn protected_in_every_spelling() {
        for path in [
            ".git/hooks",
            ".git/hooks/pre-commit",
            "a/b/.git/hooks/x",
            ".GIT/Hooks/x",
            ".git./hooks /x",
            ".g\u{200c}it/config",
            "GIT~1/config",
            ".git/config::$DATA",
            ".git/con\u{fb01}g",
            ".ba\u{17f}hrc",
            ".git",
            ".mcp.json",
            "x/.VSCODE/tasks.json",
            ".git/rebase-merge/git-rebase-todo",
            ".git/refs/replace/x",
            ".git/objects/info/alternates",
            ".githooks/pre-commit",
            ".hg/hgrc-not-shared",
            ".Lefthook.yaml",
            ".config/lefthook-local.json",
            "mise.production.toml",
            "sub/Jenkinsfile",
            ".Woodpecker/x.yaml",
            "my.code-workspace",
            ".cargo/credentials.toml",
            "secret/a.KEY",
        ] {
            assert!(denied(path, Act::File), "{path}");
        }
        for path in [
            ".git/HEAD",
            ".git/objects/ab/cd",
            ".gitignore",
            "git/hooks",
            "hooks",
            "config",
            ".github/CODEOWNERS",
            "src/bashrc",
            "secret/key",
            ".code-workspaces",
        ] {
            assert!(!denied(path, Act::File), "{path}");
        }
    }

    #[test]
    fn a_place_is_kept_with_all_below_and_nothing_else() {
        let rules = Rules::new(&Protection::Standard(vec!["/work/My.wasm".to_owned()]));
        let denied = |path: &str, act| rules.find_place(|| path.to_owned(), act).is_some();
        for path in ["/work/my.wasm", "/work/MY.WASM", "/work/my.wasm/x"] {
            assert!(denied(path, Act::File), "{path}");
        }
        for path in ["/work", "/work/x/my.wasm", "/my.wasm", "/work/my.wasm2"] {
            assert!(
                !denied(path, Act::File) && !denied(path, Act::Dir),
                "{path}"
            );
        }
        assert!(denied("/work", Act::Whole));
        assert!(!denied("/work/other", Act::Whole));
        assert!(
            rules
                .find(&[], Path::new("work/my.wasm"), Act::File)
                .is_none()
        );
    }

    #[test]
    fn what_lies_above_moves_nowhere() {
        for path in [".git", ".github", ".cargo", "a/.config", "Secret"] {
            assert!(denied(path, Act::Whole), "{path}");
            assert!(!denied(path, Act::Dir), "{path}");
        }
        assert!(!denied("a", Act::Whole));
        assert!(!denied("src/config", Act::Whole));
    }

    #[test]
    fn granting_a_protected_directory_means_it() {
        assert!(!denied_in(&["home", ".vscode"], "tasks.json", Act::File));
        assert!(!denied_in(&[".git", "hooks"], "pre-commit", Act::File));
        assert!(denied_in(&["repo", ".git"], "hooks/pre-commit", Act::File));
        assert!(denied_in(&["repo", ".git"], "config", Act::File));
        assert!(denied_in(&[".github"], "workflows", Act::Dir));
        assert!(denied_in(&[".vscode"], "a/.vscode/b", Act::File));
    }

    #[test]
    fn every_pattern_protects_itself() {
        let rules = Rules::new(&Protection::default());
        for rule in PROTECTED {
            let path = rule.pattern.replace('*', "x");
            assert!(
                rules.find(&[], Path::new(&path), Act::File).is_some(),
                "{path}"
            );
            let upper = format!("deep/{}", path.to_uppercase());
            assert!(
                rules.find(&[], Path::new(&upper), Act::Whole).is_some(),
                "{upper}"
            );
        }
        assert!(
            Rules::new(&Protection::Off)
                .find(&[], Path::new(".git/hooks"), Act::File)
                .is_none()
        );
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_is_folding_once(name in ".{0,24}") {
            let once = fold(&name);
            proptest::prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn nothing_below_a_protected_tree_is_free(below in "[a-zA-Z0-9./~ -]{0,30}") {
            let path = format!(".git/hooks/{below}");
            assert!(denied(&path, Act::File) || Path::new(&path).iter().any(|name| name == ".."));
        }
    }
}
