//! What has been built of a project, found without running anything.
//!
//! Cargo is not asked: a project says which cargo, which compiler and which build scripts it is built with, and all of
//! them run with the rights of the user. Who only looks at a project has not decided yet to trust it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::MANIFEST;
use super::build::OUTPUT;
use crate::engine::artifact::{Artifact, ArtifactError, MAX_ARTIFACT};
use crate::error::Hint;

/// Files of a project that are looked at to tell whether something was changed.
const MAX_FILES: usize = 20_000;

/// Largest manifest or configuration that is read, in bytes.
const MAX_TOML: u64 = 1 << 20;

/// A component that was built earlier.
#[derive(Clone, Debug)]
pub struct Found {
    /// The component; its path says where it is.
    pub artifact: Artifact,
    /// A file of the project that was changed after it was built.
    pub changed: Option<PathBuf>,
}

/// Finds the component the project in `dir` was built into. Runs nothing.
///
/// # Errors
///
/// [`FoundError`]
pub fn find_built(dir: &Path) -> Result<Found, FoundError> {
    let unreadable = |source| FoundError::Unreadable {
        path: dir.join(MANIFEST),
        source,
    };
    let manifest = read_toml(&dir.join(MANIFEST)).map_err(unreadable)?;
    let names = names(dir, &manifest);
    let real = dir.canonicalize().map_err(unreadable)?;
    let mut found = Vec::new();
    for target in targets(&real) {
        found = components(&target.join(OUTPUT), names.as_ref());
        if !found.is_empty() {
            break;
        }
    }
    let path = match found.as_slice() {
        [path] => path,
        [] => {
            return Err(FoundError::NotBuilt {
                dir: dir.to_owned(),
            });
        }
        several => {
            return Err(FoundError::Ambiguous {
                dir: dir.to_owned(),
                found: several.to_vec(),
            });
        }
    };
    let artifact = Artifact::open(path, MAX_ARTIFACT).map_err(FoundError::NotAnAgent)?;
    let built = path.metadata().and_then(|meta| meta.modified());
    let changed = built.ok().and_then(|built| changed_since(dir, built));
    Ok(Found {
        artifact: artifact.built_from(vec![real]),
        changed,
    })
}

fn read_toml(path: &Path) -> io::Result<toml::Table> {
    if path.metadata()?.len() > MAX_TOML {
        return Err(io::Error::other("it is too large"));
    }
    let text = std::fs::read_to_string(path)?;
    text.parse().map_err(io::Error::other)
}

/// What the component could be called; anything, where the folder is that of a workspace.
fn names(dir: &Path, manifest: &toml::Table) -> Option<BTreeSet<String>> {
    let package = manifest.get("package")?.as_table()?;
    let name = package.get("name")?.as_str()?.to_owned();
    let settings = package.get("metadata").and_then(|it| it.get("wasm-agent"));
    let wanted = settings
        .and_then(|it| it.get("component"))
        .and_then(toml::Value::as_str);
    let bins = manifest.get("bin").and_then(toml::Value::as_array);
    let bins = bins
        .into_iter()
        .flatten()
        .filter_map(|bin| bin.get("name")?.as_str());
    let mut names: BTreeSet<String> = bins.map(str::to_owned).collect();
    let more = std::fs::read_dir(dir.join("src/bin"));
    for entry in more.into_iter().flatten().filter_map(Result::ok) {
        let stem = entry
            .path()
            .file_stem()
            .map(|it| it.to_string_lossy().into_owned());
        names.extend(stem);
    }
    let library = manifest
        .get("lib")
        .and_then(|lib| lib.get("name")?.as_str())
        .unwrap_or(&name)
        .to_owned();
    let same = |a: &str, b: &str| a.replace('-', "_") == b.replace('-', "_");
    if let Some(wanted) = wanted {
        names.retain(|bin| same(bin, wanted));
        // A library's component is called as its package.
        if !same(&library, wanted) && !same(&name, wanted) {
            return Some(names);
        }
    }
    names.insert(name);
    Some(names)
}

