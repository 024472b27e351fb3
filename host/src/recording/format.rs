//! The recording file: its lines as types, a strict reader, and how a line is written.
//!
//! One JSON document a line. The first is the [`Header`], the last the [`End`]; in between stands what the
//! run got from outside, in the order in which it got it ([`Entry`]). docs/recording.md describes it for
//! whoever writes a reader.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::inputs::Inventory;
use super::seed::Seed;
use crate::digest::Digest;
use crate::egress::secrets::SecretName;
use crate::engine::Profile;
use crate::error::Hint;
use crate::foreign;
use crate::json::printable;

/// Version of the file this host writes.
pub const FORMAT: &str = "wasm-agent/recording@1";

/// What every version's format begins with.
const FAMILY: &str = "wasm-agent/recording@";

/// Largest recording in bytes: it is held in memory while it is replayed.
pub const MAX_BYTES: u64 = 512 << 20;

/// Longest line in bytes: a checkpoint of 64 MiB, which is what the default limits allow, is one of 86 MiB.
const MAX_LINE: u64 = 96 << 20;

/// What all entries together may take in memory beyond their text, in bytes: twice the text.
const MAX_ENTRIES: u64 = 2 * MAX_BYTES;

/// Clock readings kept on one line.
pub const READINGS_MAX: usize = 256;

/// The first line: everything a run depends on that is not an answer of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// Version of the host that wrote it.
    pub host: String,
    /// The agent.
    pub component: Component,
    /// How it was compiled.
    pub profile: Profile,
    /// What its clocks showed.
    pub clock: ClockKind,
    /// Everything random follows from it.
    pub seed: Seed,
    /// When it began, RFC 3339 with microseconds.
    pub start: String,
    /// The host's id of the run as the guest and the trajectory know it.
    pub session_id: String,
    /// Whether it could keep checkpoints and artifacts.
    pub storage: bool,
    /// The commission, verbatim.
    pub commission: Box<RawValue>,
    /// What was granted, in the words of a grants file.
    pub grants: Value,
    /// What the trajectory says of it.
    pub guest_grants: Value,
    /// Variables of the guest that have a placeholder of a secret, and which one. The values follow from the
    /// seed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub placeholders: BTreeMap<String, SecretName>,
    /// The granted directories and files.
    pub inputs: Vec<Inventory>,
    /// The run it goes on from, if it began with what another one got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Models that are asked instead of the commission's, in the order of their calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
}

/// From a call on, another model is asked than the commission says: the run was forked there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Number of the call.
    pub at: u64,
    /// The model, as `provider/model`.
    pub model: String,
}

/// Where a run that goes on from another one has left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The other run: the name of its directory, or of the recording.
    pub run: String,
    /// Why it goes on.
    pub how: Onward,
    /// Number of the first call that was not answered from there; nothing where that shows in the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// Why a run goes on from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Onward {
    /// The other one was ended before it was done.
    Resume,
    /// Something is to be different from there on.
    Fork,
    /// What the recording does not have is asked for.
    Hybrid,
}

/// The agent of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// What the agent calls itself.
    pub name: String,
    /// Where it was, relative to the working directory of the run where it lay in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// What the clocks of a run show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockKind {
    /// The time of the machine.
    Real,
    /// A time of its own, which goes on by what is declared: a microsecond a reading, and what is slept.
    Virtual,
}

/// Who reads the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The guest, the time of day.
    Wall,
    /// The guest, elapsed time.
    Monotonic,
    /// The trajectory.
    Event,
}

impl Reader {
    /// The letter that stands for it.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Reader::Wall => 'w',
            Reader::Monotonic => 'm',
            Reader::Event => 'e',
        }
    }

    fn of(letter: char) -> Option<Reader> {
        [Reader::Wall, Reader::Monotonic, Reader::Event]
            .into_iter()
            .find(|reader| reader.letter() == letter)
    }

    /// In a message.
    pub(super) fn name(self) -> &'static str {
        match self {
            Reader::Wall => "`wall-clock.now`",
            Reader::Monotonic => "`monotonic-clock.now`",
            Reader::Event => "an event of the trajectory",
        }
    }
}

