//! Limits: one table entry each, with its name, unit, default and the reason for the default.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::Hint;

/// What one run may use up. Durations are kept in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is documented by its entry in TABLE"
)]
pub struct Limits {
    pub memory: u64,
    pub wall: u64,
    pub cpu: u64,
    pub events: u64,
    pub event_bytes: u64,
    pub trajectory_bytes: u64,
    pub audit_bytes: u64,
    pub output_bytes: u64,
    pub storage_bytes: u64,
    pub hostcall_bytes: u64,
    pub table_elements: u64,
    pub instances: u64,
    pub handles: u64,
    pub listing_bytes: u64,
    pub disk_bytes: u64,
    pub file_bytes: u64,
    pub files: u64,
    pub idle: u64,
    pub idle_notice: u64,
    pub first_call: u64,
    pub after_result: u64,
    pub soft: u64,
    pub host_calls: u64,
    pub host_call_rate: u64,
    pub repeated_error: u64,
    pub repeated_call: u64,
    pub model_calls: u64,
    pub tokens: u64,
    pub money: u64,
    pub model_idle: u64,
    pub model_stall: u64,
    pub model_attempts: u64,
    pub requests: u64,
    pub connections: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub header_bytes: u64,
    pub url_bytes: u64,
    pub http_connect: u64,
    pub http_head: u64,
    pub http_idle: u64,
    pub tools: u64,
    pub tool_dial: u64,
    pub tool_close: u64,
    pub tool_call: u64,
    pub tool_calls: u64,
    pub tool_result_bytes: u64,
}

/// What the host itself takes at most beside `memory`, in bytes, while a guest with the other limits at their
/// defaults makes calls: the program and its compiled code, what one call copies and what becomes of it
/// (`hostcall-bytes` a few times over), listings (`listing-bytes`), pieces of files that streams hold (64 KiB for each of
/// `handles`, once for reading and once for writing), names of changed files, and records on their way to whoever
/// follows the run. Facts that are reported are kept as far as they are needed to judge the next one, up to
/// `trajectory-bytes` in the worst case; that much comes on top for a guest that reports nothing but names of calls.
pub const HOST_MEMORY: u64 = 256 << 20;

/// How the value of a limit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `512MiB`, `64KiB`, `1000`.
    Bytes,
    /// `10m`, `90s`, `250ms`.
    Duration,
    /// A plain number.
    Count,
    /// `90%`, up to 100.
    Percent,
    /// US dollars: `1.50`. Kept in millionths of a dollar.
    Money,
}

/// One limit.
#[derive(Debug)]
pub struct Limit {
    /// Its name in `[limits]`, in `--limit NAME=VALUE`, in events and in messages.
    pub name: &'static str,
    /// How its value is written.
    pub unit: Unit,
    /// What it bounds and what happens when it is reached.
    pub doc: &'static str,
    /// The default, as it would be written.
    pub default: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
    get: fn(&Limits) -> u64,
    set: fn(&mut Limits, u64),
}

impl Limit {
    /// Its value among `limits`.
    #[must_use]
    pub fn of(&self, limits: &Limits) -> u64 {
        (self.get)(limits)
    }

    /// Sets it among `limits`, unchecked.
    pub(crate) fn put(&self, limits: &mut Limits, value: u64) {
        (self.set)(limits, value);
    }
}

macro_rules! limit {
    ($name:literal, $field:ident, $unit:ident, $default:literal, $doc:literal, $why:literal) => {
        Limit {
            name: $name,
            unit: Unit::$unit,
            doc: $doc,
            default: $default,
            why: $why,
            get: |limits| limits.$field,
            set: |limits, value| limits.$field = value,
        }
    };
}

