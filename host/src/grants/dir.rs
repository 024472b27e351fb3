//! Directory grants: `HOST[::GUEST][:ACCESS]`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Hint;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Where a directory appears in the guest when the grant does not say.
pub const DEFAULT_GUEST: &str = "/work";

/// What a guest may do in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
    /// Reading and writing of a copy; the operator reviews and applies it, or does not.
    CopyOnWrite,
}

impl Access {
    /// The suffix that stands for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
            Access::CopyOnWrite => "cow",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A directory grant as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirSpec {
    /// Directory of the host, as written; relative to `base`.
    pub host: PathBuf,
    /// Path in the guest, as written.
    pub guest: Option<String>,
    /// What may be done there.
    pub access: Access,
}

/// A directory grant that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// The directory, absolute and without links.
    pub host: PathBuf,
    /// Where the guest finds it: absolute, without a trailing slash.
    pub guest: String,
    /// What may be done there.
    pub access: Access,
}

impl fmt::Display for DirGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}:{}", self.host.display(), self.guest, self.access)
    }
}

/// A directory or file cannot be granted.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum DirError {
    #[error("cannot read the directory grant `{spec}`: {reason}")]
    Syntax { spec: String, reason: &'static str },
    #[error("cannot grant the directory `{}`: {source}", host.display())]
    Unreadable { host: PathBuf, source: io::Error },
    #[error("cannot grant `{}`: it is not a directory", host.display())]
    NotADirectory { host: PathBuf },
    #[error("cannot grant `{}`: it shows the host itself, not files", host.display())]
    Pseudo { host: PathBuf },
    #[error("cannot grant `{guest}` in the guest: {reason}")]
    GuestPath { guest: String, reason: &'static str },
    #[error("cannot read the file grant `{spec}`: {reason}")]
    FileSyntax { spec: String, reason: &'static str },
    #[error("cannot grant the file `{}`: {source}", host.display())]
    FileUnreadable { host: PathBuf, source: io::Error },
    #[error("cannot grant `{}`: it is not a regular file", host.display())]
    NotAFile { host: PathBuf },
    #[error("cannot grant the file `{name}` as `{guest}` in the guest: a file keeps its name")]
    OtherName { guest: String, name: String },
    #[error(
        "cannot grant both `{first}` and `{second}`: files of one directory in the guest come from \
             one directory of the host, with the same access"
    )]
    Mixed {
        first: DirGrantText,
        second: DirGrantText,
    },
    #[error("cannot grant both `{first}` and `{second}`: they overlap in the guest")]
    Overlap {
        first: DirGrantText,
        second: DirGrantText,
    },
}

/// A grant as it is shown in a message.
pub type DirGrantText = String;

impl Hint for DirError {
    fn hint(&self) -> Option<String> {
        match self {
            DirError::Syntax { .. } => {
                Some("write `HOST`, `HOST:rw` or `HOST::GUEST:rw`".to_owned())
            }
            DirError::NotADirectory { host } => {
                let parent = host.parent().unwrap_or(Path::new("/"));
                Some(format!(
                    "grant the directory it is in: `{}`",
                    parent.display()
                ))
            }
            DirError::FileSyntax { .. } => {
                Some("write `HOST`, `HOST:rw` or `HOST::GUEST:rw`".to_owned())
            }
            DirError::NotAFile { host } if host.is_dir() => {
                Some("grant a directory with `--dir`, or under `dirs`".to_owned())
            }
            DirError::OtherName { name, .. } => {
                Some(format!("let the path in the guest end in `/{name}`"))
            }
            DirError::Mixed { .. } => Some(
                "give one of them another directory in the guest with `HOST::GUEST`".to_owned(),
            ),
            DirError::GuestPath { .. } => {
                Some("use an absolute path such as `/work` or `/data/in`".to_owned())
            }
            DirError::Overlap { .. } => {
                Some("give each directory a guest path of its own with `HOST::GUEST`".to_owned())
            }
            DirError::Unreadable { .. }
            | DirError::Pseudo { .. }
            | DirError::FileUnreadable { .. }
            | DirError::NotAFile { .. } => None,
        }
    }
}

impl FromStr for DirSpec {
    type Err = DirError;

    /// Access is read-only unless the text ends in `:rw` or `:cow`. The last `::` separates host and guest, so
    /// that a host path may contain single colons.
    fn from_str(spec: &str) -> Result<DirSpec, DirError> {
        let (host, guest, access) = split(spec).map_err(|reason| DirError::Syntax {
            spec: spec.to_owned(),
            reason,
        })?;
        Ok(DirSpec {
            host,
            guest,
            access,
        })
    }
}

