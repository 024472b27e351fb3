use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

struct Case {
    outer: TempDir,
}

impl Case {
    /// A directory with a bit of everything.
    fn new() -> Case {
        let outer = TempDir::new().unwrap();
        let case = Case { outer };
        for (path, content) in [
            ("a.txt", "one\ntwo\nthree\n".as_bytes()),
            ("gone.txt", b"gone\n"),
            ("d/kept.txt", b"kept\n"),
            ("d/e/deep.txt", b"deep\n"),
            ("bin", b"\0\x01\x02"),
            ("no-newline", b"x"),
            ("spa ce.txt", b"s\n"),
        ] {
            case.put("host", path, content);
        }
        fs::create_dir(case.path("host/empty")).unwrap();
        symlink("a.txt", case.path("host/link")).unwrap();
        symlink("/etc/passwd", case.path("host/out")).unwrap();
        case
    }

    fn path(&self, path: &str) -> PathBuf {
        self.outer.path().join(path)
    }

    fn put(&self, root: &str, path: &str, content: &[u8]) {
        let path = self.path(root).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn prepare(&self) -> Workspace {
        copy_of(&self.path("host"), &self.path("ws"), &CopyLimits::default()).unwrap()
    }

    /// Everything a run could do to the copy.
    fn change(&self) {
        let tree = self.path("ws/tree");
        self.put("ws/tree", "a.txt", b"one\n2\nthree\nfour");
        self.put(
            "ws/tree",
            "bin",
            &(0..=255).cycle().take(70_000).collect::<Vec<u8>>(),
        );
        self.put("ws/tree", "n\"e\nw.txt", b"new\n");
        self.put("ws/tree", "new/dir/file", b"f\n");
        self.put("ws/tree", "large", &vec![b'x'; 5 << 20]);
        fs::remove_file(tree.join("gone.txt")).unwrap();
        fs::remove_dir(tree.join("empty")).unwrap();
        fs::remove_dir_all(tree.join("d/e")).unwrap();
        fs::write(tree.join("d/e"), "now a file\n").unwrap();
        fs::remove_file(tree.join("link")).unwrap();
        symlink("d/kept.txt", tree.join("link")).unwrap();
        fs::set_permissions(tree.join("no-newline"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(tree.join("spa ce.txt"), tree.join("ü ber.txt")).unwrap();
    }

    /// What is in a directory, in words.
    fn list(&self, root: &str) -> Vec<String> {
        let mut list = Vec::new();
        let mut dirs = vec![self.path(root)];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                let name = path
                    .strip_prefix(self.path(root))
                    .unwrap()
                    .display()
                    .to_string();
                list.push(if meta.is_symlink() {
                    format!("{name} -> {}", fs::read_link(&path).unwrap().display())
                } else if meta.is_dir() {
                    dirs.push(path);
                    format!("{name}/")
                } else {
                    let mode = meta.permissions().mode() & 0o100;
                    format!(
                        "{name} {mode} {}",
                        crate::digest::Digest::of(&fs::read(&path).unwrap())
                    )
                });
            }
        }
        list.sort();
        list
    }
}

fn copy_of(host: &Path, dir: &Path, limits: &CopyLimits) -> Result<Workspace, CowError> {
    Workspace::prepare(host, dir, limits, &HostPlaces::default())
}

fn kinds(delta: &Delta) -> Vec<String> {
    let sign = |entry: &PathDelta| match (&entry.before, &entry.after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '!',
    };
    delta
        .paths
        .iter()
        .map(|entry| format!("{}{}", sign(entry), entry.path))
        .collect()
}

#[test]
fn a_copy_is_the_same_and_the_original_is_left_alone() {
    let case = Case::new();
    let before = case.list("host");
    let workspace = case.prepare();
    assert_eq!(case.list("ws/tree"), before);
    assert_eq!(workspace.delta().unwrap().paths, []);
    case.change();
    workspace.delta().unwrap();
    assert_eq!(case.list("host"), before);
}

#[test]
fn special_files_and_odd_names_are_left_out() {
    use std::os::unix::ffi::OsStrExt as _;
    let case = Case::new();
    let _socket = std::os::unix::net::UnixListener::bind(case.path("host/socket")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd");
    fs::write(case.path("host").join(odd), "x").unwrap();
    let workspace = case.prepare();
    assert_eq!(workspace.skipped(), ["od\u{fffd}d", "socket"]);
    assert!(workspace.delta().unwrap().paths.is_empty());
}

#[test]
fn a_directory_that_is_too_large_is_refused() {
    let case = Case::new();
    let try_with = |entries, bytes| {
        let limits = CopyLimits { entries, bytes };
        let result = copy_of(&case.path("host"), &case.path("ws"), &limits);
        fs::remove_dir_all(case.path("ws")).unwrap();
        result.map(drop)
    };
    assert!(matches!(
        try_with(5, 1000),
        Err(CowError::TooLarge {
            of: "entries",
            max: 5,
            ..
        })
    ));
    assert!(matches!(
        try_with(50, 10),
        Err(CowError::TooLarge {
            of: "bytes",
            max: 10,
            ..
        })
    ));
    assert!(try_with(50, 1000).is_ok());
}

#[test]
fn the_difference_is_what_was_changed() {
    let case = Case::new();
    case.prepare();
    case.change();
    // Written back as it was: no difference.
    case.put("ws/tree", "d/kept.txt", b"kept\n");
    let delta = Workspace::open(&case.path("ws")).unwrap().delta().unwrap();
    assert_eq!(
        kinds(&delta),
        [
            "!a.txt",
            "!bin",
            "!d/e",
            "-d/e/deep.txt",
            "-empty",
            "-gone.txt",
            "+large",
            "!link",
            "+n\"e\nw.txt",
            "+new",
            "+new/dir",
            "+new/dir/file",
            "!no-newline",
            "-spa ce.txt",
            "+ü ber.txt",
        ]
    );
}

#[test]
fn applying_makes_the_original_equal_to_the_copy() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    // What is beside the changed paths may have moved on.
    case.put("host", "d/kept.txt", b"theirs\n");
    case.put("host", "theirs.txt", b"theirs\n");
    let delta = workspace.delta().unwrap();
    workspace.apply(&delta).unwrap();
    case.put("ws/tree", "d/kept.txt", b"theirs\n");
    case.put("ws/tree", "theirs.txt", b"theirs\n");
    assert_eq!(case.list("host"), case.list("ws/tree"));
    // Once more changes nothing.
    workspace.apply(&delta).unwrap();
    assert_eq!(case.list("host"), case.list("ws/tree"));
    workspace.discard().unwrap();
    assert!(!case.path("ws").exists());
}

#[test]
fn nothing_is_applied_when_the_base_has_moved() {
    type Move = fn(&Case);
    let moves: [(&str, Move); 6] = [
        ("a.txt", |case| case.put("host", "a.txt", b"theirs\n")),
        ("gone.txt", |case| case.put("host", "gone.txt", b"theirs\n")),
        ("a.txt", |case| {
            fs::remove_file(case.path("host/a.txt")).unwrap();
        }),
        ("new", |case| {
            fs::write(case.path("host/new"), "theirs").unwrap();
        }),
        ("link", |case| {
            fs::remove_file(case.path("host/link")).unwrap();
            symlink("/etc", case.path("host/link")).unwrap();
        }),
        ("no-newline", |case| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(case.path("host/no-newline"), mode).unwrap();
            fs::write(case.path("host/no-newline"), "y").unwrap();
        }),
    ];
    for (path, somebody) in moves {
        for compared_before in [true, false] {
            let case = Case::new();
            let workspace = case.prepare();
            case.change();
            let early = compared_before.then(|| workspace.delta().unwrap());
            somebody(&case);
            let before = case.list("host");
            let delta = early.unwrap_or_else(|| workspace.delta().unwrap());
            let Err(CowError::Conflict { paths, .. }) = workspace.apply(&delta) else {
                panic!("{path} is in the way");
            };
            assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
            assert_eq!(case.list("host"), before);
        }
    }
}

