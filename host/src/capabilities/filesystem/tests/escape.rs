//! Ways out of a granted directory.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode};
use wasmtime_wasi::p2::bindings::filesystem::types::HostDirectoryEntryStream;

use super::*;

fn mkfifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[tokio::test]
async fn paths_that_leave_the_directory_are_denied_and_told() {
    let setup = Setup::new().file("sub/a", "a");
    symlink("../secret", setup.work().join("up")).unwrap();
    symlink(setup.outer.path().join("secret"), setup.work().join("abs")).unwrap();
    symlink(setup.work().join("sub/a"), setup.work().join("abs-inside")).unwrap();
    symlink("..", setup.work().join("updir")).unwrap();
    let mut guest = setup.start();
    for path in [
        "../secret",
        "sub/../../secret",
        "/etc/passwd",
        "/",
        "..",
        "up",
        "abs",
        "abs-inside",
        "updir/secret",
        "updir/",
        "./../secret",
        "sub/../..//secret",
    ] {
        for (open, flags) in [
            (none(), R),
            (none(), W),
            (CREATE, W),
            (OpenFlags::DIRECTORY, R),
        ] {
            let got = guest.open(path, open, flags).await.map(drop);
            assert_eq!(got, Err(ErrorCode::NotPermitted), "{path} {open:?}");
            assert!(guest.last_rule().contains("leads out"), "{path}");
        }
    }
    for path in ["../x", "updir/x", "/x", "sub/../../x"] {
        let escape = Err(ErrorCode::NotPermitted);
        assert_eq!(guest.mkdir(path).await, escape, "{path}");
        assert_eq!(guest.rmdir(path).await, escape, "{path}");
        assert_eq!(guest.unlink(path).await, escape, "{path}");
        assert_eq!(guest.rename("sub/a", path).await, escape, "{path}");
        assert_eq!(guest.rename(path, "y").await, escape, "{path}");
        assert_eq!(guest.symlink("a", path).await, escape, "{path}");
        assert_eq!(guest.link("sub/a", path).await, escape, "{path}");
        assert_eq!(guest.touch(path, FOLLOW).await, escape, "{path}");
        assert_eq!(guest.denials().len(), 8, "{path}");
    }
    assert_eq!(
        guest.link("../secret", "s").await,
        Err(ErrorCode::NotPermitted)
    );
    let dir = guest.dir(0);
    let stat = guest
        .filesystem()
        .stat_at(dir, FOLLOW, "up".to_owned())
        .await;
    assert_eq!(code(stat).map(drop), Err(ErrorCode::NotPermitted));
    assert!(guest.last_rule().contains("leads out"));
    assert!(!guest.outer.path().join("x").exists());
}

#[tokio::test]
async fn a_directory_below_is_no_way_up() {
    let mut guest = Setup::new().file("sub/a", "a").file("b", "b").start();
    let sub = guest.open("sub", OpenFlags::DIRECTORY, R).await.unwrap();
    let got = guest.open_in(&sub, "../b", none(), R).await.map(drop);
    assert_eq!(got, Err(ErrorCode::NotPermitted));
    assert!(guest.open_in(&sub, "../sub/a", none(), R).await.is_err());
    assert!(guest.open_in(&sub, "a", none(), R).await.is_ok());
}

#[tokio::test]
async fn odd_paths_are_errors() {
    let mut guest = Setup::new().file("a", "a").start();
    let long = "x".repeat(300);
    let longer = "x/".repeat(3000);
    for (path, want) in [
        ("", ErrorCode::NoEntry),
        ("a\0b", ErrorCode::Invalid),
        (long.as_str(), ErrorCode::NameTooLong),
        (longer.as_str(), ErrorCode::NameTooLong),
        ("a/", ErrorCode::NotDirectory),
        ("a/.", ErrorCode::NotDirectory),
        ("new/", ErrorCode::IsDirectory),
        (".", ErrorCode::IsDirectory),
    ] {
        let got = guest.open(path, CREATE, W).await.map(drop);
        assert_eq!(got, Err(want), "{path:?}");
    }
    assert_eq!(guest.mkdir(".").await, Err(ErrorCode::Exist));
    assert_eq!(guest.mkdir("").await, Err(ErrorCode::NoEntry));
    assert_eq!(guest.rmdir(".").await, Err(ErrorCode::Invalid));
    assert_eq!(guest.unlink("a/").await, Err(ErrorCode::NotDirectory));
    assert_eq!(guest.unlink("a/.").await, Err(ErrorCode::NotDirectory));
    assert_eq!(guest.rename("a/", "b").await, Err(ErrorCode::NotDirectory));
    assert_eq!(guest.rename("a", "b/").await, Err(ErrorCode::NotDirectory));
    assert_eq!(guest.mkdir("d/").await, Ok(()));
    assert_eq!(guest.rename("d/", "e/").await, Ok(()));
    assert_eq!(guest.unlink("e").await, Err(ErrorCode::IsDirectory));
    assert_eq!(guest.rmdir("e").await, Ok(()));
    assert!(guest.changes().is_empty(), "{:?}", guest.changes());
}

