//! Paths that are spelt to lead out.

use wasip2::filesystem::preopens::get_directories;

use crate::Case;
use crate::disk::{self, FOLLOW, KEEP, create, dir, open, open_dir, read};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("path-parent", parent),
    ("path-absolute", absolute),
    ("path-slashes", slashes),
    ("path-backslash", backslash),
    ("path-percent", percent),
    ("path-lookalike", lookalike),
    ("path-nul", nul),
    ("path-empty", empty),
    ("path-not-utf8", not_utf8),
    ("path-long", long),
    ("path-deep", deep),
    ("path-too-deep", too_deep),
    ("path-from-handle", from_handle),
    ("path-write-out", write_out),
    ("path-stat-out", stat_out),
    ("path-only-granted", only_granted),
    ("path-listing", listing),
    ("host-places", host_places),
];

fn all_refused(trial: &mut Trial, paths: &[&str]) {
    let work = dir("/work");
    for path in paths {
        trial.refused(path, read(&work, path));
        trial.refused(path, open_dir(&work, path));
    }
    trial.works("hello.txt", read(&work, "hello.txt"));
}

fn parent(trial: &mut Trial, _: &str) {
    all_refused(
        trial,
        &[
            "..",
            "../outside/secret.txt",
            "./../outside/secret.txt",
            "sub/../../outside/secret.txt",
            "sub/./../../outside/secret.txt",
            "sub/inner/../../../outside/secret.txt",
            "../../../../../../../../etc/passwd",
            "../work/../outside/secret.txt",
            "sub/..//../outside/secret.txt",
        ],
    );
}

fn absolute(trial: &mut Trial, outside: &str) {
    let secret = format!("{outside}/secret.txt");
    let doubled = format!("/{secret}");
    all_refused(
        trial,
        &[
            "/",
            "/etc/passwd",
            "//etc/passwd",
            "/work/hello.txt",
            &secret,
            &doubled,
            "/proc/self/environ",
        ],
    );
}

fn slashes(trial: &mut Trial, _: &str) {
    all_refused(
        trial,
        &[
            "..//outside//secret.txt",
            ".././/outside/./secret.txt",
            "sub//..//..//outside/secret.txt",
            "sub/inner//../..///../outside/secret.txt",
            "../",
            ".././",
            "./..//",
            "sub/../..",
            "../.",
        ],
    );
}

fn backslash(trial: &mut Trial, _: &str) {
    all_refused(
        trial,
        &[
            "..\\outside\\secret.txt",
            "sub\\..\\..\\outside\\secret.txt",
            "C:\\Windows\\win.ini",
            "\\\\?\\C:\\Windows\\win.ini",
            "\\\\.\\PhysicalDrive0",
            "..\\../outside/secret.txt",
            "hello.txt::$DATA",
        ],
    );
}

fn percent(trial: &mut Trial, _: &str) {
    all_refused(
        trial,
        &[
            "%2e%2e/outside/secret.txt",
            "%2e%2e%2foutside%2fsecret.txt",
            "..%2foutside%2fsecret.txt",
            "..%252foutside/secret.txt",
            "..%c0%afoutside/secret.txt",
            "%00/../outside/secret.txt",
            "file:///etc/passwd",
            "sub/..;/../outside/secret.txt",
        ],
    );
}

fn lookalike(trial: &mut Trial, _: &str) {
    all_refused(
        trial,
        &[
            "\u{ff0e}\u{ff0e}/outside/secret.txt",
            "\u{2024}\u{2024}/outside/secret.txt",
            "..\u{2215}outside\u{2215}secret.txt",
            "..\u{ff0f}outside\u{ff0f}secret.txt",
            "\u{2025}/outside/secret.txt",
            ".\u{200b}./outside/secret.txt",
            ".../outside/secret.txt",
            ".. /outside/secret.txt",
        ],
    );
}

fn nul(trial: &mut Trial, _: &str) {
    all_refused(
        trial,
        &[
            "hello.txt\0",
            "\0",
            "..\0/outside/secret.txt",
            "hello.txt\0/../../outside/secret.txt",
        ],
    );
    let work = dir("/work");
    trial.refused("create with NUL", create(&work, "made\0.txt"));
    trial.refused("link with NUL", work.symlink_at("sub\0../../outside", "l"));
    trial.refused(
        "rename with NUL",
        work.rename_at("hello.txt", &work, "x\0y"),
    );
    trial.refused("directory with NUL", work.create_directory_at("d\0"));
}