#[test]
fn a_link_put_in_the_way_leads_nowhere() {
    let case = Case::new();
    let workspace = case.prepare();
    case.put("ws/tree", "d/kept.txt", b"changed\n");
    let delta = workspace.delta().unwrap();
    fs::rename(case.path("host/d"), case.path("elsewhere")).unwrap();
    symlink(case.path("elsewhere"), case.path("host/d")).unwrap();
    assert!(matches!(
        workspace.apply(&delta),
        Err(CowError::Conflict { .. })
    ));
    assert_eq!(
        fs::read(case.path("elsewhere/kept.txt")).unwrap(),
        b"kept\n"
    );
}

#[test]
fn what_was_not_reviewed_is_not_applied() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    let before = case.list("host");
    case.put("ws/tree", "a.txt", b"something else\n");
    assert!(matches!(
        workspace.apply(&delta),
        Err(CowError::Damaged { .. })
    ));
    assert_eq!(case.list("host"), before);
    case.put("ws/tree", ".wasm-agent-apply/x", b"");
    assert!(matches!(
        workspace.apply(&workspace.delta().unwrap()),
        Err(CowError::Protected { .. })
    ));
    assert_eq!(case.list("host"), before);
}

#[test]
fn what_no_guest_may_change_is_not_applied_and_not_put_back() {
    for (path, content) in [
        (".git/hooks/pre-commit", "#!/bin/sh\n"),
        (".envrc", "x"),
        ("deep/d/.wasm-agent-apply-0/plan.json", "{}"),
    ] {
        let case = Case::new();
        let workspace = case.prepare();
        case.put("ws/tree", path, content.as_bytes());
        let before = case.list("host");
        assert!(
            matches!(
                workspace.apply(&workspace.delta().unwrap()),
                Err(CowError::Protected { .. })
            ),
            "{path}"
        );
        assert_eq!(case.list("host"), before, "{path}");
    }
    // Somebody has changed one path that an agent may change, and one that it may not.
    let case = Case::new();
    let then = case.prepare();
    case.put("host", ".envrc", b"theirs");
    case.put("host", "a.txt", b"theirs");
    let now = copy_of(
        &case.path("host"),
        &case.path("now"),
        &CopyLimits::default(),
    );
    let delta = now.unwrap().turn_into(&then).unwrap();
    assert_eq!(kinds(&delta), ["!a.txt"]);
    assert_eq!(fs::read(case.path("host/.envrc")).unwrap(), b"theirs");
    assert_ne!(fs::read(case.path("host/a.txt")).unwrap(), b"theirs");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn permissions_are_kept() {
    let modes = [0o600, 0o640, 0o664, 0o666, 0o700, 0o750, 0o755, 0o4755];
    let case = Case::new();
    for mode in modes {
        let path = format!("m{mode:o}");
        case.put("host", &path, b"x");
        set_mode(&case.path("host").join(&path), mode);
    }
    set_mode(&case.path("host/gone.txt"), 0o600);
    let attribute = rustix::fs::setxattr(
        case.path("host/m600"),
        "user.origin",
        b"here",
        rustix::fs::XattrFlags::empty(),
    );
    let then = copy_of(
        &case.path("host"),
        &case.path("then"),
        &CopyLimits::default(),
    );
    let then = then.unwrap();
    let workspace = case.prepare();
    for mode in modes {
        case.put("ws/tree", &format!("m{mode:o}"), b"y");
    }
    fs::rename(case.path("ws/tree/gone.txt"), case.path("ws/tree/went.txt")).unwrap();
    workspace.apply(&workspace.delta().unwrap()).unwrap();
    for was in modes {
        let path = case.path("host").join(format!("m{was:o}"));
        assert_eq!(fs::read(&path).unwrap(), b"y");
        // What a program was trusted with is not for what replaces it.
        assert_eq!(mode(&path), was & 0o777, "{was:o}");
    }
    assert_eq!(mode(&case.path("host/went.txt")), 0o600);
    if attribute.is_ok() {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(case.path("host/m600"), "user.origin", &mut value);
        assert_eq!(length, Ok(4));
    }

    // Put back, also where it was deleted meanwhile.
    fs::remove_file(case.path("host/m640")).unwrap();
    let now = copy_of(
        &case.path("host"),
        &case.path("now"),
        &CopyLimits::default(),
    );
    now.unwrap().turn_into(&then).unwrap();
    for was in modes {
        let path = case.path("host").join(format!("m{was:o}"));
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(mode(&path), was & 0o777, "{was:o}");
    }
}

#[test]
fn names_of_one_file_stay_one_file_and_holes_stay_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let case = Case::new();
    let large = File::create(case.path("host/large")).unwrap();
    large.set_len(64 << 20).unwrap();
    let workspace = case
        .prepare()
        .bounded(&Protection::default(), Some(1 << 20))
        .unwrap();
    assert!(case.path("ws/tree/large").metadata().unwrap().blocks() < 1000);
    for n in 0..40 {
        let name = case.path("ws/tree").join(format!("again{n}"));
        fs::hard_link(case.path("ws/tree/large"), name).unwrap();
    }
    // A file that is renamed takes no room, however large it is.
    let other = File::create(case.path("ws/tree/other")).unwrap();
    other.set_len(1 << 19).unwrap();
    fs::hard_link(case.path("ws/tree/other"), case.path("ws/tree/another")).unwrap();
    workspace.apply(&workspace.delta().unwrap()).unwrap();
    let meta = |name: &str| case.path("host").join(name).metadata().unwrap();
    assert_eq!(meta("large").ino(), meta("again39").ino());
    assert_eq!(meta("other").ino(), meta("another").ino());
    assert!(meta("other").blocks() < 1000);

    let case = Case::new();
    let workspace = case
        .prepare()
        .bounded(&Protection::default(), Some(1 << 20))
        .unwrap();
    case.put("ws/tree", "new", &vec![1; (1 << 20) + 1]);
    let before = case.list("host");
    assert!(matches!(
        workspace.apply(&workspace.delta().unwrap()),
        Err(CowError::TooMuch { max: 0x10_0000, .. })
    ));
    assert_eq!(case.list("host"), before);
}

