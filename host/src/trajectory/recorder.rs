//! The ordering and span rules of a trajectory, in one place: facts in, events out.
//!
//! A plain state machine without I/O, clock or lock. Each report is checked completely before anything
//! changes; a refused report leaves the state as it was. Rules are AVP's (trajectory.md §2, §3, §5, §8):
//!
//! - `assistant_message` first, then what its turn led to, in order of arrival.
//! - Chunks with the same key merge until a tool called in the turn has returned.
//! - A turn without output is not written and uses no step.
//! - `tool_invoked` follows from the `tool_use` blocks of a turn; every call returns exactly once.
//! - What is open at the end is closed by the host: calls as errors, frames as `abandoned`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::content::{Block, Runner};
use super::event::{
    AgentStarted, AgentStopped, AssistantMessage, Body, CostSource, DispatchTarget, ErrorOccurred,
    Event, Origin, Span, SpanId, SubagentInvoked, SubagentReturned, ToolInvoked, ToolResultBlock,
    ToolReturned, TraceId,
};
use super::fact::{SubagentCall, SubagentResult, ToolResult, Turn, Usage};
use super::vocabulary::{ErrorCode, StopReason};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Text of the result of a call that was still open when the run ended.
pub const UNRETURNED_CALL: &str = "the run ended before this call returned";
/// Text of the result of a sub-agent that was still working when the run ended.
pub const UNRETURNED_SUBAGENT: &str = "the run ended while this sub-agent was still working";

/// Why a fact was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum Rejected {
    #[error("{0}")]
    Invalid(String),
    #[error("no call `{0}` was reported")]
    UnknownCall(String),
    #[error("call `{0}` has its result already")]
    CallReturned(String),
    #[error("a call `{0}` was reported before")]
    DuplicateCall(String),
    #[error("no sub-agent invocation `{0}` is open")]
    UnknownInvocation(String),
    #[error("a sub-agent invocation `{0}` was reported before")]
    DuplicateInvocation(String),
    #[error("no turn is open that could take this")]
    NoOpenTurn,
    #[error("limit `{name}` is reached ({max})")]
    Limit { name: &'static str, max: u64 },
    #[error("the run has been stopped")]
    Stopped,
}

/// What became of a reported turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The step the turn has if it has output.
    pub step: u32,
    /// Calls the recorder answered with an error, because the tool they name is not in this run.
    pub refused_calls: Vec<String>,
}

/// Where ids come from: seeded once, so that a hermetic run gets the same ids every time.
#[derive(Clone, Debug)]
pub struct Ids {
    trace: TraceId,
    next_event: u64,
    next_span: u64,
}

impl Ids {
    /// Ids that follow from `seed`.
    #[must_use]
    pub fn seeded(seed: [u8; 16]) -> Ids {
        let trace = u128::from_be_bytes(seed).max(1);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let next_span = trace as u64;
        Ids {
            trace: TraceId(trace),
            next_event: 0,
            next_span,
        }
    }

    fn event(&mut self) -> String {
        let id = format!("{:032x}-{}", self.trace.0, self.next_event);
        self.next_event += 1;
        id
    }

    /// SplitMix64: a bijection of a counter, so ids never repeat within a run.
    fn span(&mut self) -> SpanId {
        loop {
            self.next_span = self.next_span.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.next_span;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            if z != 0 {
                return SpanId(z);
            }
        }
    }
}

#[derive(Debug)]
struct Call {
    span: SpanId,
    turn_span: SpanId,
    step: u32,
    name: String,
    input: Value,
    since: Timestamp,
    open: bool,
}

#[derive(Debug)]
struct Frame {
    invocation_id: String,
    span: SpanId,
    parent: SpanId,
    step: u32,
    name: String,
    since: Timestamp,
    /// Turns of its own are on record.
    has_turns: bool,
}

#[derive(Debug)]
struct OpenTurn {
    report: Turn,
    origin: Origin,
    step: u32,
    span: SpanId,
    parent: SpanId,
    opened: Timestamp,
    last_chunk: Timestamp,
    /// What the turn led to; written after its `assistant_message`.
    after: Vec<Event>,
    calls: HashSet<String>,
    /// A call of this turn has returned: the inference is over.
    tool_returned: bool,
}

