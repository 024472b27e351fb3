//! Directories of which single files are granted.

use super::*;
use wasmtime_wasi::p2::bindings::filesystem::types::{HostDirectoryEntryStream as _, NewTimestamp};

/// `/work` shows `a` and `b`; beside them are `hidden`, `sub/` and a link `link` to `hidden`.
fn guest(access: Access) -> Guest {
    let mut setup = Setup::new()
        .file("a", "first")
        .file("b", "second")
        .file("hidden", "secret")
        .file("sub/a", "secret");
    std::os::unix::fs::symlink("hidden", setup.work().join("link")).unwrap();
    setup.access = access;
    setup.extent = Extent::Files(["a", "b", "gone"].map(str::to_owned).into());
    setup.start()
}

async fn names(guest: &mut Guest) -> Vec<String> {
    let dir = guest.dir(0);
    let stream = code(guest.filesystem().read_directory(dir).await).unwrap();
    let mut names = Vec::new();
    loop {
        let stream = Resource::new_borrow(stream.rep());
        match code(guest.filesystem().read_directory_entry(stream).await).unwrap() {
            Some(entry) => names.push(entry.name),
            None => return names,
        }
    }
}

#[tokio::test]
async fn nothing_but_the_granted_files_is_there() {
    let mut guest = guest(Access::ReadWrite);
    assert_eq!(names(&mut guest).await, ["a", "b"]);
    assert!(guest.open("a", none(), R).await.is_ok());
    assert!(guest.open("./b", none(), R | W).await.is_ok());
    for (path, expected) in [
        ("hidden", ErrorCode::NoEntry),
        ("sub", ErrorCode::NoEntry),
        ("sub/a", ErrorCode::NoEntry),
        ("link", ErrorCode::NoEntry),
        ("nothing", ErrorCode::NoEntry),
        ("gone", ErrorCode::NoEntry),
        ("a/..", ErrorCode::NotPermitted),
        ("../secret", ErrorCode::NotPermitted),
        ("sub/../hidden", ErrorCode::NotPermitted),
        ("a/", ErrorCode::NotDirectory),
    ] {
        let opened = guest.open(path, none(), R).await.map(drop);
        assert_eq!(opened, Err(expected), "open {path}");
        let dir = guest.dir(0);
        let mut fs = guest.filesystem();
        let stat = fs.stat_at(dir, FOLLOW, path.to_owned());
        assert_eq!(code(stat.await).map(drop), Err(expected), "stat {path}");
        let dir = guest.dir(0);
        let mut fs = guest.filesystem();
        let read = fs.readlink_at(dir, path.to_owned());
        let read = code(read.await).map(drop).unwrap_err();
        assert!([expected, ErrorCode::Invalid].contains(&read), "{path}");
        let dir = guest.dir(0);
        let mut fs = guest.filesystem();
        let hash = fs.metadata_hash_at(dir, FOLLOW, path.to_owned());
        assert_eq!(code(hash.await).map(drop), Err(expected), "hash {path}");
    }
}

#[tokio::test]
async fn files_change_in_place_and_names_stay() {
    let mut guest = guest(Access::ReadWrite);
    guest.write("a", "changed").await.unwrap();
    assert_eq!(guest.read_host("a"), "changed");
    let refused = ErrorCode::NotPermitted;
    for path in ["new", "gone", "hidden2"] {
        assert_eq!(guest.write(path, "x").await, Err(refused), "create {path}");
    }
    let to = |path: &str| path.to_owned();
    for path in ["a", "hidden", "new"] {
        let dir = guest.dir(0);
        let done = guest.filesystem().unlink_file_at(dir, to(path)).await;
        assert_eq!(code(done), Err(refused), "unlink {path}");
        let dir = guest.dir(0);
        let done = guest.filesystem().create_directory_at(dir, to(path)).await;
        assert_eq!(code(done), Err(refused), "mkdir {path}");
        let dir = guest.dir(0);
        let done = guest.filesystem().remove_directory_at(dir, to(path)).await;
        assert_eq!(code(done), Err(refused), "rmdir {path}");
        let dir = guest.dir(0);
        let done = guest.filesystem().symlink_at(dir, to("a"), to(path)).await;
        assert_eq!(code(done), Err(refused), "symlink {path}");
    }
    let (from, into) = (guest.dir(0), guest.dir(0));
    let mut fs = guest.filesystem();
    let done = fs.rename_at(from, to("a"), into, to("b"));
    assert_eq!(code(done.await), Err(refused));
    let (from, into) = (guest.dir(0), guest.dir(0));
    let mut fs = guest.filesystem();
    let done = fs.link_at(from, keep(), to("a"), into, to("new"));
    assert_eq!(code(done.await), Err(refused));
    let now = || (NewTimestamp::Now, NewTimestamp::Now);
    let dir = guest.dir(0);
    let done = guest.filesystem().set_times(dir, now().0, now().1).await;
    assert_eq!(code(done), Err(refused));

    let changes = guest.fs.journal().finish();
    let paths: Vec<_> = changes.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/work/a"]);
    assert_eq!(guest.read_host("hidden"), "secret");
}

#[tokio::test]
async fn a_file_that_is_replaced_by_something_else_is_not_followed() {
    let mut guest = guest(Access::ReadWrite);
    fs::remove_file(guest.host("a")).unwrap();
    std::os::unix::fs::symlink("hidden", guest.host("a")).unwrap();
    fs::remove_file(guest.host("b")).unwrap();
    fs::create_dir(guest.host("b")).unwrap();
    let opened = guest.open("a", none(), R).await.map(drop);
    assert_eq!(opened, Err(ErrorCode::Loop));
    let opened = guest.open("b", none(), R).await.map(drop);
    assert_eq!(opened, Err(ErrorCode::NoEntry));
    assert!(names(&mut guest).await.is_empty());
}

#[tokio::test]
async fn read_only_files_are_read_only_and_the_directory_tells_nothing() {
    let mut guest = guest(Access::ReadOnly);
    let opened = guest.open("a", none(), W).await.map(drop);
    assert_eq!(opened, Err(ErrorCode::ReadOnly));
    let dir = guest.dir(0);
    let stat = code(guest.filesystem().stat(dir).await).unwrap();
    assert_eq!((stat.link_count, stat.size), (1, 0));
    assert!(stat.data_modification_timestamp.is_none());
}

#[tokio::test]
async fn a_protected_name_that_is_granted_is_meant() {
    let mut setup = Setup::new().file(".mcp.json", "{}");
    setup.extent = Extent::Files([".mcp.json".to_owned()].into());
    let mut guest = setup.start();
    guest.write(".mcp.json", "[]").await.unwrap();
    assert_eq!(guest.read_host(".mcp.json"), "[]");
}