/// The stage of an attempt that was cut off.
fn stage_of(case: &Case) -> PathBuf {
    let entries = fs::read_dir(case.path("host")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let is_stage = |path: &PathBuf| path.to_string_lossy().contains(".wasm-agent-apply-");
    paths.find(is_stage).unwrap()
}

#[test]
fn a_stage_that_is_not_ours_is_neither_undone_nor_deleted() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    let tree = workspace.tree();
    let ws = case.path("ws");
    let attempt = Attempt::begin(&ws, &workspace.base, &tree, None).unwrap();
    attempt.cut_off_after(4, &delta);
    drop(attempt);
    let stage = stage_of(&case);
    assert_eq!(mode(&stage), 0o700);
    let aside = case.path("aside");
    fs::rename(&stage, &aside).unwrap();
    for folder in ["old", "new"] {
        fs::create_dir_all(stage.join(folder)).unwrap();
    }
    fs::write(stage.join("old/0"), "planted").unwrap();
    let before = case.list("host");
    assert!(matches!(
        workspace.apply(&delta),
        Err(CowError::Foreign { .. })
    ));
    assert_eq!(case.list("host"), before);
    // The one that was made is undone.
    fs::rename(&stage, case.path("planted")).unwrap();
    fs::rename(&aside, &stage).unwrap();
    workspace.apply(&delta).unwrap();
    assert_eq!(case.list("host"), case.list("ws/tree"));
}

