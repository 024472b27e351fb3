//! Single files: what lies beside them is not granted.

use std::fs;

use super::super::case::{Case, guest};
use super::super::evidence::Evidence;
use super::super::setup::{Dirs, Setup, Trace};
use super::super::wall::Wall;

const FILE: Setup = Setup::new(Dirs::File).leaves(&[Trace::Denied]);

pub(super) const CASES: &[Case] = &[
    guest(
        "file-sibling",
        Wall::SingleFiles,
        "CWE-552",
        "Nothing beside a granted file can be read, listed or looked at.",
        FILE.check(only_the_file),
    ),
    guest(
        "file-names",
        Wall::SingleFiles,
        "CWE-732",
        "Nothing can be made, removed, renamed or linked beside it, nor the file itself.",
        FILE.check(only_the_file),
    ),
];

/// Nothing but the content of the granted file is different.
fn only_the_file(evidence: &Evidence<'_>) -> Result<(), String> {
    let changes = evidence
        .world
        .work_changes()
        .map_err(|error| error.to_string())?;
    if let Some(change) = changes.iter().find(|what| *what != "hello.txt has changed") {
        return Err(format!("beside the granted file: {change}"));
    }
    match fs::symlink_metadata(evidence.world.path("work/hello.txt")) {
        Ok(meta) if meta.is_file() => Ok(()),
        other => Err(format!("the granted file is {other:?}")),
    }
}
