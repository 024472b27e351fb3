//! Protected paths, asked about where a name really is.

use std::fs::File;
use std::path::Path;

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::Disk;
use super::place::Place;
use super::protect::{Act, fold};
use super::refusal::Refusal;
use super::resolve::Parent;
use super::sys::{self, Found, Links};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

impl Disk {
    /// Refuses what a rule keeps from happening at a canonical place.
    pub(super) fn guard(&self, place: &Place, act: Act) -> Result<(), Refusal> {
        self.left_alone(place, act)?;
        if let Some(rule) = self.rules.find_place(|| self.guest_path(place), act) {
            return Err(self.protected(place, rule.to_owned()));
        }
        if self.is_single(place, act)? || down(Wall::Protected) {
            return Ok(());
        }
        let root = self.root(place.mount)?;
        let rule = match self.rules.find(&root.tail, &place.rel, act) {
            Some(rule) => rule.to_owned(),
            None => match self.git_rule(&root.dir, &place.rel) {
                Some(rule) => rule,
                None => match self.named(place.mount, &place.rel, act) {
                    Some(rule) => rule,
                    None => return Ok(()),
                },
            },
        };
        Err(self.protected(place, rule))
    }

    /// Like [`Disk::guard`], for a name that is about to appear.
    pub(super) fn guard_new(&self, parent: &Parent, act: Act) -> Result<(), Refusal> {
        self.guard_new_beside(parent, act, &|_| false)
    }

    /// The same for one of several names of a directory that are about to appear; `beside` knows the others.
    pub(super) fn guard_new_beside(
        &self,
        parent: &Parent,
        act: Act,
        beside: &dyn Fn(&str) -> bool,
    ) -> Result<(), Refusal> {
        self.guard(&parent.place, act)?;
        if !self.rules.off()
            && !down(Wall::Protected)
            && completes_repository(parent.handle(), &parent.name, beside)
        {
            let rule = "a directory with `HEAD`, `objects` and `refs` is a repository to git, which runs \
                        programs named in its configuration";
            return Err(self.protected(&parent.place, rule.to_owned()));
        }
        Ok(())
    }

    fn protected(&self, place: &Place, rule: String) -> Refusal {
        Refusal::Rule {
            code: ErrorCode::Access,
            path: self.guest_path(place),
            rule,
        }
    }

    /// The rule for what lies in a repository that is not called `.git`: a bare one, or a worktree's. The path is
    /// walked once, however many of its names are those of a rule.
    fn git_rule(&self, root: &File, rel: &Path) -> Option<String> {
        let rule_of = |name: &std::ffi::OsStr| {
            let folded = fold(&name.to_string_lossy());
            self.rules.in_git().find(|(name, _)| *name == folded)
        };
        let names = rel.iter().enumerate();
        let (last, _) = names.filter(|(_, name)| rule_of(name).is_some()).last()?;
        let mut at = sys::find_dir(root, ".").ok()?;
        for (depth, name) in rel.iter().enumerate() {
            if let Some((_, text)) = rule_of(name)
                && is_repository(at.handle())
            {
                return Some(text.to_owned());
            }
            if depth == last {
                break;
            }
            at = sys::find_dir(at.handle(), name).ok()?;
        }
        None
    }

    /// The rule for what the configuration of a repository names.
    fn named(&self, mount: usize, rel: &Path, act: Act) -> Option<String> {
        if self.rules.off() || down(Wall::GitConfig) {
            return None;
        }
        let root = self.roots.get(mount)?;
        self.repositories.find(&root.host, rel, act)
    }

    /// Refuses to write in place to a file that has names this run did not give it: they may lie
    /// outside the granted directory, or be protected.
    pub(super) fn sole(&self, place: &Place, found: &Found) -> Result<(), Refusal> {
        let ours = self.links_made(found.inode()).saturating_add(1);
        if found.links() <= ours || self.rules.off() || down(Wall::HardLinks) {
            return Ok(());
        }
        let rule =
            "the file has other names (hard links) that may lie elsewhere; replace it by a copy";
        Err(self.protected(place, rule.to_owned()))
    }
}

fn has(dir: &File, name: &str) -> bool {
    sys::find(dir, name, Links::Keep).is_ok()
}

/// What git takes for a repository when it comes by.
fn is_repository(dir: &File) -> bool {
    has(dir, "HEAD") && (has(dir, "commondir") || has(dir, "objects") && has(dir, "refs"))
}

/// Whether `name` would make a repository of a directory that is none, together with the names `beside` it.
fn completes_repository(dir: &File, name: &str, beside: &dyn Fn(&str) -> bool) -> bool {
    let name = fold(name);
    let has = |other: &str| fold(other) == name || has(dir, other) || beside(other);
    let part = ["HEAD", "objects", "refs", "commondir"];
    part.iter().any(|part| fold(part) == name)
        && has("HEAD")
        && (has("commondir") || has("objects") && has("refs"))
        && !is_repository(dir)
}
