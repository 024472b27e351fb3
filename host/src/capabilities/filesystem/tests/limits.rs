//! Limits: each is hit, told once, and given room back where it should.

use wasmtime_wasi::p2::bindings::filesystem::types::HostDirectoryEntryStream;

use super::*;

fn limits() -> Limits {
    Limits {
        disk_bytes: 100,
        file_bytes: 80,
        files: 3,
        handles: 16,
        listing_bytes: 1000,
    }
}

const QUOTA: Result<(), ErrorCode> = Err(ErrorCode::Quota);

#[tokio::test]
async fn bytes_count_as_growth() {
    let mut guest = Setup::new()
        .file("old", "0123456789")
        .limits(limits())
        .start();
    // Overwriting is no growth.
    for _ in 0..20 {
        guest.write("old", "abcdefghij").await.unwrap();
    }
    assert_eq!(guest.fs.journal().usage().disk_bytes, 0);
    guest.write("a", &"x".repeat(60)).await.unwrap();
    assert_eq!(guest.write("b", &"x".repeat(41)).await, QUOTA);
    assert_eq!(guest.write("b", &"x".repeat(40)).await, Ok(()));
    assert_eq!(guest.fs.journal().usage().disk_bytes, 100);
    assert_eq!(guest.write("old", "0123456789+").await, QUOTA);
    // Deleting what was there gives nothing back, deleting its own does.
    guest.unlink("old").await.unwrap();
    assert_eq!(guest.fs.journal().usage().disk_bytes, 100);
    guest.unlink("a").await.unwrap();
    assert_eq!(guest.fs.journal().usage().disk_bytes, 40);
    let told = guest.seen.limits.lock().unwrap();
    assert_eq!(
        told.as_slice(),
        [LimitHit {
            name: "disk-bytes",
            max: 100
        }]
    );
}

#[tokio::test]
async fn a_file_that_is_deleted_but_open_still_counts() {
    let mut guest = Setup::new().limits(limits()).start();
    let fd = guest.open("a", CREATE, R | W).await.unwrap();
    guest.write_fd(&fd, &[0; 80], 0).await.unwrap();
    guest.unlink("a").await.unwrap();
    assert_eq!(guest.write("b", &"x".repeat(21)).await, QUOTA);
    guest.close(fd);
    assert_eq!(guest.write("b", &"x".repeat(21)).await, Ok(()));
    // The same when it is replaced.
    let fd = guest.open("c", CREATE, R | W).await.unwrap();
    guest.write_fd(&fd, &[0; 70], 0).await.unwrap();
    guest.rename("b", "c").await.unwrap();
    assert_eq!(guest.fs.journal().usage().disk_bytes, 91);
    guest.close(fd);
    assert_eq!(guest.fs.journal().usage().disk_bytes, 21);
}

#[tokio::test]
async fn holes_and_sizes_count_as_bytes() {
    let mut guest = Setup::new().limits(limits()).start();
    let fd = guest.open("a", CREATE, W).await.unwrap();
    let again = || Resource::new_borrow(fd.rep());
    assert_eq!(
        guest.write_fd(&fd, b"x", 1 << 40).await,
        Err(ErrorCode::FileTooLarge)
    );
    assert_eq!(
        guest.write_fd(&fd, b"x", u64::MAX).await,
        Err(ErrorCode::FileTooLarge)
    );
    let got = guest.filesystem().set_size(again(), 81).await;
    assert_eq!(code(got), Err(ErrorCode::FileTooLarge));
    let got = guest.filesystem().set_size(again(), 80).await;
    assert_eq!(code(got), Ok(()));
    assert_eq!(guest.fs.journal().usage().disk_bytes, 80);
    let got = guest.filesystem().set_size(again(), 10).await;
    assert_eq!(code(got), Ok(()));
    assert_eq!(guest.fs.journal().usage().disk_bytes, 10);
    let told = guest.seen.limits.lock().unwrap();
    assert_eq!(
        told.as_slice(),
        [LimitHit {
            name: "file-bytes",
            max: 80
        }]
    );
}