/// Every limit there is.
pub const TABLE: &[Limit] = &[
    limit!(
        "memory",
        memory,
        Bytes,
        "512MiB",
        "bytes of all linear memories together; growing beyond it fails in the guest",
        "a Python or JavaScript agent needs 10 to 100 MiB; half a GiB leaves room for documents"
    ),
    limit!(
        "wall",
        wall,
        Duration,
        "10m",
        "time from connecting to tool servers to the end of the agent; the run is interrupted, and over within two seconds",
        "what agent harnesses give one task; longer ones are asked for on purpose"
    ),
    limit!(
        "cpu",
        cpu,
        Duration,
        "1m",
        "time spent computing, waiting not counted; the run is interrupted",
        "agents mostly wait for models and tools: a minute of pure computing is a loop"
    ),
    limit!(
        "events",
        events,
        Count,
        "100000",
        "facts a guest may report; further ones are refused",
        "a long run has some thousands"
    ),
    limit!(
        "event-bytes",
        event_bytes,
        Bytes,
        "1MiB",
        "bytes of one reported fact or output line; a longer one is refused or cut",
        "a turn of a model with 200,000 tokens of output has about 1 MB"
    ),
    limit!(
        "trajectory-bytes",
        trajectory_bytes,
        Bytes,
        "256MiB",
        "bytes of all reported facts together; further ones are refused",
        "a run directory should fit beside a thousand others"
    ),
    limit!(
        "audit-bytes",
        audit_bytes,
        Bytes,
        "64MiB",
        "bytes of the records the host makes of what the agent does: changes of files, requests, refusals; the run is interrupted",
        "a hundred thousand changes of files; a long run makes some thousands"
    ),
    limit!(
        "output-bytes",
        output_bytes,
        Bytes,
        "1MiB",
        "bytes of standard output and of standard error, each, that are kept as records; what comes after is counted and only its tail kept",
        "more than anybody reads; the tail is what a failure report needs"
    ),
    limit!(
        "storage-bytes",
        storage_bytes,
        Bytes,
        "64MiB",
        "bytes of artifacts and checkpoints together; further ones are refused",
        "reports and patches are small; data sets belong in a granted directory"
    ),
    limit!(
        "hostcall-bytes",
        hostcall_bytes,
        Bytes,
        "32MiB",
        "bytes one host call may copy out of the guest; beyond it the guest traps",
        "the backstop under `event-bytes` and `storage-bytes`: no single call may make the host allocate more"
    ),
    limit!(
        "table-elements",
        table_elements,
        Count,
        "100000",
        "elements of all tables together; growing beyond it fails in the guest",
        "the largest language runtimes use under 10,000"
    ),
    limit!(
        "instances",
        instances,
        Count,
        "64",
        "core instances, memories and tables, each; a component with more cannot be started",
        "components of language runtimes have up to 40 core instances"
    ),
    limit!(
        "handles",
        handles,
        Count,
        "1024",
        "handles a guest may hold at once: open files, streams, timers; beyond it opening a file fails and anything else traps",
        "what a process gets from its operating system"
    ),
    limit!(
        "listing-bytes",
        listing_bytes,
        Bytes,
        "32MiB",
        "bytes of all directory listings that are open at once, as the host keeps them; listing one more fails in the guest",
        "a directory of a hundred thousand entries, or a thousand small ones"
    ),
    limit!(
        "disk-bytes",
        disk_bytes,
        Bytes,
        "1GiB",
        "bytes written to granted directories; further writes fail in the guest",
        "a build's worth of output"
    ),
    limit!(
        "file-bytes",
        file_bytes,
        Bytes,
        "256MiB",
        "size up to which one file may be made to grow; further writes fail in the guest",
        "one file must not take all that `disk-bytes` allows"
    ),
    limit!(
        "files",
        files,
        Count,
        "10000",
        "files and directories created in granted directories; further ones fail in the guest",
        "a large checkout"
    ),
    limit!(
        "idle",
        idle,
        Duration,
        "5m",
        "time without anything done: no fact, no output, no call but to clocks, randomness and pollables; the run is interrupted",
        "models answer within minutes; whoever is silent for five is stuck"
    ),
    limit!(
        "idle-notice",
        idle_notice,
        Duration,
        "30s",
        "time without anything done after which a record says so; the run goes on",
        "a person who watches wonders by then"
    ),
    limit!(
        "first-call",
        first_call,
        Duration,
        "168h",
        "time until the agent first does something: a fact, output, a call but to clocks, randomness and pollables; the run is interrupted",
        "a week, which is never: `idle` and `cpu` end it anyway; for agents that are known to begin at once"
    ),
    limit!(
        "after-result",
        after_result,
        Duration,
        "168h",
        "time after the result of a tool until the agent does something; the run is interrupted",
        "a week, which is never: `idle` ends it anyway; for agents that are known to go on at once"
    ),
    limit!(
        "soft",
        soft,
        Percent,
        "90%",
        "part of `wall` and of `cpu` after which the agent is told that its budget is low; the run goes on",
        "a tenth of the time is enough to hand over what there is"
    ),
    limit!(
        "host-calls",
        host_calls,
        Count,
        "10000000",
        "calls of the host by the guest; the run is interrupted",
        "a build that reads a large checkout makes under a million"
    ),
    limit!(
        "host-call-rate",
        host_call_rate,
        Count,
        "250000",
        "calls of the host in one second; a guest that makes more is held back until it is over",
        "at a microsecond each, a quarter of one core; a call that does something takes 10 to 30 microseconds"
    ),
    limit!(
        "repeated-error",
        repeated_error,
        Count,
        "5",
        "times the same thing fails in the same way in a row, or eight fifths as often in ten minutes; the run is interrupted",
        "what has failed five times unchanged fails a sixth time, and every model turn in between costs money"
    ),
    limit!(
        "repeated-call",
        repeated_call,
        Count,
        "5",
        "times the same tool is called with the same input and gives the same answer in a row, or eight fifths as often in ten minutes without any change; the run is interrupted",
        "an agent that has not learned from five equal answers is in a loop"
    ),
    limit!(
        "model-calls",
        model_calls,
        Count,
        "1000",
        "times a model may be asked; further requests are refused",
        "a long task takes some hundred turns"
    ),
    limit!(
        "tokens",
        tokens,
        Count,
        "20000000",
        "tokens of all models together, what they read and what they write; further requests are refused",
        "two hundred turns that read a hundred thousand tokens each"
    ),
    limit!(
        "money",
        money,
        Money,
        "10",
        "US dollars all models together may cost; further requests are refused. With any other value than the default, a model whose price nobody knows is refused, too",
        "most tasks cost less than one; a loop is noticed before it hurts"
    ),
    limit!(
        "model-idle",
        model_idle,
        Duration,
        "2m",
        "time a model may be silent before and in an answer: no byte, not even a comment that keeps the connection alive; it is asked again then, or given up. Over HTTP, `http-idle` and `http-head` are limits, too",
        "models that think without a word do so for a minute; less than `idle`, so that it is the model that is given up and not the run"
    ),
    limit!(
        "model-stall",
        model_stall,
        Duration,
        "10m",
        "time a model may keep the connection alive without a piece of its answer; it is asked again then, or given up",
        "what the clients of providers wait for an answer; the longest thoughts take minutes, and `wall` ends a run by then that was not given more"
    ),
    limit!(
        "model-attempts",
        model_attempts,
        Count,
        "5",
        "times one request is sent until it is given up, where asking again can help",
        "with the waits in between, half a minute: what has not passed by then is for the agent to know"
    ),
    limit!(
        "requests",
        requests,
        Count,
        "10000",
        "HTTP requests of the run, those for models and tools included; further ones are refused",
        "a crawl of a large site; whoever needs more says so"
    ),
    limit!(
        "connections",
        connections,
        Count,
        "16",
        "requests under way at once, of the agent, of its models and of its tools, each; further ones wait, and are refused when `http-connect` is over",
        "what browsers open to a few hosts at once"
    ),
    limit!(
        "request-bytes",
        request_bytes,
        Bytes,
        "32MiB",
        "bytes of the body of one request; a longer one is cut off and fails",
        "what providers of models take at most"
    ),
    limit!(
        "response-bytes",
        response_bytes,
        Bytes,
        "64MiB",
        "bytes of the body of one response; a longer one is cut off and fails",
        "a document with its pictures; archives are fetched by whoever grants them"
    ),
    limit!(
        "header-bytes",
        header_bytes,
        Bytes,
        "64KiB",
        "bytes of the headers of one request, and of one response; with more it fails",
        "servers take 8 to 32 KiB"
    ),
    limit!(
        "url-bytes",
        url_bytes,
        Bytes,
        "16KiB",
        "bytes of a URL; a request with a longer one is refused",
        "servers take 8 KiB"
    ),
    limit!(
        "http-connect",
        http_connect,
        Duration,
        "15s",
        "time to look a host up, connect to it and agree on TLS; then the request fails",
        "three lost packets in a row; a server that takes longer is down"
    ),
    limit!(
        "http-head",
        http_head,
        Duration,
        "5m",
        "time from the last byte of a request to the head of its response; then it fails",
        "a model that does not stream answers within minutes; `idle` ends the run then anyway"
    ),
    limit!(
        "http-idle",
        http_idle,
        Duration,
        "2m",
        "time between two pieces of a response; then it fails",
        "streams of models and tools keep themselves alive every few seconds"
    ),
    limit!(
        "tools",
        tools,
        Count,
        "512",
        "tools of granted servers and components together; a server with more than are left is not used",
        "a model reads all of them on every turn, and chooses badly among hundreds"
    ),
    limit!(
        "tool-dial",
        tool_dial,
        Duration,
        "30s",
        "time to connect to one tool server and to list its tools, before the agent starts; a server that takes longer is not used, and none is waited for longer than `wall`",
        "a server that is downloaded first, as by `npx` or `uv`, takes some ten seconds"
    ),
    limit!(
        "tool-close",
        tool_close,
        Duration,
        "2s",
        "time a tool server has to end by itself once its input is closed, after the run; then it is told to end, and a second later killed",
        "enough to write down what it holds; a server that ends by itself is waited for no longer than it takes"
    ),
    limit!(
        "tool-call",
        tool_call,
        Duration,
        "2m",
        "time of one call of a granted tool; the call is cancelled and fails",
        "what programs that use MCP give one call; the `timeout` of a server says otherwise"
    ),
    limit!(
        "tool-calls",
        tool_calls,
        Count,
        "1000",
        "calls of granted tools; further ones are refused",
        "a long run has some hundreds"
    ),
    limit!(
        "tool-result-bytes",
        tool_result_bytes,
        Bytes,
        "1MiB",
        "bytes of one result of a granted tool; a longer one is cut, and says so",
        "more than a model reads: about 200,000 tokens"
    ),
];