/// One line between the first and the last. `n` counts calls from 1; a line of readings has several.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The clock was read.
    Readings {
        /// Number of the first reading.
        n: u64,
        /// Who read, in order.
        by: Vec<Reader>,
        /// Microseconds since the reading before; the first of a recording since its start.
        us: Vec<u64>,
    },
    /// A host call whose answer comes from outside.
    Call {
        /// Its number.
        n: u64,
        /// Interface and function, as `poll.poll`.
        kind: String,
        /// What was asked, as [`super::request::abridged`] leaves it.
        request: Value,
        /// The answer.
        answer: Answer,
    },
    /// A host call that does something outside was begun. Its answer has a line of its own: without one nobody
    /// knows whether it was done.
    Asked {
        /// Its number.
        n: u64,
        /// Interface and function.
        kind: String,
        /// What was asked.
        request: Value,
    },
    /// What came of such a call.
    Answered {
        /// Its number.
        of: u64,
        /// The answer.
        answer: Answer,
    },
    /// The run was ended from outside: a limit of time, an interrupt.
    Cut {
        /// The number the next call would have had.
        n: u64,
        /// How, as the outcome says it.
        ended: Value,
    },
}

/// How a call was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// With this.
    Result(Value),
    /// The guest was trapped.
    Trap(String),
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Calls on the tape.
    pub calls: u64,
    /// How the run ended, as the outcome's `ended`, as JSON text.
    pub ended: Value,
    /// SHA-256 of what the agent returned, as one line of JSON; nothing when it returned nothing.
    pub output: Option<Digest>,
    /// SHA-256 of the trajectory, each line with its newline.
    pub trajectory: Digest,
    /// Fuel used; nothing when the run was cut.
    pub fuel: Option<u64>,
    /// The run digest.
    pub run: Digest,
    /// SHA-256 of all bytes of the file before this line.
    pub lines: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: End,
}

/// A recording that has been read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What the run depended on.
    pub header: Header,
    /// What it got.
    pub entries: Vec<Entry>,
    /// How it ended; nothing when its host was killed.
    pub end: Option<End>,
    /// SHA-256 of the lines of the entries.
    pub entries_digest: Digest,
}

/// A recording cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum RecordingError {
    #[error("cannot read the recording `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot use the recording: it has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error(
        "cannot use the recording: it would take more than {} MiB of memory",
        MAX_ENTRIES >> 20
    )]
    TooMuch,
    #[error("cannot use the recording: it is not one")]
    Foreign,
    #[error("cannot use the recording: it has the format `{found}`, this host reads `{FORMAT}`")]
    Version { found: String },
    #[error("cannot use the recording: line {line}: {reason}")]
    Line { line: usize, reason: String },
    #[error("cannot use the recording: line {line} has call {found} where {expected} is due")]
    Order {
        line: usize,
        expected: u64,
        found: u64,
    },
    #[error("cannot use the recording: its lines are not those it ended with")]
    Edited,
    #[error("cannot replay the recording: it ends before its run did")]
    Unfinished,
}

impl Hint for RecordingError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                RecordingError::Unreadable { .. } => return None,
                RecordingError::TooLarge | RecordingError::TooMuch => "record a shorter run",
                RecordingError::Foreign => {
                    "a recording is written by `wasm-agent run --record FILE`; a trajectory or an event log \
                     is none"
                }
                RecordingError::Version { .. } => {
                    "replay it with the version of wasm-agent that wrote it, or record it again"
                }
                RecordingError::Line { .. }
                | RecordingError::Order { .. }
                | RecordingError::Edited => {
                    "somebody or something has changed the file; restore it, or record it again"
                }
                RecordingError::Unfinished => {
                    "its host was killed, or the file was cut off; `wasm-agent recording show` tells how \
                     far it goes"
                }
            }
            .to_owned(),
        )
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    n: Option<u64>,
    of: Option<u64>,
    read: Option<String>,
    us: Option<Vec<u64>>,
    call: Option<String>,
    #[serde(default, deserialize_with = "present")]
    request: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    trap: Option<String>,
    #[serde(default, deserialize_with = "present")]
    cut: Option<Value>,
}