#[test]
fn another_directory_in_the_place_of_the_granted_one_is_left_alone() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    let tree = workspace.tree();
    let ws = case.path("ws");
    let attempt = Attempt::begin(&ws, &workspace.base, &tree, None).unwrap();
    attempt.cut_off_after(4, &delta);
    drop(attempt);
    fs::rename(case.path("host"), case.path("aside")).unwrap();
    case.put("host", "a.txt", b"another\n");
    assert!(matches!(
        workspace.apply(&delta),
        Err(CowError::Elsewhere { .. })
    ));
    assert_eq!(fs::read_dir(case.path("host")).unwrap().count(), 1);
}

#[test]
fn an_attempt_that_was_cut_off_is_undone() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    let before = case.list("host");
    let tree = workspace.tree();
    // Undoes what is left of the one before.
    let ws = case.path("ws");
    let begin = || Attempt::begin(&ws, &workspace.base, &tree, None).unwrap();
    for moves in 0.. {
        let done = begin().cut_off_after(moves, &delta);
        drop(begin());
        if done < moves {
            assert!(moves > 10);
            break;
        }
        assert_eq!(case.list("host"), before, "after {moves} moves");
    }
    workspace.apply(&delta).unwrap();
    assert_eq!(case.list("host"), case.list("ws/tree"));
}