impl Default for Limits {
    fn default() -> Limits {
        let mut limits = Limits {
            memory: 0,
            wall: 0,
            cpu: 0,
            events: 0,
            event_bytes: 0,
            trajectory_bytes: 0,
            audit_bytes: 0,
            output_bytes: 0,
            storage_bytes: 0,
            hostcall_bytes: 0,
            table_elements: 0,
            instances: 0,
            handles: 0,
            listing_bytes: 0,
            disk_bytes: 0,
            file_bytes: 0,
            files: 0,
            idle: 0,
            idle_notice: 0,
            first_call: 0,
            after_result: 0,
            soft: 0,
            host_calls: 0,
            host_call_rate: 0,
            repeated_error: 0,
            repeated_call: 0,
            model_calls: 0,
            tokens: 0,
            money: 0,
            model_idle: 0,
            model_stall: 0,
            model_attempts: 0,
            requests: 0,
            connections: 0,
            request_bytes: 0,
            response_bytes: 0,
            header_bytes: 0,
            url_bytes: 0,
            http_connect: 0,
            http_head: 0,
            http_idle: 0,
            tools: 0,
            tool_dial: 0,
            tool_close: 0,
            tool_call: 0,
            tool_calls: 0,
            tool_result_bytes: 0,
        };
        for limit in TABLE {
            // A test parses every default, so none of them is left at zero.
            (limit.set)(
                &mut limits,
                limit.unit.parse(limit.default).unwrap_or_default(),
            );
        }
        limits
    }
}

