//! Paths of grants, as text.

use std::path::Path;

/// What is at a path of the host today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A directory.
    Dir,
    /// A file.
    File,
    /// Nothing, or something else.
    Otherwise,
    /// The granted directory is not on this machine: nobody can tell.
    Elsewhere,
}

/// What is at `path` beneath the granted directory `host`. Links are not followed.
pub(super) fn look(host: &Path, path: &str) -> Looked {
    if !host.is_dir() {
        return Looked::Elsewhere;
    }
    match std::fs::symlink_metadata(host.join(path)) {
        Ok(metadata) if metadata.is_dir() => Looked::Dir,
        Ok(metadata) if metadata.is_file() => Looked::File,
        _ => Looked::Otherwise,
    }
}

/// The directory a path is in; that of a single name is empty.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// `path` beneath `dir`, both of the guest; `.` and nothing are the directory itself.
pub(super) fn join(dir: &str, path: &str) -> String {
    match path {
        "" | "." => dir.to_owned(),
        path => format!("{}/{path}", dir.trim_end_matches('/')),
    }
}

/// What is left of `path` beneath `dir`, where it is.
pub(super) fn beneath<'a>(dir: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(dir.trim_end_matches('/'))?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None => rest.is_empty().then_some(""),
    }
}