#[test]
fn a_directory_that_is_not_empty_is_not_taken() {
    use std::os::unix::ffi::OsStrExt as _;
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd");
    for early in [true, false] {
        let case = Case::new();
        // Left out of the copy, or made after it.
        let put = || {
            fs::write(case.path("host/empty").join(odd), "theirs").unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                case.path("host/d/e/fifo"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap();
        };
        early.then(put);
        let workspace = case.prepare();
        case.change();
        (!early).then(put);
        let Err(CowError::Conflict { paths, .. }) = workspace.apply(&workspace.delta().unwrap())
        else {
            panic!("something is in the way");
        };
        assert_eq!(paths, ["d/e/fifo", "empty/od\u{fffd}d"]);
        assert!(case.path("host/empty").join(odd).exists());
        assert!(case.path("host/d/e/fifo").exists());
        assert!(case.path("host/gone.txt").exists());
    }
}

#[test]
fn what_is_changed_between_the_look_and_the_move_is_not_lost() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    let (tree, ws) = (workspace.tree(), case.path("ws"));
    let attempt = Attempt::begin(&ws, &workspace.base, &tree, None).unwrap();
    attempt
        .raced(&delta, || {
            case.put("host", "gone.txt", b"theirs, just now\n");
        })
        .unwrap_err();
    drop(attempt);
    assert_eq!(
        fs::read(case.path("host/gone.txt")).unwrap(),
        b"theirs, just now\n"
    );
    assert_eq!(fs::read_dir(&ws).unwrap().count(), 3, "base, delta, tree");
    case.put("host", "gone.txt", b"gone\n");
    assert!(
        !case
            .list("host")
            .iter()
            .any(|path| path.contains("wasm-agent"))
    );
}

#[test]
fn what_was_changed_after_an_attempt_was_cut_off_is_neither_undone_nor_deleted() {
    type Change = fn(&Case);
    let changes: [(&str, Change); 4] = [
        ("a.txt", |case| case.put("host", "a.txt", b"edited\n")),
        ("a.txt", |case| {
            fs::remove_file(case.path("host/a.txt")).unwrap();
            case.put("host", "a.txt", b"replaced\n");
        }),
        ("new/dir", |case| {
            case.put("host", "new/dir/theirs", b"theirs\n");
        }),
        ("gone.txt", |case| case.put("host", "gone.txt", b"theirs\n")),
    ];
    for (path, change) in changes {
        let case = Case::new();
        let workspace = case.prepare();
        case.change();
        let delta = workspace.delta().unwrap();
        let (tree, ws) = (workspace.tree(), case.path("ws"));
        let attempt = Attempt::begin(&ws, &workspace.base, &tree, None).unwrap();
        let done = attempt.cut_off_after(usize::MAX, &delta);
        assert!(done > 10);
        drop(attempt);
        change(&case);
        let theirs = || fs::read(case.path("host").join(path)).ok();
        let before = theirs();
        let refused = workspace.apply(&delta);
        let Err(CowError::Foreign { path: named, .. }) = refused else {
            panic!("{path}: {refused:?}");
        };
        assert_eq!(named, case.path("host").canonicalize().unwrap().join(path));
        assert_eq!(theirs(), before);
        // Once it is out of the way, all of it is undone, and applied anew.
        match path {
            "new/dir" => fs::rename(case.path("host/new/dir/theirs"), case.path("theirs")).unwrap(),
            path => fs::rename(case.path("host").join(path), case.path("theirs")).unwrap(),
        }
        workspace.apply(&delta).unwrap();
        assert_eq!(case.list("host"), case.list("ws/tree"), "{path}");
    }
}

#[test]
fn a_link_in_the_place_of_the_directory_leads_nowhere() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    fs::rename(case.path("host"), case.path("elsewhere")).unwrap();
    symlink(case.path("elsewhere"), case.path("host")).unwrap();
    let before = case.list("elsewhere");
    let error = workspace.apply(&delta).unwrap_err();
    assert!(error.hint().unwrap().contains("link"), "{error}");
    assert_eq!(case.list("elsewhere"), before);
}

#[test]
fn discarding_undoes_what_was_cut_off() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    let delta = workspace.delta().unwrap();
    let before = case.list("host");
    let (tree, ws) = (workspace.tree(), case.path("ws"));
    let attempt = Attempt::begin(&ws, &workspace.base, &tree, None).unwrap();
    attempt.cut_off_after(7, &delta);
    drop(attempt);
    assert!(Workspace::is_cut_off(&ws));
    workspace.discard().unwrap();
    assert_eq!(case.list("host"), before);
    assert!(!ws.exists());
}