/// A limit is wrong.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum LimitError {
    #[error("there is no limit `{name}`")]
    Unknown { name: String },
    #[error("cannot set the limit `{name}` to `{value}`: {reason}")]
    Value {
        name: &'static str,
        value: String,
        reason: &'static str,
    },
    #[error("limit `{small}` ({small_value}) must not be greater than `{large}` ({large_value})")]
    Relation {
        small: &'static str,
        small_value: u64,
        large: &'static str,
        large_value: u64,
    },
}

impl Hint for LimitError {
    fn hint(&self) -> Option<String> {
        match self {
            LimitError::Unknown { .. } => {
                let names: Vec<_> = TABLE.iter().map(|limit| limit.name).collect();
                Some(format!("limits are {}", names.join(", ")))
            }
            LimitError::Value { name, .. } => {
                let unit = find(name).ok()?.unit;
                Some(format!("write it like {}", unit.example()))
            }
            LimitError::Relation { .. } => None,
        }
    }
}

impl Limits {
    /// Sets the limit `name` from its written value.
    ///
    /// # Errors
    ///
    /// No such limit, or not a value of its unit; zero is not a value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitError> {
        let limit = find(name)?;
        let parsed = limit
            .unit
            .parse(value)
            .map_err(|reason| LimitError::Value {
                name: limit.name,
                value: value.to_owned(),
                reason,
            })?;
        (limit.set)(self, parsed);
        Ok(())
    }

    /// Checks how limits relate to each other.
    ///
    /// # Errors
    ///
    /// Names both limits of the first relation that does not hold.
    pub fn check(&self) -> Result<(), LimitError> {
        let pairs = [
            (
                ("event-bytes", self.event_bytes),
                ("trajectory-bytes", self.trajectory_bytes),
            ),
            (
                ("event-bytes", self.event_bytes),
                ("hostcall-bytes", self.hostcall_bytes),
            ),
            (("idle", self.idle), ("wall", self.wall)),
            (("idle-notice", self.idle_notice), ("idle", self.idle)),
            (("first-call", self.first_call), ("wall", self.wall)),
            (("after-result", self.after_result), ("wall", self.wall)),
        ];
        let defaults = Limits::default();
        for ((small, small_value), (large, large_value)) in pairs {
            // A short run has no use for the default of `idle`; only who asks for a limit that can never
            // be reached is mistaken.
            let never = match small {
                "idle" => self.idle == defaults.idle,
                "idle-notice" => self.idle_notice == defaults.idle_notice,
                "first-call" => self.first_call == defaults.first_call,
                "after-result" => self.after_result == defaults.after_result,
                _ => false,
            };
            if small_value > large_value && !never {
                return Err(LimitError::Relation {
                    small,
                    small_value,
                    large,
                    large_value,
                });
            }
        }
        Ok(())
    }

    /// The wall-clock limit.
    #[must_use]
    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.wall)
    }

    /// The CPU budget.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        Duration::from_millis(self.cpu)
    }

    /// The soft limit that belongs to a hard one.
    #[must_use]
    pub fn soft(&self, hard: Duration) -> Duration {
        let percent = u32::try_from(self.soft).unwrap_or(100).min(100);
        hard.saturating_mul(percent) / 100
    }

    /// Names and values, in the words of a grants file.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entries = TABLE.iter().map(|limit| {
            let value = (limit.get)(self);
            let shown = match limit.unit {
                Unit::Duration | Unit::Percent | Unit::Money => json!(limit.unit.show(value)),
                Unit::Bytes | Unit::Count => json!(value),
            };
            (limit.name.to_owned(), shown)
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }

    /// The limits that differ from those of `other`, with both values as a person would write them.
    pub fn differing(&self, other: &Limits) -> Vec<(&'static Limit, String, String)> {
        TABLE
            .iter()
            .filter(|limit| limit.of(self) != limit.of(other))
            .map(|limit| {
                let show = |limits| limit.unit.show(limit.of(limits));
                (limit, show(self), show(other))
            })
            .collect()
    }

    /// Each limit with its value, written as a person would.
    pub fn shown(&self) -> impl Iterator<Item = (&'static Limit, String)> {
        TABLE
            .iter()
            .map(|limit| (limit, limit.unit.show((limit.get)(self))))
    }
}