/// Host path, guest path and access of a grant as written; or what is wrong with it.
pub(super) fn split(spec: &str) -> Result<(PathBuf, Option<String>, Access), &'static str> {
    let written = |access: &Access| {
        let rest = spec.strip_suffix(access.as_str())?.strip_suffix(':')?;
        Some((rest, *access))
    };
    let (rest, access) = [Access::ReadOnly, Access::ReadWrite, Access::CopyOnWrite]
        .iter()
        .find_map(written)
        .unwrap_or((spec, Access::ReadOnly));
    let (host, guest) = match rest.rsplit_once("::") {
        Some((_, "")) => return Err("the guest path is empty"),
        Some((host, guest)) => (host, Some(guest.to_owned())),
        None => (rest, None),
    };
    if host.is_empty() {
        return Err("the host path is empty");
    }
    // `dir:rx` is far more often a mistyped access than a directory with a colon in its name.
    if guest.is_none()
        && let Some((before, suffix)) = host.rsplit_once(':')
        && !before.is_empty()
        && suffix.len() <= 3
        && !suffix.contains('/')
        && !Path::new(host).exists()
    {
        return Err("the access has to be `ro`, `rw` or `cow`");
    }
    Ok((PathBuf::from(host), guest, access))
}

/// Whether a path shows the host itself: `/proc/self/environ` and the like would hand out what was never
/// granted.
pub(super) fn is_pseudo(host: &Path) -> bool {
    ["/proc", "/sys", "/dev"]
        .iter()
        .any(|pseudo| host.starts_with(pseudo))
}

impl DirSpec {
    /// The same grant with the host path relative to `base`.
    #[must_use]
    pub fn relative_to(mut self, base: &Path) -> DirSpec {
        self.host = base.join(&self.host);
        self
    }

    fn resolve(self) -> Result<DirGrant, DirError> {
        let unreadable = |source| DirError::Unreadable {
            host: self.host.clone(),
            source,
        };
        let host = self.host.canonicalize().map_err(unreadable)?;
        if !host.is_dir() {
            return Err(DirError::NotADirectory { host });
        }
        if !down(Wall::PseudoDirs) && is_pseudo(&host) {
            return Err(DirError::Pseudo { host });
        }
        host.read_dir().map_err(unreadable)?;
        let guest = guest_path(self.guest.as_deref().unwrap_or(DEFAULT_GUEST))?;
        Ok(DirGrant {
            host,
            guest,
            access: self.access,
        })
    }
}

pub(crate) fn guest_path(text: &str) -> Result<String, DirError> {
    let wrong = |reason| DirError::GuestPath {
        guest: text.to_owned(),
        reason,
    };
    if !text.starts_with('/') {
        return Err(wrong("the path is not absolute"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(wrong("the path contains `.` or `..`"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("the path contains a control character"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Resolves directory grants; sorted by guest path.
///
/// # Errors
///
/// See [`DirError`].
pub fn resolve(specs: impl Iterator<Item = DirSpec>) -> Result<Vec<DirGrant>, DirError> {
    let mut dirs = specs.map(DirSpec::resolve).collect::<Result<Vec<_>, _>>()?;
    dirs.sort_by(|a, b| a.guest.cmp(&b.guest));
    for (index, first) in dirs.iter().enumerate() {
        for second in dirs.iter().skip(index + 1) {
            if Path::new(&second.guest).starts_with(&first.guest) {
                return Err(DirError::Overlap {
                    first: first.to_string(),
                    second: second.to_string(),
                });
            }
        }
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<DirSpec, String> {
        text.parse().map_err(|error: DirError| error.to_string())
    }

    #[test]
    fn a_grant_is_read_only_unless_it_says_otherwise() {
        assert_eq!(spec("./repo").unwrap().access, Access::ReadOnly);
        assert_eq!(spec("./repo:ro").unwrap().access, Access::ReadOnly);
        assert_eq!(spec("./repo:rw").unwrap().access, Access::ReadWrite);
        assert_eq!(spec("./repo:cow").unwrap().access, Access::CopyOnWrite);
    }

    #[test]
    fn host_and_guest_are_split_at_the_last_double_colon() {
        let parsed = spec("a::b::/data:rw").unwrap();
        assert_eq!(parsed.host, PathBuf::from("a::b"));
        assert_eq!(parsed.guest.as_deref(), Some("/data"));
    }

    #[test]
    fn malformed_grants_are_refused() {
        for text in ["", ":rw", "::/work", "dir::", "dir:xx", "dir:RW"] {
            assert!(spec(text).is_err(), "{text}");
        }
    }

    #[test]
    fn overlapping_guest_paths_are_refused_and_siblings_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let grant = |guest: &str| DirSpec {
            host: dir.path().to_owned(),
            guest: Some(guest.to_owned()),
            access: Access::ReadOnly,
        };
        for (a, b) in [
            ("/a", "/a"),
            ("/a", "/a/b"),
            ("/a/b/c", "/a"),
            ("/", "/a"),
            ("/a/", "//a"),
        ] {
            let error = resolve([grant(a), grant(b)].into_iter()).unwrap_err();
            assert!(
                matches!(error, DirError::Overlap { .. }),
                "{a} {b}: {error}"
            );
        }
        assert_eq!(
            resolve([grant("/ab"), grant("/a")].into_iter())
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn what_shows_the_host_is_not_a_directory_to_grant() {
        let error = resolve([spec("/proc/self").unwrap()].into_iter()).unwrap_err();
        assert!(matches!(error, DirError::Pseudo { .. }), "{error}");
    }
}
