//! Grants of single files: `HOST[::GUEST][:ro|:rw]`, where GUEST is the path of the file itself.
//!
//! The agent gets the directory the file is in, showing nothing but what was granted of it. So a file keeps
//! its name, and the files of one directory of the guest come from one directory of the host.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::dir::{Access, DEFAULT_GUEST, DirError, DirGrant, guest_path, is_pseudo, split};

/// A file grant as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// File of the host, as written.
    pub host: PathBuf,
    /// Path of the file in the guest, as written.
    pub guest: Option<String>,
    /// Reading, or reading and writing in place.
    pub access: Access,
}

/// A file grant that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGrant {
    /// The directory of the host the file is in, absolute and without links.
    pub host: PathBuf,
    /// Where the guest finds that directory.
    pub guest: String,
    /// Name of the file, the same in both.
    pub name: String,
    /// Reading, or reading and writing in place; never copy-on-write.
    pub access: Access,
}

impl FileGrant {
    /// Path of the file in the guest.
    #[must_use]
    pub fn guest_path(&self) -> String {
        format!("{}/{}", self.guest.trim_end_matches('/'), self.name)
    }

    /// Path of the file on the host.
    #[must_use]
    pub fn host_path(&self) -> PathBuf {
        self.host.join(&self.name)
    }
}

impl fmt::Display for FileGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, guest) = (self.host_path(), self.guest_path());
        write!(f, "{}::{guest}:{}", host.display(), self.access)
    }
}

impl FromStr for FileSpec {
    type Err = DirError;

    /// As directory grants are written, without `:cow`.
    fn from_str(spec: &str) -> Result<FileSpec, DirError> {
        let syntax = |reason| DirError::FileSyntax {
            spec: spec.to_owned(),
            reason,
        };
        let (host, guest, access) = split(spec).map_err(syntax)?;
        if access == Access::CopyOnWrite {
            return Err(syntax("a single file is granted `ro` or `rw`"));
        }
        Ok(FileSpec {
            host,
            guest,
            access,
        })
    }
}

impl FileSpec {
    /// The same grant with the host path relative to `base`.
    #[must_use]
    pub fn relative_to(mut self, base: &Path) -> FileSpec {
        self.host = base.join(&self.host);
        self
    }

    fn resolve(self) -> Result<FileGrant, DirError> {
        let unreadable = |source| DirError::FileUnreadable {
            host: self.host.clone(),
            source,
        };
        let host = self.host.canonicalize().map_err(unreadable)?;
        if is_pseudo(&host) {
            return Err(DirError::Pseudo { host });
        }
        let not_a_file = || DirError::NotAFile { host: host.clone() };
        // Looked at before it is opened: opening a FIFO would wait.
        if !host.metadata().map_err(unreadable)?.is_file() {
            return Err(not_a_file());
        }
        std::fs::File::open(&host).map_err(unreadable)?;
        let name = host.file_name().ok_or_else(not_a_file)?;
        let Some(name) = name.to_str().map(str::to_owned) else {
            return Err(DirError::FileSyntax {
                spec: host.display().to_string(),
                reason: "the name of the file is not UTF-8",
            });
        };
        let guest = match &self.guest {
            None => DEFAULT_GUEST.to_owned(),
            Some(path) => {
                let path = guest_path(path)?;
                match path.rsplit_once('/') {
                    Some((dir, last)) if last == name => guest_path(&format!("/{dir}"))?,
                    _ => return Err(DirError::OtherName { guest: path, name }),
                }
            }
        };
        let parent = host.parent().ok_or_else(not_a_file)?.to_owned();
        Ok(FileGrant {
            host: parent,
            guest,
            name,
            access: self.access,
        })
    }
}

