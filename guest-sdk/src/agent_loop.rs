//! The loop that makes an agent of a model and tools.
//!
//! A few lines are an agent: name and version are the Cargo package's, the descriptor lists the tools,
//! and the loop does the rest.
//!
//! ```
//! use wasm_agent_sdk::agent_loop::AgentLoop;
//! use wasm_agent_sdk::session::Access;
//! use wasm_agent_sdk::{Result, Tool, agent};
//!
//! agent!(librarian);
//!
//! #[derive(serde::Deserialize)]
//! struct Shelf {
//!     topic: String,
//! }
//!
//! fn librarian() -> AgentLoop {
//!     AgentLoop::new()
//!         .system("You answer questions about the files in /work.")
//!         .files("/work", Access::ReadOnly)
//!         .tool(Tool::new("shelf").describe("Says where a topic is."), |shelf: Shelf| -> Result<String> {
//!             Ok(format!("{} is on shelf {}", shelf.topic, shelf.topic.len()))
//!         })
//! }
//! # fn main() {}
//! ```
//!
//! # What it does
//!
//! It asks the commission's model with the system prompt, the task and the tools, makes the calls of the
//! reply, gives back their results, and asks again until a reply has no calls: that is the answer.
//!
//! - **Tools** are the agent's own ([`tool`](AgentLoop::tool), [`files`](AgentLoop::files)), those the
//!   operator granted, and sub-agents. Own ones run in order; neighbouring calls of granted ones are
//!   made together, which the host does at the same time where their tools allow it. Results are in the
//!   order of the calls. What goes wrong in a tool is its result, marked as an error: the model decides
//!   what to do about it. Calls of tools that are not in the run are answered the same way.
//! - **Sub-agents** are loops of their own behind the tool `task`, each in a frame of the trajectory.
//! - **Skills** of the commission stand in the system prompt by name and description, and the tool
//!   `skill` reads them. Where the commission's allow-list takes that tool away, the instructions
//!   themselves are in the prompt.
//! - **Structured output**: when the commission has an output schema, the answer has to match it. One
//!   that does not is handed back with what is wrong, [`repairs`](AgentLoop::repairs) times. The check
//!   leaves out `pattern`, `format` and rarer keywords; the operator's `[require] output-schema` has the
//!   host check all of them.
//! - **Empty replies**: a model that says nothing and calls nothing is told so and asked once more. One that
//!   does it again has given no answer, and the run ends with an error.
//! - **Finishing up**: at the last of [`max_turns`](AgentLoop::max_turns), or when the budget of the run
//!   is low, the model is told to answer with what it has, and may call no more tools.
//! - **Room**: before the conversation is longer than [`context_tokens`](AgentLoop::context_tokens), or
//!   when the model says that it is too long, the oldest results of tools are shortened to their
//!   beginning, down to three quarters of the room. The trajectory keeps all of them.
//!
//! # How it ends
//!
//! With the answer, which it also declares with [`session::complete`] unless it
//! had to finish up. As `refused` when the model declines. As `abandoned` when a limit of the run is
//! reached, or when there is no answer even after finishing up. As an error of the code that fits when
//! the model cannot be asked, or when its replies are empty.

mod answer;
mod conversation;
#[cfg(feature = "tools")]
mod files;
mod local;
mod room;
mod skills;
mod subagents;
#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;

use crate::agent::Runnable;
use crate::model::{Delta, Sampling};
use crate::{Commission, Descriptor, Output, Result, Skill, Subagent, Tool, session};

use conversation::{Conversation, Ending};
use local::LocalTool;
pub use local::ToolOutput;

/// An agent made of a model and tools: see the [module](self). Cheap to clone.
#[derive(Clone)]
pub struct AgentLoop {
    system: Option<String>,
    model: Option<String>,
    default_model: Option<String>,
    sampling: Sampling,
    tools: Vec<LocalTool>,
    granted: Granted,
    subagents: Vec<(Subagent, AgentLoop)>,
    skills: Vec<Skill>,
    max_turns: u32,
    repairs: u32,
    context_tokens: usize,
    result_tokens: usize,
    watch: Option<Watch>,
}

type Watch = Rc<dyn Fn(&Delta)>;

/// Which of the tools the operator granted a loop uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granted {
    /// All of them.
    #[default]
    All,
    /// Those whose server says that they change nothing.
    ReadOnly,
    /// None.
    None,
}

