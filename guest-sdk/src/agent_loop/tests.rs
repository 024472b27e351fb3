use std::cell::Cell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::granted::{CallError, Offered};
use crate::model::{
    InputBlock, Message, ModelError, ProviderFailure, Reply, Request, StopCause, ToolChoice,
};
use crate::testing::{Fact, TestHost, Trial, commission_for};
use crate::trajectory::{ContentBlock, StopReason, ToolCall, ToolResult, Usage};
use crate::{Error, ErrorCode, Failure};

#[derive(serde::Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

fn calculator() -> AgentLoop {
    AgentLoop::new().system("You calculate.").tool(
        Tool::new("add").input_schema(json!({
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "minimum": 0}},
        })),
        |add: Add| -> Result<String> { Ok((add.a + add.b).to_string()) },
    )
}

fn call(id: &str, name: &str, input: Value) -> ToolCall {
    ToolCall::new(id, name, input)
}

fn calls(calls: impl IntoIterator<Item = ToolCall>) -> Reply {
    calls.into_iter().fold(Reply::new(), Reply::with_tool_use)
}

fn says(text: &str) -> Reply {
    Reply::new().with_text(text)
}

fn trial(host: TestHost, agent: &AgentLoop) -> Trial {
    trial_of(host, agent, |_| {})
}

fn trial_of(host: TestHost, agent: &AgentLoop, change: impl FnOnce(&mut Commission)) -> Trial {
    let agent = agent.clone();
    let agent = move || agent.clone();
    let mut commission = commission_for(&agent, "Do it.");
    change(&mut commission);
    let mut names = commission.tools.clone();
    names.sort();
    host.tools(names).run(agent, commission)
}

/// The text the model got to read as the result of a call, and whether it is an error.
fn read(trial: &Trial, id: &str) -> (String, bool) {
    (trial.requests().flat_map(|request| &request.messages))
        .filter_map(|message| match message {
            Message::User(blocks) => Some(blocks),
            Message::Assistant(_) => None,
        })
        .flatten()
        .find_map(|block| match block {
            InputBlock::ToolResult(result) if result.call_id == id => {
                Some((text(result), result.is_error))
            }
            _ => None,
        })
        .unwrap_or_else(|| panic!("no result of {id}"))
}

fn text(result: &ToolResult) -> String {
    (result.content.iter())
        .map(|block| match block {
            crate::trajectory::ResultBlock::Text(text) => text.as_str(),
            _ => "?",
        })
        .collect()
}

fn failure(trial: &Trial) -> &Failure {
    trial.result.as_ref().unwrap_err().failure()
}

fn provider(message: &str) -> ProviderFailure {
    ProviderFailure {
        message: message.into(),
        status: None,
        attempts: 1,
    }
}

#[test]
fn calls_are_made_until_there_are_none() {
    let host = TestHost::new().replies([
        calls([
            call("c1", "add", json!({"a": 1, "b": 2})),
            call("c2", "add", json!({"a": 3, "b": 4})),
        ]),
        says("3 and 7."),
    ]);
    let trial = trial(host, &calculator());
    assert_eq!(trial.result, Ok(Output::text("3 and 7.")));
    let results: Vec<_> = trial
        .tool_results()
        .map(|result| (&*result.call_id, text(result)))
        .collect();
    assert_eq!(results, [("c1", "3".into()), ("c2", "7".into())]);
    let last = trial.requests().last().unwrap();
    assert_eq!(last.system.as_deref(), Some("You calculate."));
    assert_eq!(last.messages.len(), 3, "task, calls, results");
    assert!(trial.facts.contains(&Fact::Complete("3 and 7.".into())));
}

