//! Events to totals: the one place where a run is summed up.

use serde::{Deserialize, Serialize};

use super::event::{Body, Event};
use super::vocabulary::StopReason;

/// Sums over a trajectory. AVP puts no totals on the wire; every consumer folds for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Events written.
    pub events: u64,
    /// Turns of a model.
    pub turns: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Tool calls that failed or were refused.
    pub tool_errors: u64,
    /// Sub-agents invoked.
    pub subagents: u64,
    /// Errors reported.
    pub errors: u64,
    /// Input tokens, those read from a cache included.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// US dollars.
    pub cost_usd: f64,
    /// How the run ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
}

impl Totals {
    /// Adds one event.
    pub fn add(&mut self, event: &Event) {
        self.events += 1;
        match &event.body {
            Body::AssistantMessage(message) => {
                self.turns += 1;
                self.input_tokens = self.input_tokens.saturating_add(message.usage.input_tokens);
                self.output_tokens = self
                    .output_tokens
                    .saturating_add(message.usage.output_tokens);
                self.cost_usd += message.cost_usd;
            }
            Body::ToolInvoked(_) => self.tool_calls += 1,
            Body::ToolReturned(returned) => {
                self.tool_errors += u64::from(returned.result.is_error);
            }
            Body::SubagentInvoked(_) => self.subagents += 1,
            Body::SubagentReturned(returned) => {
                // Only sub-agents whose own turns are not on record report a rollup, so adding it
                // counts nothing twice (AVP T§5).
                if let Some(usage) = returned.usage {
                    let add = |sum: u64, part: Option<u64>| sum.saturating_add(part.unwrap_or(0));
                    self.input_tokens = add(self.input_tokens, usage.tokens_input);
                    self.output_tokens = add(self.output_tokens, usage.tokens_output);
                    self.cost_usd += usage.cost_usd.unwrap_or(0.0);
                }
            }
            Body::ErrorOccurred(_) => self.errors += 1,
            Body::AgentStopped(stopped) => self.stop_reason = Some(stopped.reason),
            Body::RunRequested(_) | Body::AgentDescribed(_) | Body::AgentStarted(_) => {}
        }
    }
}