fn empty(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.refused("read ``", read(&work, ""));
    trial.refused("create ``", create(&work, ""));
    trial.refused("unlink `.`", work.unlink_file_at("."));
    trial.refused("rmdir `.`", work.remove_directory_at("."));
    trial.refused("rmdir ``", work.remove_directory_at(""));
    trial.refused("rename `.`", work.rename_at(".", &work, "sub/moved"));
    trial.refused("rename to `..`", work.rename_at("sub", &work, ".."));
    trial.works("hello.txt", read(&work, "hello.txt"));
}

/// Strings of the component model are UTF-8; the host has to find out itself that this one is not.
fn not_utf8(trial: &mut Trial, _: &str) {
    let bytes = b"..\xc0\xafoutside\xc0\xafsecret.txt";
    // SAFETY: not kept, and that is the point: nothing but the host's check stands between these bytes and
    // the disk. They are handed over as they are and never looked at here.
    let path = unsafe { std::str::from_utf8_unchecked(std::hint::black_box(bytes)) };
    trial.refused("overlong slash", read(&dir("/work"), path));
}

fn long(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let name = "n".repeat(300);
    let deep = "a/".repeat(4000);
    let climbing = "sub/../".repeat(2000) + "../outside/secret.txt";
    let huge = "x".repeat(1 << 20);
    for (what, path) in [
        ("name", &name),
        ("path", &deep),
        ("climbing path", &climbing),
        ("megabyte", &huge),
    ] {
        trial.refused(what, read(&work, path));
        trial.refused(what, create(&work, path));
        trial.refused(what, work.create_directory_at(path));
        trial.refused(what, work.rename_at("hello.txt", &work, path));
        trial.refused(what, work.stat_at(FOLLOW, path).map(drop));
    }
    trial.refused("target of a megabyte", work.symlink_at(&huge, "l"));
    trial.works("hello.txt", read(&work, "hello.txt"));
}

/// Trees that no path reaches the bottom of, made step by step and moved together.
fn too_deep(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let chain = |top: &str, name: &str, levels: usize| {
        let mut at = work
            .create_directory_at(top)
            .and_then(|()| open_dir(&work, top))?;
        for _ in 0..levels {
            at.create_directory_at(name)?;
            at = open_dir(&at, name)?;
        }
        Ok::<_, disk::ErrorCode>(at)
    };
    trial.refused("300 directories", chain("many", "d", 300).map(drop));
    let long = "l".repeat(200);
    trial.refused("6000 bytes", chain("long", &long, 30).map(drop));
    let bottom = trial.works("200 directories", chain("one", "d", 200));
    trial.works("100 others", chain("two", "d", 100));
    if let Some(bottom) = bottom {
        trial.refused("moved together", work.rename_at("two", &bottom, "two"));
        trial.works("a file at the bottom", disk::write(&bottom, "file", "x"));
    }
    let bottom = trial.works("a long path", chain("far", &long, 10));
    trial.works("another", chain("farther", &long, 10));
    if let Some(bottom) = bottom {
        trial.refused("moved together", work.rename_at("farther", &bottom, "it"));
    }
    trial.works("moved to the side", work.rename_at("two", &work, "three"));
}

/// A tree deeper than any path is long, and the way back out of it.
fn deep(trial: &mut Trial, _: &str) {
    let mut at = dir("/work");
    let name = "d".repeat(100);
    for _ in 0..60 {
        if at.create_directory_at(&name).is_err() {
            break;
        }
        match open_dir(&at, &name) {
            Ok(next) => at = next,
            Err(error) => {
                trial.saw(format!("{error:?}"));
                break;
            }
        }
    }
    // How deep it got is for the host to say: at one of these, the way up ends beside the bait.
    for climb in 1..=61 {
        let path = "../".repeat(climb) + "outside/secret.txt";
        trial.refused(&format!("{climb} up"), read(&at, &path));
    }
    let _ = disk::write(&at, "bottom.txt", "x");
}

fn from_handle(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let Some(sub) = trial.works("open sub", open_dir(&work, "sub")) else {
        return;
    };
    for path in [
        "..",
        "../hello.txt",
        "../../outside/secret.txt",
        "inner/../../hello.txt",
        "./../..",
    ] {
        trial.refused(path, read(&sub, path));
        trial.refused(path, open_dir(&sub, path));
    }
    trial.works("inner/inner.txt", read(&sub, "inner/inner.txt"));
}