impl Default for AgentLoop {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentLoop {
    /// A loop without a system prompt and without tools but those the operator granted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            system: None,
            model: None,
            default_model: None,
            sampling: Sampling::default(),
            tools: Vec::new(),
            granted: Granted::All,
            subagents: Vec::new(),
            skills: Vec::new(),
            max_turns: 50,
            repairs: 2,
            context_tokens: 150_000,
            result_tokens: 10_000,
            watch: None,
        }
    }

    /// The system prompt. A commission can replace it; what the loop itself has to say, on directories,
    /// skills and the form of the answer, is added in any case.
    #[must_use]
    pub fn system(mut self, prompt: impl Into<String>) -> Self {
        self.system = Some(prompt.into());
        self
    }

    /// The model to ask, as `provider/model`, instead of the commission's: for a sub-agent that can do
    /// with a smaller one. It has to be granted too.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The model of runs whose operator names none, as `provider/model`.
    #[must_use]
    pub fn default_model(mut self, model: impl Into<String>) -> Self {
        self.default_model = Some(model.into());
        self
    }

    /// How the next tokens are chosen.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Adds a tool of the agent's own code. `call` gets the arguments, checked against the tool's input
    /// schema where it has one and read into `A`: a type that deserializes, or `serde_json::Value`. Its
    /// error is the result of the call and ends nothing. A tool of the same name is replaced.
    #[must_use]
    pub fn tool<A, O>(mut self, tool: Tool, call: impl Fn(A) -> Result<O> + 'static) -> Self
    where
        A: serde::de::DeserializeOwned,
        O: Into<ToolOutput>,
    {
        self.tools.retain(|other| other.tool.name != tool.name);
        self.tools.push(LocalTool::new(tool, call));
        self
    }

    /// Which of the tools the operator granted are used: all of them unless it is said.
    #[must_use]
    pub fn granted(mut self, granted: Granted) -> Self {
        self.granted = granted;
        self
    }

    /// Adds a sub-agent the model can hand tasks to, with the tool `task`. It works in a conversation of
    /// its own: it sees the task and nothing else, and what it answers is the result.
    #[must_use]
    pub fn subagent(mut self, subagent: Subagent, with: AgentLoop) -> Self {
        self.subagents.push((subagent, with));
        self
    }

    /// Adds a skill the agent ships with.
    #[must_use]
    pub fn skill(mut self, skill: Skill) -> Self {
        self.skills.push(skill);
        self
    }

    /// Replies of the model at most, 50 unless it is said. The last one has to be the answer.
    #[must_use]
    pub fn max_turns(mut self, turns: u32) -> Self {
        self.max_turns = turns.max(1);
        self
    }

    /// How often an answer that does not match the output schema is handed back, 2 times unless it is
    /// said.
    #[must_use]
    pub fn repairs(mut self, times: u32) -> Self {
        self.repairs = times;
        self
    }

    /// How long the conversation may become, in tokens, 150,000 unless it is said. Estimated at four
    /// bytes a token, and corrected by what the provider counts.
    #[must_use]
    pub fn context_tokens(mut self, tokens: usize) -> Self {
        self.context_tokens = tokens;
        self
    }

    /// How much of a tool's result the model gets to read, in tokens, 10,000 unless it is said. Longer
    /// ones are cut in the middle.
    #[must_use]
    pub fn result_tokens(mut self, tokens: usize) -> Self {
        self.result_tokens = tokens;
        self
    }

    /// Calls `watch` with every piece of a reply as it arrives.
    #[must_use]
    pub fn watch(mut self, watch: impl Fn(&Delta) + 'static) -> Self {
        self.watch = Some(Rc::new(watch));
        self
    }

    /// What the agent says of itself: every tool of it and its sub-agents, the tools `task` and `skill`
    /// among them, its sub-agents and skills.
    #[must_use]
    pub fn descriptor(&self, name: impl Into<String>, version: impl Into<String>) -> Descriptor {
        let mut descriptor = Descriptor::new(name, version);
        descriptor.system_prompt.clone_from(&self.system);
        descriptor.default_model.clone_from(&self.default_model);
        self.describe_tools(&mut descriptor.tools);
        if !descriptor
            .tools
            .iter()
            .any(|tool| tool.name == skills::TOOL)
        {
            descriptor.tools.push(skills::tool());
        }
        self.describe_subagents(&mut descriptor.subagents);
        descriptor.skills = self.skills.iter().map(skills::info).collect();
        descriptor
    }

    fn describe_tools(&self, tools: &mut Vec<Tool>) {
        let add = |tools: &mut Vec<Tool>, tool: Tool| {
            if !tools.iter().any(|other| other.name == tool.name) {
                tools.push(tool);
            }
        };
        for local in &self.tools {
            add(tools, local.tool.clone());
        }
        if !self.subagents.is_empty() {
            add(
                tools,
                subagents::tool(self.subagents.iter().map(|(subagent, _)| subagent)),
            );
        }
        for (_, agent) in &self.subagents {
            agent.describe_tools(tools);
        }
    }

    fn describe_subagents(&self, subagents: &mut Vec<Subagent>) {
        for (subagent, agent) in &self.subagents {
            if !subagents.iter().any(|other| other.name == subagent.name) {
                subagents.push(subagent.clone());
            }
            agent.describe_subagents(subagents);
        }
    }

    /// Does what the commission asks.
    ///
    /// # Errors
    /// The reason the run ends with when there is no answer: see the [module](self).
    pub fn run(&self, commission: &Commission) -> Result<Output> {
        let answer = Conversation::new(self, commission, None)?.run(commission.prompt())?;
        if answer.ending == Ending::ByItself {
            // An agent that declared it in one of its tools has said it better.
            let _ = session::complete(&summary(&answer.text));
        }
        Ok(answer.output())
    }
}

/// The first line that says something, 200 characters at most.
fn summary(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("done").chars().take(200).collect()
}

impl fmt::Debug for AgentLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools: Vec<&str> = (self.tools.iter())
            .map(|local| local.tool.name.as_str())
            .collect();
        f.debug_struct("AgentLoop")
            .field("system", &self.system)
            .field("model", &self.model)
            .field("tools", &tools)
            .field("subagents", &self.subagents)
            .finish_non_exhaustive()
    }
}

/// A function that makes an [`AgentLoop`].
#[derive(Debug)]
pub struct ByLoop;

impl<F: Fn() -> AgentLoop> Runnable<ByLoop> for F {
    fn describe(&self, name: &str, version: &str) -> Descriptor {
        self().descriptor(name, version)
    }

    fn run(&self, commission: Commission) -> Result<Output> {
        self().run(&commission)
    }
}