/// A value of the limit `name`, written as a person would.
#[must_use]
pub fn show(name: &str, value: u64) -> String {
    find(name)
        .map_or(Unit::Count, |limit| limit.unit)
        .show(value)
}

/// The limit of this name.
///
/// # Errors
///
/// There is none.
pub fn find(name: &str) -> Result<&'static Limit, LimitError> {
    TABLE
        .iter()
        .find(|limit| limit.name == name)
        .ok_or_else(|| LimitError::Unknown {
            name: name.to_owned(),
        })
}

impl Unit {
    /// Longest duration: a week. Longer runs are a service, not a task.
    const MAX_MILLIS: u64 = 7 * 24 * 60 * 60 * 1000;

    /// The value of what is written.
    ///
    /// # Errors
    ///
    /// Why it is none, in words.
    pub fn parse(self, text: &str) -> Result<u64, &'static str> {
        if self == Unit::Money {
            return parse_money(text);
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let number: u64 = number
            .parse()
            .map_err(|_| "a number is missing or too large")?;
        let factor = match (self, suffix.trim_start()) {
            (Unit::Bytes | Unit::Count | Unit::Percent, "")
            | (Unit::Bytes, "B")
            | (Unit::Duration, "ms")
            | (Unit::Percent, "%") => 1,
            (Unit::Bytes, "KiB") => 1 << 10,
            (Unit::Bytes, "MiB") => 1 << 20,
            (Unit::Bytes, "GiB") => 1 << 30,
            (Unit::Duration, "s") => 1000,
            (Unit::Duration, "m") => 60_000,
            (Unit::Duration, "h") => 3_600_000,
            _ => return Err("the unit is not one of this limit's"),
        };
        let value = number.checked_mul(factor).ok_or("the value is too large")?;
        if value == 0 {
            return Err("zero would stop every run");
        }
        if self == Unit::Duration && value > Self::MAX_MILLIS {
            return Err("the longest duration is 168h");
        }
        if self == Unit::Percent && value > 100 {
            return Err("more than 100% is not a part");
        }
        Ok(value)
    }