#[tokio::test]
async fn every_way_to_create_counts_as_a_file() {
    let mut guest = Setup::new().file("old", "").limits(limits()).start();
    guest.write("a", "").await.unwrap();
    guest.mkdir("d").await.unwrap();
    guest.symlink("a", "l").await.unwrap();
    assert_eq!(guest.write("b", "").await, QUOTA);
    assert_eq!(guest.mkdir("e").await, QUOTA);
    assert_eq!(guest.symlink("a", "m").await, QUOTA);
    assert_eq!(guest.link("a", "n").await, QUOTA);
    assert_eq!(guest.seen.limits.lock().unwrap().len(), 1, "told once");
    guest.unlink("old").await.unwrap();
    assert_eq!(guest.write("b", "").await, QUOTA, "it was there before");
    guest.unlink("l").await.unwrap();
    guest.link("a", "n").await.unwrap();
    assert_eq!(guest.write("b", "").await, QUOTA);
    guest.unlink("a").await.unwrap();
    guest.unlink("n").await.unwrap();
    guest.rmdir("d").await.unwrap();
    assert_eq!(guest.fs.journal().usage().files, 0);
    assert_eq!(guest.fs.journal().usage().disk_bytes, 0);
}

#[tokio::test]
async fn handles_are_counted_and_given_back() {
    let mut guest = Setup::new().file("a", "a").limits(limits()).start();
    let dir = guest.dir(0);
    let mut open = Vec::new();
    while let Ok(fd) = guest.open_in(&dir, "a", none(), R).await {
        open.push(fd);
        assert!(open.len() < 100);
    }
    assert_eq!(open.len(), 15);
    let again = Resource::new_borrow(dir.rep());
    assert!(code(guest.filesystem().read_directory(again).await).is_err());
    let again = Resource::new_borrow(open[0].rep());
    let stream = code(guest.filesystem().read_via_stream(again, 0)).map(drop);
    assert_eq!(stream, Err(ErrorCode::InsufficientMemory));
    assert!(guest.filesystem().get_directories().unwrap().is_empty());
    assert_eq!(guest.seen.limits.lock().unwrap().len(), 1);
    for fd in open {
        guest.close(fd);
    }
    guest.close(dir);
    assert_eq!(guest.fs.journal().usage().handles, 0);
}

#[tokio::test]
async fn what_is_done_on_other_threads_is_counted() {
    let mut guest = Setup::new().file("large", vec![7; 8 << 20]).start();
    let meters = Arc::new(Meters::default());
    guest.fs = guest.fs.metered_by(meters.clone());
    guest.write("large", "x").await.unwrap();
    // The digest of what was there was made for it.
    assert!(meters.cpu() > std::time::Duration::ZERO);
}

#[tokio::test]
async fn listings_share_their_bytes_and_give_them_back() {
    let mut guest = Setup::new().limits(limits());
    for file in 0..5 {
        guest = guest.file(&format!("{file}{}", "n".repeat(49)), "");
    }
    let mut guest = guest.start();
    let dir = guest.dir(0);
    let read = async |guest: &mut Guest| {
        let dir = Resource::new_borrow(dir.rep());
        let read = guest.filesystem().read_directory(dir).await;
        read.map_err(|error| error.downcast().unwrap())
    };
    let one = read(&mut guest).await.unwrap();
    let refused = read(&mut guest).await.unwrap_err();
    assert_eq!(refused, ErrorCode::InsufficientMemory);
    HostDirectoryEntryStream::drop(&mut guest.filesystem(), one).unwrap();
    read(&mut guest).await.unwrap();
    let told = guest.seen.limits.lock().unwrap();
    assert_eq!(told.first().map(|hit| hit.name), Some("listing-bytes"));
}