/// Builds the events of one run from what is reported about it.
#[derive(Debug)]
pub struct Recorder {
    ids: Ids,
    subject: Arc<str>,
    provider: Option<String>,
    /// Tools of this run and the MCP server that serves each, if one does.
    tools: HashMap<String, Option<String>>,
    agent_span: Option<SpanId>,
    turn: Option<OpenTurn>,
    last_step: u32,
    calls: HashMap<String, Call>,
    /// Order of the calls, for closing what is open.
    call_order: Vec<String>,
    frames: Vec<Frame>,
    invocations: HashSet<String>,
    stopped: Option<StopReason>,
    last_time: Timestamp,
    out: Vec<Event>,
}

impl Recorder {
    /// A recorder for the run whose events have the subject `run_id`.
    #[must_use]
    pub fn new(ids: Ids, run_id: &str, provider: Option<String>) -> Recorder {
        Recorder {
            ids,
            subject: Arc::from(run_id),
            provider,
            tools: HashMap::new(),
            agent_span: None,
            turn: None,
            last_step: 0,
            calls: HashMap::new(),
            call_order: Vec::new(),
            frames: Vec::new(),
            invocations: HashSet::new(),
            stopped: None,
            last_time: Timestamp::MIN,
            out: Vec::new(),
        }
    }