#[tokio::test]
async fn only_files_and_directories_are_opened() {
    let setup = Setup::new();
    mkfifo(&setup.work().join("fifo"));
    symlink("fifo", setup.work().join("to-fifo")).unwrap();
    let _socket = UnixListener::bind(setup.work().join("socket")).unwrap();
    let mut guest = setup.start();
    // A FIFO opened for reading, nobody writing, would hold its thread for ever.
    for path in ["fifo", "to-fifo", "socket"] {
        for (open, flags) in [
            (none(), R),
            (none(), W),
            (none(), R | W),
            (CREATE | OpenFlags::TRUNCATE, W),
        ] {
            let got = guest.open(path, open, flags).await.map(drop);
            assert_eq!(got, Err(ErrorCode::NotPermitted), "{path}");
            assert!(guest.last_rule().contains("regular files"), "{path}");
        }
    }
    assert_eq!(
        guest.link("fifo", "fifo2").await,
        Err(ErrorCode::NotPermitted)
    );
    assert_eq!(
        guest.touch("fifo", keep()).await,
        Err(ErrorCode::NotPermitted)
    );
    assert_eq!(guest.unlink("fifo").await, Ok(()));
}

#[tokio::test]
async fn devices_and_the_host_itself_are_not_files() {
    let setup = Setup::new();
    let protection = Protection::default();
    let mount = Mount {
        host: "/".into(),
        guest: "/".to_owned(),
        access: Access::ReadOnly,
        extent: Extent::Whole,
    };
    let seen = Arc::new(Seen::default());
    let fs = Filesystem::new(&[mount], setup.limits, &protection, seen.clone()).unwrap();
    let mut guest = Guest {
        fs,
        table: ResourceTable::new(),
        seen,
        outer: setup.outer,
    };
    for path in [
        "dev/null",
        "dev/zero",
        "proc/self/cmdline",
        "proc/version",
        "sys/kernel",
        "proc/1/root/etc/passwd",
    ] {
        let got = guest.open(path, none(), R).await.map(drop);
        assert!(got.is_err(), "{path}: {got:?}");
    }
    assert!(guest.open("etc/passwd", none(), R).await.is_ok());
}

#[tokio::test]
async fn links_that_lead_out_are_not_made() {
    let mut guest = Setup::new().file("a/b/c", "c").start();
    for target in [
        "../secret",
        "/etc/passwd",
        "../work/a",
        "a/../../secret",
        "a/../a",
    ] {
        assert_eq!(
            guest.symlink(target, "l").await,
            Err(ErrorCode::NotPermitted),
            "{target}"
        );
        assert!(guest.last_rule().contains("symbolic link"), "{target}");
    }
    assert_eq!(
        guest.symlink("../../../x", "a/b/l").await,
        Err(ErrorCode::NotPermitted)
    );
    assert_eq!(guest.symlink("../../x", "a/b/l").await, Ok(()));
    // Reached through another link, the depth is that of the place.
    assert_eq!(guest.symlink("a/b", "deep").await, Ok(()));
    assert_eq!(guest.symlink("../../x", "deep/l2").await, Ok(()));
    assert_eq!(guest.symlink("..", "a/b/../l3").await, Ok(()));
    assert_eq!(
        guest.symlink("../..", "a/b/../l4").await,
        Err(ErrorCode::NotPermitted)
    );
}

#[tokio::test]
async fn links_are_not_moved_to_where_they_lead_out() {
    let mut guest = Setup::new().file("a/b/c", "c").start();
    guest.symlink("../../x", "a/b/l").await.unwrap();
    let refused = Err(ErrorCode::NotPermitted);
    assert_eq!(guest.rename("a/b/l", "l").await, refused);
    assert_eq!(guest.rename("a/b/l", "a/l").await, refused);
    // Nor with the directory they are in.
    assert_eq!(guest.rename("a/b", "b").await, refused);
    assert!(
        guest.last_rule().contains("`./l` in it"),
        "the link is named"
    );
    assert_eq!(guest.rename("a", "z").await, Ok(()));
    assert_eq!(guest.link("z/b/l", "hard").await, refused);
    assert_eq!(guest.unlink("z/b/l").await, Ok(()));
    assert_eq!(guest.rename("z/b", "b").await, Ok(()));
}