/// Resolves file grants next to directory grants; sorted by their path in the guest.
///
/// # Errors
///
/// A file that is missing, unreadable or not a regular one, or that does not go with another grant.
pub fn resolve(
    specs: impl Iterator<Item = FileSpec>,
    dirs: &[DirGrant],
) -> Result<Vec<FileGrant>, DirError> {
    let mut files = specs
        .map(FileSpec::resolve)
        .collect::<Result<Vec<_>, _>>()?;
    files.sort_by(|a, b| (&a.guest, &a.name).cmp(&(&b.guest, &b.name)));
    let overlap = |first: String, second: String| Err(DirError::Overlap { first, second });
    let above = |a: &str, b: &str| Path::new(b).starts_with(a);
    for (index, file) in files.iter().enumerate() {
        for dir in dirs {
            if above(&dir.guest, &file.guest) || above(&file.guest, &dir.guest) {
                return overlap(dir.to_string(), file.to_string());
            }
        }
        for other in files.iter().skip(index + 1) {
            let (first, second) = (file.to_string(), other.to_string());
            if file.guest != other.guest {
                // Sorted: the other one cannot be above.
                if above(&file.guest, &other.guest) {
                    return overlap(first, second);
                }
            } else if file.name == other.name {
                return overlap(first, second);
            } else if file.host != other.host || file.access != other.access {
                return Err(DirError::Mixed { first, second });
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(specs: &[String], dirs: &[DirGrant]) -> Result<Vec<String>, DirError> {
        let specs = specs
            .iter()
            .map(|spec| spec.parse())
            .collect::<Result<Vec<FileSpec>, _>>()?;
        let files = resolve(specs.into_iter(), dirs)?;
        Ok(files.iter().map(FileGrant::guest_path).collect())
    }

    fn lab() -> (tempfile::TempDir, String) {
        let lab = tempfile::tempdir().unwrap();
        for name in ["a", "b", "sub/a"] {
            let path = lab.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let text = lab.path().to_str().unwrap().to_owned();
        (lab, text)
    }

    #[test]
    fn files_of_one_directory_share_it() {
        let (_lab, at) = lab();
        let files = [
            format!("{at}/b"),
            format!("{at}/a::/work/a"),
            format!("{at}/sub/a::/etc/x/a:rw"),
            format!("{at}/sub/a::/a"),
        ];
        assert_eq!(
            grants(&files[..3], &[]).unwrap(),
            ["/etc/x/a", "/work/a", "/work/b"]
        );
        assert_eq!(grants(&files[3..], &[]).unwrap(), ["/a"]);
        let error = grants(&files, &[]).unwrap_err();
        assert!(matches!(error, DirError::Overlap { .. }), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let (_lab, at) = lab();
        let dir = |guest: &str| DirGrant {
            host: PathBuf::from(&at),
            guest: guest.to_owned(),
            access: Access::ReadOnly,
        };
        for (dirs, specs) in [
            (vec![dir("/work")], vec![format!("{at}/a")]),
            (vec![dir("/")], vec![format!("{at}/a")]),
            (vec![dir("/x/y")], vec![format!("{at}/a::/x/a")]),
            (vec![], vec![format!("{at}/a"), format!("{at}/sub/a")]),
            (
                vec![],
                vec![format!("{at}/a::/x/a"), format!("{at}/b::/x/y/b")],
            ),
        ] {
            let error = grants(&specs, &dirs).unwrap_err();
            assert!(
                matches!(error, DirError::Overlap { .. }),
                "{specs:?}: {error}"
            );
        }
        for specs in [
            [format!("{at}/a:rw"), format!("{at}/b")],
            [format!("{at}/b"), format!("{at}/sub/a")],
        ] {
            let error = grants(&specs, &[]).unwrap_err();
            assert!(
                matches!(error, DirError::Mixed { .. }),
                "{specs:?}: {error}"
            );
        }
    }

    #[test]
    fn only_regular_files_under_their_own_name_are_granted() {
        let (_lab, at) = lab();
        for spec in [
            format!("{at}/sub"),
            format!("{at}/missing"),
            format!("{at}/a::/work/b"),
            format!("{at}/a::/work"),
            format!("{at}/a::/work/../a"),
            format!("{at}/a::a"),
            format!("{at}/a:cow"),
            "/proc/self/environ".to_owned(),
            "/dev/null".to_owned(),
            String::new(),
        ] {
            assert!(grants(std::slice::from_ref(&spec), &[]).is_err(), "{spec}");
        }
    }

    #[test]
    fn a_link_is_taken_for_what_it_leads_to() {
        let (lab, at) = lab();
        std::os::unix::fs::symlink("sub/a", lab.path().join("link")).unwrap();
        let spec: FileSpec = format!("{at}/link").parse().unwrap();
        let file = resolve([spec].into_iter(), &[]).unwrap().remove(0);
        assert_eq!(file.name, "a");
        assert!(file.host.ends_with("sub"));
    }
}
