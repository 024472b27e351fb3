use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::commission::Commission;
use crate::descriptor::{Descriptor, ToolDecl};
use crate::trajectory::event::{AgentDescribed, RunRequested};
use crate::trajectory::verify::{Report, Verdict, verify_lines};

/// A recorder with its prelude written, and a clock that ticks on every use.
struct Trial {
    recorder: Recorder,
    micros: i64,
    events: Vec<Event>,
}

fn tool(name: &str) -> ToolDecl {
    serde_json::from_value(json!({ "name": name })).unwrap()
}

impl Trial {
    fn start() -> Trial {
        let commission = Commission::for_task("run-1", "none/none", Some("do it")).unwrap();
        let recorder = Recorder::new(Ids::seeded([7; 16]), "run-1", None);
        let mut trial = Trial {
            recorder,
            micros: 0,
            events: Vec::new(),
        };
        let descriptor = Descriptor {
            tools: vec![tool("read"), tool("task")],
            ..Descriptor::minimal("a", "1")
        };
        let supervisor = commission.body().supervisor.clone();
        let now = trial.now();
        trial.recorder.prelude(
            now,
            Body::RunRequested(Box::new(RunRequested {
                supervisor_name: supervisor.as_ref().map(|s| s.name.clone()),
                supervisor_version: supervisor.and_then(|s| s.version),
                commission: Some(commission.raw().to_owned()),
            })),
        );
        trial.recorder.prelude(
            now,
            Body::AgentDescribed(Box::new(AgentDescribed {
                descriptor: descriptor.clone(),
            })),
        );
        let started = AgentStarted {
            operation_name: "invoke_agent",
            prompt: Some("do it".to_owned()),
            tools: descriptor.tools,
            ..AgentStarted::default()
        };
        trial.recorder.start(now, started);
        trial.take();
        trial
    }

    fn now(&mut self) -> Timestamp {
        self.micros += 1500;
        Timestamp::from_microsecond(1_800_000_000_000_000 + self.micros).unwrap()
    }

    fn take(&mut self) {
        self.events.extend(self.recorder.take());
    }

    fn assistant(&mut self, key: Option<&str>, blocks: &[Value]) -> Result<Receipt, Rejected> {
        let content = blocks
            .iter()
            .map(|block| Block::parse(block.clone()).unwrap())
            .collect();
        let turn = Turn {
            key: key.map(str::to_owned),
            content,
            ..Turn::default()
        };
        let now = self.now();
        let done = self.recorder.assistant(now, Origin::Claimed, turn);
        self.take();
        done
    }

    fn result(&mut self, id: &str) -> Result<(), Rejected> {
        let now = self.now();
        let result = ToolResult {
            call_id: id.to_owned(),
            content: json!("ok"),
            structured: None,
            is_error: false,
        };
        let done = self.recorder.tool_result(now, Origin::Claimed, result);
        self.take();
        done
    }

    fn frame(&mut self, id: &str) -> Result<(), Rejected> {
        let now = self.now();
        let call = SubagentCall {
            invocation_id: id.to_owned(),
            name: "helper".to_owned(),
            description: None,
            input: None,
        };
        let done = self.recorder.subagent_start(now, Origin::Claimed, call);
        self.take();
        done
    }

    fn frame_done(&mut self, id: &str, reason: StopReason) -> Result<(), Rejected> {
        let now = self.now();
        let result = SubagentResult {
            invocation_id: id.to_owned(),
            text: "done".to_owned(),
            structured: None,
            reason,
            usage: None,
        };
        let done = self.recorder.subagent_result(now, Origin::Claimed, result);
        self.take();
        done
    }

    fn stop(&mut self, reason: StopReason) -> StopReason {
        let now = self.now();
        let stopped = self.recorder.stop(now, reason, None);
        self.take();
        stopped
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events
            .iter()
            .skip(3)
            .map(|event| event.body.type_name().strip_prefix("avp.").unwrap())
            .collect()
    }

    fn judge(&self) -> Report {
        let lines: String = self
            .events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap() + "\n")
            .collect();
        verify_lines(lines.as_bytes())
    }
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn call(id: &str, name: &str) -> Value {
    json!({ "type": "tool_use", "id": id, "name": name, "input": { "path": "x" } })
}

#[test]
fn chunks_with_one_key_are_one_turn_until_a_tool_returns() {
    let mut trial = Trial::start();
    trial.assistant(Some("k"), &[text("a")]).unwrap();
    trial
        .assistant(Some("k"), &[text("b"), call("1", "read")])
        .unwrap();
    assert!(
        trial.kinds().is_empty(),
        "nothing is written before the turn closes"
    );
    trial.result("1").unwrap();
    let receipt = trial.assistant(Some("k"), &[text("c")]).unwrap();
    assert_eq!(receipt.step, 2);
    trial.stop(StopReason::Converged);
    assert_eq!(
        trial.kinds(),
        [
            "assistant_message",
            "tool_invoked",
            "tool_returned",
            "assistant_message",
            "agent_stopped"
        ]
    );
    assert_eq!(
        trial.judge().verdict(),
        Verdict::Valid,
        "{:?}",
        trial.judge()
    );
}