#[tokio::test]
async fn nothing_is_created_through_a_link_to_nothing() {
    let mut guest = Setup::new().start();
    guest.symlink("b", "a").await.unwrap();
    let got = guest.open("a", CREATE, W).await.map(drop);
    assert_eq!(got, Err(ErrorCode::NoEntry));
    assert!(!guest.host("b").exists());
    let dir = guest.dir(0);
    let got = guest
        .open_with(&dir, keep(), "a", CREATE, W)
        .await
        .map(drop);
    assert_eq!(got, Err(ErrorCode::Loop));
}

#[tokio::test]
async fn reading_is_all_a_read_only_directory_allows() {
    let mut setup = Setup::new().file("a", "a").file("d/x", "x");
    setup.access = Access::ReadOnly;
    let mut guest = setup.start();
    let read_only = Err(ErrorCode::ReadOnly);
    for (path, open, flags) in [
        ("a", none(), W),
        ("a", none(), R | W),
        ("a", OpenFlags::TRUNCATE, R),
        ("a", CREATE, R),
        ("new", CREATE, W),
        ("new", CREATE | OpenFlags::EXCLUSIVE, R),
    ] {
        let got = guest.open(path, open, flags).await.map(drop);
        assert_eq!(got, Err(ErrorCode::ReadOnly), "{path} {open:?}");
        assert!(guest.last_rule().contains("read-only"));
    }
    assert_eq!(guest.mkdir("n").await, read_only);
    assert_eq!(guest.rmdir("d").await, read_only);
    assert_eq!(guest.unlink("a").await, read_only);
    assert_eq!(guest.rename("a", "b").await, read_only);
    assert_eq!(guest.symlink("a", "l").await, read_only);
    assert_eq!(guest.link("a", "l").await, read_only);
    assert_eq!(guest.touch("a", FOLLOW).await, read_only);
    assert_eq!(guest.denials().len(), 7);
    let fd = guest.open("a", none(), R).await.unwrap();
    let again = || Resource::new_borrow(fd.rep());
    assert_eq!(
        code(guest.filesystem().set_size(again(), 0).await),
        Err(ErrorCode::NotPermitted)
    );
    assert_eq!(
        guest.write_fd(&fd, b"x", 0).await,
        Err(ErrorCode::NotPermitted)
    );
    assert!(code(guest.filesystem().write_via_stream(again(), 0)).is_err());
    assert!(code(guest.filesystem().append_via_stream(again())).is_err());
    use wasmtime_wasi::p2::bindings::filesystem::types::NewTimestamp::Now;
    assert_eq!(
        code(guest.filesystem().set_times(again(), Now, Now).await),
        read_only
    );
    assert_eq!(guest.read("a").await.unwrap(), "a");
    assert_eq!(guest.read_host("a"), "a");
    assert!(guest.changes().is_empty());
}

#[tokio::test]
async fn what_is_told_of_a_denial_is_bounded() {
    let mut setup = Setup::new();
    setup.access = Access::ReadOnly;
    let mut guest = setup.start();
    let path = "ä/".repeat(1 << 20);
    assert_eq!(guest.mkdir(&path).await, Err(ErrorCode::ReadOnly));
    assert!(guest.denials().remove(0).path.len() < 5000);
}

#[tokio::test]
async fn what_was_opened_for_reading_is_not_written() {
    let mut guest = Setup::new().file("a", "a").start();
    let fd = guest.open("a", none(), R).await.unwrap();
    assert_eq!(
        guest.write_fd(&fd, b"x", 0).await,
        Err(ErrorCode::NotPermitted)
    );
    let again = Resource::new_borrow(fd.rep());
    assert!(code(guest.filesystem().write_via_stream(again, 0)).is_err());
    assert_eq!(guest.read_host("a"), "a");
}