/// Target folders cargo could use for a project, the nearest first.
fn targets(dir: &Path) -> Vec<PathBuf> {
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
        if let Some(target) = std::env::var_os(variable).filter(|it| !it.is_empty()) {
            return vec![PathBuf::from(target)];
        }
    }
    let mut found = Vec::new();
    for above in dir.ancestors() {
        for name in ["config.toml", "config"] {
            let config = read_toml(&above.join(".cargo").join(name)).ok();
            let said = config
                .as_ref()
                .and_then(|it| it.get("build")?.get("target-dir")?.as_str());
            found.extend(said.map(|said| above.join(said)));
        }
        found.push(above.join("target"));
    }
    found
}

fn components(folder: &Path, names: Option<&BTreeSet<String>>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "wasm"))
        .filter(|path| {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy());
            stem.is_some_and(|stem| names.is_none_or(|names| names.contains(stem.as_ref())))
        })
        .collect();
    found.sort();
    found
}

/// A file of the project that was changed after `built`, as far as it is one of the first ones.
fn changed_since(dir: &Path, built: SystemTime) -> Option<PathBuf> {
    let mut dirs = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            seen += 1;
            if seen > MAX_FILES {
                return None;
            }
            let name = entry.file_name();
            let is_output = name == "target" || name.to_string_lossy().starts_with('.');
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && !is_output {
                dirs.push(entry.path());
            }
            let decides = kind.is_file()
                && entry
                    .path()
                    .extension()
                    .is_some_and(|end| ["rs", "toml", "lock", "wit"].iter().any(|it| end == *it));
            let modified = entry.metadata().and_then(|meta| meta.modified());
            if decides && modified.is_ok_and(|modified| modified > built) {
                return Some(entry.path());
            }
        }
    }
    None
}

/// There is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// The manifest of the project cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The project has not been built.
    #[error("cannot look at the agent `{}`: it has not been built", dir.display())]
    NotBuilt {
        /// Its folder.
        dir: PathBuf,
    },
    /// It could be one of several components.
    #[error("cannot look at the agent `{}`: it could be one of {} components", dir.display(), found.len())]
    Ambiguous {
        /// Its folder.
        dir: PathBuf,
        /// What it could be.
        found: Vec<PathBuf>,
    },
    /// What was built is no agent.
    #[error(transparent)]
    NotAnAgent(ArtifactError),
}

impl Hint for FoundError {
    fn hint(&self) -> Option<String> {
        match self {
            FoundError::NotBuilt { .. } => Some(
                "`--build` builds it first: that runs its build scripts, outside of any sandbox"
                    .to_owned(),
            ),
            FoundError::Ambiguous { found, .. } => {
                let first = found.first()?;
                Some(format!("name one of them, such as `{}`", first.display()))
            }
            FoundError::NotAnAgent(error) => error.hint(),
            FoundError::Unreadable { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(manifest: &str) -> Option<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest.parse().unwrap();
        names(dir.path(), &manifest).map(|names| names.into_iter().collect())
    }

    #[test]
    fn a_component_is_called_as_cargo_would() {
        let agent = "[package]\nname = 'my-agent'\n";
        let of = |more: &str| named(&format!("{agent}{more}")).unwrap();
        assert_eq!(of(""), ["my-agent"]);
        assert_eq!(of("[[bin]]\nname = 'tool'"), ["my-agent", "tool"]);
        let wants = "[package.metadata.wasm-agent]\ncomponent = ";
        assert_eq!(of(&format!("{wants}'my_agent'")), ["my-agent"]);
        let bins = "\n[[bin]]\nname = 'tool'\n[[bin]]\nname = 'other'";
        assert_eq!(of(&format!("{wants}'tool'{bins}")), ["tool"]);
        assert_eq!(named("[workspace]"), None);
    }

    #[test]
    fn what_was_not_built_is_said_to_be_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            find_built(dir.path()),
            Err(FoundError::Unreadable { .. })
        ));
        std::fs::write(
            dir.path().join(MANIFEST),
            "[package]\nname = 'no-such-agent-anywhere'",
        )
        .unwrap();
        let error = find_built(dir.path()).unwrap_err();
        assert!(matches!(error, FoundError::NotBuilt { .. }), "{error}");
        assert!(error.hint().is_some());
    }
}
