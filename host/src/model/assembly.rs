//! A reply that is put together from pieces, within bounds.
//!
//! What all streaming formats have in common: text and reasoning grow, calls begin and their arguments
//! arrive in pieces, and everything comes from a server that may be broken or hostile.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::wire::{Class, Failure};
use super::{Delta, Reply, StopCause};
use crate::json::{self, printable};
use crate::trajectory::content::{self, Block};
use crate::trajectory::fact::Usage;

/// Blocks of one reply. Real replies have a few dozen.
pub(super) const MAX_BLOCKS: usize = 1000;

/// Bytes of one reply: text, reasoning, arguments and blocks together. Models write some 500 KiB at most;
/// pictures are larger.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Bytes of the arguments of one call.
pub(super) const MAX_ARGUMENTS: usize = 4 << 20;

/// Bytes of an id, and of the name of a tool or a model.
const MAX_NAME: usize = 256;

/// Bytes of arguments that are read again to see whether they are whole.
const SHORT: usize = 64 << 10;

/// Ids shorter than this cannot be unique: some servers count calls from zero in every reply.
const MIN_ID: usize = 6;

/// How ids that were made up here begin.
const MADE_UP: &str = "call_made_";

/// One block that grows.
#[derive(Debug)]
enum Part {
    Text {
        text: String,
        extra: Option<(&'static str, Value)>,
    },
    Thinking {
        text: String,
        signature: Option<String>,
    },
    Refusal(String),
    Call {
        id: String,
        /// The provider's id, where it gave one that can be told from others.
        theirs: Option<String>,
        name: String,
        arguments: String,
    },
    Block(Block),
}

/// What kind of text a block grows by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prose {
    Text,
    Thinking,
    Refusal,
}

/// Names a part; stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(usize);

/// What to do with calls whose arguments are not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokenCalls {
    /// The reply is complete: they are marked, and answered with an error.
    Mark,
    /// The reply was cut off: they are left out.
    LeaveOut,
}

/// A reply in the making.
#[derive(Debug)]
pub(super) struct Assembly {
    inference: u64,
    parts: Vec<Part>,
    bytes: usize,
    ids: HashSet<String>,
    /// The part prose was added to last; none once something has closed it.
    open: Option<Handle>,
    latest_call: Option<Handle>,
}

impl Assembly {
    pub(super) fn new(inference: u64) -> Assembly {
        Assembly {
            inference,
            parts: Vec::new(),
            bytes: 0,
            ids: HashSet::new(),
            open: None,
            latest_call: None,
        }
    }

    /// True while nothing has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// True when a call has begun.
    pub(super) fn has_calls(&self) -> bool {
        self.latest_call.is_some()
    }

