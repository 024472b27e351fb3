//! Streams on files.

use bytes::Bytes;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamError};

use super::*;

impl Guest {
    fn out(&mut self, fd: &Fd, at: Option<u64>) -> Resource<DynOutputStream> {
        let fd = Resource::new_borrow(fd.rep());
        let mut fs = self.filesystem();
        code(match at {
            Some(at) => fs.write_via_stream(fd, at),
            None => fs.append_via_stream(fd),
        })
        .unwrap()
    }

    fn stream(&mut self, out: &Resource<DynOutputStream>) -> &mut DynOutputStream {
        self.table.get_mut(out).unwrap()
    }

    async fn close_stream(&mut self, out: Resource<DynOutputStream>) {
        self.table.delete(out).unwrap().cancel().await;
    }

    /// The error code a guest gets for a failed write.
    fn write_error(&mut self, error: StreamError) -> Option<ErrorCode> {
        use wasmtime_wasi::p2::bindings::filesystem::types::Host as _;
        let StreamError::LastOperationFailed(error) = error else {
            panic!("{error}");
        };
        let error = self.table.push(error).unwrap();
        self.filesystem().filesystem_error_code(error).unwrap()
    }
}

#[tokio::test]
async fn bytes_through_streams_are_told_and_counted() {
    let mut guest = Setup::new().file("a", "0123").start();
    let fd = guest.open("a", none(), W).await.unwrap();
    let out = guest.out(&fd, Some(2));
    let appended = guest.out(&fd, None);
    // The descriptor may go before its streams.
    guest.close(fd);
    guest
        .stream(&out)
        .blocking_write_and_flush(Bytes::from_static(b"ab"))
        .await
        .unwrap();
    guest
        .stream(&out)
        .blocking_write_and_flush(Bytes::from_static(b"cd"))
        .await
        .unwrap();
    assert!(guest.seen.changed.lock().unwrap().is_empty(), "still open");
    guest.close_stream(out).await;
    assert!(guest.seen.changed.lock().unwrap().is_empty(), "still open");
    let stream = guest.stream(&appended);
    stream.write_ready().await.unwrap();
    stream.write(Bytes::from_static(b"ef")).unwrap();
    stream.flush().unwrap();
    stream.write_ready().await.unwrap();
    guest.close_stream(appended).await;
    assert_eq!(guest.read_host("a"), "01abcdef");
    let told = guest.seen.changed.lock().unwrap();
    assert_eq!(
        told.as_slice(),
        [Change {
            path: "/work/a".to_owned(),
            kind: ChangeKind::Modified,
            bytes_written: 6,
            before: Some(Digest::of(b"0123")),
            after: Some(Digest::of(b"01abcdef")),
        }]
    );
    assert_eq!(guest.fs.journal().usage().disk_bytes, 4);
    assert_eq!(guest.fs.journal().usage().handles, 0);
}

#[tokio::test]
async fn streams_stop_at_the_limits() {
    let limits = Limits {
        disk_bytes: 10,
        file_bytes: 8,
        ..Limits::default()
    };
    let mut guest = Setup::new().limits(limits).start();
    let fd = guest.open("a", CREATE, W).await.unwrap();
    let out = guest.out(&fd, None);
    guest
        .stream(&out)
        .blocking_write_and_flush(Bytes::from_static(b"12345"))
        .await
        .unwrap();
    let write = guest
        .stream(&out)
        .blocking_write_and_flush(Bytes::from_static(b"6789"))
        .await;
    assert_eq!(
        guest.write_error(write.unwrap_err()),
        Some(ErrorCode::FileTooLarge)
    );
    let other = guest.open("b", CREATE, W).await.unwrap();
    let out = guest.out(&other, Some(0));
    let stream = guest.stream(&out);
    stream.write_ready().await.unwrap();
    stream.write(Bytes::from_static(b"12345")).unwrap();
    stream.write_ready().await.unwrap();
    let write = stream.write(Bytes::from_static(b"6"));
    assert_eq!(
        guest.write_error(write.unwrap_err()),
        Some(ErrorCode::Quota)
    );
    assert_eq!(guest.read_host("a"), "12345");
    assert_eq!(guest.read_host("b"), "12345");
}

#[tokio::test]
async fn appending_in_a_row_does_not_undercount() {
    let limits = Limits {
        disk_bytes: 100,
        ..Limits::default()
    };
    let mut guest = Setup::new().limits(limits).start();
    let fd = guest.open("a", CREATE, W).await.unwrap();
    let out = guest.out(&fd, None);
    let mut written = 0;
    for _ in 0..100 {
        let stream = guest.stream(&out);
        stream.write_ready().await.unwrap();
        match stream.write(Bytes::from_static(b"1234567")) {
            Ok(()) => written += 7,
            Err(error) => {
                assert_eq!(guest.write_error(error), Some(ErrorCode::Quota));
                break;
            }
        }
    }
    guest.close_stream(out).await;
    assert_eq!(written, 98);
    assert_eq!(guest.read_host("a").len(), 98);
}

#[tokio::test]
async fn reading_through_a_stream_works_and_is_a_handle() {
    let mut guest = Setup::new().file("a", "0123").start();
    let fd = guest.open("a", none(), R).await.unwrap();
    let again = Resource::new_borrow(fd.rep());
    let input: Resource<DynInputStream> =
        code(guest.filesystem().read_via_stream(again, 1)).unwrap();
    guest.close(fd);
    assert_eq!(guest.fs.journal().usage().handles, 1);
    let stream = guest.table.get_mut(&input).unwrap();
    assert_eq!(
        stream.blocking_read(100).await.unwrap(),
        Bytes::from_static(b"123")
    );
    drop(guest.table.delete(input).unwrap());
    assert_eq!(guest.fs.journal().usage().handles, 0);
}
