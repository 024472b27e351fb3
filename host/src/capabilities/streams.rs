//! `wasi:io/streams` and `wasi:io/error`: wasmtime-wasi's, but for the streams of requests and responses.
//!
//! What is read from a response, and whether the other end takes what is written to a request, comes from
//! outside and goes through the tape, each piece as the guest got it. All other streams are files and pipes
//! of the host's own, of which a run that is repeated sees the same by itself.

use serde_json::Value;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::error;
use wasmtime_wasi_io::bindings::wasi::io::streams::{self, HostInputStream, HostOutputStream};

use super::http::sent;
use super::state::RunState;
use crate::recording::bytes::Octets;

/// Most bytes of one blocking write, as the interface has it.
const BLOCKING_MAX: usize = 4096;

type Input = Resource<DynInputStream>;
type Output = Resource<DynOutputStream>;
type Failure = Resource<wasmtime::Error>;

impl error::Host for RunState {}

impl error::HostError for RunState {
    fn drop(&mut self, error: Failure) -> wasmtime::Result<()> {
        error::HostError::drop(&mut self.table, error)
    }

    fn to_debug_string(&mut self, error: Failure) -> wasmtime::Result<String> {
        // Its debug form has a backtrace of the host where the host's environment asks for one.
        Ok(format!("{:#}", self.table.get(&error)?))
    }
}

impl streams::Host for RunState {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(&mut self.table, error)
    }
}

impl RunState {
    /// A call on a stream of an exchange that does not wait.
    fn taped<T>(
        &mut self,
        kind: &'static str,
        asked: Value,
        perform: impl FnOnce(&mut ResourceTable) -> StreamResult<T>,
    ) -> StreamResult<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let tape = self.tape.clone();
        let answer = tape.observe(
            kind,
            || asked,
            || {
                let done = perform(&mut self.table);
                self.http.streamed(done)
            },
        );
        answer.map_err(StreamError::Trap)?.result()
    }

    /// What was read or skipped: not more than was asked for, whatever a recording says. A stream that has ended
    /// stays so, also where a replay goes on behind its recording.
    fn taken<T>(
        &mut self,
        stream: u32,
        max: u64,
        result: StreamResult<T>,
        length: impl FnOnce(&T) -> u64,
    ) -> StreamResult<T> {
        match result {
            Ok(taken) if length(&taken) > max => Err(StreamError::trap(
                "the recording has more bytes than were asked for",
            )),
            Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => {
                *self.table.get_mut(&Input::new_borrow(stream))? = Box::new(ClosedInputStream);
                result
            }
            _ => result,
        }
    }

    fn read_from(
        &mut self,
        stream: u32,
        max: u64,
        read: StreamResult<Octets>,
    ) -> StreamResult<Vec<u8>> {
        let read = self.taken(stream, max, read, |Octets(bytes)| bytes.len() as u64);
        read.map(|Octets(bytes)| bytes)
    }

    /// Writes all of it and waits until it is out.
    async fn pour(&mut self, stream: Output, bytes: Vec<u8>) -> StreamResult<()> {
        let Some(exchange) = self.http.writer(&stream) else {
            let stream = self.table.get_mut(&stream)?;
            return stream.blocking_write_and_flush(bytes.into()).await;
        };
        let tape = self.tape.clone();
        let asked = exchange.asks(Some(("data", sent(&bytes))));
        let answer = tape.effect("http.blocking-write-and-flush", || asked, async {
            let done = match self.table.get_mut(&stream) {
                Ok(stream) => stream.blocking_write_and_flush(bytes.into()).await,
                Err(error) => Err(error.into()),
            };
            self.http.streamed(done)
        });
        answer.await.map_err(StreamError::Trap)?.result()
    }

    /// Waits until something can be written, and says how much.
    async fn room(&mut self, stream: Output) -> StreamResult<u64> {
        let Some(exchange) = self.http.writer(&stream) else {
            let room = self.table.get_mut(&stream)?.write_ready().await?;
            return Ok(room as u64);
        };
        let tape = self.tape.clone();
        let answer = tape.effect("http.blocking-check-write", || exchange.asks(None), async {
            let room = match self.table.get_mut(&stream) {
                Ok(stream) => stream.write_ready().await.map(|room| room as u64),
                Err(error) => Err(error.into()),
            };
            self.http.streamed(room)
        });
        answer.await.map_err(StreamError::Trap)?.result()
    }

    /// Whether what is spliced comes from outside or goes there.
    fn splices(&self, dest: &Output, src: &Input) -> bool {
        self.http.writer(dest).is_some() || self.http.reader(src).is_some()
    }
}

impl HostInputStream for RunState {
    fn read(&mut self, stream: Input, len: u64) -> StreamResult<Vec<u8>> {
        let Some(exchange) = self.http.reader(&stream) else {
            return self.table.read(stream, len);
        };
        let rep = stream.rep();
        let asked = exchange.asks(Some(("max", len.into())));
        let read = self.taped("http.read", asked, |table| {
            table.read(stream, len).map(Octets)
        });
        self.read_from(rep, len, read)
    }

    async fn blocking_read(&mut self, stream: Input, len: u64) -> StreamResult<Vec<u8>> {
        let Some(exchange) = self.http.reader(&stream) else {
            return self.table.blocking_read(stream, len).await;
        };
        let (tape, rep) = (self.tape.clone(), stream.rep());
        let asked = exchange.asks(Some(("max", len.into())));
        let answer = tape.effect("http.blocking-read", || asked, async {
            let read = self.table.blocking_read(stream, len).await;
            self.http.streamed(read.map(Octets))
        });
        let read = answer.await.map_err(StreamError::Trap)?.result();
        self.read_from(rep, len, read)
    }