    /// True when the model declined in words.
    pub(super) fn has_refusal(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Refusal(text) if !text.is_empty()))
    }

    /// Adds prose where the last prose of its kind ended, or begins a block.
    pub(super) fn prose(&mut self, prose: Prose, piece: &str) -> Result<Handle, Failure> {
        let handle = match self.open {
            Some(handle) if self.kind(handle) == Some(prose) => handle,
            _ => self.begin(prose)?,
        };
        self.append(handle, piece)?;
        Ok(handle)
    }

    /// Begins a block of prose.
    pub(super) fn begin(&mut self, prose: Prose) -> Result<Handle, Failure> {
        let part = match prose {
            Prose::Text => Part::Text {
                text: String::new(),
                extra: None,
            },
            Prose::Thinking => Part::Thinking {
                text: String::new(),
                signature: None,
            },
            Prose::Refusal => Part::Refusal(String::new()),
        };
        let handle = self.push(part)?;
        self.open = Some(handle);
        Ok(handle)
    }

    /// Prose that comes next begins a block of its own.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Adds to a block of prose.
    pub(super) fn append(&mut self, handle: Handle, piece: &str) -> Result<(), Failure> {
        self.grow(piece.len())?;
        match self.parts.get_mut(handle.0) {
            Some(Part::Text { text, .. } | Part::Thinking { text, .. } | Part::Refusal(text)) => {
                text.push_str(piece);
            }
            Some(Part::Call { .. } | Part::Block(_)) | None => {}
        }
        Ok(())
    }

    /// Sets the opaque value that goes back to the provider with a thinking block.
    pub(super) fn sign(&mut self, handle: Handle, value: String) -> Result<(), Failure> {
        self.grow(value.len())?;
        if let Some(Part::Thinking { signature, .. }) = self.parts.get_mut(handle.0) {
            *signature = Some(value);
        }
        Ok(())
    }

    /// Keeps something of the provider's with a text block, under a key of the provider's name space.
    pub(super) fn annotate(
        &mut self,
        handle: Handle,
        key: &'static str,
        value: Value,
    ) -> Result<(), Failure> {
        self.grow(value.to_string().len())?;
        if let Some(Part::Text { extra, .. }) = self.parts.get_mut(handle.0) {
            *extra = Some((key, value));
        }
        Ok(())
    }

    /// Begins a call. An id that is missing, used before in this reply or too short to be unique is
    /// replaced.
    pub(super) fn call(
        &mut self,
        id: Option<&str>,
        name: &str,
    ) -> Result<(Handle, Delta), Failure> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(garbled(format!(
                "a call of a tool with a name of {} bytes",
                name.len()
            )));
        }
        self.grow(name.len())?;
        let theirs = id.filter(|id| (1..=MAX_NAME).contains(&id.len()));
        let theirs = theirs.map(str::to_owned);
        let id = self.id(id);
        let delta = Delta::ToolUse {
            id: id.clone(),
            name: name.to_owned(),
        };
        let handle = self.push(Part::Call {
            id,
            theirs,
            name: name.to_owned(),
            arguments: String::new(),
        })?;
        self.open = None;
        self.latest_call = Some(handle);
        Ok((handle, delta))
    }

    /// The call of this tool that the provider has given this id already.
    pub(super) fn known(&self, id: Option<&str>, name: &str) -> Option<Handle> {
        let id = id?;
        let is_same = |part: &Part| match part {
            Part::Call {
                theirs,
                name: known,
                ..
            } => theirs.as_deref() == Some(id) && known == name,
            _ => false,
        };
        self.parts.iter().rposition(is_same).map(Handle)
    }

    /// Adds to the arguments of a call. Pieces of a call that is not the latest are no deltas, because
    /// a delta does not say whose it is.
    pub(super) fn arguments(
        &mut self,
        handle: Handle,
        piece: &str,
    ) -> Result<Option<Delta>, Failure> {
        self.grow(piece.len())?;
        let Some(Part::Call {
            name, arguments, ..
        }) = self.parts.get_mut(handle.0)
        else {
            return Ok(None);
        };
        if arguments.len() + piece.len() > MAX_ARGUMENTS {
            return Err(garbled(format!(
                "the arguments of a call of `{}` are longer than {MAX_ARGUMENTS} bytes",
                printable(name)
            )));
        }
        arguments.push_str(piece);
        let is_latest = self.latest_call == Some(handle);
        Ok((is_latest && !piece.is_empty()).then(|| Delta::ToolInput(piece.to_owned())))
    }

    /// True when the arguments of a call are a whole JSON object, as far as one can tell without reading
    /// long ones again with every piece.
    pub(super) fn is_whole(&self, handle: Handle) -> bool {
        match self.parts.get(handle.0) {
            Some(Part::Call { arguments, .. }) if arguments.len() > SHORT => true,
            Some(Part::Call { arguments, .. }) => {
                arguments.ends_with('}') && json::parse(arguments).is_ok()
            }
            _ => false,
        }
    }

    /// As [`Assembly::is_whole`], but of long arguments nothing is said.
    pub(super) fn is_short_and_whole(&self, handle: Handle) -> bool {
        let is_long = matches!(self.parts.get(handle.0), Some(Part::Call { arguments, .. }) if arguments.len() > SHORT);
        !is_long && self.is_whole(handle)
    }

    /// True when no arguments of a call have arrived.
    pub(super) fn is_blank(&self, handle: Handle) -> bool {
        matches!(self.parts.get(handle.0), Some(Part::Call { arguments, .. }) if arguments.trim().is_empty())
    }

    /// True when this is a call of that tool.
    pub(super) fn is_called(&self, handle: Handle, tool: &str) -> bool {
        matches!(self.parts.get(handle.0), Some(Part::Call { name, .. }) if name == tool)
    }

    /// True when the arguments of a call are whole, and these are the same again.
    pub(super) fn repeats(&self, handle: Handle, again: &str) -> bool {
        let Some(Part::Call { arguments, .. }) = self.parts.get(handle.0) else {
            return false;
        };
        let (known, again) = (arguments.trim(), again.trim());
        if known.is_empty() || !known.ends_with('}') || !again.ends_with('}') {
            return false;
        }
        // Two spellings of one object differ by blanks and escapes. It also bounds the work by what has arrived.
        if again.len().saturating_mul(2) + 64 < known.len() {
            return false;
        }
        match (json::parse(known), json::parse(again)) {
            (Ok(known), Ok(again)) => known == again,
            _ => false,
        }
    }

    /// What is missing of a text or of arguments, now that all of them are told: everything where nothing has
    /// arrived, nothing where something else has.
    pub(super) fn missing<'a>(&self, handle: Handle, whole: &'a str) -> &'a str {
        match self.parts.get(handle.0) {
            Some(
                Part::Text { text: known, .. }
                | Part::Thinking { text: known, .. }
                | Part::Refusal(known)
                | Part::Call {
                    arguments: known, ..
                },
            ) => whole.strip_prefix(known.as_str()).unwrap_or_default(),
            Some(Part::Block(_)) | None => "",
        }
    }

    /// True when words for the reader have arrived.
    pub(super) fn has_text(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Text { text, .. } if !text.is_empty()))
    }

    /// Adds a block that does not grow.
    pub(super) fn block(&mut self, value: Value) -> Result<(), Failure> {
        self.grow(value.to_string().len())?;
        let block = Block::parse(value).map_err(|reason| garbled(format!("a block: {reason}")))?;
        self.push(Part::Block(block))?;
        self.open = None;
        Ok(())
    }

    /// An id that is fit to be unique within the run: the provider's, or one made up.
    pub(super) fn id(&mut self, id: Option<&str>) -> String {
        let id = match id {
            Some(id) if is_unique(id) && !self.ids.contains(id) => id.to_owned(),
            _ => format!("{MADE_UP}{}_{}", self.inference, self.ids.len()),
        };
        self.ids.insert(id.clone());
        id
    }

    /// The blocks so far. Blocks without content are left out.
    pub(super) fn content(&self, broken: BrokenCalls) -> Result<Vec<Block>, Failure> {
        let mut content = Vec::new();
        for part in &self.parts {
            let mut block = Map::new();
            match part {
                Part::Text { text, extra } => {
                    if text.is_empty() {
                        continue;
                    }
                    block.insert("type".to_owned(), "text".into());
                    block.insert("text".to_owned(), text.as_str().into());
                    if let Some((key, value)) = extra {
                        block.insert((*key).to_owned(), value.clone());
                    }
                }
                Part::Thinking { text, signature } => {
                    if text.is_empty() && signature.is_none() {
                        continue;
                    }
                    block.insert("type".to_owned(), "thinking".into());
                    block.insert("thinking".to_owned(), text.as_str().into());
                    if let Some(signature) = signature {
                        block.insert("signature".to_owned(), signature.as_str().into());
                    }
                    if text.is_empty() {
                        block.insert("redacted".to_owned(), true.into());
                    }
                }
                Part::Refusal(text) => {
                    if text.is_empty() {
                        continue;
                    }
                    block.insert("type".to_owned(), "refusal".into());
                    block.insert("refusal".to_owned(), text.as_str().into());
                }
                Part::Call {
                    id,
                    name,
                    arguments,
                    ..
                } => {
                    let input = match input(arguments) {
                        Ok(input) => input,
                        Err(_) if broken == BrokenCalls::LeaveOut => continue,
                        // The call is a fact, and the model has to hear what was wrong with it.
                        Err(reason) => {
                            block.insert(content::MALFORMED.to_owned(), reason.as_str().into());
                            json!({"unparsed_arguments": shown(arguments), "error": reason})
                        }
                    };
                    block.insert("type".to_owned(), "tool_use".into());
                    block.insert("id".to_owned(), id.as_str().into());
                    block.insert("name".to_owned(), name.as_str().into());
                    block.insert("input".to_owned(), input);
                }
                Part::Block(block) => {
                    content.push(block.clone());
                    continue;
                }
            }
            let block = Block::parse(Value::Object(block)).map_err(garbled)?;
            content.push(block);
        }
        Ok(content)
    }

    fn kind(&self, handle: Handle) -> Option<Prose> {
        match self.parts.get(handle.0)? {
            Part::Text { .. } => Some(Prose::Text),
            Part::Thinking { .. } => Some(Prose::Thinking),
            Part::Refusal(_) => Some(Prose::Refusal),
            Part::Call { .. } | Part::Block(_) => None,
        }
    }

    fn push(&mut self, part: Part) -> Result<Handle, Failure> {
        if self.parts.len() >= MAX_BLOCKS {
            return Err(garbled(format!("more than {MAX_BLOCKS} blocks")));
        }
        self.parts.push(part);
        Ok(Handle(self.parts.len() - 1))
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(garbled(format!("more than {MAX_BYTES} bytes")));
        }
        Ok(())
    }
}

