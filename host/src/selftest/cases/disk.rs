//! Paths, read-only directories, special files, and how much may be put on disk.

use std::fs;

use super::super::case::{Case, Trying, Verdict, guest, host};
use super::super::evidence::Evidence;
use super::super::setup::{Dirs, Ending, Setup, Trace};
use super::super::stage::Stage;
use super::super::wall::Wall;
use super::super::world::walk;
use crate::grants::{Grants, GrantsFile};

const WORK: Setup = Setup::new(Dirs::Work);
const READ: Setup = Setup::new(Dirs::Read);
const DENIED: &[Trace] = &[Trace::Denied];

pub(super) const CASES: &[Case] = &[
    guest(
        "path-only-granted",
        Wall::Sound,
        "CWE-552",
        "Without a grant there is no directory at all.",
        Setup::new(Dirs::Nothing),
    ),
    guest(
        "path-parent",
        Wall::Beneath,
        "CWE-23",
        "`..` in any position does not lead out of a granted directory.",
        WORK.leaves(DENIED),
    ),
    guest(
        "path-absolute",
        Wall::Beneath,
        "CWE-36",
        "An absolute path is not one of the host's.",
        WORK.told_outside().leaves(DENIED),
    ),
    guest(
        "path-slashes",
        Wall::Beneath,
        "CWE-23",
        "Doubled slashes, `.` parts and trailing slashes do not hide a `..`.",
        WORK.leaves(DENIED),
    ),
    guest(
        "path-backslash",
        Wall::Sound,
        "CVE-2024-51745",
        "Backslashes, drives and devices of Windows are plain names.",
        WORK,
    ),
    guest(
        "path-percent",
        Wall::Sound,
        "CWE-177",
        "Percent-encoded paths are not decoded.",
        WORK,
    ),
    guest(
        "path-lookalike",
        Wall::Sound,
        "CWE-176",
        "Characters that look like dots and slashes are not taken for them.",
        WORK,
    ),
    guest(
        "path-nul",
        Wall::Sound,
        "CWE-158",
        "A zero byte does not cut a path short.",
        WORK,
    ),
    guest(
        "path-empty",
        Wall::Sound,
        "CWE-20",
        "Empty paths, `.` and `..` as last names are refused.",
        WORK,
    ),
    guest(
        "path-not-utf8",
        Wall::Wasmtime,
        "CWE-176",
        "A path that is not UTF-8, an overlong slash in it, ends the guest.",
        WORK.ends(Ending::Crashed),
    ),
    guest(
        "path-long",
        Wall::Sound,
        "CWE-400",
        "Names and paths of any length are refused, not failed on.",
        WORK,
    ),
    guest(
        "path-deep",
        Wall::Beneath,
        "CWE-23",
        "A tree deeper than any path is long has no way out at its bottom.",
        WORK,
    ),
    guest(
        "path-from-handle",
        Wall::Beneath,
        "CWE-23",
        "`..` does not lead out of a directory that was opened, even inside the grant.",
        WORK.leaves(DENIED),
    ),
    guest(
        "path-write-out",
        Wall::Beneath,
        "CWE-22",
        "Nothing is made, removed, moved or linked through a path that leads out.",
        WORK.leaves(DENIED),
    ),
    guest(
        "path-stat-out",
        Wall::Beneath,
        "CWE-203",
        "What lies outside cannot even be looked at, nor its times set.",
        WORK.leaves(DENIED),
    ),
    guest(
        "path-listing",
        Wall::Sound,
        "CWE-548",
        "A listing does not show what lies beside the directory.",
        WORK,
    ),
    guest(
        "readonly-truncate",
        Wall::ReadOnly,
        "GHSA-2r75-cxrj-cmph",
        "Truncating on open does not get past a read-only grant.",
        READ.leaves(DENIED),
    ),
    guest(
        "readonly-names",
        Wall::ReadOnly,
        "GHSA-4ch3-9j33-3pmj",
        "Nothing is made, removed, renamed or linked in a read-only directory.",
        READ.leaves(DENIED),
    ),
    guest(
        "readonly-content",
        Wall::ReadOnly,
        "CWE-732",
        "No write, resize or stream reaches a file of a read-only directory.",
        READ.leaves(DENIED),
    ),
    guest(
        "readonly-flags",
        Wall::ReadOnly,
        "CWE-732",
        "Asking for more rights on a subdirectory does not give them.",
        READ.leaves(DENIED),
    ),
    guest(
        "readonly-times",
        Wall::ReadOnly,
        "CWE-732",
        "Times of files in a read-only directory cannot be set.",
        READ.leaves(DENIED),
    ),
    guest(
        "special-fifo",
        Wall::Regular,
        "CWE-833",
        "A FIFO is refused before anybody waits for it.",
        WORK.leaves(DENIED),
    ),
    guest(
        "special-socket",
        Wall::Regular,
        "CWE-668",
        "A socket file is not opened.",
        WORK.leaves(DENIED),
    ),
    guest(
        "special-device",
        Wall::Regular,
        "CWE-67",
        "A device is not opened.",
        WORK.with_device().leaves(DENIED),
    ),
    guest(
        "special-times",
        Wall::Regular,
        "CWE-668",
        "A FIFO is neither touched nor linked.",
        WORK.leaves(DENIED),
    ),
    guest(
        "times-overflow",
        Wall::Sound,
        "GHSA-j2g9, GHSA-mr2v",
        "Times no clock has do not bring the host down.",
        WORK,
    ),
    host(
        "grant-pseudo",
        Wall::PseudoDirs,
        "CWE-497",
        "`/proc`, `/sys` and `/dev` cannot be granted.",
        pseudo,
    ),
    guest(
        "quota-disk",
        Wall::DiskBytes,
        "CWE-770",
        "Several files together do not pass the limit on bytes written.",
        WORK.limits(&[("disk-bytes", "256KiB")])
            .text("262144")
            .leaves(&[Trace::Limit("disk-bytes")])
            .check(at_most_262144_new_bytes),
    ),
    guest(
        "quota-append",
        Wall::DiskBytes,
        "CWE-770",
        "Appending through many streams does not pass the limit on bytes written.",
        WORK.limits(&[("disk-bytes", "256KiB")])
            .text("262144")
            .leaves(&[Trace::Limit("disk-bytes")])
            .check(at_most_262144_new_bytes),
    ),
    guest(
        "promised-bytes",
        Wall::Promised,
        "CWE-362",
        "Taking the size of a file away while writes are under way takes nothing off the count.",
        WORK.limits(&[("disk-bytes", "256KiB")]).text("262144"),
    ),
    guest(
        "listing-flood",
        Wall::ListingBytes,
        "CWE-770",
        "Listings that are held open are bounded in their sum, and refused with an error.",
        WORK.limits(&[("listing-bytes", "256KiB")])
            .text("262144")
            .leaves(&[Trace::Limit("listing-bytes")]),
    ),
    guest(
        "quota-unlinked",
        Wall::DiskBytes,
        "CWE-770",
        "Files that were removed while open still count.",
        WORK.limits(&[("disk-bytes", "256KiB")])
            .text("262144")
            .leaves(&[Trace::Limit("disk-bytes")]),
    ),
    guest(
        "quota-file",
        Wall::FileBytes,
        "CWE-770",
        "No file grows beyond its limit, not by a hole either.",
        WORK.limits(&[("file-bytes", "64KiB")])
            .text("65536")
            .leaves(&[Trace::Limit("file-bytes")]),
    ),
    guest(
        "quota-files",
        Wall::Files,
        "CWE-770",
        "Files, directories and links together do not pass their limit.",
        WORK.limits(&[("files", "20")])
            .text("20")
            .leaves(&[Trace::Limit("files")]),
    ),
    guest(
        "quota-handles",
        Wall::Handles,
        "GHSA-q554-3cjc-rx7p",
        "Open files are bounded, and refused with an error the guest can handle.",
        WORK.limits(&[("handles", "64")])
            .text("64")
            .leaves(&[Trace::Limit("handles")]),
    ),
    guest(
        "quota-streams",
        Wall::Handles,
        "GHSA-q554-3cjc-rx7p",
        "Streams on one file are bounded like files.",
        WORK.limits(&[("handles", "64")])
            .text("64")
            .leaves(&[Trace::Limit("handles")]),
    ),
    guest(
        "path-too-deep",
        Wall::Depth,
        "CWE-674",
        "No tree is made or moved together that is deeper than a path can name.",
        WORK.leaves(DENIED),
    ),
    guest(
        "files-observed",
        Wall::Observed,
        "CWE-778",
        "Every change of a directory is on record, that of a file left open too.",
        WORK.check(all_on_record),
    ),
];

