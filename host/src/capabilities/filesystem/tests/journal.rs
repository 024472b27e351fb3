//! What is told, and the net effect.

use super::*;

#[tokio::test]
async fn a_file_is_told_when_it_is_closed() {
    let mut guest = Setup::new().file("old", "old").start();
    guest.write("new", "new").await.unwrap();
    guest.write("old", "changed").await.unwrap();
    let fd = guest.open("open", CREATE, W).await.unwrap();
    guest.write_fd(&fd, b"half", 0).await.unwrap();
    let kinds = |guest: &Guest| -> Vec<(String, &str, u64)> {
        let told = guest.seen.changed.lock().unwrap();
        told.iter()
            .map(|it| (it.path.clone(), it.kind.as_str(), it.bytes_written))
            .collect()
    };
    let mut expected = vec![
        ("/work/new".to_owned(), "created", 3),
        ("/work/old".to_owned(), "modified", 7),
    ];
    assert_eq!(kinds(&guest), expected);
    // A run that dies half-way still tells.
    let journal = guest.fs.journal();
    let changes = journal.finish();
    expected.push(("/work/open".to_owned(), "created", 4));
    assert_eq!(kinds(&guest), expected);
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[0].after, Some(Digest::of(b"new")));
    assert_eq!(changes[1].before, Some(Digest::of(b"old")));
    assert_eq!(changes[1].after, Some(Digest::of(b"changed")));
    assert_eq!(changes[1].bytes_written, 7);
    guest.close(fd);
}

#[tokio::test]
async fn a_large_file_is_told_with_its_digest_by_the_next_call() {
    let mut guest = Setup::new().start();
    let content = "x".repeat(300 << 10);
    guest.write("large", &content).await.unwrap();
    assert!(guest.seen.changed.lock().unwrap().is_empty());
    guest.read("large").await.unwrap();
    let told = guest.seen.changed.lock().unwrap();
    assert_eq!(told[0].after, Some(Digest::of(content.as_bytes())));
}

#[tokio::test]
async fn every_operation_is_told_in_order() {
    let mut guest = Setup::new().file("old", "old").start();
    guest.mkdir("d").await.unwrap();
    guest.write("d/f", "f").await.unwrap();
    guest.symlink("f", "d/l").await.unwrap();
    guest.link("d/f", "d/h").await.unwrap();
    guest.touch("old", FOLLOW).await.unwrap();
    guest.rename("d/f", "d/g").await.unwrap();
    guest.rename("old", "older").await.unwrap();
    guest.unlink("d/l").await.unwrap();
    guest.unlink("d/h").await.unwrap();
    guest.unlink("d/g").await.unwrap();
    guest.rmdir("d").await.unwrap();
    let told = guest.seen.changed.lock().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|it| format!("{} {}", it.kind.as_str(), it.path))
        .collect();
    assert_eq!(
        told,
        [
            "dir-created /work/d",
            "created /work/d/f",
            "symlink-created /work/d/l",
            "link-created /work/d/h",
            "times /work/old",
            "renamed /work/d/g",
            "renamed /work/older",
            "deleted /work/d/l",
            "deleted /work/d/h",
            "deleted /work/d/g",
            "dir-removed /work/d",
        ]
    );
    assert_eq!(guest.changes(), ["renamed /work/old /work/older"]);
}

