//! The rules a trajectory is judged by.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! rules {
    ($( #[doc = $doc:literal] $name:ident = $id:literal, $source:literal; )*) => {
        /// A rule of the judge. Ids are stable: scripts may depend on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $( #[doc = $doc] $name, )*
        }

        impl Rule {
            /// All rules, in the order of this file.
            pub const ALL: &[Rule] = &[ $( Rule::$name, )* ];

            /// Stable name, in kebab case.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $( Rule::$name => $id, )* }
            }

            /// The rule in one sentence.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $( Rule::$name => $doc.trim_ascii(), )* }
            }

            /// Where the rule comes from: U, C, T, D are AVP v0.1's README, commission, trajectory and
            /// descriptor specifications, M is a MUST and S a SHOULD.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self { $( Rule::$name => $source, )* }
            }
        }
    };
}

rules! {
    // The text.
    /// The input can be read to its end.
    Unreadable = "unreadable", "wasm-agent";
    /// A line has at most 16 MiB.
    LineTooLong = "line-too-long", "wasm-agent";
    /// A trajectory has at most 1,000,000 events.
    TooManyEvents = "too-many-events", "wasm-agent";
    /// Every line is one JSON object in UTF-8.
    NotJson = "not-json", "U§3.1 S";
    /// No object has a key twice: parsers disagree about which one counts.
    DuplicateKey = "duplicate-key", "RFC 8259 §4";

    // The envelope.
    /// Every event has specversion, id, source, type, time, subject and data.
    EnvelopeIncomplete = "envelope-incomplete", "T§8.1 M, U§4 M";
    /// The envelope has no member AVP does not know.
    EnvelopeUnknownKey = "envelope-unknown-key", "T§8.8 M";
    /// Members of the envelope have the type and the value they must have.
    EnvelopeInvalid = "envelope-invalid", "CloudEvents 1.0, T§8.1 M";
    /// The type of an event is one of the ten AVP v0.1 defines.
    UnknownEvent = "unknown-event", "T§8.8 M";
    /// No id is used twice.
    IdRepeated = "id-repeated", "CloudEvents 1.0 §3.1.1";
    /// Times are RFC 3339 timestamps.
    TimeInvalid = "time-invalid", "CloudEvents 1.0 §3.1.2";
    /// Time does not run backwards.
    TimeBackwards = "time-backwards", "wasm-agent";
    /// The subject of every event is the commission's run_id.
    SubjectMismatch = "subject-mismatch", "C§2.1 M";

    // The data.
    /// Data has all the fields its event type requires.
    DataMissing = "data-missing", "T§8.8 M";
    /// Fields of data have the type and a value the schema allows.
    DataInvalid = "data-invalid", "T§8.8 M";
    /// Every key of data beside the span triple has a namespace.
    KeyNotNamespaced = "key-not-namespaced", "T§2 M";
    /// Keys under avp. are the ones AVP defines.
    KeyReserved = "key-reserved", "U§4 S";
    /// The origin of an event, where it is said, is host, observed or claimed.
    OriginInvalid = "origin-invalid", "wasm-agent";
    /// The host says the origin of every event it writes.
    OriginMissing = "origin-missing", "wasm-agent";

    // The opening.
    /// A trajectory opens with run_requested, agent_described, agent_started, once each.
    PreludeOrder = "prelude-order", "T§2.1 M, T§8.2 M";
    /// A run that never started has an error before its stop, and stops with error or interrupted.
    ShortForm = "short-form", "C§4.1 M, U§7 M";
    /// The commission in run_requested is a valid one.
    CommissionInvalid = "commission-invalid", "T§2.1 M, C§2";
    /// The commission in run_requested is the one that was commissioned.
    CommissionUnfaithful = "commission-unfaithful", "T§2.1 M";
    /// The supervisor in run_requested is the commission's.
    SupervisorMismatch = "supervisor-mismatch", "T§2.1 M";
    /// The descriptor is valid, its names are unique and its references resolve.
    DescriptorInvalid = "descriptor-invalid", "D§2.1 M, D§5.4 M, D§5.5 M";
    /// A commission that does not fit the agent does not start it.
    PreflightIgnored = "preflight-ignored", "C§3.3 M, C§4.0 M, C§4.1 M";
    /// What an allow-list leaves out is not in agent_started.
    AllowListIgnored = "allow-list-ignored", "C§4.2 M";
    /// The prompts in agent_started are the commission's, else the descriptor's.
    PromptMismatch = "prompt-mismatch", "T§8.2 M, C§2.2";
    /// A tool's MCP server is listed, and connected.
    McpServerUnknown = "mcp-server-unknown", "T§8.2 M, D§5.5 M";
    /// Every MCP server of the commission is listed in agent_started.
    McpServerMissing = "mcp-server-missing", "T§8.2 M";
    /// An MCP server of the commission that is not connected has its error before agent_started.
    McpFailureUnreported = "mcp-failure-unreported", "T§4.1 M1";

    // The span tree.
    /// Trace and span ids are lowercase hexadecimal and not zero.
    SpanInvalid = "span-invalid", "T§2 M";
    /// There is one trace id.
    TraceChanged = "trace-changed", "T§2 M";
    /// No span id is used twice, but by the two events of a frame.
    SpanRepeated = "span-repeated", "T§2 M";
    /// The parent of a span is there before it.
    ParentUnknown = "parent-unknown", "T§2 M";
    /// A span hangs where its event type belongs.
    ParentWrong = "parent-wrong", "T§2.1 M, T§5 M";

    // Turns and tools.
    /// Turns count from 1 without gaps; a sub-agent's turns count by themselves.
    StepGap = "step-gap", "T§8.3 M";
    /// What belongs to a turn has the step of the turn.
    StepWrong = "step-wrong", "T§8.4 M";
    /// No call id is used twice.
    CallRepeated = "call-repeated", "T§8.4 M";
    /// Every call of a turn is invoked before the next turn.
    CallNotInvoked = "call-not-invoked", "T§8.4 M";
    /// The calls of a turn are invoked in the order of its content.
    CallOrder = "call-order", "T§8.3 M";
    /// A tool is invoked because a turn called it.
    CallInvented = "call-invented", "T§3 M";
    /// Invocation and result name the tool, and the invocation has the input, of the call.
    CallDiffers = "call-differs", "T§8.3 M";
    /// A result answers an invocation that came before it.
    CallUnknown = "call-unknown", "T§8.4 M";
    /// A call is answered once.
    CallAnsweredTwice = "call-answered-twice", "T§8.4 M";
    /// A call is answered before the run stops.
    CallOpen = "call-open", "T§8.4 M";
    /// A result block in a turn or a tool_returned is the answer to the call it is reported for.
    ResultMismatch = "result-mismatch", "T§8.3 M";
    /// A tool that is not in agent_started is refused, not run.
    ToolUndeclared = "tool-undeclared", "T§8.2 M, C§4.2 M";
    /// A call of an MCP tool says so and names the server; a call of another tool does not.
    McpDispatch = "mcp-dispatch", "T§4 M2";

    // Sub-agents.
    /// No invocation id of a sub-agent is used twice.
    FrameRepeated = "frame-repeated", "T§8.7 M";
    /// A frame that closes is open.
    FrameUnknown = "frame-unknown", "T§8.7 M";
    /// Both events of a frame have the same span, parent, name and step.
    FrameDiffers = "frame-differs", "T§5 M";
    /// Every frame is closed before the run stops.
    FrameOpen = "frame-open", "T§8.7 M";
    /// A frame whose turns are in the trajectory has no usage of its own.
    FrameUsage = "frame-usage", "T§5 M";
    /// A run with an abandoned sub-agent has not converged.
    AbandonedConverged = "abandoned-converged", "T§8.7 M";

    // The end.
    /// There is nothing after agent_stopped.
    AfterStop = "after-stop", "T§8.6 M";
    /// A trajectory ends with agent_stopped, and a run directory with run_ended.
    Unfinished = "unfinished", "T§8.6 M";
    /// A run directory with run_ended has an agent_stopped.
    StopMissing = "stop-missing", "T§8.6 M";
    /// agent_stopped carries no totals.
    StopTotals = "stop-totals", "T§8.5 M";

    // The run directory.
    /// run.json is a JSON object.
    RunFile = "run-file", "wasm-agent";
    /// A record has its members in their order, without spaces, and nothing else.
    RecordFormat = "record-format", "wasm-agent";
    /// Records count from 0 without gaps.
    ChainSeq = "chain-seq", "wasm-agent";
    /// A record names the hash of the one before it, the first one that of run.json.
    ChainPrev = "chain-prev", "wasm-agent";
    /// The hash of a record is the SHA-256 of what stands before it.
    ChainHash = "chain-hash", "wasm-agent";
    /// An audit record is an object with a kind.
    AuditInvalid = "audit-invalid", "wasm-agent";
    /// There is nothing after run_ended.
    AfterEnd = "after-end", "wasm-agent";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
