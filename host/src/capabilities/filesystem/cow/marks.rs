//! Which of the changes of a run other programs of the operator's will run or obey.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::protect::{Act, Rules, fold, runs};
use super::delta::{Delta, Item, PathDelta};
use super::tree::{Base, Node};

/// How many symbolic links are followed from one.
const HOPS: usize = 8;

/// Something that should be looked at before it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The path that has changed.
    pub path: String,
    /// What runs or obeys it.
    pub reason: String,
}

/// The marks of a difference, by path. What is gone runs no more and has none.
pub(super) fn marks(base: &Base, delta: &Delta) -> Vec<Mark> {
    // The last names of the directory count as those of a guest's do: who grants `.venv` itself means it.
    let host = base.host.canonicalize();
    let host = host.as_deref().unwrap_or(&base.host);
    let tail: Vec<String> = host
        .iter()
        .skip(1)
        .map(|name| fold(&name.to_string_lossy()))
        .collect();
    let led_to = led_to(base, &tail);
    let mut marks = Vec::new();
    for entry in &delta.paths {
        let reasons = reasons(&tail, &led_to, entry);
        if !reasons.is_empty() {
            marks.push(Mark {
                path: entry.path.clone(),
                reason: reasons.join("; "),
            });
        }
    }
    marks
}

fn reasons(tail: &[String], led_to: &BTreeMap<String, String>, entry: &PathDelta) -> Vec<String> {
    let PathDelta {
        path,
        before,
        after,
    } = entry;
    let mut reasons = Vec::new();
    if matches!(after, None | Some(Item::Dir)) {
        return reasons;
    }
    reasons.extend(runs(tail, Path::new(path)).map(ToOwned::to_owned));
    let linked = Path::new(path)
        .ancestors()
        .find_map(|above| led_to.get(above.to_str()?));
    reasons.extend(linked.cloned());
    let is_executable =
        |item: &Option<Item>| matches!(item, Some(Item::File { executable, .. }) if *executable);
    if is_executable(after) && !is_executable(before) {
        reasons.push("it becomes a program (executable bit)".to_owned());
    }
    reasons
}

/// What symbolic links lead to whose own names other programs run: whoever changes that has changed the link's content.
fn led_to(base: &Base, tail: &[String]) -> BTreeMap<String, String> {
    let protected = Rules::new(&base.protection);
    let mut led_to = BTreeMap::new();
    for (link, node) in &base.nodes {
        let Node::Symlink { target } = node else {
            continue;
        };
        let path = Path::new(link);
        let Some(reason) = runs(tail, path).or_else(|| protected.find(tail, path, Act::File))
        else {
            continue;
        };
        let reason = format!("`{link}` leads to it: {reason}");
        let mut next = (path.to_owned(), target.clone());
        for _ in 0..HOPS {
            let Some(to) = resolved(&next.0, &next.1) else {
                break;
            };
            let Some(name) = to.to_str().map(ToOwned::to_owned) else {
                break;
            };
            led_to.entry(name.clone()).or_insert_with(|| reason.clone());
            match base.nodes.get(&name) {
                Some(Node::Symlink { target }) => next = (to, target.clone()),
                _ => break,
            }
        }
    }
    led_to
}

/// Where a link leads within the directory, by names alone; nothing when that is not in it, or all of it.
fn resolved(link: &Path, target: &str) -> Option<PathBuf> {
    let mut path = link.parent()?.to_owned();
    for component in Path::new(target).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::{CopyLimits, Workspace};
    use crate::host_places::HostPlaces;

    #[test]
    fn what_other_programs_run_is_marked() {
        let lab = tempfile::tempdir().unwrap();
        let host = lab.path().join("host");
        for name in ["mk", "web", "bin"] {
            fs::create_dir_all(host.join(name)).unwrap();
        }
        for name in [
            "mk/real",
            "web/package.json",
            "bin/tool",
            "setup.py",
            "free",
        ] {
            fs::write(host.join(name), "old").unwrap();
        }
        symlink("mk/real", host.join("Makefile")).unwrap();
        let workspace = Workspace::prepare(
            &host,
            &lab.path().join("ws"),
            &CopyLimits::default(),
            &HostPlaces::default(),
        )
        .unwrap();
        let tree = workspace.tree();
        for name in ["mk/real", "web/package.json", "new", "free"] {
            fs::write(tree.join(name), "new").unwrap();
        }
        for name in ["bin/tool", "new"] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::remove_file(tree.join("setup.py")).unwrap();
        fs::create_dir(tree.join(".venv")).unwrap();
        let marks = workspace.marks(&workspace.delta().unwrap());
        let shown: Vec<_> = marks
            .iter()
            .map(|mark| (mark.path.as_str(), mark.reason.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("bin/tool", "it becomes a program (executable bit)"),
                ("mk/real", "`Makefile` leads to it: make runs its commands"),
                ("new", "it becomes a program (executable bit)"),
                ("web/package.json", "a package manager runs its scripts"),
            ]
        );
    }
}