/// True when an id was made up here; the provider never saw it.
pub(super) fn is_made_up(id: &str) -> bool {
    id.starts_with(MADE_UP)
}

/// Something that is not an answer.
pub(super) fn garbled(reason: impl Into<String>) -> Failure {
    Failure::new(
        Class::Garbled,
        format!("cannot read the answer: {}", reason.into()),
    )
}

/// Parses the data of an event.
pub(super) fn parse(data: &str) -> Result<Value, Failure> {
    if data.len() > 2 * MAX_BYTES {
        return Err(garbled(format!("an event of {} bytes", data.len())));
    }
    serde_json::from_str(data).map_err(|error| garbled(format!("an event is not JSON: {error}")))
}

/// A short foreign name, such as a model's or a finish reason.
pub(super) fn name(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.is_empty()).then(|| text.chars().take(MAX_NAME).collect())
}

/// A member of an object; null where there is none.
pub(super) fn member<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or(&Value::Null)
}

/// A text that is there and not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// A count of tokens; some servers write them as floats.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked"
        )]
        (0.0..1e15).contains(&float).then_some(float as u64)
    })
}

/// Two reports of what one answer used, as one. Each is a total, and a later one may leave out what an earlier
/// one said or write zero for it: the greater counts. What a cache gave or took is part of the input.
pub(super) fn greater(known: Option<Usage>, told: Usage) -> Usage {
    let Some(known) = known else { return told };
    let most = |a: Option<u64>, b: Option<u64>| a.max(b);
    let (cache_read, cache_creation) = match known.input_tokens.cmp(&told.input_tokens) {
        Ordering::Less => (
            told.cache_read_input_tokens.filter(|count| *count > 0),
            told.cache_creation_input_tokens.filter(|count| *count > 0),
        ),
        Ordering::Equal => (
            most(known.cache_read_input_tokens, told.cache_read_input_tokens),
            most(
                known.cache_creation_input_tokens,
                told.cache_creation_input_tokens,
            ),
        ),
        Ordering::Greater => (None, None),
    };
    Usage {
        input_tokens: known.input_tokens.max(told.input_tokens),
        output_tokens: known.output_tokens.max(told.output_tokens),
        cache_read_input_tokens: cache_read.or(known.cache_read_input_tokens),
        cache_creation_input_tokens: cache_creation.or(known.cache_creation_input_tokens),
        reasoning_output_tokens: most(known.reasoning_output_tokens, told.reasoning_output_tokens),
    }
}

