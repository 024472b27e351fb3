//! Writes a tape, each entry as soon as it is there.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Closing, TapeError};
use crate::digest::Digest;
use crate::recording::format::{Answer, Entry, Header, MAX_BYTES, READINGS_MAX, Reader, digest};

/// Takes secrets out of a line before it is written; nothing when there are none in it.
pub type Scrub = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where a recording goes.
pub struct Sink {
    path: PathBuf,
    file: File,
}

impl Sink {
    /// Makes the file. One that is there is replaced.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<Sink, TapeError> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        // What a run has seen is for its owner only, as in run directories.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).and_then(|file| {
            // One that was there has the mode it had.
            #[cfg(unix)]
            if file.metadata()?.is_file() {
                let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                file.set_permissions(owner)?;
            }
            Ok(file)
        });
        let file = file.map_err(|source| TapeError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Sink {
            path: path.to_owned(),
            file,
        })
    }
}

pub(super) struct Writer {
    sink: Option<Sink>,
    scrub: Option<Scrub>,
    /// Of every line so far.
    all: Sha256,
    /// Of the entries.
    own: Sha256,
    bytes: u64,
    /// Number of the next call.
    next: u64,
    /// The last reading.
    last: u64,
    /// Readings that are not written yet.
    by: Vec<Reader>,
    us: Vec<u64>,
    /// Checks that found nothing since the last call, reading or cut.
    checks: u64,
    was_cut: bool,
    failed: Option<String>,
}

impl Writer {
    pub(super) fn begin(
        header: &Header,
        sink: Option<Sink>,
        scrub: Option<Scrub>,
    ) -> Result<Writer, TapeError> {
        let mut writer = Writer::silent();
        writer.sink = sink;
        writer.scrub = scrub;
        writer.line(header.line())?;
        Ok(writer)
    }

    /// A tape nobody keeps.
    pub(super) fn silent() -> Writer {
        Writer {
            sink: None,
            scrub: None,
            all: Sha256::new(),
            own: Sha256::new(),
            bytes: 0,
            next: 1,
            last: 0,
            by: Vec::new(),
            us: Vec::new(),
            checks: 0,
            was_cut: false,
            failed: None,
        }
    }

    pub(super) fn failed(&self) -> Option<String> {
        self.failed.clone()
    }

    /// Number of the next call.
    pub(super) fn next_call(&self) -> u64 {
        self.next.saturating_add(self.by.len() as u64)
    }

    pub(super) fn was_cut(&self) -> bool {
        self.was_cut
    }

    pub(super) fn reading(&mut self, by: Reader, now: u64) -> Result<(), TapeError> {
        self.by.push(by);
        self.us.push(now.saturating_sub(self.last));
        self.last = now;
        self.checks = 0;
        if self.by.len() == READINGS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Has the checks counted on from `checks`.
    pub(super) fn checked(&mut self, checks: u64) {
        self.checks = checks;
    }

    /// Number of a check, from 1.
    pub(super) fn check(&mut self) -> u64 {
        self.checks += 1;
        self.checks
    }

    pub(super) fn call(
        &mut self,
        kind: &str,
        request: Value,
        answer: Answer,
    ) -> Result<(), TapeError> {
        self.flush()?;
        self.checks = 0;
        let entry = Entry::Call {
            n: self.next,
            kind: kind.to_owned(),
            request,
            answer,
        };
        self.entry(&entry)
    }

    /// A call is begun. Returns its number.
    pub(super) fn asked(&mut self, kind: &str, request: Value) -> Result<u64, TapeError> {
        self.flush()?;
        self.checks = 0;
        let n = self.next;
        let kind = kind.to_owned();
        self.entry(&Entry::Asked { n, kind, request })?;
        Ok(n)
    }

    /// What came of it.
    pub(super) fn answered(&mut self, of: u64, answer: Answer) -> Result<(), TapeError> {
        self.flush()?;
        self.entry(&Entry::Answered { of, answer })
    }

    /// Writes an entry of another recording once more. Readings are not copied, but read.
    pub(super) fn copy(&mut self, entry: &Entry) -> Result<(), TapeError> {
        self.flush()?;
        self.entry(entry)
    }

    pub(super) fn cut(&mut self, ended: Value) -> Result<(), TapeError> {
        self.was_cut = true;
        self.flush()?;
        self.checks = 0;
        self.entry(&Entry::Cut {
            n: self.next,
            ended,
        })
    }

    pub(super) fn entries_digest(&mut self) -> Digest {
        // A failure is remembered.
        let _ = self.flush();
        digest(&self.own)
    }

    pub(super) fn end(&mut self, closing: Closing) -> Result<(), TapeError> {
        self.flush()?;
        let end = closing.end(self.next - 1, digest(&self.all));
        self.line(end.line()).map(drop)
    }

    /// Readings are written together: a guest may read the clock a million times.
    fn flush(&mut self) -> Result<(), TapeError> {
        if self.by.is_empty() {
            return Ok(());
        }
        let entry = Entry::Readings {
            n: self.next,
            by: std::mem::take(&mut self.by),
            us: std::mem::take(&mut self.us),
        };
        self.entry(&entry)
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), TapeError> {
        self.next += entry.calls();
        let line = self.line(self.without_secrets(entry).line())?;
        self.own.update(line);
        Ok(())
    }

    /// What came from outside, without the secrets in it. Numbers of the host's own are left alone: a short secret
    /// may be one.
    fn without_secrets<'a>(&self, entry: &'a Entry) -> Cow<'a, Entry> {
        if self.scrub.is_none() {
            return Cow::Borrowed(entry);
        }
        let value = |value: &Value| {
            let text = self.scrubbed(value.to_string());
            // Cut out of a string of it, a mark leaves it a document.
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        let answer = |answer: &Answer| match answer {
            Answer::Result(result) => Answer::Result(value(result)),
            Answer::Trap(message) => Answer::Trap(self.scrubbed(message.clone())),
        };
        Cow::Owned(match entry {
            Entry::Readings { .. } => return Cow::Borrowed(entry),
            Entry::Call {
                n,
                kind,
                request,
                answer: given,
            } => Entry::Call {
                n: *n,
                kind: kind.clone(),
                request: value(request),
                answer: answer(given),
            },
            Entry::Asked { n, kind, request } => Entry::Asked {
                n: *n,
                kind: kind.clone(),
                request: value(request),
            },
            Entry::Answered { of, answer: given } => Entry::Answered {
                of: *of,
                answer: answer(given),
            },
            Entry::Cut { n, ended } => Entry::Cut {
                n: *n,
                ended: value(ended),
            },
        })
    }

    /// JSON without the secrets in it.
    pub(super) fn scrubbed(&self, json: String) -> String {
        let scrubbed = self.scrub.as_ref().and_then(|scrub| scrub(&json));
        scrubbed.unwrap_or(json)
    }

    /// Writes a line, which has no secrets in it any more.
    fn line(&mut self, mut line: String) -> Result<String, TapeError> {
        line.push('\n');
        self.all.update(&line);
        self.bytes = self.bytes.saturating_add(line.len() as u64);
        let Some(sink) = &mut self.sink else {
            return Ok(line);
        };
        let written = if self.bytes > MAX_BYTES {
            Err(io::Error::other(format!(
                "it would have more than {MAX_BYTES} bytes"
            )))
        } else {
            sink.file.write_all(line.as_bytes())
        };
        if let Err(source) = written {
            let error = TapeError::Write {
                path: sink.path.clone(),
                source,
            };
            self.failed = Some(error.to_string());
            // What follows a torn line would be worthless.
            self.sink = None;
            return Err(error);
        }
        Ok(line)
    }
}