    fn skip(&mut self, stream: Input, len: u64) -> StreamResult<u64> {
        let Some(exchange) = self.http.reader(&stream) else {
            return self.table.skip(stream, len);
        };
        let rep = stream.rep();
        let asked = exchange.asks(Some(("max", len.into())));
        let skipped = self.taped("http.skip", asked, |table| table.skip(stream, len));
        self.taken(rep, len, skipped, |skipped| *skipped)
    }

    async fn blocking_skip(&mut self, stream: Input, len: u64) -> StreamResult<u64> {
        let Some(exchange) = self.http.reader(&stream) else {
            return self.table.blocking_skip(stream, len).await;
        };
        let (tape, rep) = (self.tape.clone(), stream.rep());
        let asked = exchange.asks(Some(("max", len.into())));
        let answer = tape.effect("http.blocking-skip", || asked, async {
            let skipped = self.table.blocking_skip(stream, len).await;
            self.http.streamed(skipped)
        });
        let skipped = answer.await.map_err(StreamError::Trap)?.result();
        self.taken(rep, len, skipped, |skipped| *skipped)
    }

    fn subscribe(&mut self, stream: Input) -> wasmtime::Result<Resource<DynPollable>> {
        HostInputStream::subscribe(&mut self.table, stream)
    }

    async fn drop(&mut self, stream: Input) -> wasmtime::Result<()> {
        self.http.dropped_reader(&stream);
        HostInputStream::drop(&mut self.table, stream).await
    }
}

impl HostOutputStream for RunState {
    fn check_write(&mut self, stream: Output) -> StreamResult<u64> {
        match self.http.writer(&stream) {
            None => self.table.check_write(stream),
            Some(exchange) => self.taped("http.check-write", exchange.asks(None), |table| {
                table.check_write(stream)
            }),
        }
    }

    fn write(&mut self, stream: Output, bytes: Vec<u8>) -> StreamResult<()> {
        let Some(exchange) = self.http.writer(&stream) else {
            return self.table.write(stream, bytes);
        };
        let asked = exchange.asks(Some(("data", sent(&bytes))));
        self.taped("http.write", asked, |table| table.write(stream, bytes))
    }

    fn write_zeroes(&mut self, stream: Output, len: u64) -> StreamResult<()> {
        let Some(exchange) = self.http.writer(&stream) else {
            return self.table.write_zeroes(stream, len);
        };
        let asked = exchange.asks(Some(("zeroes", len.into())));
        self.taped("http.write", asked, |table| table.write_zeroes(stream, len))
    }

    fn flush(&mut self, stream: Output) -> StreamResult<()> {
        match self.http.writer(&stream) {
            None => self.table.flush(stream),
            Some(exchange) => self.taped("http.flush", exchange.asks(None), |table| {
                table.flush(stream)
            }),
        }
    }

    async fn blocking_flush(&mut self, stream: Output) -> StreamResult<()> {
        let Some(exchange) = self.http.writer(&stream) else {
            return self.table.blocking_flush(stream).await;
        };
        let tape = self.tape.clone();
        let answer = tape.effect("http.blocking-flush", || exchange.asks(None), async {
            let done = self.table.blocking_flush(stream).await;
            self.http.streamed(done)
        });
        answer.await.map_err(StreamError::Trap)?.result()
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Output,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        if self.http.writer(&stream).is_none() || bytes.len() > BLOCKING_MAX {
            return self.table.blocking_write_and_flush(stream, bytes).await;
        }
        self.pour(stream, bytes).await
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Output,
        len: u64,
    ) -> StreamResult<()> {
        if self.http.writer(&stream).is_none() || len > BLOCKING_MAX as u64 {
            return self
                .table
                .blocking_write_zeroes_and_flush(stream, len)
                .await;
        }
        let zeroes = usize::try_from(len).map_or_else(|_| Vec::new(), |len| vec![0; len]);
        self.pour(stream, zeroes).await
    }

    fn splice(&mut self, dest: Output, src: Input, len: u64) -> StreamResult<u64> {
        if !self.splices(&dest, &src) {
            return self.table.splice(dest, src, len);
        }
        let borrowed = || Output::new_borrow(dest.rep());
        let len = len.min(self.check_write(borrowed())?);
        if len == 0 {
            return Ok(0);
        }
        let bytes = self.read(src, len)?;
        let moved = bytes.len() as u64;
        if moved > 0 {
            self.write(borrowed(), bytes)?;
        }
        Ok(moved)
    }

    async fn blocking_splice(&mut self, dest: Output, src: Input, len: u64) -> StreamResult<u64> {
        if !self.splices(&dest, &src) {
            return self.table.blocking_splice(dest, src, len).await;
        }
        let rep = dest.rep();
        let len = len.min(self.room(Output::new_borrow(rep)).await?);
        if len == 0 {
            return Ok(0);
        }
        let bytes = self.blocking_read(src, len).await?;
        let moved = bytes.len() as u64;
        if moved > 0 {
            self.pour(Output::new_borrow(rep), bytes).await?;
        }
        Ok(moved)
    }

    fn subscribe(&mut self, stream: Output) -> wasmtime::Result<Resource<DynPollable>> {
        HostOutputStream::subscribe(&mut self.table, stream)
    }

    async fn drop(&mut self, stream: Output) -> wasmtime::Result<()> {
        self.http.dropped_writer(&stream);
        HostOutputStream::drop(&mut self.table, stream).await
    }
}
