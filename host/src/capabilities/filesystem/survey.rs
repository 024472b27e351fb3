//! One digest for everything in a directory, to tell whether anything in it is different.
//!
//! It is the SHA-256 of one line for each entry, `KIND DIGEST PATH\n`, sorted by path: KIND is `dir`, `file`,
//! `exec`, `link` or `other`, DIGEST that of the content or of the target (`-` without one), PATH a JSON
//! string. Times and other modes are not part of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;

use super::cow::tree::{self, Entry, Skipped};
use super::effort::{self, Effort};
use super::sys::Kind;
use crate::digest::Digest;
use crate::host_places::HostPlaces;

/// How much of a directory is read for its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyLimits {
    /// Entries at any depth.
    pub entries: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Default for SurveyLimits {
    /// 20,000 entries and 256 MiB: well below a second, before and after a run.
    fn default() -> SurveyLimits {
        SurveyLimits {
            entries: 20_000,
            bytes: 256 << 20,
        }
    }
}

/// A directory has no digest.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum SurveyError {
    #[error("it has more than {max} entries")]
    Entries { max: usize },
    #[error("its files have more than {max} bytes")]
    Bytes { max: u64 },
    #[error("there is too much in it to be read")]
    TooMuch,
    #[error("a name in it is not UTF-8")]
    Name,
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The digest of everything in `dir`. Follows no link, opens regular files only, and blocks while it reads.
///
/// # Errors
/// There is more in it than `limits` or `effort` allow, or something cannot be read or named.
pub fn survey(
    dir: &File,
    limits: SurveyLimits,
    withheld: &HostPlaces,
    effort: &Effort,
) -> Result<Digest, SurveyError> {
    Ok(digest_of(&entries(dir, limits, withheld, effort)?))
}

/// The digest of a directory with these entries.
#[must_use]
pub fn digest_of(entries: &BTreeMap<String, String>) -> Digest {
    let mut text = String::new();
    for (path, line) in entries {
        let path = serde_json::Value::String(path.clone());
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{line} {path}");
    }
    Digest::of(text.as_bytes())
}

/// Everything in `dir` that is not withheld: `KIND DIGEST` by path.
///
/// # Errors
/// As [`survey`].
pub fn entries(
    dir: &File,
    limits: SurveyLimits,
    withheld: &HostPlaces,
    effort: &Effort,
) -> Result<BTreeMap<String, String>, SurveyError> {
    let mut lines = BTreeMap::new();
    let mut left = limits.bytes;
    let mut unnamed = false;
    tree::walk(
        dir,
        withheld,
        |entry| {
            if lines.len() == limits.entries {
                return Err(SurveyError::Entries {
                    max: limits.entries,
                });
            }
            if entry.found.kind() == Kind::File {
                left = left
                    .checked_sub(entry.found.size())
                    .ok_or(SurveyError::Bytes { max: limits.bytes })?;
            }
            // A name costs something, too.
            let line = match effort.take(entry.path.len() as u64) {
                true => describe(&entry, effort)?,
                false => None,
            };
            lines.insert(entry.path, line.ok_or(SurveyError::TooMuch)?);
            Ok(())
        },
        |_, why| unnamed |= why == Skipped::Unnamed,
    )?;
    if unnamed {
        return Err(SurveyError::Name);
    }
    Ok(lines)
}

/// Kind and digest of an entry; nothing when reading it is more than `effort` allows.
fn describe(entry: &Entry, effort: &Effort) -> io::Result<Option<String>> {
    let found = &entry.found;
    Ok(Some(match found.kind() {
        Kind::Dir => "dir -".to_owned(),
        Kind::Special => "other -".to_owned(),
        Kind::Symlink => format!("link {}", Digest::of(&found.target()?)),
        Kind::File => {
            let Some(digest) = effort::digest(found, effort)? else {
                return Ok(None);
            };
            let kind = if tree::is_executable(found) {
                "exec"
            } else {
                "file"
            };
            format!("{kind} {digest}")
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn digest(dir: &tempfile::TempDir) -> Digest {
        survey(
            &File::open(dir.path()).unwrap(),
            SurveyLimits::default(),
            &HostPlaces::default(),
            &Effort::unbounded(),
        )
        .unwrap()
    }

    fn lab() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("sub/b"), "22").unwrap();
        symlink("a", dir.path().join("link")).unwrap();
        dir
    }

    #[test]
    fn the_same_content_has_the_same_digest() {
        let lines = format!(
            "file {} \"a\"\nlink {} \"link\"\ndir - \"sub\"\nfile {} \"sub/b\"\n",
            Digest::of(b"1"),
            Digest::of(b"a"),
            Digest::of(b"22"),
        );
        assert_eq!(digest(&lab()), Digest::of(lines.as_bytes()));
    }

    #[test]
    fn every_difference_shows() {
        let base = digest(&lab());
        let change = |change: fn(&std::path::Path)| {
            let dir = lab();
            change(dir.path());
            assert_ne!(digest(&dir), base);
        };
        change(|dir| fs::write(dir.join("a"), "2").unwrap());
        change(|dir| fs::write(dir.join("new"), "").unwrap());
        change(|dir| fs::remove_file(dir.join("sub/b")).unwrap());
        change(|dir| fs::rename(dir.join("a"), dir.join("A")).unwrap());
        change(|dir| fs::create_dir(dir.join("sub/empty")).unwrap());
        change(|dir| {
            fs::remove_file(dir.join("link")).unwrap();
            symlink("sub", dir.join("link")).unwrap();
        });
        change(|dir| {
            fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        });
    }

    #[test]
    fn what_is_too_large_has_none_and_links_are_not_followed() {
        let dir = lab();
        let survey = |entries, bytes| {
            let dir = File::open(dir.path()).unwrap();
            let (none, effort) = (HostPlaces::default(), Effort::unbounded());
            survey(&dir, SurveyLimits { entries, bytes }, &none, &effort)
        };
        assert!(survey(4, 3).is_ok());
        assert!(matches!(survey(3, 3), Err(SurveyError::Entries { max: 3 })));
        assert!(matches!(survey(4, 2), Err(SurveyError::Bytes { max: 2 })));
        symlink("/", dir.path().join("root")).unwrap();
        assert!(survey(5, 3).is_ok());
    }
}