    fn show(self, value: u64) -> String {
        if self == Unit::Money {
            return show_money(value);
        }
        let units: &[(u64, &str)] = match self {
            Unit::Bytes => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
            Unit::Duration => &[(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")],
            Unit::Count | Unit::Money => &[],
            Unit::Percent => &[(1, "%")],
        };
        units
            .iter()
            .find(|(factor, _)| value.is_multiple_of(*factor))
            .map_or_else(
                || value.to_string(),
                |(factor, unit)| format!("{}{unit}", value / factor),
            )
    }

    /// How values of it are written, for a message.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Unit::Bytes => "`512MiB`, `64KiB` or `1000`",
            Unit::Duration => "`10m`, `90s` or `250ms`",
            Unit::Count => "`1000`",
            Unit::Percent => "`90%`",
            Unit::Money => "`0.50` or `10` (US dollars)",
        }
    }
}

/// Digits after the point of an amount of money, as many as are kept.
const MONEY_DIGITS: usize = 6;

fn parse_money(text: &str) -> Result<u64, &'static str> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err("it is not an amount in US dollars");
    }
    if part.len() > MONEY_DIGITS {
        return Err("less than a millionth of a dollar is not counted");
    }
    let millionths: u64 = format!("{part:0<MONEY_DIGITS$}")
        .parse()
        .map_err(|_| "the value is too large")?;
    let value = whole
        .parse::<u64>()
        .ok()
        .and_then(|whole| whole.checked_mul(1_000_000)?.checked_add(millionths))
        .ok_or("the value is too large")?;
    if value == 0 {
        return Err("zero would stop every run");
    }
    Ok(value)
}