/// What the run has added to `work` on disk, whatever its account says.
fn at_most_262144_new_bytes(evidence: &Evidence<'_>) -> Result<(), String> {
    let mut bytes = 0;
    let mut add = |path: &std::path::Path, kind: fs::FileType| {
        if kind.is_file() {
            bytes += fs::symlink_metadata(path)?.len();
        }
        Ok(())
    };
    walk(&evidence.world.path("work"), &mut add).map_err(|error| error.to_string())?;
    // What was there before is less than a kilobyte.
    if bytes <= 262_144 + 1024 {
        Ok(())
    } else {
        Err(format!("{bytes} bytes are on disk"))
    }
}

fn all_on_record(evidence: &Evidence<'_>) -> Result<(), String> {
    let recorded = |path: &str, change: &str| {
        evidence.audits().any(|audit| {
            audit["kind"] == "file_changed" && audit["path"] == path && audit["change"] == change
        })
    };
    for (path, change) in [
        ("/work/made.txt", "created"),
        ("/work/hello.txt", "modified"),
        ("/work/renamed.txt", "renamed"),
        ("/work/made", "dir-created"),
        ("/work/made-link", "symlink-created"),
        ("/work/gone.txt", "deleted"),
    ] {
        if !recorded(path, change) {
            return Err(format!("not on record: {path} {change}"));
        }
    }
    let content =
        fs::read(evidence.world.path("work/made.txt")).map_err(|error| error.to_string())?;
    let digest = crate::digest::Digest::of(&content).to_string();
    let told = evidence
        .outcome
        .files
        .iter()
        .find(|file| file.path == "/work/made.txt");
    match told.and_then(|file| file.after.as_deref()) {
        Some(after) if after == digest => Ok(()),
        other => Err(format!(
            "the outcome has {other:?} for a file of digest {digest}"
        )),
    }
}

fn pseudo(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let mut wrong = Vec::new();
        for dir in ["/proc", "/proc/self", "/sys", "/dev"] {
            let spec = format!("{dir}::/work:ro");
            let granted = spec
                .parse()
                .map_err(crate::grants::GrantError::from)
                .and_then(|spec| {
                    Grants::resolve(
                        GrantsFile {
                            dirs: vec![spec],
                            ..GrantsFile::default()
                        },
                        GrantsFile::default(),
                    )
                });
            if granted.is_ok() && std::path::Path::new(dir).exists() {
                wrong.push(format!("{dir} could be granted"));
            }
        }
        Verdict::of(wrong, "each was refused")
    })
}
