//! Directories an agent may write to, as a whole before and after its run: what the list of changed files
//! says can be checked against it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::outcome::TreeChange;
use super::workspaces::Workspaces;
use crate::capabilities::filesystem::{Effort, SurveyLimits, survey};
use crate::digest::Digest;
use crate::grants::{Access, Grants};
use crate::host_places::HostPlaces;

/// The directories of one run, as they were before it.
#[derive(Default)]
pub(super) struct Trees(Vec<Tree>);

struct Tree {
    guest: String,
    /// Nothing when there is a reason not to look at it again.
    dir: Option<Arc<File>>,
    before: Result<Digest, String>,
    withheld: HostPlaces,
}

impl Trees {
    /// Looks at what is granted for writing; at the copies of what is granted copy-on-write.
    pub(super) async fn before(grants: &Grants, workspaces: &Workspaces) -> Trees {
        let writable = grants.dirs.iter().filter_map(|dir| {
            let root = match dir.access {
                Access::ReadOnly => None,
                Access::ReadWrite => Some(workspaces.tree(&dir.guest).unwrap_or(dir.host.clone())),
                Access::CopyOnWrite => workspaces.tree(&dir.guest),
            };
            Some((dir.guest.clone(), root?))
        });
        let mut trees = Vec::new();
        for (guest, root) in writable {
            trees.push(Tree::before(guest, root, grants.withheld.clone()).await);
        }
        Trees(trees)
    }

    /// Looks at them again, once nothing writes to them any more.
    pub(super) async fn after(self, effort: Effort) -> Vec<TreeChange> {
        let effort = Arc::new(effort);
        let mut changes = Vec::new();
        for tree in self.0 {
            changes.push(tree.after(effort.clone()).await);
        }
        changes
    }
}

impl Tree {
    async fn before(guest: String, root: PathBuf, withheld: HostPlaces) -> Tree {
        let dir = match File::open(root) {
            Ok(dir) => Arc::new(dir),
            Err(error) => {
                return Tree {
                    guest,
                    dir: None,
                    withheld,
                    before: Err(format!("it cannot be opened: {error}")),
                };
            }
        };
        let before = look(dir.clone(), withheld.clone(), Arc::new(Effort::unbounded())).await;
        Tree {
            guest,
            dir: before.is_ok().then_some(dir),
            before,
            withheld,
        }
    }

    async fn after(self, effort: Arc<Effort>) -> TreeChange {
        let after = match self.dir {
            Some(dir) => Some(look(dir, self.withheld, effort).await),
            None => None,
        };
        let written = |digest: Digest| digest.to_string();
        let skipped = match (&self.before, &after) {
            (Err(reason), _) => Some(format!("before the run: {reason}")),
            (_, Some(Err(reason))) => Some(format!("after the run: {reason}")),
            _ => None,
        };
        TreeChange {
            path: self.guest,
            before: self.before.ok().map(written),
            after: after.and_then(Result::ok).map(written),
            skipped,
        }
    }
}

async fn look(dir: Arc<File>, withheld: HostPlaces, effort: Arc<Effort>) -> Result<Digest, String> {
    let look = move || survey(&dir, SurveyLimits::default(), &withheld, &effort);
    let looked = tokio::task::spawn_blocking(look).await;
    match looked {
        Ok(Ok(digest)) => Ok(digest),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