/// Input and output, where a server writes zero for one of them and the total gives it away.
pub(super) fn by_total(input: u64, output: u64, total: Option<u64>) -> (u64, u64) {
    let rest = |part: u64| total.unwrap_or_default().saturating_sub(part);
    match (input, output) {
        (0, output) if output > 0 => (rest(output), output),
        (input, 0) if input > 0 => (input, rest(input)),
        both => both,
    }
}

/// A bill with nothing on it yet.
pub(super) fn bill(model: Option<&String>, usage: Option<Usage>, cost_usd: Option<f64>) -> Reply {
    Reply {
        content: Vec::new(),
        stop: StopCause::Other,
        finish_reasons: Vec::new(),
        model: model.cloned(),
        usage,
        cost_usd,
        refusal_category: None,
    }
}

/// An amount of US dollars.
pub(super) fn dollars(value: Option<&Value>) -> Option<f64> {
    value?
        .as_f64()
        .filter(|cost| cost.is_finite() && *cost >= 0.0)
}

/// Marks an opaque value with the format it belongs to. Providers refuse signatures of others, and an
/// agent may go on with another provider in the middle of a conversation.
pub(super) fn seal(format: &str, value: &str) -> String {
    format!("{format}:{value}")
}

/// The opaque value of a thinking block, if it belongs to this format.
pub(super) fn unseal<'a>(format: &str, block: &'a Value) -> Option<&'a str> {
    block
        .get("signature")?
        .as_str()?
        .strip_prefix(format)?
        .strip_prefix(':')
}

fn is_unique(id: &str) -> bool {
    let counted = id.starts_with("functions.") && id.contains(':');
    (MIN_ID..=MAX_NAME).contains(&id.len())
        && !counted
        && !is_made_up(id)
        && id.bytes().all(|b| b.is_ascii_graphic())
}

/// The beginning of arguments that do not parse.
fn shown(arguments: &str) -> String {
    const MAX_CHARS: usize = 16 << 10;
    arguments.chars().take(MAX_CHARS).collect()
}

/// Calls without arguments come with an empty text.
fn input(arguments: &str) -> Result<Value, String> {
    if arguments.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match json::parse(arguments) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("it is another kind of value".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
