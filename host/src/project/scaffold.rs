//! `wasm-agent new`: a project that builds and runs at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Hint;

/// Longest name of an agent, in bytes.
const MAX_NAME: usize = 64;

/// Words that pass for a name and that cargo, rustc or a file system takes for something else.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    // Rust's keywords, which a crate cannot be called.
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct",
    "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while",
    "yield",
    // Crates that are always there, and the one every agent depends on.
    "alloc", "core", "proc-macro", "std", "test", "wasm-agent-sdk",
    // Folders cargo makes in its target folder.
    "build", "deps", "examples", "incremental",
    // Devices on Windows.
    "aux", "con", "nul", "prn",
];

/// The language of a new project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lang {
    /// Rust, with `wasm-agent-sdk`.
    #[default]
    Rust,
}

impl Lang {
    /// The files of a project, and their text with `{{name}}` and `{{sdk}}` in it.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rust => &[
                ("Cargo.toml", include_str!("template/rust/Cargo.toml")),
                (
                    ".cargo/config.toml",
                    include_str!("template/rust/.cargo/config.toml"),
                ),
                (".gitignore", include_str!("template/rust/.gitignore")),
                ("README.md", include_str!("template/rust/README.md")),
                ("src/lib.rs", include_str!("template/rust/src/lib.rs")),
            ],
        }
    }
}

/// Where a new project gets the SDK from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdkSource {
    /// A folder: the checkout this program was built from.
    Path(PathBuf),
    /// crates.io, in this version.
    Version(String),
}

impl SdkSource {
    /// The right side of `wasm-agent-sdk = …` in a `Cargo.toml`.
    fn to_toml(&self) -> Result<String, ScaffoldError> {
        let quote = |text: &str| toml::Value::from(text).to_string();
        match self {
            Self::Version(version) => Ok(quote(version)),
            Self::Path(path) => {
                let absolute =
                    std::path::absolute(path).map_err(|source| ScaffoldError::Write {
                        path: path.clone(),
                        source,
                    })?;
                let text = absolute
                    .to_str()
                    .ok_or_else(|| ScaffoldError::SdkPath { path: path.clone() })?;
                Ok(format!("{{ path = {} }}", quote(text)))
            }
        }
    }
}

/// Makes a project called `name` in the folder `dir`, which is made; an empty one is taken too. Returns its
/// files, in the order in which a person would want to see them. When it fails, nothing is there that was
/// not before.
///
/// # Errors
///
/// [`ScaffoldError`] when the name cannot be one, the folder has something in it or cannot be written.
pub fn scaffold(
    dir: &Path,
    name: &str,
    lang: Lang,
    sdk: &SdkSource,
) -> Result<Vec<PathBuf>, ScaffoldError> {
    check_name(name)?;
    let sdk = sdk.to_toml()?;
    check_place(dir)?;
    let write_error = |source| ScaffoldError::Write {
        path: dir.to_owned(),
        source,
    };

    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(write_error)?;
    // Beside its final place, so that moving it there is one step.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wasm-agent-new-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    let draft = builder.tempdir_in(parent).map_err(write_error)?;
    let mut files = Vec::new();
    for (path, text) in lang.files() {
        let target = draft.path().join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(write_error)?;
        }
        let text = text.replace("{{name}}", name).replace("{{sdk}}", &sdk);
        fs::write(target, text).map_err(write_error)?;
        files.push(dir.join(path));
    }
    // An empty folder gives way on Unix by itself, and elsewhere not.
    if dir.is_dir() && cfg!(not(unix)) {
        fs::remove_dir(dir).map_err(write_error)?;
    }
    fs::rename(draft.path(), dir).map_err(write_error)?;
    // It is not temporary any more, and not there either.
    let _ = draft.keep();
    Ok(files)
}