/// At least cents, no zeros beyond.
fn show_money(value: u64) -> String {
    let (whole, part) = (value / 1_000_000, value % 1_000_000);
    let part = format!("{part:06}");
    let kept = part.trim_end_matches('0').len().max(2);
    format!("{whole}.{}", part.get(..kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_default_is_a_value_and_the_defaults_go_together() {
        for limit in TABLE {
            assert!(limit.unit.parse(limit.default).is_ok(), "{}", limit.name);
        }
        Limits::default().check().unwrap();
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|limit| limit.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        let mut limits = Limits::default();
        for (name, value) in [
            ("memory", ""),
            ("memory", "0"),
            ("memory", "-1"),
            ("memory", "10m"),
            ("memory", "99999999999999999999"),
            ("memory", "99999999999999GiB"),
            ("wall", "10"),
            ("wall", "1000h"),
            ("events", "10MiB"),
            ("memroy", "10MiB"),
            ("soft", "101%"),
            ("soft", "0%"),
            ("soft", "10s"),
            ("money", "0"),
            ("money", "0.00"),
            ("money", "-1"),
            ("money", "1."),
            ("money", ".5"),
            ("money", "1.0000001"),
            ("money", "1e3"),
            ("money", "$1"),
            ("money", "99999999999999"),
        ] {
            assert!(limits.set(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn relations_name_both_limits_unless_one_is_a_default_that_never_comes() {
        let check = |pairs: &[(&str, &str)]| {
            let mut limits = Limits::default();
            for (name, value) in pairs {
                limits.set(name, value).unwrap();
            }
            limits.check().map_err(|error| error.to_string())
        };
        check(&[("wall", "10s")]).unwrap();
        check(&[("idle", "20s")]).unwrap();
        let error = check(&[("wall", "10s"), ("idle", "20s")]).unwrap_err();
        assert!(
            error.contains("`idle` (20000)") && error.contains("`wall` (10000)"),
            "{error}"
        );
        let error = check(&[("idle-notice", "40s"), ("idle", "35s")]).unwrap_err();
        assert!(
            error.contains("`idle-notice`") && error.contains("`idle`"),
            "{error}"
        );
    }

    #[test]
    fn money_is_counted_in_millionths_of_a_dollar() {
        let mut limits = Limits::default();
        for (text, value, shown) in [
            ("1.50", 1_500_000, "1.50"),
            ("0.000001", 1, "0.000001"),
            ("20", 20_000_000, "20.00"),
        ] {
            limits.set("money", text).unwrap();
            assert_eq!(limits.money, value, "{text}");
            assert_eq!(show("money", value), shown);
            assert_eq!(limits.to_json()["money"], shown);
        }
    }

    #[test]
    fn the_soft_limit_is_a_part_of_the_hard_one() {
        let mut limits = Limits::default();
        assert_eq!(
            limits.soft(Duration::from_secs(600)),
            Duration::from_secs(540)
        );
        limits.set("soft", "50%").unwrap();
        assert_eq!(
            limits.soft(Duration::from_secs(3)),
            Duration::from_millis(1500)
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same_value(value in 1_u64..Unit::MAX_MILLIS) {
            for unit in [Unit::Bytes, Unit::Duration, Unit::Count, Unit::Money] {
                prop_assert_eq!(unit.parse(&unit.show(value)), Ok(value));
            }
            let part = value % 100 + 1;
            prop_assert_eq!(Unit::Percent.parse(&Unit::Percent.show(part)), Ok(part));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            for unit in [Unit::Bytes, Unit::Duration, Unit::Count, Unit::Percent, Unit::Money] {
                let _ = unit.parse(&text);
            }
        }
    }
}