#[tokio::test]
async fn what_leaves_nothing_behind_is_no_change() {
    let mut guest = Setup::new().file("a", "a").file("d/x", "x").start();
    guest.write("tmp", "t").await.unwrap();
    guest.unlink("tmp").await.unwrap();
    guest.write("a", "b").await.unwrap();
    guest.write("a", "a").await.unwrap();
    guest.rename("a", "b").await.unwrap();
    guest.rename("b", "a").await.unwrap();
    guest.rename("d", "e").await.unwrap();
    guest.rename("e", "d").await.unwrap();
    let fd = guest.open("a", none(), W).await.unwrap();
    guest.close(fd);
    assert!(guest.mkdir("a").await.is_err());
    assert!(guest.mkdir("no/where").await.is_err());
    assert_eq!(guest.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn writing_beside_and_renaming_over_is_a_modification() {
    let mut guest = Setup::new().file("a", "old").start();
    guest.write(".a.tmp", "new").await.unwrap();
    guest.rename(".a.tmp", "a").await.unwrap();
    let changes = guest.fs.journal().changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path, "/work/a");
    assert_eq!(changes[0].kind, ChangeKind::Modified);
    assert_eq!(changes[0].before, Some(Digest::of(b"old")));
    assert_eq!(changes[0].after, Some(Digest::of(b"new")));
    assert_eq!(changes[0].bytes_written, 3);
}

#[tokio::test]
async fn renamed_directories_take_their_changes_along() {
    let mut guest = Setup::new()
        .file("d/a", "a")
        .file("d/b", "b")
        .file("d/c", "c")
        .start();
    guest.write("d/a", "aa").await.unwrap();
    guest.write("d/new", "n").await.unwrap();
    guest.rename("d", "e").await.unwrap();
    guest.write("e/b", "bb").await.unwrap();
    guest.unlink("e/c").await.unwrap();
    guest.rename("e", "f").await.unwrap();
    assert_eq!(
        guest.changes(),
        [
            "deleted /work/d/c",
            "renamed /work/d /work/f",
            "renamed /work/d/a /work/f/a",
            "renamed /work/d/b /work/f/b",
            "created /work/f/new",
        ]
    );
    let all = guest.fs.journal().changes();
    let a = all.iter().find(|it| it.path == "/work/f/a").unwrap();
    assert_eq!(
        (a.before, a.after),
        (Some(Digest::of(b"a")), Some(Digest::of(b"aa")))
    );
    let b = all.iter().find(|it| it.path == "/work/f/b").unwrap();
    assert_eq!(
        (b.before, b.after),
        (Some(Digest::of(b"b")), Some(Digest::of(b"bb")))
    );
}

#[tokio::test]
async fn deleting_and_replacing() {
    let mut guest = Setup::new()
        .file("a", "a")
        .file("b", "b")
        .file("d/x", "x")
        .start();
    guest.unlink("a").await.unwrap();
    guest.unlink("b").await.unwrap();
    guest.mkdir("b").await.unwrap();
    guest.unlink("d/x").await.unwrap();
    guest.rmdir("d").await.unwrap();
    guest.symlink("b", "l").await.unwrap();
    guest.touch("b", FOLLOW).await.unwrap();
    assert_eq!(
        guest.changes(),
        [
            "deleted /work/a",
            "modified /work/b",
            "dir-removed /work/d",
            "deleted /work/d/x",
            "symlink-created /work/l",
        ]
    );
}

#[tokio::test]
async fn changes_of_a_file_renamed_while_open_follow_it() {
    let mut guest = Setup::new().start();
    let fd = guest.open("a", CREATE, W).await.unwrap();
    guest.write_fd(&fd, b"1", 0).await.unwrap();
    guest.rename("a", "b").await.unwrap();
    guest.write_fd(&fd, b"2", 1).await.unwrap();
    guest.close(fd);
    let told = guest.seen.changed.lock().unwrap().pop().unwrap();
    assert_eq!((told.path.as_str(), told.bytes_written), ("/work/b", 2));
    assert_eq!(guest.changes(), ["created /work/b"]);
}

#[tokio::test]
async fn links_are_told_as_the_places_they_lead_to() {
    let mut guest = Setup::new().file("d/a", "a").start();
    guest.symlink("d", "l").await.unwrap();
    guest.write("l/a", "b").await.unwrap();
    assert_eq!(
        guest.changes(),
        ["modified /work/d/a", "symlink-created /work/l"]
    );
}

#[tokio::test]
async fn nothing_is_different_on_the_thread_of_the_caller() {
    let mut guest = Setup::new().file("a", "a").start();
    guest.fs.threading = Threading::Caller;
    guest.write("a", "b").await.unwrap();
    guest.write("../x", "b").await.unwrap_err();
    assert_eq!(guest.changes(), ["modified /work/a"]);
    assert_eq!(guest.denials().len(), 1);
}