fn check_name(name: &str) -> Result<(), ScaffoldError> {
    let is_name = name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_name {
        let name = name.chars().take(MAX_NAME).flat_map(char::escape_debug);
        return Err(ScaffoldError::Name {
            name: name.collect(),
        });
    }
    if RESERVED.contains(&name) {
        return Err(ScaffoldError::Reserved {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn check_place(dir: &Path) -> Result<(), ScaffoldError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(ScaffoldError::Exists {
                path: dir.to_owned(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(ScaffoldError::Exists {
            path: dir.to_owned(),
        }),
        Err(source) => Err(ScaffoldError::Write {
            path: dir.to_owned(),
            source,
        }),
    }
}

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaffoldError {
    /// The name has other characters than an agent's may have, or too many.
    #[error("making the project `{name}`: the name cannot be used")]
    Name {
        /// The name, escaped.
        name: String,
    },
    /// The name means something else.
    #[error("making the project `{name}`: the name is reserved")]
    Reserved {
        /// The name.
        name: String,
    },
    /// There is something already.
    #[error("making the project in `{}`: there is something already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The path of the SDK cannot be written in a `Cargo.toml`.
    #[error("making the project: the path of the SDK, `{}`, is not UTF-8", path.display())]
    SdkPath {
        /// The path.
        path: PathBuf,
    },
    /// The disk did not take it.
    #[error("making the project in `{}`", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Hint for ScaffoldError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name { .. } => Some(format!(
                "a name is made of `a` to `z`, digits and `-`, starts with a letter and has at most {MAX_NAME} characters"
            )),
            Self::Reserved { .. } | Self::Exists { .. } => Some("choose another name".into()),
            Self::SdkPath { .. } | Self::Write { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sdk() -> SdkSource {
        SdkSource::Version("0.1.0".into())
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_project_has_its_name_and_no_placeholder_left() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("sub/my-agent");
        let files = scaffold(&dir, "my-agent", Lang::Rust, &sdk()).unwrap();
        assert_eq!(files.len(), 5);
        for file in &files {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("{{"), "{}: {text}", file.display());
        }
        let manifest: toml::Table =
            toml::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("my-agent"));
        assert!(manifest.contains_key("workspace"));
        assert!(manifest["dependencies"].get("wasm-agent-sdk").is_some());
        toml::from_str::<toml::Table>(&fs::read_to_string(&files[1]).unwrap()).unwrap();
        assert_eq!(names_in(&parent.path().join("sub")), ["my-agent"]);
    }

    #[test]
    fn the_ask_of_the_template_is_one() {
        let parent = tempfile::tempdir().unwrap();
        let files = scaffold(&parent.path().join("a"), "a", Lang::Rust, &sdk()).unwrap();
        let manifest: toml::Table =
            toml::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
        let ask = manifest["package"]["metadata"]["wasm-agent"]["ask"].clone();
        crate::grants::ask::Ask::from_metadata(&serde_json::to_value(ask).unwrap()).unwrap();
    }

    #[test]
    fn a_path_with_quotes_stays_one_string() {
        let parent = tempfile::tempdir().unwrap();
        let odd = SdkSource::Path(PathBuf::from("/sdk \"x\" \\ y\n"));
        let files = scaffold(&parent.path().join("a"), "a", Lang::Rust, &odd).unwrap();
        let manifest: toml::Table =
            toml::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
        let path = &manifest["dependencies"]["wasm-agent-sdk"]["path"];
        assert_eq!(path.as_str(), Some("/sdk \"x\" \\ y\n"));
    }

    #[test]
    fn an_empty_folder_is_taken_and_another_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("agent");
        fs::create_dir(&dir).unwrap();
        scaffold(&dir, "agent", Lang::Rust, &sdk()).unwrap();
        let before = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        let error = scaffold(&dir, "other", Lang::Rust, &sdk()).unwrap_err();
        assert!(matches!(error, ScaffoldError::Exists { .. }));
        let after = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        assert_eq!(before, after);
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = scaffold(&file, "agent", Lang::Rust, &sdk()).unwrap_err();
        assert!(matches!(error, ScaffoldError::Exists { .. }));
        // Neither failure left anything behind.
        assert_eq!(names_in(parent.path()).len(), 2);
    }

    #[test]
    fn names_are_checked() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("x");
        for name in [
            "",
            "A",
            "1a",
            "-a",
            "a_b",
            "a b",
            "../a",
            "a/b",
            "é",
            "a\n",
            &"a".repeat(65),
        ] {
            let error = scaffold(&dir, name, Lang::Rust, &sdk()).unwrap_err();
            assert!(matches!(error, ScaffoldError::Name { .. }), "{name:?}");
            assert!(error.hint().is_some());
        }
        for name in ["fn", "test", "nul", "wasm-agent-sdk"] {
            let error = scaffold(&dir, name, Lang::Rust, &sdk()).unwrap_err();
            assert!(matches!(error, ScaffoldError::Reserved { .. }), "{name:?}");
        }
        assert!(!dir.exists());
    }

    proptest! {
        #[test]
        fn what_is_a_name_is_what_the_pattern_says(name in "[a-zA-Z0-9_./ -]{0,6}") {
            let pattern = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
            let reserved = RESERVED.contains(&name.as_str());
            prop_assert_eq!(check_name(&name).is_ok(), pattern && !reserved);
        }
    }
}