#[test]
fn what_goes_wrong_in_a_tool_is_its_result() {
    let host = TestHost::new().replies([
        calls([
            call("c1", "add", json!({"a": "x"})),
            call("c2", "add", json!({"a": 1, "b": -1})),
            call("c3", "add", json!({"a": 1})),
            call("c4", "multiply", json!({})),
            call("c5", "fail", json!({})),
        ]),
        says("Sorry."),
    ]);
    let agent = calculator().tool(Tool::new("fail"), |_: Value| -> Result<String> {
        Err(Error::refused("not today"))
    });
    let trial = trial(host, &agent);
    assert_eq!(trial.result, Ok(Output::text("Sorry.")));
    for (id, problem) in [
        (
            "c1",
            "the arguments are not valid: `/a` is not of type `integer`",
        ),
        ("c2", "the arguments are not valid: `/b` is less than 0"),
        ("c3", "the arguments are not valid: missing field `b`"),
        ("c4", "tool `multiply` is not available in this run"),
        ("c5", "not today"),
    ] {
        assert_eq!(read(&trial, id), (problem.into(), true), "{id}");
    }
    let reported = trial.tool_results().count();
    assert_eq!(
        reported, 4,
        "the host has answered the call of a tool that is not there"
    );
}

fn offered(name: &str, read_only: bool) -> Offered {
    Offered {
        tool: Tool::new(name),
        read_only,
        parallel: true,
    }
}