/// `null` is a value here, not an absent one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Entry {
    /// The line, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Entry::Readings { n, by, us } => {
                let letters: String = by.iter().map(|reader| reader.letter()).collect();
                format!(r#"{{"n":{n},"read":"{letters}","us":{}}}"#, json(us))
            }
            Entry::Call {
                n,
                kind,
                request,
                answer,
            } => {
                let (kind, answer) = (json(kind), answer.member());
                format!(r#"{{"n":{n},"call":{kind},"request":{request},{answer}}}"#)
            }
            Entry::Asked { n, kind, request } => {
                format!(r#"{{"n":{n},"call":{},"request":{request}}}"#, json(kind))
            }
            Entry::Answered { of, answer } => format!(r#"{{"of":{of},{}}}"#, answer.member()),
            Entry::Cut { n, ended } => format!(r#"{{"n":{n},"cut":{ended}}}"#),
        }
    }

    /// Number of its first call; of an answer, that of the call.
    #[must_use]
    pub fn number(&self) -> u64 {
        match self {
            Entry::Readings { n, .. }
            | Entry::Call { n, .. }
            | Entry::Asked { n, .. }
            | Entry::Answered { of: n, .. }
            | Entry::Cut { n, .. } => *n,
        }
    }

    /// How many calls it stands for.
    #[must_use]
    pub fn calls(&self) -> u64 {
        match self {
            Entry::Readings { by, .. } => by.len() as u64,
            Entry::Call { .. } | Entry::Asked { .. } => 1,
            Entry::Answered { .. } | Entry::Cut { .. } => 0,
        }
    }

    fn parse(text: &str) -> Result<Entry, String> {
        let line: Line =
            serde_json::from_str(text).map_err(|error| printable(&error.to_string()))?;
        let answer = match (line.result, line.trap) {
            (Some(result), None) => Some(Answer::Result(result)),
            (None, Some(message)) => Some(Answer::Trap(message)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err("a call has either `result` or `trap`".to_owned()),
        };
        let readings = line.read.zip(line.us);
        let call = line.call.zip(line.request);
        match (line.n, line.of, readings, call, answer, line.cut) {
            (Some(n), None, Some((read, us)), None, None, None) => {
                let by: Option<Vec<Reader>> = read.chars().map(Reader::of).collect();
                let by = by.ok_or("a reading is `w`, `m` or `e`")?;
                if by.len() != us.len() || by.is_empty() || by.len() > READINGS_MAX {
                    return Err("`read` and `us` do not go together".to_owned());
                }
                Ok(Entry::Readings { n, by, us })
            }
            (Some(n), None, None, Some((kind, request)), Some(answer), None) => Ok(Entry::Call {
                n,
                kind,
                request,
                answer,
            }),
            (Some(n), None, None, Some((kind, request)), None, None) => {
                Ok(Entry::Asked { n, kind, request })
            }
            (None, Some(of), None, None, Some(answer), None) => Ok(Entry::Answered { of, answer }),
            (Some(n), None, None, None, None, Some(ended)) => Ok(Entry::Cut { n, ended }),
            _ => Err("it is neither readings, nor a call, nor an answer, nor a cut".to_owned()),
        }
    }
}

impl Answer {
    /// As a member of a line.
    fn member(&self) -> String {
        match self {
            Answer::Result(value) => format!(r#""result":{value}"#),
            Answer::Trap(message) => format!(r#""trap":{}"#, json(message)),
        }
    }
}

/// The JSON of texts and numbers, which always have one.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl End {
    /// The line, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        json(&EndLine { end: self.clone() })
    }
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`RecordingError`]. A file without its last lines can be read, though not replayed.
    pub fn read(path: &Path) -> Result<Recording, RecordingError> {
        let unreadable = |source| RecordingError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        Recording::from_lines(BufReader::new(file), path)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`Recording::read`].
    pub fn parse(bytes: &[u8]) -> Result<Recording, RecordingError> {
        Recording::from_lines(bytes, Path::new("-"))
    }

    /// Reads line by line: only what is made of a line stays in memory.
    fn from_lines(mut input: impl BufRead, path: &Path) -> Result<Recording, RecordingError> {
        let mut read: u64 = 0;
        let mut next_line = |number: usize| -> Result<Option<Vec<u8>>, RecordingError> {
            match foreign::line(&mut input, MAX_LINE) {
                Ok(foreign::Line::Whole(line)) => {
                    read += line.len() as u64;
                    if read > MAX_BYTES {
                        return Err(RecordingError::TooLarge);
                    }
                    Ok(Some(line))
                }
                // What comes after the last newline was being written when the host was killed.
                Ok(foreign::Line::Torn | foreign::Line::None) => Ok(None),
                // Whatever it is, it does not begin like a recording.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && number == 1 => {
                    Err(RecordingError::Foreign)
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Err(RecordingError::Line {
                        line: number,
                        reason: error.to_string(),
                    })
                }
                Err(source) => Err(RecordingError::Unreadable {
                    path: path.to_owned(),
                    source,
                }),
            }
        };
        let first = next_line(1)?.ok_or(RecordingError::Foreign)?;
        let header = Header::parse(&first)?;
        let mut all = Sha256::new();
        all.update(&first);
        let mut taken: u64 = 0;
        let mut own = Sha256::new();
        let mut entries = Vec::new();
        let mut end = None;
        let mut next = 1;
        // Calls that are under way.
        let mut asked = HashSet::new();
        for number in 2.. {
            let Some(line) = next_line(number)? else {
                break;
            };
            let wrong = |reason: String| RecordingError::Line {
                line: number,
                reason,
            };
            if end.is_some() {
                return Err(wrong("it stands after the end".to_owned()));
            }
            foreign::check_built(&line).map_err(wrong)?;
            let text = std::str::from_utf8(&line)
                .map_err(|error| wrong(error.to_string()))?
                .trim_end_matches('\n');
            if text.starts_with(r#"{"end":"#) {
                let EndLine { end: read } = serde_json::from_str(text)
                    .map_err(|error| wrong(printable(&error.to_string())))?;
                if read.lines != digest(&all) || read.calls != next - 1 {
                    return Err(RecordingError::Edited);
                }
                end = Some(read);
                continue;
            }
            let entry = Entry::parse(text).map_err(wrong)?;
            taken = taken.saturating_add(match &entry {
                // A number and a letter each.
                Entry::Readings { by, .. } => 16 * by.len() as u64,
                _ => foreign::built(&line),
            });
            if taken > MAX_ENTRIES {
                return Err(RecordingError::TooMuch);
            }
            if let Entry::Asked { n, .. } = entry {
                asked.insert(n);
            }
            if let Entry::Answered { of, .. } = entry {
                if !asked.remove(&of) {
                    let reason = format!("it answers call {of}, which does not wait for it");
                    return Err(wrong(reason));
                }
            } else if entry.number() != next {
                return Err(RecordingError::Order {
                    line: number,
                    expected: next,
                    found: entry.number(),
                });
            }
            next += entry.calls();
            all.update(&line);
            own.update(&line);
            entries.push(entry);
        }
        Ok(Recording {
            header,
            entries,
            end,
            entries_digest: digest(&own),
        })
    }

    /// The end, which a recording has to have to be replayed.
    ///
    /// # Errors
    ///
    /// It has none.
    pub fn finished(&self) -> Result<&End, RecordingError> {
        self.end.as_ref().ok_or(RecordingError::Unfinished)
    }
}

pub(super) fn digest(hasher: &Sha256) -> Digest {
    Digest::from(<[u8; 32]>::from(hasher.clone().finalize()))
}

impl Header {
    fn parse(line: &[u8]) -> Result<Header, RecordingError> {
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        let wrong = |reason: String| RecordingError::Line { line: 1, reason };
        let text = std::str::from_utf8(line).map_err(|_| RecordingError::Foreign)?;
        foreign::check_built(line).map_err(wrong)?;
        let Ok(Format { format }) = serde_json::from_str(text) else {
            return Err(RecordingError::Foreign);
        };
        if !format.starts_with(FAMILY) {
            return Err(RecordingError::Foreign);
        }
        if format != FORMAT {
            return Err(RecordingError::Version {
                found: printable(&format),
            });
        }
        let header: Header =
            serde_json::from_str(text).map_err(|error| wrong(printable(&error.to_string())))?;
        header
            .started()
            .ok_or_else(|| wrong("`start` is not a time".to_owned()))?;
        Ok(header)
    }

    /// The line, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        json(self)
    }

    /// When the run began; nothing when that is no time.
    #[must_use]
    pub fn started(&self) -> Option<jiff::Timestamp> {
        self.start.parse().ok()
    }
}