    /// Takes the events that are ready to be written, in order.
    #[must_use]
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.out)
    }

    /// True while reports are held back until the open turn closes.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.turn.is_some()
    }

    /// True when a call has this id already.
    #[must_use]
    pub fn has_call(&self, id: &str) -> bool {
        self.calls.contains_key(id)
    }

    /// True while this call has no result.
    #[must_use]
    pub fn is_open(&self, call_id: &str) -> bool {
        self.calls.get(call_id).is_some_and(|call| call.open)
    }

    /// True while the frame of this invocation is open.
    #[must_use]
    pub fn has_frame(&self, invocation_id: &str) -> bool {
        self.frames
            .iter()
            .any(|frame| frame.invocation_id == invocation_id)
    }

    /// True when this is a tool of the run.
    #[must_use]
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools.contains_key(name)
    }

    /// How the run ended, once it has.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        self.stopped
    }

    /// True once `agent_started` is written.
    #[must_use]
    pub fn started(&self) -> bool {
        self.agent_span.is_some()
    }

    /// True while a call with this id, of this tool and with this input, waits for its result.
    #[must_use]
    pub fn awaits(&self, id: &str, name: &str, input: &Value) -> bool {
        self.calls
            .get(id)
            .is_some_and(|call| call.open && call.name == name && call.input == *input)
    }

    /// Writes one event of the prelude: a root span of its own.
    pub fn prelude(&mut self, now: Timestamp, body: Body) {
        let span = self.new_span(SpanId::NONE);
        let event = self.event(now, span, Origin::Host, body);
        self.write(event);
    }

    /// Writes `agent_started` and opens the run's span.
    pub fn start(&mut self, now: Timestamp, started: AgentStarted) {
        let span = self.new_span(SpanId::NONE);
        self.agent_span = Some(span.id);
        self.tools = started
            .tools
            .iter()
            .map(|tool| (tool.name.clone(), tool.mcp_server_id.clone()))
            .collect();
        let event = self.event(
            now,
            span,
            Origin::Host,
            Body::AgentStarted(Box::new(started)),
        );
        self.write(event);
    }

    /// Reports what a model said.
    ///
    /// # Errors
    ///
    /// A duplicate or unknown call id, or a stopped run; see [`Rejected`].
    pub fn assistant(
        &mut self,
        now: Timestamp,
        origin: Origin,
        report: Turn,
    ) -> Result<Receipt, Rejected> {
        self.require_running()?;
        self.check_calls(&report.content)?;
        amount("cost-usd", report.cost_usd)?;
        amount("time-to-first-chunk", report.time_to_first_chunk)?;

        let parent = match &report.frame {
            None => self.agent_span.unwrap_or(SpanId::NONE),
            Some(id) => self
                .frames
                .iter()
                .find(|frame| &frame.invocation_id == id)
                .map(|frame| frame.span)
                .or_else(|| down(Wall::Facts).then_some(SpanId::NONE))
                .ok_or_else(|| Rejected::UnknownInvocation(id.clone()))?,
        };
        let joins = self.turn.as_ref().is_some_and(|turn| {
            report.key.is_some()
                && report.key == turn.report.key
                && parent == turn.parent
                && !turn.tool_returned
        });
        if !joins {
            self.close_turn();
        }
        let complete = report.key.is_none();
        let mut turn = match self.turn.take() {
            Some(turn) => turn,
            None => OpenTurn {
                report: Turn {
                    key: report.key.clone(),
                    ..Turn::default()
                },
                origin,
                step: self.last_step + 1,
                span: self.ids.span(),
                parent,
                opened: now,
                last_chunk: now,
                after: Vec::new(),
                calls: HashSet::new(),
                tool_returned: false,
            },
        };
        turn.last_chunk = now;
        let step = turn.step;
        let mut refused_calls = Vec::new();
        for block in &report.content {
            if let Some(call) = block.call() {
                let known = call.runner == Runner::Provider
                    || self.tools.contains_key(call.name)
                    || down(Wall::ToolBag);
                let (id, name) = (call.id.to_owned(), call.name.to_owned());
                self.invoke(now, &mut turn, &id, &name, call.input.clone());
                let malformed = block.malformed().filter(|_| origin == Origin::Observed);
                if !known || malformed.is_some() {
                    // The model asked for something that is not there, or in a way that nobody can read.
                    // That it asked is a fact; the answer is the host's, so that no agent can run a tool
                    // it was not given.
                    let text = match malformed {
                        Some(reason) if known => {
                            format!("the arguments are not a JSON object: {reason}")
                        }
                        _ => format!("tool `{name}` is not available in this run"),
                    };
                    if let Some(event) =
                        self.answer(now, Origin::Host, &id, Value::String(text), None, true)
                    {
                        turn.after.push(event);
                    }
                    refused_calls.push(id);
                }
            } else if let Some(answer) = block.answer() {
                let content = match answer.content {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let (id, is_error) = (answer.call_id.to_owned(), answer.is_error);
                if turn.calls.contains(&id) {
                    turn.tool_returned = true;
                }
                if let Some(event) =
                    self.answer(now, origin, &id, Value::String(content), None, is_error)
                {
                    turn.after.push(event);
                }
            }
        }
        turn.merge(report);
        self.turn = Some(turn);
        if complete {
            self.close_turn();
        }
        Ok(Receipt {
            step,
            refused_calls,
        })
    }

    /// Reports tokens and cost of the open turn.
    ///
    /// # Errors
    ///
    /// [`Rejected::NoOpenTurn`] when no turn is open or `key` is another turn's.
    pub fn usage(
        &mut self,
        key: Option<&str>,
        usage: Usage,
        cost_usd: Option<f64>,
    ) -> Result<(), Rejected> {
        self.require_running()?;
        amount("cost-usd", cost_usd)?;
        let turn = self.turn.as_mut().ok_or(Rejected::NoOpenTurn)?;
        if key.is_some() && key != turn.report.key.as_deref() {
            return Err(Rejected::NoOpenTurn);
        }
        turn.report.usage = Some(usage);
        if cost_usd.is_some() {
            turn.report.cost_usd = cost_usd;
        }
        Ok(())
    }

    /// Closes the open turn: its message, then what it led to. Does nothing when none is open.
    pub fn close_turn(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        // What an agent claims without saying anything is no turn. One that the host has seen was paid for.
        let says_nothing = turn.after.is_empty() && turn.report.content.iter().all(Block::is_empty);
        if says_nothing && turn.origin != Origin::Observed {
            return;
        }
        if let Some(frame) = self
            .frames
            .iter_mut()
            .find(|frame| frame.span == turn.parent)
        {
            frame.has_turns = true;
        }
        self.last_step = turn.step;
        let report = turn.report;
        let (cost_usd, cost_source) = match report.cost_usd {
            Some(cost) => (cost, report.cost_source.unwrap_or(CostSource::Reported)),
            None => (0.0, CostSource::Unknown),
        };
        let span = Span {
            trace: self.ids.trace,
            id: turn.span,
            parent: turn.parent,
        };
        let body = Body::AssistantMessage(Box::new(AssistantMessage {
            step: turn.step,
            duration_ms: report
                .duration_ms
                .unwrap_or_else(|| millis_between(turn.opened, turn.last_chunk)),
            content: report.content,
            provider_name: report.provider.or_else(|| self.provider.clone()),
            request_model: report.request_model.or_else(|| report.model.clone()),
            response_model: report.model,
            finish_reasons: (!report.finish_reasons.is_empty()).then_some(report.finish_reasons),
            time_to_first_chunk: report.time_to_first_chunk,
            usage: report.usage.unwrap_or_default(),
            cost_usd,
            cost_source,
            refusal_category: report.refusal_category,
            meta: report
                .meta
                .filter(|meta| !meta.is_empty())
                .map(Value::Object),
        }));
        let event = self.event(turn.last_chunk, span, turn.origin, body);
        self.write(event);
        for event in turn.after {
            self.write(event);
        }
    }

    /// Reports the result of a tool call.
    ///
    /// # Errors
    ///
    /// An unknown or answered call, or a stopped run.
    pub fn tool_result(
        &mut self,
        now: Timestamp,
        origin: Origin,
        result: ToolResult,
    ) -> Result<(), Rejected> {
        self.require_running()?;
        match self.calls.get(&result.call_id) {
            None if down(Wall::Facts) => return Ok(()),
            None => return Err(Rejected::UnknownCall(result.call_id)),
            Some(call) if !call.open && !down(Wall::Facts) => {
                return Err(Rejected::CallReturned(result.call_id));
            }
            Some(_) => {}
        }
        if let Some(turn) = &mut self.turn
            && turn.calls.contains(&result.call_id)
        {
            turn.tool_returned = true;
        }
        let ToolResult {
            call_id,
            content,
            structured,
            is_error,
        } = result;
        if let Some(event) = self.answer(now, origin, &call_id, content, structured, is_error) {
            self.write_or_hold(event);
        }
        Ok(())
    }

    /// Opens the frame of a sub-agent.
    ///
    /// # Errors
    ///
    /// An invocation id used before, or a stopped run.
    pub fn subagent_start(
        &mut self,
        now: Timestamp,
        origin: Origin,
        report: SubagentCall,
    ) -> Result<(), Rejected> {
        self.require_running()?;
        if report.invocation_id.is_empty() {
            return Err(Rejected::Invalid(
                "invocation-id: must not be empty".to_owned(),
            ));
        }
        if self.invocations.contains(&report.invocation_id) && !down(Wall::Facts) {
            return Err(Rejected::DuplicateInvocation(report.invocation_id));
        }
        let no_input = || Value::Object(Map::new());
        let (parent, step, input) = if let Some(call) = self.calls.get(&report.invocation_id) {
            let input = report.input.unwrap_or_else(|| call.input.clone());
            (call.turn_span, call.step, input)
        } else if let Some(turn) = &self.turn {
            (turn.span, turn.step, report.input.unwrap_or_else(no_input))
        } else {
            let agent = self.agent_span.unwrap_or(SpanId::NONE);
            (agent, self.last_step, report.input.unwrap_or_else(no_input))
        };
        let span = self.new_span(parent);
        self.invocations.insert(report.invocation_id.clone());
        self.frames.push(Frame {
            invocation_id: report.invocation_id.clone(),
            span: span.id,
            parent,
            step,
            name: report.name.clone(),
            since: now,
            has_turns: false,
        });
        let body = Body::SubagentInvoked(Box::new(SubagentInvoked {
            step,
            name: report.name,
            description: report.description,
            invocation_id: report.invocation_id,
            input,
        }));
        let event = self.event(now, span, origin, body);
        self.write_or_hold(event);
        Ok(())
    }

    /// Closes the frame of a sub-agent.
    ///
    /// # Errors
    ///
    /// No such frame is open, or the run is stopped.
    pub fn subagent_result(
        &mut self,
        now: Timestamp,
        origin: Origin,
        mut report: SubagentResult,
    ) -> Result<(), Rejected> {
        self.require_running()?;
        let index = self
            .frames
            .iter()
            .position(|frame| frame.invocation_id == report.invocation_id)
            .ok_or_else(|| Rejected::UnknownInvocation(report.invocation_id.clone()))?;
        if self.has_turns(index) {
            // Its turns say what it used; totals beside them would count everything twice.
            report.usage = None;
        }
        let frame = self.frames.remove(index);
        self.close_frame(now, origin, frame, report);
        Ok(())
    }

    /// True when the frame has turns, on record or open.
    fn has_turns(&self, frame: usize) -> bool {
        self.frames.get(frame).is_some_and(|frame| {
            let is_open = |turn: &OpenTurn| turn.parent == frame.span;
            frame.has_turns || self.turn.as_ref().is_some_and(is_open)
        })
    }

    /// Reports an error that does not end the run.
    ///
    /// # Errors
    ///
    /// The run is stopped.
    pub fn error(
        &mut self,
        now: Timestamp,
        origin: Origin,
        code: ErrorCode,
        message: String,
        cause: Option<Value>,
    ) -> Result<(), Rejected> {
        if self.stopped.is_some() {
            return Err(Rejected::Stopped);
        }
        let span = self.new_span(self.agent_span.unwrap_or(SpanId::NONE));
        let body = Body::ErrorOccurred(Box::new(ErrorOccurred {
            code,
            message,
            cause,
        }));
        let event = self.event(now, span, origin, body);
        self.write_or_hold(event);
        Ok(())
    }

    /// Ends the run: closes the turn, open calls and open frames, then writes `agent_stopped`.
    ///
    /// Idempotent: only the first call writes. Returns how the run ended, which is `abandoned` where
    /// the caller said `converged` and a sub-agent was still working.
    pub fn stop(
        &mut self,
        now: Timestamp,
        reason: StopReason,
        output: Option<Value>,
    ) -> StopReason {
        if let Some(stopped) = self.stopped {
            return stopped;
        }
        self.close_turn();
        let mut reason = reason;
        for frame in std::mem::take(&mut self.frames) {
            if reason == StopReason::Converged && !down(Wall::OpenEnd) {
                reason = StopReason::Abandoned;
            }
            let report = SubagentResult {
                invocation_id: frame.invocation_id.clone(),
                text: UNRETURNED_SUBAGENT.to_owned(),
                structured: None,
                reason: StopReason::Abandoned,
                usage: None,
            };
            self.close_frame(now, Origin::Host, frame, report);
        }
        for call_id in std::mem::take(&mut self.call_order) {
            let text = Value::String(UNRETURNED_CALL.to_owned());
            if let Some(event) = self.answer(now, Origin::Host, &call_id, text, None, true) {
                self.write(event);
            }
        }
        self.stopped = Some(reason);
        let span = self.new_span(self.agent_span.unwrap_or(SpanId::NONE));
        let body = Body::AgentStopped(Box::new(AgentStopped { reason, output }));
        let event = self.event(now, span, Origin::Host, body);
        self.write(event);
        reason
    }

    fn require_running(&self) -> Result<(), Rejected> {
        if self.stopped.is_some() {
            return Err(Rejected::Stopped);
        }
        if self.agent_span.is_none() {
            return Err(Rejected::Invalid("the run has not started".to_owned()));
        }
        Ok(())
    }

    /// Checks a whole batch of blocks before any of them changes the state.
    fn check_calls(&self, content: &[Block]) -> Result<(), Rejected> {
        if down(Wall::Facts) {
            return Ok(());
        }
        let mut new = HashSet::new();
        let mut answered = HashSet::new();
        for block in content {
            if let Some(call) = block.call() {
                if self.calls.contains_key(call.id) || !new.insert(call.id) {
                    return Err(Rejected::DuplicateCall(call.id.to_owned()));
                }
            } else if let Some(answer) = block.answer() {
                let open = self.calls.get(answer.call_id).map(|call| call.open);
                if !new.contains(answer.call_id) && open.is_none() {
                    return Err(Rejected::UnknownCall(answer.call_id.to_owned()));
                }
                if open == Some(false) || !answered.insert(answer.call_id) {
                    return Err(Rejected::CallReturned(answer.call_id.to_owned()));
                }
            }
        }
        Ok(())
    }

    fn invoke(&mut self, now: Timestamp, turn: &mut OpenTurn, id: &str, name: &str, input: Value) {
        let span = self.new_span(turn.span);
        let server = self.tools.get(name).cloned().flatten();
        self.calls.insert(
            id.to_owned(),
            Call {
                span: span.id,
                turn_span: turn.span,
                step: turn.step,
                name: name.to_owned(),
                input: input.clone(),
                since: now,
                open: true,
            },
        );
        self.call_order.push(id.to_owned());
        turn.calls.insert(id.to_owned());
        let body = Body::ToolInvoked(Box::new(ToolInvoked {
            step: turn.step,
            call_id: id.to_owned(),
            name: name.to_owned(),
            input,
            dispatch_target: match server {
                Some(_) => DispatchTarget::McpServer,
                None => DispatchTarget::Local,
            },
            mcp_server_id: server,
        }));
        let event = self.event(now, span, turn.origin, body);
        turn.after.push(event);
    }

    /// The `tool_returned` of an open call, which is thereby closed; nothing when it is not open.
    fn answer(
        &mut self,
        now: Timestamp,
        origin: Origin,
        call_id: &str,
        content: Value,
        structured: Option<Value>,
        is_error: bool,
    ) -> Option<Event> {
        let call = self.calls.get_mut(call_id).filter(|call| call.open)?;
        call.open = false;
        let (parent, since) = (call.span, call.since);
        let body = Body::ToolReturned(Box::new(ToolReturned {
            step: call.step,
            call_id: call_id.to_owned(),
            name: call.name.clone(),
            duration_ms: millis_between(since, now),
            result: ToolResultBlock {
                tool_use_id: call_id.to_owned(),
                content,
                structured_content: structured,
                is_error,
            },
        }));
        let span = self.new_span(parent);
        Some(self.event(now, span, origin, body))
    }

    fn close_frame(
        &mut self,
        now: Timestamp,
        origin: Origin,
        frame: Frame,
        report: SubagentResult,
    ) {
        let span = Span {
            trace: self.ids.trace,
            id: frame.span,
            parent: frame.parent,
        };
        let body = Body::SubagentReturned(Box::new(SubagentReturned {
            step: frame.step,
            name: frame.name,
            invocation_id: report.invocation_id,
            duration_ms: millis_between(frame.since, now),
            text: report.text,
            structured: report.structured,
            reason: report.reason,
            usage: report.usage,
        }));
        let event = self.event(now, span, origin, body);
        self.write_or_hold(event);
    }

    fn new_span(&mut self, parent: SpanId) -> Span {
        Span {
            trace: self.ids.trace,
            id: self.ids.span(),
            parent,
        }
    }

    /// An event without its id, which it gets when it is written: ids follow the order of the lines.
    fn event(&self, time: Timestamp, span: Span, origin: Origin, body: Body) -> Event {
        Event {
            id: String::new(),
            time,
            subject: self.subject.clone(),
            span,
            origin,
            body,
        }
    }

    fn write_or_hold(&mut self, event: Event) {
        match &mut self.turn {
            Some(turn) => turn.after.push(event),
            None => self.write(event),
        }
    }

    /// Events keep the time they were reported at, but a trajectory never goes back in time: what was
    /// held back behind a later chunk takes that chunk's time.
    fn write(&mut self, mut event: Event) {
        event.id = self.ids.event();
        event.time = event.time.max(self.last_time);
        self.last_time = event.time;
        self.out.push(event);
    }
}