#[test]
fn directories_keep_their_permissions_when_they_move() {
    let case = Case::new();
    set_mode(&case.path("host/d"), 0o700);
    set_mode(&case.path("host/empty"), 0o2750);
    let then = copy_of(
        &case.path("host"),
        &case.path("then"),
        &CopyLimits::default(),
    );
    let then = then.unwrap();
    let workspace = case.prepare();
    fs::rename(case.path("ws/tree/d"), case.path("ws/tree/moved")).unwrap();
    fs::rename(case.path("ws/tree/empty"), case.path("ws/tree/e")).unwrap();
    workspace.apply(&workspace.delta().unwrap()).unwrap();
    assert_eq!(mode(&case.path("host/moved")), 0o700);
    assert_eq!(mode(&case.path("host/e")), 0o2750);
    let now = copy_of(
        &case.path("host"),
        &case.path("now"),
        &CopyLimits::default(),
    );
    now.unwrap().turn_into(&then).unwrap();
    assert_eq!(mode(&case.path("host/d")), 0o700);
    assert_eq!(mode(&case.path("host/empty")), 0o2750);
}

#[test]
fn what_goes_makes_room_for_what_comes() {
    let case = Case::new();
    case.put("host", "large", &vec![1; 1 << 20]);
    let workspace = case
        .prepare()
        .bounded(&Protection::default(), Some(1 << 10))
        .unwrap();
    // Renamed and changed: it is as large as it was.
    fs::rename(case.path("ws/tree/large"), case.path("ws/tree/moved")).unwrap();
    case.put("ws/tree", "moved", &vec![2; 1 << 20]);
    workspace.apply(&workspace.delta().unwrap()).unwrap();
    assert_eq!(
        fs::metadata(case.path("host/moved")).unwrap().len(),
        1 << 20
    );
}

#[test]
fn names_that_make_a_repository_together_are_not_applied_together() {
    let case = Case::new();
    let workspace = case.prepare();
    for name in ["d/objects/x", "d/refs/x", "d/config"] {
        case.put("ws/tree", name, b"x");
    }
    // Somebody else, or another run, brings what is missing.
    case.put("host", "d/HEAD", b"ref: refs/heads/main\n");
    assert!(matches!(
        workspace.apply(&workspace.delta().unwrap()),
        Err(CowError::Protected { .. })
    ));
}

#[test]
fn an_old_stage_is_told_of_and_left_alone() {
    let case = Case::new();
    let workspace = case.prepare();
    case.put("host", ".wasm-agent-apply/plan.json", b"{}");
    case.put("host", ".wasm-agent-apply-0123/old/0", b"x");
    case.change();
    let host = case.path("host").canonicalize().unwrap();
    assert_eq!(
        workspace.recover().unwrap(),
        [
            host.join(".wasm-agent-apply"),
            host.join(".wasm-agent-apply-0123")
        ]
    );
    workspace.apply(&workspace.delta().unwrap()).unwrap();
    assert!(host.join(".wasm-agent-apply/plan.json").exists());
    assert!(host.join(".wasm-agent-apply-0123/old/0").exists());
}

#[test]
fn new_files_are_made_as_their_directory_has_them_made() {
    let case = Case::new();
    set_mode(&case.path("host/d"), 0o2775);
    // Of another group, where this user may say so.
    let group = rustix::fs::Gid::from_raw(1234);
    let given = rustix::fs::chown(case.path("host/d"), None, Some(group)).is_ok();
    let workspace = case.prepare();
    case.put("ws/tree", "d/new", b"new");
    workspace.apply(&workspace.delta().unwrap()).unwrap();
    let plain = case.path("plain");
    fs::write(&plain, "").unwrap();
    assert_eq!(mode(&case.path("host/d/new")), mode(&plain));
    if given {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata(case.path("host/d/new")).unwrap();
        assert_eq!(meta.gid(), 1234);
    }
}