#[test]
fn granted_tools_are_called_by_the_host() {
    let echo = |call: &ToolCall| Ok(ToolResult::text(&*call.id, &*call.input));
    let host = TestHost::new()
        .granted_as(offered("mcp__echo", true), echo)
        .granted_as(offered("mcp__fail", false), |_| Err(CallError::TimedOut(5)))
        .replies([
            calls([
                call("c1", "mcp__echo", json!({"x": 1})),
                call("c2", "add", json!({"a": 1, "b": 2})),
                call("c3", "mcp__fail", json!({})),
                call("c4", "mcp__echo", json!({"x": 2})),
            ]),
            says("Done."),
        ]);
    let trial = trial(host, &calculator());
    assert_eq!(trial.result, Ok(Output::text("Done.")));
    let order: Vec<&str> = (trial.facts.iter())
        .filter_map(|fact| match fact {
            Fact::Called(call, _) => Some(&*call.id),
            Fact::ToolResult(result) => Some(&*result.call_id),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["c1", "c2", "c3", "c4"]);
    assert_eq!(read(&trial, "c1"), (r#"{"x":1}"#.into(), false));
    assert_eq!(
        read(&trial, "c3"),
        ("the tool took longer than 5 ms".into(), true)
    );
}

#[test]
fn a_loop_can_do_without_granted_tools() {
    for (granted, names) in [
        (Granted::All, vec!["add", "look", "write"]),
        (Granted::ReadOnly, vec!["add", "look"]),
        (Granted::None, vec!["add"]),
    ] {
        let echo = |call: &ToolCall| Ok(ToolResult::text(&*call.id, ""));
        let host = TestHost::new()
            .granted_as(offered("look", true), echo)
            .granted_as(offered("write", false), echo)
            .replies([says("Hi.")]);
        let trial = trial(host, &calculator().granted(granted));
        let request = trial.requests().next().unwrap();
        let known: Vec<&str> = request.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(known, names);
    }
}

#[test]
fn only_allowed_tools_are_offered() {
    let host = TestHost::new().replies([
        calls([call("c1", "add", json!({"a": 1, "b": 2}))]),
        says("I cannot add."),
    ]);
    let trial = trial_of(host, &calculator(), |commission| commission.tools.clear());
    assert_eq!(trial.result, Ok(Output::text("I cannot add.")));
    assert!(trial.requests().all(|request| request.tools.is_empty()));
    assert_eq!(trial.tool_results().count(), 0);
}

#[test]
fn an_answer_that_does_not_match_is_repaired() {
    let schema =
        json!({"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}});
    let host = TestHost::new().replies([
        says("The sum is 3."),
        says("```json\n{\"sum\": \"3\"}\n```"),
        says("{\"sum\": 3}"),
    ]);
    let trial = trial_of(host, &calculator(), |commission| {
        commission.output_schema = Some(schema.to_string());
    });
    assert_eq!(trial.result, Ok(Output::Json(r#"{"sum":3}"#.into())));
    let requests: Vec<&Request> = trial.requests().collect();
    assert_eq!(requests[0].output_schema, Some(schema.to_string()));
    assert!(
        requests[0]
            .system
            .as_deref()
            .unwrap()
            .contains("JSON Schema")
    );
    let told: Vec<String> = requests[2].messages.iter().filter_map(words).collect();
    assert!(told[1].contains("it is not a JSON document"), "{told:?}");
    assert!(
        told[2].contains("`/sum` is not of type `integer`"),
        "{told:?}"
    );
}

fn words(message: &Message) -> Option<String> {
    match message {
        Message::User(blocks) => Some(
            (blocks.iter())
                .filter_map(|block| match block {
                    InputBlock::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
        ),
        Message::Assistant(_) => None,
    }
}

#[test]
fn an_empty_reply_is_asked_for_once_more() {
    let thought = || {
        let thinking = crate::trajectory::Thinking {
            thinking: "Done, I think.".into(),
            signature: None,
            redacted: false,
        };
        Reply::new().with_block(ContentBlock::Thinking(thinking))
    };
    for empty in [Reply::new(), says(" \n"), thought()] {
        let add = |id| calls([call(id, "add", json!({"a": 1, "b": 2}))]);
        let host =
            TestHost::new().replies([empty.clone(), add("c1"), empty.clone(), says("At last: 3.")]);
        let heard = trial(host, &calculator());
        assert_eq!(heard.result, Ok(Output::text("At last: 3.")));
        let requests: Vec<&Request> = heard.requests().collect();
        assert_eq!(requests.len(), 4);
        let told = words(requests[1].messages.last().unwrap()).unwrap();
        assert!(told.ends_with("answer in words if it is done."), "{told}");

        let host = TestHost::new().replies([empty.clone(), empty.clone(), says("Too late.")]);
        let silent = trial(host, &calculator());
        let Failure::Error(report) = failure(&silent) else {
            panic!("{:?}", silent.result);
        };
        assert!(
            report.message.starts_with("the model gave no answer"),
            "{report:?}"
        );
        assert_eq!(silent.requests().count(), 2);

        let host = TestHost::new()
            .low_budget()
            .replies([empty, says("Too late.")]);
        let over = trial(host, &calculator());
        assert!(
            matches!(failure(&over), Failure::Abandoned(_)),
            "{:?}",
            over.result
        );
        assert_eq!(over.requests().count(), 1);
    }
}

#[test]
fn repairing_ends() {
    let host = TestHost::new().model(|_| Ok(says("no")));
    let trial = trial_of(host, &calculator().repairs(3), |commission| {
        commission.output_schema = Some("{}".into());
    });
    assert_eq!(trial.requests().count(), 4);
    let Failure::Error(report) = failure(&trial) else {
        panic!("{:?}", trial.result);
    };
    assert!(
        report
            .message
            .starts_with("the answer is not usable: it is not a JSON document")
    );
}

#[test]
fn a_provider_without_schemas_is_asked_without_one() {
    let host = TestHost::new().model(|request| match request.output_schema {
        Some(_) => Err(ModelError::Unsupported("output schemas".into())),
        None => Ok(says("7")),
    });
    let trial = trial_of(host, &calculator(), |commission| {
        commission.output_schema = Some(r#"{"type":"integer"}"#.into());
    });
    assert_eq!(trial.result, Ok(Output::Json("7".into())));
}

#[test]
fn the_last_turn_is_for_the_answer() {
    let counter = Rc::new(Cell::new(0));
    let host = TestHost::new().model(move |request| {
        if request.tool_choice == ToolChoice::None {
            return Ok(says("As far as I got."));
        }
        counter.set(counter.get() + 1);
        let id = format!("c{}", counter.get());
        Ok(calls([call(&id, "add", json!({"a": 1, "b": 1}))]))
    });
    let trial = trial(host, &calculator().max_turns(3));
    assert_eq!(trial.result, Ok(Output::text("As far as I got.")));
    assert_eq!(trial.requests().count(), 3);
    let last = trial.requests().last().unwrap();
    assert!(
        words(last.messages.last().unwrap())
            .unwrap()
            .starts_with("This is your last turn.")
    );
    let declared = trial
        .facts
        .iter()
        .any(|fact| matches!(fact, Fact::Complete(_)));
    assert!(!declared, "it did not end by itself");
}

#[test]
fn a_model_that_cannot_stop_is_abandoned() {
    let counter = Rc::new(Cell::new(0));
    let host = TestHost::new().low_budget().model(move |_| {
        counter.set(counter.get() + 1);
        let id = format!("c{}", counter.get());
        Ok(calls([call(&id, "add", json!({"a": 1, "b": 1}))]))
    });
    let trial = trial(host, &calculator());
    assert!(matches!(failure(&trial), Failure::Abandoned(_)));
    assert_eq!(trial.requests().count(), 1);
    let result = trial.tool_results().next().unwrap();
    assert!(result.is_error, "the call is answered, and not carried out");
}

#[test]
fn a_refusal_is_one() {
    for reply in [
        says("I will not.").with_stop(StopCause::Refusal),
        Reply::new().with_block(ContentBlock::Refusal("I will not.".into())),
    ] {
        let trial = trial(TestHost::new().replies([reply]), &calculator());
        assert_eq!(failure(&trial), &Failure::Refused("I will not.".into()));
    }
    let silent = Reply::new().with_stop(StopCause::Refusal);
    let trial = trial(TestHost::new().replies([silent]), &calculator());
    assert_eq!(
        failure(&trial),
        &Failure::Refused("the model declined".into())
    );
}

#[test]
fn an_answer_that_was_cut_off_is_continued() {
    let cut = |text| says(text).with_stop(StopCause::MaxTokens);
    let host = TestHost::new().replies([cut("One, "), cut("two, "), says("three.")]);
    let trial = trial(host, &calculator());
    assert_eq!(trial.result, Ok(Output::text("One, two, three.")));

    let host = TestHost::new().model(move |_| Ok(cut("more ")));
    assert!(matches!(
        failure(&trial_of(host, &calculator(), |_| {})),
        Failure::Error(_)
    ));
}

#[test]
fn calls_of_a_reply_that_was_cut_off_are_not_made() {
    let host = TestHost::new().replies([
        calls([call("c1", "add", json!({"a": 1, "b": 2}))]).with_stop(StopCause::MaxTokens),
        says("Oh."),
    ]);
    let trial = trial(host, &calculator());
    assert!(read(&trial, "c1").1);
    assert_eq!(trial.result, Ok(Output::text("Oh.")));
}

#[test]
fn errors_of_the_model_keep_their_class() {
    let limit = crate::session::Limit {
        name: "model-calls".into(),
        max: 3,
    };
    for (error, expected) in [
        (
            ModelError::Auth(provider("no key")),
            Some(ErrorCode::AuthError),
        ),
        (
            ModelError::RateLimited(provider("slow")),
            Some(ErrorCode::RateLimit),
        ),
        (
            ModelError::Invalid("tools".into()),
            Some(ErrorCode::Unknown),
        ),
        (ModelError::Limit(limit), None),
    ] {
        let trial = trial(
            TestHost::new().model(move |_| Err(error.clone())),
            &calculator(),
        );
        match (failure(&trial), expected) {
            (Failure::Error(report), Some(code)) => assert_eq!(report.code, code),
            (Failure::Abandoned(why), None) => {
                assert_eq!(why, "the limit `model-calls` of 3 is reached");
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// An agent with a tool that gives this much text.
fn reader(bytes: usize) -> AgentLoop {
    AgentLoop::new().tool(Tool::new("read"), move |_: Value| -> Result<String> {
        Ok("x".repeat(bytes))
    })
}

fn reads(turns: usize) -> impl FnMut(&Request) -> Result<Reply, ModelError> {
    let mut turn = 0;
    move |_| {
        turn += 1;
        Ok(if turn > turns {
            says("Read.")
        } else {
            calls([call(&format!("c{turn}"), "read", json!({}))])
        })
    }
}

#[test]
fn old_results_make_room() {
    let agent = reader(4_000).context_tokens(3_500);
    let trial = trial(TestHost::new().model(reads(6)), &agent);
    assert_eq!(trial.result, Ok(Output::text("Read.")));
    let sizes: Vec<usize> = trial
        .requests()
        .map(|request| room::tokens(&request.messages))
        .collect();
    assert!(sizes.iter().all(|size| *size <= 3_500), "{sizes:?}");
    let whole = trial
        .tool_results()
        .all(|result| text(result).len() == 4_000);
    assert!(whole, "the trajectory keeps everything");
    let last = trial.requests().last().unwrap();
    let Some(Message::User(blocks)) = last.messages.last() else {
        panic!("no result");
    };
    assert!(matches!(&blocks[0], InputBlock::ToolResult(result) if text(result).len() == 4_000));
}

#[test]
fn what_the_provider_counts_goes() {
    let agent = reader(2_000).context_tokens(10_000);
    let mut reads = reads(4);
    let host = TestHost::new().model(move |request| {
        Ok(reads(request)?.with_usage(Usage::new(request.messages.len() as u64 * 2_000, 10)))
    });
    let trial = trial(host, &agent);
    let shortened = (trial.facts.iter()).any(|fact| matches!(fact, Fact::Progress { .. }));
    assert!(shortened);
}

#[test]
fn a_conversation_that_is_too_long_is_shortened_and_asked_again() {
    let mut reads = reads(4);
    let host = TestHost::new().model(move |request| {
        if room::tokens(&request.messages) > 2_500 {
            return Err(ModelError::ContextLimit(provider("too long")));
        }
        reads(request)
    });
    let trial = trial(host, &reader(4_000));
    assert_eq!(trial.result, Ok(Output::text("Read.")));

    let host = TestHost::new().model(|_| Err(ModelError::ContextLimit(provider("too long"))));
    let trial = trial_of(host, &calculator(), |_| {});
    assert_eq!(trial.requests().count(), 1, "there is nothing to shorten");
    assert!(
        matches!(failure(&trial), Failure::Error(report) if report.code == ErrorCode::ContextLimit)
    );
}

#[test]
fn results_are_cut_for_the_model() {
    let host = TestHost::new().model(reads(1));
    let trial = trial(host, &reader(4_000).result_tokens(100));
    let (text, _) = read(&trial, "c1");
    assert!(
        text.len() < 450 && text.contains("…900 tokens truncated…"),
        "{text}"
    );
}

fn parent() -> AgentLoop {
    let helper = AgentLoop::new()
        .system("You help.")
        .max_turns(5)
        .tool(Tool::new("look"), |_: Value| -> Result<&'static str> {
            Ok("a bug")
        });
    AgentLoop::new()
        .subagent(
            Subagent::new("explorer").describe("Finds things."),
            helper.clone(),
        )
        .subagent(Subagent::new("critic"), helper)
}

#[test]
fn a_sub_agent_works_in_its_frame() {
    let host = TestHost::new().replies([
        calls([call(
            "t1",
            "task",
            json!({"subagent": "explorer", "prompt": "Find it.", "description": "find"}),
        )]),
        calls([call("l1", "look", json!({}))]),
        says("It is a bug."),
        says("Found."),
    ]);
    let trial = trial(host, &parent());
    assert_eq!(trial.result, Ok(Output::text("Found.")));
    assert_eq!(read(&trial, "t1"), ("It is a bug.".into(), false));
    let requests: Vec<&Request> = trial.requests().collect();
    let frames: Vec<Option<&str>> = requests
        .iter()
        .map(|request| request.frame.as_deref())
        .collect();
    assert_eq!(frames, [None, Some("t1"), Some("t1"), None]);
    assert_eq!(words(&requests[1].messages[0]).unwrap(), "Find it.");
    assert_eq!(requests[1].system.as_deref(), Some("You help."));
    let names = |request: &Request| -> Vec<String> {
        request.tools.iter().map(|tool| tool.name.clone()).collect()
    };
    assert_eq!(names(requests[0]), ["task"]);
    assert_eq!(names(requests[1]), ["look"]);
    let order: Vec<&str> = (trial.facts.iter())
        .filter_map(|fact| match fact {
            Fact::SubagentStarted(call) => Some(call.name.as_str()),
            Fact::SubagentFinished(result) if result.reason == StopReason::Converged => {
                Some("finished")
            }
            Fact::ToolResult(result) => Some(result.call_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["explorer", "l1", "finished", "t1"]);
}

#[test]
fn what_becomes_of_a_sub_agent_is_the_result() {
    let mut asked = 0;
    let host = TestHost::new().model(move |request| {
        asked += 1;
        match (asked, &request.frame) {
            (1, _) => Ok(calls([
                call("t1", "task", json!({"prompt": "Try."})),
                call(
                    "t2",
                    "task",
                    json!({"prompt": "Try.", "subagent": "critic"}),
                ),
                call(
                    "t3",
                    "task",
                    json!({"prompt": "Try.", "subagent": "nobody"}),
                ),
                call("t4", "task", json!({})),
            ])),
            (_, Some(frame)) if frame == "t1" => Ok(says("No.").with_stop(StopCause::Refusal)),
            (_, Some(_)) => Err(ModelError::Network(provider("gone"))),
            (_, None) => Ok(says("Pity.")),
        }
    });
    let trial = trial(host, &parent());
    assert_eq!(trial.result, Ok(Output::text("Pity.")));
    assert_eq!(read(&trial, "t1"), ("it declined: No.".into(), true));
    assert_eq!(
        read(&trial, "t2"),
        (
            "it failed: the provider cannot be reached: gone".into(),
            true
        )
    );
    assert_eq!(
        read(&trial, "t3"),
        ("there is no sub-agent `nobody`".into(), true)
    );
    assert!(read(&trial, "t4").0.contains("missing field `prompt`"));
    let reasons: Vec<StopReason> = (trial.facts.iter())
        .filter_map(|fact| match fact {
            Fact::SubagentFinished(result) => Some(result.reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [StopReason::Refused, StopReason::Error]);
}

#[test]
fn a_sub_agent_that_is_not_allowed_is_not_there() {
    let host = TestHost::new().replies([
        calls([call(
            "t1",
            "task",
            json!({"subagent": "explorer", "prompt": "Find it."}),
        )]),
        says("Alone then."),
    ]);
    let trial = trial_of(host, &parent(), |commission| {
        commission.subagents = vec!["critic".into()];
    });
    assert_eq!(
        read(&trial, "t1"),
        ("there is no sub-agent `explorer`".into(), true)
    );
    let host = TestHost::new().replies([says("Alone.")]);
    let trial = trial_of(host, &parent(), |commission| commission.subagents.clear());
    assert!(trial.requests().all(|request| request.tools.is_empty()));
}

fn tea() -> Skill {
    Skill::new("tea")
        .file(
            "SKILL.md",
            "---\nname: make-tea\ndescription: Makes tea.\n---\nBoil water. See `times.md`.",
        )
        .file("times.md", "Green: 2 minutes.")
}

#[test]
fn skills_are_named_and_read() {
    let host = TestHost::new().replies([
        calls([
            call("s1", "skill", json!({"name": "make-tea"})),
            call("s2", "skill", json!({"name": "tea", "file": "times.md"})),
            call("s3", "skill", json!({"name": "coffee"})),
            call("s4", "skill", json!({"name": "tea", "file": "../secret"})),
        ]),
        says("Tea is ready."),
    ]);
    let trial = trial_of(host, &calculator(), |commission| {
        commission.skills.push(tea());
    });
    let system = trial.requests().next().unwrap().system.clone().unwrap();
    assert!(
        system.contains("- make-tea: Makes tea.") && !system.contains("Boil"),
        "{system}"
    );
    let (main, _) = read(&trial, "s1");
    assert!(main.contains("Boil water.") && main.ends_with("Other files of this skill: times.md"));
    assert_eq!(read(&trial, "s2"), ("Green: 2 minutes.".into(), false));
    assert_eq!(
        read(&trial, "s3"),
        (
            "no skill is called `coffee`; there are: make-tea".into(),
            true
        )
    );
    assert!(read(&trial, "s4").1);
}

#[test]
fn skills_of_the_agent_go_by_the_allow_list() {
    let agent = calculator().skill(tea());
    assert_eq!(agent.descriptor("a", "1").skills[0].name, "tea");
    for (allowed, there) in [(vec!["tea".to_owned()], true), (vec![], false)] {
        let host = TestHost::new().replies([says("Hi.")]);
        let trial = trial_of(host, &agent, |commission| {
            commission.builtin_skills = allowed;
        });
        let system = trial.requests().next().unwrap().system.clone().unwrap();
        assert_eq!(system.contains("make-tea"), there);
    }
    let host = TestHost::new().replies([says("Hi.")]);
    let trial = trial_of(host, &agent, |commission| commission.tools.clear());
    let system = trial.requests().next().unwrap().system.clone().unwrap();
    assert!(system.contains("Boil water."), "nothing could read it");
}

#[test]
fn a_watch_sees_the_pieces() {
    let seen = Rc::new(std::cell::RefCell::new(String::new()));
    let into = seen.clone();
    let agent = calculator().watch(move |delta| {
        if let Delta::Text(text) = delta {
            into.borrow_mut().push_str(&format!("[{text}]"));
        }
    });
    let trial = trial(TestHost::new().replies([says("Hello.")]), &agent);
    assert_eq!(trial.result, Ok(Output::text("Hello.")));
    assert_eq!(*seen.borrow(), "[Hel][lo.]");
}

#[test]
fn the_descriptor_has_every_tool_once() {
    let descriptor = parent().system("You lead.").descriptor("lead", "1.0.0");
    let names: Vec<&str> = descriptor.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["task", "look", "skill"]);
    let names: Vec<&str> = (descriptor.subagents.iter())
        .map(|subagent| &*subagent.name)
        .collect();
    assert_eq!(names, ["explorer", "critic"]);
    assert_eq!(descriptor.system_prompt.as_deref(), Some("You lead."));
}

#[cfg(feature = "tools")]
#[test]
fn file_tools_answer_where_nothing_is_granted() {
    use crate::session::Access;
    let agent = AgentLoop::new().files("/work", Access::ReadWrite);
    let script = || {
        [
            calls([
                call(
                    "c1",
                    "write_file",
                    json!({"file_path": "a.txt", "content": "x"}),
                ),
                call("c2", "read_file", json!({"file_path": "a.txt"})),
            ]),
            says("Done."),
        ]
    };
    let trial = trial_of(TestHost::new().replies(script()), &agent, |_| {});
    assert_eq!(
        read(&trial, "c1"),
        (
            "`/work` is in no directory granted to this run".into(),
            true
        )
    );
    assert_eq!(trial.result, Ok(Output::text("Done.")));

    let dir = tempfile::tempdir().unwrap();
    let host = TestHost::new()
        .directory("/work", dir.path(), Access::ReadWrite)
        .replies(script());
    let trial = trial_of(host, &agent, |_| {});
    assert_eq!(
        read(&trial, "c1"),
        ("Created /work/a.txt (1 bytes)".into(), false)
    );
    assert_eq!(read(&trial, "c2"), ("L1: x".into(), false));
    let system = trial.requests().next().unwrap().system.clone().unwrap();
    assert_eq!(
        system,
        "Directories you can use:\n- /work (reading and writing)"
    );
}
