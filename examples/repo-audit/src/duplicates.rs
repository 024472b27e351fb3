//! Files with the same content.

use std::io::Read;

use sha2::{Digest, Sha256};
use wasm_agent_sdk::Result;
use wasm_agent_sdk::tools::Workspace;

use crate::audit::SourceFile;
use crate::report::{Duplicate, Found};

/// Smaller files are alike by chance.
const MIN_BYTES: u64 = 64;
/// Paths of a group that are named.
const MAX_PATHS: usize = 20;

/// Finds groups of files with the same content, the most wasteful first. Only files that share their
/// length are read; `go_on` is asked before each of them.
pub fn find(
    work: &Workspace,
    files: &[SourceFile],
    mut go_on: impl FnMut() -> Result<bool>,
) -> Result<Found<Duplicate>> {
    let mut by_length: Vec<&SourceFile> = (files.iter())
        .filter(|file| file.bytes >= MIN_BYTES)
        .collect();
    by_length.sort_by(|a, b| a.bytes.cmp(&b.bytes).then_with(|| a.path.cmp(&b.path)));

    let mut groups: Vec<(String, Vec<&SourceFile>)> = Vec::new();
    'lengths: for alike in by_length.chunk_by(|a, b| a.bytes == b.bytes) {
        if alike.len() < 2 {
            continue;
        }
        let mut digests: Vec<(String, &SourceFile)> = Vec::with_capacity(alike.len());
        for file in alike {
            if !go_on()? {
                break 'lengths;
            }
            if let Some(digest) = digest(work, &file.path) {
                digests.push((digest, file));
            }
        }
        digests.sort_by(|(a, a_file), (b, b_file)| {
            a.cmp(b).then_with(|| a_file.path.cmp(&b_file.path))
        });
        for same in digests.chunk_by(|(a, _), (b, _)| a == b) {
            if let [(digest, _), _, ..] = same {
                let files = same.iter().map(|(_, file)| *file).collect();
                groups.push((digest.clone(), files));
            }
        }
    }

    let wasted = |files: &[&SourceFile]| -> u64 { files.iter().skip(1).map(|f| f.bytes).sum() };
    groups.sort_by(|(a, a_files), (b, b_files)| {
        wasted(b_files).cmp(&wasted(a_files)).then_with(|| a.cmp(b))
    });
    let mut found = Found::default();
    for (digest, files) in groups {
        found.push(|| Duplicate {
            digest: format!("sha256:{digest}"),
            bytes: files.first().map_or(0, |file| file.bytes),
            copies: files.len(),
            paths: (files.iter().take(MAX_PATHS))
                .map(|file| file.path.clone())
                .collect(),
        });
    }
    Ok(found)
}

/// The digest of a file, read a piece at a time; none when it cannot be read.
fn digest(work: &Workspace, path: &str) -> Option<String> {
    let mut file = work.file(path).ok()?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut piece).ok()?;
        if read == 0 {
            return Some(format!("{:x}", hash.finalize()));
        }
        hash.update(piece.get(..read)?);
    }
}