#[tokio::test]
async fn granted_directories_are_separate_devices() {
    let mut guest = Setup::new()
        .file("a", "a")
        .mount("other", Access::ReadWrite)
        .start();
    let (work, other) = (guest.dir(0), guest.dir(1));
    let got = guest
        .filesystem()
        .rename_at(work, "a".to_owned(), other, "a".to_owned())
        .await;
    assert_eq!(code(got), Err(ErrorCode::CrossDevice));
    let (work, other) = (guest.dir(0), guest.dir(1));
    let got = guest
        .filesystem()
        .link_at(work, keep(), "a".to_owned(), other, "a".to_owned())
        .await;
    assert_eq!(code(got), Err(ErrorCode::CrossDevice));
}

#[tokio::test]
async fn files_with_names_elsewhere_are_not_written_in_place() {
    let setup = Setup::new();
    hard_link(
        &setup.outer.path().join("secret"),
        &setup.work().join("hard"),
    );
    let mut guest = setup.start();
    let refused = Err(ErrorCode::Access);
    assert_eq!(
        guest.open("hard", none(), W).await.map(drop),
        Err(ErrorCode::Access)
    );
    assert!(guest.last_rule().contains("hard links"));
    assert_eq!(
        guest.open("hard", OpenFlags::TRUNCATE, R).await.map(drop),
        Err(ErrorCode::Access)
    );
    // Another name does not make it ours.
    assert_eq!(guest.link("hard", "mine").await, refused);
    assert_eq!(guest.touch("hard", FOLLOW).await, refused);
    assert_eq!(
        fs::read_to_string(guest.outer.path().join("secret")).unwrap(),
        "secret"
    );
    // It can be replaced, and names of the run's own making are no hindrance.
    guest.write("copy", "new").await.unwrap();
    assert_eq!(guest.rename("copy", "hard").await, Ok(()));
    assert_eq!(guest.link("hard", "hard2").await, Ok(()));
    assert_eq!(guest.write("hard2", "newer").await, Ok(()));
    assert_eq!(guest.read_host("hard"), "newer");
    assert_eq!(
        fs::read_to_string(guest.outer.path().join("secret")).unwrap(),
        "secret"
    );
}

#[tokio::test]
async fn what_is_moved_out_while_open_is_out_of_reach() {
    let mut guest = Setup::new().file("d/a", "a").start();
    let dir = guest.open("d", OpenFlags::DIRECTORY, R).await.unwrap();
    let outside = guest.outer.path().join("moved");
    fs::rename(guest.host("d"), &outside).unwrap();
    let got = guest.open_in(&dir, "new", CREATE, W).await.map(drop);
    assert_eq!(got, Err(ErrorCode::NotPermitted));
    assert!(!outside.join("new").exists());
}

#[tokio::test]
async fn a_link_swapped_in_by_somebody_else_leads_nowhere() {
    let setup = Setup::new().file("d/a", "inside");
    let (work, stop) = (
        setup.work(),
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    fs::write(setup.outer.path().join("a"), "outside").unwrap();
    let mut guest = setup.start();
    let racer = std::thread::spawn({
        let stop = stop.clone();
        move || {
            symlink("..", work.join("link")).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, work.join("d"), CWD, work.join("link"), flags)
                    .unwrap();
            }
        }
    });
    for _ in 0..400 {
        if let Ok(content) = guest.read("d/a").await {
            assert_eq!(content, "inside");
        }
        let _ = guest.write("d/a", "inside").await;
        let _ = guest.write("d/b", "inside").await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    racer.join().unwrap();
    assert_eq!(
        fs::read_to_string(guest.outer.path().join("a")).unwrap(),
        "outside"
    );
    assert!(!guest.outer.path().join("b").exists());
}

#[tokio::test]
async fn listings_are_sorted_and_name_what_is_there() {
    let setup = Setup::new().file("b", "").file("a/x", "").file("c", "");
    mkfifo(&setup.work().join("fifo"));
    let mut guest = setup.start();
    let dir = guest.dir(0);
    let list = code(guest.filesystem().read_directory(dir).await).unwrap();
    let mut names = Vec::new();
    loop {
        let list = Resource::new_borrow(list.rep());
        match code(guest.filesystem().read_directory_entry(list).await).unwrap() {
            Some(entry) => names.push(format!("{} {:?}", entry.name, entry.type_)),
            None => break,
        }
    }
    HostDirectoryEntryStream::drop(&mut guest.filesystem(), list).unwrap();
    assert_eq!(
        names,
        [
            "a DescriptorType::Directory",
            "b DescriptorType::RegularFile",
            "c DescriptorType::RegularFile",
            "fifo DescriptorType::Fifo",
        ]
    );
}