#[test]
fn a_patch_is_one_to_git() {
    let case = Case::new();
    let workspace = case.prepare();
    case.change();
    // Git knows no empty directories, and shows no large files here.
    fs::remove_file(case.path("ws/tree/large")).unwrap();
    let delta = workspace.delta().unwrap();
    let mut patch = Vec::new();
    workspace
        .patch(&delta, &Effort::unbounded(), &mut patch)
        .unwrap();
    let text = String::from_utf8(patch.clone()).unwrap();
    assert!(text.contains("-two\n+2\n"), "{text}");
    assert!(text.contains("\\ No newline at end of file"), "{text}");
    assert!(text.contains("old mode 100644\nnew mode 100755"), "{text}");
    let forged = text.lines().any(|line| line.starts_with("w.txt"));
    assert!(!forged, "{text}");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(case.path("host"))
            .args(args)
            .stdin(Stdio::piped());
        git.env("GIT_CEILING_DIRECTORIES", case.outer.path());
        git
    };
    if git(&["--version"]).stdout(Stdio::null()).status().is_err() {
        return;
    }
    let mut apply = git(&["apply", "-"]).spawn().unwrap();
    io::Write::write_all(&mut apply.stdin.take().unwrap(), &patch).unwrap();
    assert!(apply.wait().unwrap().success(), "{text}");
    fs::remove_dir(case.path("host/empty")).unwrap();
    assert_eq!(case.list("host"), case.list("ws/tree"));
}

#[test]
fn a_damaged_workspace_is_an_error() {
    let case = Case::new();
    case.prepare();
    for text in [
        "",
        "{}",
        "[",
        r#"{"version":2,"host":"/","nodes":{},"skipped":[]}"#,
    ] {
        fs::write(case.path("ws/base.json"), text).unwrap();
        assert!(
            matches!(
                Workspace::open(&case.path("ws")),
                Err(CowError::Damaged { .. })
            ),
            "{text}"
        );
    }
}

#[test]
fn what_is_too_much_to_read_is_listed_unread_and_not_applied() {
    let case = Case::new();
    let workspace = case.prepare();
    case.put("ws/tree", "a.txt", b"other\n");
    case.put("ws/tree", "large", &[7; 400 << 10]);
    let little = Effort::new(1 << 10, Duration::from_secs(60), Arc::default());
    let delta = workspace.delta_within(&little).unwrap();
    let paths: Vec<_> = delta.paths.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["a.txt", "large"]);
    assert_eq!(delta.unread, 1);
    let mut patch = Vec::new();
    workspace
        .patch(&delta, &Effort::unbounded(), &mut patch)
        .unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(patch.contains("+other"), "{patch}");
    assert!(patch.contains("# large was changed"), "{patch}");
    assert!(patch.contains("# 1 files were too much to read"), "{patch}");
    let error = workspace.apply(&delta).unwrap_err();
    assert!(matches!(error, CowError::Damaged { .. }), "{error}");
    // The operator's own time is not short.
    workspace.apply(&workspace.delta().unwrap()).unwrap();
}

#[test]
fn what_is_too_much_to_show_is_named() {
    let case = Case::new();
    let workspace = case.prepare();
    case.put("ws/tree", "a.txt", b"other\n");
    case.put("ws/tree", "large", "line\n".repeat(20_000).as_bytes());
    let delta = workspace.delta().unwrap();
    let little = Effort::new(1 << 10, Duration::from_secs(60), Arc::default());
    let mut patch = Vec::new();
    workspace.patch(&delta, &little, &mut patch).unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(patch.contains("+other"), "{patch}");
    assert!(
        patch.contains("# b/large is too large to be shown: 100000 bytes, sha256:"),
        "{patch}"
    );
}

#[test]
fn a_tree_deeper_than_any_path_is_walked() {
    let case = Case::new();
    let root = fs::File::open(case.path("host/d")).unwrap();
    let mut dir = root.try_clone().unwrap();
    let name = "n".repeat(100);
    for _ in 0..100 {
        rustix::fs::mkdirat(&dir, &name, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        let found = super::super::sys::find_plain(&dir, name.as_str()).unwrap();
        dir = found.handle().try_clone().unwrap();
    }
    let mut longest = 0;
    let each = |entry: tree::Entry| -> std::io::Result<()> {
        longest = longest.max(entry.path.len());
        Ok(())
    };
    tree::walk(&root, &HostPlaces::default(), each, |_, _| {}).unwrap();
    assert_eq!(longest, 100 * 101 - 1);
    super::super::remove::remove_tree(&case.path("host/d"), None).unwrap();
}