#[test]
fn a_turn_without_output_uses_no_step() {
    let mut trial = Trial::start();
    trial.assistant(None, &[text("")]).unwrap();
    trial.assistant(None, &[]).unwrap();
    let receipt = trial.assistant(None, &[text("hi")]).unwrap();
    assert_eq!(receipt.step, 1);
    assert_eq!(trial.kinds(), ["assistant_message"]);
}

#[test]
fn a_call_of_a_tool_that_is_not_there_is_answered_by_the_host() {
    let mut trial = Trial::start();
    let receipt = trial
        .assistant(None, &[call("1", "rm_rf"), call("2", "read")])
        .unwrap();
    assert_eq!(receipt.refused_calls, ["1"]);
    assert_eq!(
        trial.result("1"),
        Err(Rejected::CallReturned("1".to_owned()))
    );
    trial.result("2").unwrap();
    trial.stop(StopReason::Converged);
    assert_eq!(
        trial.judge().verdict(),
        Verdict::Valid,
        "{:?}",
        trial.judge()
    );
    let answer = trial
        .events
        .iter()
        .find(|event| matches!(event.body, Body::ToolReturned(_)));
    assert_eq!(answer.unwrap().origin, Origin::Host);
}

#[test]
fn impossible_facts_change_nothing() {
    let mut trial = Trial::start();
    trial.assistant(None, &[call("1", "read")]).unwrap();
    let before = trial.events.len();
    let duplicate = Err(Rejected::DuplicateCall("1".to_owned()));
    assert_eq!(
        trial.assistant(None, &[text("x"), call("1", "read")]),
        duplicate
    );
    let twice = Err(Rejected::DuplicateCall("2".to_owned()));
    assert_eq!(
        trial.assistant(None, &[call("2", "read"), call("2", "read")]),
        twice
    );
    assert_eq!(
        trial.result("9"),
        Err(Rejected::UnknownCall("9".to_owned()))
    );
    trial.result("1").unwrap();
    assert_eq!(
        trial.result("1"),
        Err(Rejected::CallReturned("1".to_owned()))
    );
    assert_eq!(
        trial.frame_done("9", StopReason::Converged),
        Err(Rejected::UnknownInvocation("9".to_owned()))
    );
    assert_eq!(
        trial.events.len(),
        before + 1,
        "only the one result was written"
    );
    trial.assistant(None, &[call("2", "read")]).unwrap();
    trial.stop(StopReason::Converged);
    assert_eq!(trial.result("2"), Err(Rejected::Stopped));
    assert_eq!(
        trial.judge().verdict(),
        Verdict::Valid,
        "{:?}",
        trial.judge()
    );
}

#[test]
fn what_is_open_at_the_end_is_closed_and_an_open_frame_is_no_convergence() {
    let mut trial = Trial::start();
    trial
        .assistant(Some("k"), &[call("1", "task"), call("2", "read")])
        .unwrap();
    trial.frame("1").unwrap();
    assert_eq!(trial.stop(StopReason::Converged), StopReason::Abandoned);
    assert_eq!(
        trial.stop(StopReason::Error),
        StopReason::Abandoned,
        "stopping is idempotent"
    );
    assert_eq!(
        trial.kinds(),
        [
            "assistant_message",
            "tool_invoked",
            "tool_invoked",
            "subagent_invoked",
            "subagent_returned",
            "tool_returned",
            "tool_returned",
            "agent_stopped"
        ]
    );
    assert_eq!(
        trial.judge().verdict(),
        Verdict::Valid,
        "{:?}",
        trial.judge()
    );
}

#[test]
fn other_reasons_stand_although_a_frame_is_open() {
    for reason in [
        StopReason::Error,
        StopReason::Refused,
        StopReason::Interrupted,
    ] {
        let mut trial = Trial::start();
        trial.frame("f").unwrap();
        assert_eq!(trial.stop(reason), reason);
    }
}

#[test]
fn a_trajectory_never_goes_back_in_time() {
    let mut trial = Trial::start();
    trial.assistant(Some("k"), &[text("a")]).unwrap();
    let now = trial.now();
    trial
        .recorder
        .error(
            now,
            Origin::Claimed,
            ErrorCode::RateLimit,
            "slow".into(),
            None,
        )
        .unwrap();
    trial.assistant(Some("k"), &[text("b")]).unwrap();
    trial.stop(StopReason::Converged);
    assert!(trial.events.is_sorted_by_key(|event| event.time));
    assert_eq!(
        trial.judge().verdict(),
        Verdict::Valid,
        "{:?}",
        trial.judge()
    );
}