fn write_out(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.refused("create", create(&work, "../outside/new.txt"));
    trial.refused("overwrite", create(&work, "sub/../../outside/kept.txt"));
    trial.refused("mkdir", work.create_directory_at("../outside/new"));
    trial.refused("unlink", work.unlink_file_at("../outside/kept.txt"));
    trial.refused("rmdir", work.remove_directory_at("../outside/empty"));
    trial.refused("symlink", work.symlink_at("hello.txt", "../outside/link"));
    trial.refused(
        "rename out",
        work.rename_at("hello.txt", &work, "../outside/hello.txt"),
    );
    trial.refused(
        "rename in",
        work.rename_at("../outside/kept.txt", &work, "mine.txt"),
    );
    trial.refused(
        "link out",
        work.link_at(KEEP, "hello.txt", &work, "../outside/hello.txt"),
    );
    trial.refused(
        "link in",
        work.link_at(KEEP, "../outside/kept.txt", &work, "mine.txt"),
    );
    trial.works("inside", disk::write(&work, "made.txt", "x"));
}

fn stat_out(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        "..",
        "../outside",
        "../outside/secret.txt",
        "link-file",
        "link-dir/secret.txt",
        "link-absolute",
    ] {
        trial.refused(path, work.stat_at(FOLLOW, path).map(drop));
        trial.refused(path, work.metadata_hash_at(FOLLOW, path).map(drop));
        let now = disk::NewTimestamp::Now;
        trial.refused(path, work.set_times_at(FOLLOW, path, now, now));
    }
    trial.refused("readlink", work.readlink_at("../outside/link"));
    trial.works("hello.txt", work.stat_at(FOLLOW, "hello.txt").map(drop));
}

fn only_granted(trial: &mut Trial, _: &str) {
    let directories = get_directories();
    trial.holds("nothing is preopened", directories.is_empty());
    trial.refused("std reads /etc/passwd", std::fs::read("/etc/passwd"));
    trial.refused("std lists /", std::fs::read_dir("/").map(drop));
    trial.refused("std writes", std::fs::write("/tmp/x", "x"));
    trial.refused("std reads .", std::fs::read_dir(".").map(drop));
}

/// What lies beside the granted directory is not listed.
/// The host says that `sub/inner` is its own, and that `later` will be.
fn host_places(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        "sub/inner",
        "sub/inner/inner.txt",
        "sub/../sub/./inner/inner.txt",
    ] {
        trial.refused(path, work.stat_at(FOLLOW, path));
        trial.refused(path, read(&work, path));
        trial.refused(path, open_dir(&work, path));
        trial.refused(path, disk::write(&work, path, "mine"));
        trial.refused(path, work.unlink_file_at(path));
        trial.refused(path, work.rename_at(path, &work, "taken"));
        trial.refused(path, work.link_at(KEEP, path, &work, "taken"));
    }
    trial.refused("a link to it", {
        let _ = work.symlink_at("sub/inner", "to-inner");
        read(&work, "to-inner/inner.txt")
    });
    trial.refused("new in it", create(&work, "sub/inner/new"));
    trial.refused("what lies above it", work.rename_at("sub", &work, "moved"));
    for path in ["later", "LATER", "later/key"] {
        trial.refused(path, create(&work, path));
        trial.refused(path, work.create_directory_at(path));
        trial.refused(path, work.symlink_at("hello.txt", path));
        trial.refused(path, work.rename_at("gone.txt", &work, path));
    }
    if let Some(sub) = trial.works("sub", open_dir(&work, "sub"))
        && let Some(entries) = trial.works("listing", sub.read_directory())
    {
        while let Ok(Some(entry)) = entries.read_directory_entry() {
            trial.holds("it is not listed", entry.name != "inner");
        }
        trial.refused("from its directory", read(&sub, "inner/inner.txt"));
    }
    trial.works("hello.txt", read(&work, "hello.txt"));
}

fn listing(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let Some(entries) = trial.works("listing", work.read_directory()) else {
        return;
    };
    let mut names = Vec::new();
    while let Ok(Some(entry)) = entries.read_directory_entry() {
        names.push(entry.name);
    }
    trial.holds(
        "hello.txt is listed",
        names.iter().any(|name| name == "hello.txt"),
    );
    for name in ["..", ".", "outside", "secret.txt"] {
        trial.holds(
            &format!("`{name}` is not listed"),
            !names.iter().any(|listed| listed == name),
        );
    }
    let _ = open(&work, ".");
}
