//! Audits a repository without a model.
//!
//! The run has six phases, each a tool of the agent's own. A phase is announced as a turn that calls
//! its tool and closed with the tool's result, so that the trajectory tells what was looked at and what
//! was found. See [`report::Report`] for the answer.

mod audit;
mod duplicates;
mod licences;
mod owners;
mod report;
mod secrets;
mod text;
mod todos;

use wasm_agent_sdk::tools::Workspace;
use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn};
use wasm_agent_sdk::{
    Agent, Commission, Context, Descriptor, Error, Output, Result, Tool, agent, session,
};

use audit::{Audit, Phase};
use report::Report;

/// Findings of a kind in an answer for people; the report they are taken from has all that were kept.
const SHOWN: usize = 5;
/// The directory that is audited.
const ROOT: &str = "/work";
/// Where the report goes when the directory may be written to; left out of the audit.
const REPORT_FILE: &str = "AUDIT.md";

agent!(RepoAudit);

struct RepoAudit;

impl Agent for RepoAudit {
    fn describe() -> Descriptor {
        let descriptor = Descriptor::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .prompt("Audit the repository in /work.");
        Phase::ALL.iter().fold(descriptor, |descriptor, phase| {
            descriptor.tool(
                Tool::new(phase.name())
                    .describe(phase.description())
                    .input_schema(r#"{"type":"object"}"#),
            )
        })
    }

    fn run(commission: Commission) -> Result<Output> {
        let options: Option<audit::Options> = commission.meta()?;
        let work = Workspace::open(ROOT).context("opening the repository")?;
        let mut audit = Audit::new(&work, options.unwrap_or_default());
        for (done, phase) in Phase::ALL.iter().enumerate() {
            let fraction = done as f64 / Phase::ALL.len() as f64;
            trajectory::progress(phase.description(), Some(fraction))?;
            if session::budget().low || !commission.allows_tool(phase.name()) {
                audit.skip(*phase);
            } else {
                perform(&mut audit, *phase)?;
            }
        }
        let report = audit.finish();
        if report
            .skipped
            .iter()
            .any(|phase| phase == Phase::Walk.name())
        {
            return Err(Error::abandoned(
                "nothing was looked at: the tool `walk` is not allowed, or no budget is left",
            ));
        }
        hand_over(&work, &report)?;
        if commission.output_schema()?.is_some() {
            Output::json(&report)
        } else {
            Ok(Output::text(report.to_markdown(SHOWN)))
        }
    }
}

/// Announces a phase, does it, and reports what it found.
fn perform(audit: &mut Audit<'_>, phase: Phase) -> Result<()> {
    let call = ToolCall::new(phase.name(), phase.name(), "{}");
    let turn = Turn::new().text(phase.description()).tool_use(call);
    if !trajectory::assistant(turn)?.allows(phase.name()) {
        audit.skip(phase);
        return Ok(());
    }
    match audit.perform(phase) {
        Ok(found) => trajectory::tool_result(ToolResult::text(phase.name(), found))?,
        Err(error) => {
            trajectory::tool_result(ToolResult::error(phase.name(), error.message()))?;
            return Err(error.context(phase.name()));
        }
    }
    Ok(())
}

fn hand_over(work: &Workspace, report: &Report) -> Result<()> {
    let markdown = report.to_markdown(usize::MAX);
    session::submit_artifact("audit.md", "text/markdown", markdown.as_bytes())?;
    if work.is_writable() {
        std::fs::write(work.path(REPORT_FILE)?, &markdown).context("writing AUDIT.md")?;
    }
    session::complete(&report.summary())?;
    Ok(())
}

#[cfg(test)]
mod tests;
