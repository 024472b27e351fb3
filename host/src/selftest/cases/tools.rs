//! Tools of servers, which run outside the sandbox: what is started, what is called, and what comes back.

use super::super::case::{Case, guest};
use super::super::evidence::Evidence;
use super::super::setup::{Dirs, Server, Setup, Trace};
use super::super::wall::Wall;

const ALL: Server = Server::Granted {
    tools: None,
    echo: None,
};

const SERVED: Setup = Setup::new(Dirs::Nothing).served(ALL);

pub(super) const CASES: &[Case] = &[
    guest(
        "tool-command",
        Wall::Commands,
        "CWE-78",
        "A commission does not start a program with more words than the operator granted.",
        Setup::new(Dirs::Nothing)
            .served(Server::NotGranted)
            .leaves(&[Trace::Denied])
            .check(nothing_started),
    ),
    guest(
        "tool-environment",
        Wall::ServerEnvironment,
        "CWE-526",
        "A tool server sees no variable of the host's but the path.",
        SERVED,
    ),
    guest(
        "tool-unasked",
        Wall::ToolAsked,
        "CWE-345",
        "A call no model has asked for, or asked for otherwise, does not reach the server.",
        SERVED.check(nothing_called),
    ),
    guest(
        "tool-allow",
        Wall::ToolAllow,
        "CWE-862",
        "A tool of a granted server that is not granted itself is neither shown nor called.",
        Setup::new(Dirs::Nothing)
            .served(Server::Granted {
                tools: Some(&["echo"]),
                echo: None,
            })
            .leaves(&[Trace::Denied]),
    ),
    guest(
        "tool-arguments",
        Wall::ToolArguments,
        "CWE-88",
        "Arguments the operator does not allow do not reach the server, however they are written.",
        Setup::new(Dirs::Nothing)
            .served(Server::Granted {
                tools: None,
                echo: Some(
                    r#"{"properties":{"text":{"enum":["ls"]}},"additionalProperties":false}"#,
                ),
            })
            .leaves(&[Trace::Denied]),
    ),
    guest(
        "tool-calls",
        Wall::ToolCalls,
        "CWE-770",
        "Calls beyond their limit are refused.",
        SERVED
            .limits(&[("tool-calls", "3")])
            .leaves(&[Trace::Limit("tool-calls")]),
    ),
    guest(
        "tool-result",
        Wall::ToolResult,
        "CWE-770",
        "A result that is too long is cut before the guest or the account gets it.",
        SERVED
            .limits(&[("tool-result-bytes", "4KiB")])
            .check(results_are_short),
    ),
];

fn notices<'a>(evidence: &'a Evidence<'_>, notice: &'a str) -> usize {
    let audits = evidence.audits();
    audits
        .filter(|audit| audit["kind"] == "tool_server" && audit["notice"] == notice)
        .count()
}

fn nothing_started(evidence: &Evidence<'_>) -> Result<(), String> {
    match notices(evidence, "started") {
        0 => Ok(()),
        _ => Err("the program was started".to_owned()),
    }
}

/// The server tells of each call of the tool the guest tries.
fn nothing_called(evidence: &Evidence<'_>) -> Result<(), String> {
    match notices(evidence, "tools_changed") {
        0 => Ok(()),
        _ => Err("the server was called".to_owned()),
    }
}

fn results_are_short(evidence: &Evidence<'_>) -> Result<(), String> {
    let longest = evidence
        .events()
        .filter(|event| event.get("type").is_some_and(|kind| kind == "avp.tool_returned"))
        .filter_map(|event| event.pointer("/data/avp.tool_result"))
        .map(|result| result.to_string().len())
        .max();
    match longest {
        Some(bytes) if bytes < 5000 => Ok(()),
        Some(bytes) => Err(format!("a result on record has {bytes} bytes")),
        None => Err("there is no result on record".to_owned()),
    }
}