#[test]
fn costs_and_times_that_are_no_numbers_are_refused() {
    let mut trial = Trial::start();
    for cost in [f64::NAN, f64::INFINITY, -1.0] {
        let now = trial.now();
        let turn = Turn {
            cost_usd: Some(cost),
            content: vec![Block::text("x")],
            ..Turn::default()
        };
        assert!(matches!(
            trial.recorder.assistant(now, Origin::Claimed, turn),
            Err(Rejected::Invalid(_))
        ));
    }
}

/// Anything a guest might report, possible or not.
#[derive(Clone, Debug)]
enum Report_ {
    Turn {
        key: Option<u8>,
        frame: Option<u8>,
        blocks: Vec<Piece>,
    },
    Usage {
        key: Option<u8>,
    },
    Result(u8),
    Frame(u8),
    FrameDone(u8, bool),
    Error,
    Close,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Call(u8, &'static str),
    ServerCall(u8),
    ServerResult(u8),
    Refusal,
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        "[a-z]{0,3}".prop_map(Piece::Text),
        (
            0..12_u8,
            prop::sample::select(vec!["read", "task", "unknown"])
        )
            .prop_map(|(id, name)| Piece::Call(id, name)),
        (0..12_u8).prop_map(Piece::ServerCall),
        (0..12_u8).prop_map(Piece::ServerResult),
        Just(Piece::Refusal),
    ]
}

fn report() -> impl Strategy<Value = Report_> {
    let key = || prop::option::of(0..3_u8);
    prop_oneof![
        4 => (key(), prop::option::weighted(0.2, 0..12_u8), prop::collection::vec(piece(), 0..4))
            .prop_map(|(key, frame, blocks)| Report_::Turn { key, frame, blocks }),
        1 => key().prop_map(|key| Report_::Usage { key }),
        3 => (0..12_u8).prop_map(Report_::Result),
        1 => (0..12_u8).prop_map(Report_::Frame),
        1 => (0..12_u8, any::<bool>()).prop_map(|(id, ok)| Report_::FrameDone(id, ok)),
        1 => Just(Report_::Error),
        1 => Just(Report_::Close),
    ]
}

fn apply(trial: &mut Trial, report: Report_) {
    let now = trial.now();
    match report {
        Report_::Turn { key, frame, blocks } => {
            let content = blocks.into_iter().map(|piece| {
                let value = match piece {
                    Piece::Text(words) => text(&words),
                    Piece::Call(id, name) => call(&id.to_string(), name),
                    Piece::ServerCall(id) => json!({
                        "type": "server_tool_use", "id": id.to_string(), "name": "search", "input": {}
                    }),
                    Piece::ServerResult(id) => json!({
                        "type": "server_tool_result", "tool_use_id": id.to_string(),
                        "name": "search", "content": [1, 2]
                    }),
                    Piece::Refusal => json!({ "type": "refusal", "refusal": "no" }),
                };
                Block::parse(value).unwrap()
            });
            let turn = Turn {
                key: key.map(|key| key.to_string()),
                frame: frame.map(|id| id.to_string()),
                content: content.collect(),
                ..Turn::default()
            };
            let _ = trial.recorder.assistant(now, Origin::Claimed, turn);
        }
        Report_::Usage { key } => {
            let key = key.map(|key| key.to_string());
            let usage = Usage {
                input_tokens: 3,
                output_tokens: 4,
                ..Usage::default()
            };
            let _ = trial.recorder.usage(key.as_deref(), usage, Some(0.5));
        }
        Report_::Result(id) => drop(trial.result(&id.to_string())),
        Report_::Frame(id) => drop(trial.frame(&id.to_string())),
        Report_::FrameDone(id, ok) => {
            let reason = if ok {
                StopReason::Converged
            } else {
                StopReason::Error
            };
            let _ = trial.frame_done(&id.to_string(), reason);
        }
        Report_::Error => {
            let _ =
                trial
                    .recorder
                    .error(now, Origin::Claimed, ErrorCode::Unknown, "x".into(), None);
        }
        Report_::Close => trial.recorder.close_turn(),
    }
    trial.take();
}

proptest! {
    /// Whatever a guest reports, in whatever order, what is written satisfies the strict judge.
    #[test]
    fn every_sequence_of_reports_leaves_a_valid_trajectory(
        reports in prop::collection::vec(report(), 0..40),
        converged in any::<bool>(),
    ) {
        let mut trial = Trial::start();
        for report in reports {
            apply(&mut trial, report);
        }
        trial.stop(if converged { StopReason::Converged } else { StopReason::Error });
        let report = trial.judge();
        prop_assert_eq!(report.verdict(), Verdict::Valid, "{:#?}", report.violations);
    }
}