impl OpenTurn {
    fn merge(&mut self, chunk: Turn) {
        let turn = &mut self.report;
        turn.content.extend(chunk.content);
        turn.usage = chunk.usage.or(turn.usage);
        turn.model = turn.model.take().or(chunk.model);
        turn.request_model = turn.request_model.take().or(chunk.request_model);
        turn.provider = turn.provider.take().or(chunk.provider);
        if !chunk.finish_reasons.is_empty() {
            turn.finish_reasons = chunk.finish_reasons;
        }
        if chunk.cost_usd.is_some() {
            turn.cost_usd = chunk.cost_usd;
            turn.cost_source = chunk.cost_source;
        }
        turn.duration_ms = chunk.duration_ms.or(turn.duration_ms);
        turn.time_to_first_chunk = turn.time_to_first_chunk.or(chunk.time_to_first_chunk);
        turn.refusal_category = chunk
            .refusal_category
            .or_else(|| turn.refusal_category.take());
        if let Some(meta) = chunk.meta {
            turn.meta.get_or_insert_default().extend(meta);
        }
    }
}

/// Refuses what is no amount: of money, or of time.
pub(crate) fn amount(field: &str, value: Option<f64>) -> Result<(), Rejected> {
    match value {
        Some(value) if (!value.is_finite() || value < 0.0) && !down(Wall::Facts) => Err(
            Rejected::Invalid(format!("{field}: has to be zero or more")),
        ),
        _ => Ok(()),
    }
}

fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
