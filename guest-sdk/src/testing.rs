//! Unit tests of agents without a host: outside of WebAssembly every host call lands here.
//!
//! Each thread has a host of its own, so tests do not see each other. It records what was reported and
//! refuses what is plainly impossible; limits, spans and events are the real host's business.
//!
//! ```
//! use wasm_agent_sdk::testing::{self, Fact, TestHost};
//! use wasm_agent_sdk::{Commission, Output, Result, trajectory};
//!
//! fn run(commission: Commission) -> Result<String> {
//!     trajectory::progress("thinking", Some(0.5))?;
//!     Ok(commission.prompt().to_uppercase())
//! }
//!
//! let trial = TestHost::new().run(run, testing::commission("louder"));
//! assert_eq!(trial.result, Ok(Output::text("LOUDER")));
//! assert!(matches!(&trial.facts[0], Fact::Progress { message, .. } if message == "thinking"));
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::agent::Runnable;
use crate::granted::{CallError, Offered};
use crate::model::{ModelError, Reply, Request};
use crate::session::{Access, Artifact, Directory, RunBudget, RunInfo};
use crate::trajectory::{SubagentCall, SubagentResult, ToolCall, ToolResult, Turn, Usage};
use crate::{Commission, ErrorCode, Output, Result, Tool};

pub(crate) mod calls;
pub(crate) mod granted;
pub(crate) mod model;

/// What an agent told its host, in order. Only what the host accepted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fact {
    /// A model turn, or a chunk of one.
    Turn(Turn),
    /// What the model was asked, and what it answered.
    Asked(Box<Request>, Result<Reply, ModelError>),
    /// A granted tool was called; this is its result.
    Called(ToolCall, Result<ToolResult, CallError>),
    /// Tokens and cost after the content.
    Usage {
        /// The turn they are of; none for whichever is open.
        key: Option<String>,
        /// The tokens.
        usage: Usage,
        /// US dollars.
        cost_usd: Option<f64>,
    },
    /// The result of a tool call.
    ToolResult(ToolResult),
    /// A sub-agent's frame was opened.
    SubagentStarted(SubagentCall),
    /// A sub-agent's frame was closed.
    SubagentFinished(SubagentResult),
    /// An error that did not end the run.
    Error {
        /// Its class.
        code: ErrorCode,
        /// Its text.
        message: String,
    },
    /// What the agent was doing.
    Progress {
        /// In words.
        message: String,
        /// Between 0 and 1.
        fraction: Option<f64>,
    },
    /// A checkpoint.
    Checkpoint(Vec<u8>),
    /// The work was declared done.
    Complete(String),
    /// A result as a document.
    Artifact(Artifact),
}

type Script = dyn FnMut(&Request) -> Result<Reply, ModelError>;

/// What answers in place of a model.
#[derive(Clone)]
struct ScriptedModel(Rc<RefCell<Script>>);

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedModel")
    }
}

type Answer = dyn Fn(&ToolCall) -> Result<ToolResult, CallError>;

/// A tool and what answers in its place.
#[derive(Clone)]
struct GrantedTool {
    offered: Offered,
    call: Rc<Answer>,
}

impl fmt::Debug for GrantedTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrantedTool").field(&self.offered).finish()
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Trial {
    /// What the agent returned.
    pub result: Result<Output>,
    /// What it reported on the way.
    pub facts: Vec<Fact>,
}

impl Trial {
    /// The artifact of this name.
    #[must_use]
    pub fn artifact(&self, name: &str) -> Option<&[u8]> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Artifact(artifact) if artifact.name == name => Some(artifact.data.as_slice()),
            _ => None,
        })
    }

    /// What the model was asked, in order.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.facts.iter().filter_map(|fact| match fact {
            Fact::Asked(request, _) => Some(&**request),
            _ => None,
        })
    }

    /// The results of tool calls, in order: those the agent reported and those of granted tools.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        self.facts.iter().filter_map(|fact| match fact {
            Fact::ToolResult(result) | Fact::Called(_, Ok(result)) => Some(result),
            _ => None,
        })
    }
}

/// A host to be, with nothing granted and plenty of everything.
#[derive(Clone, Debug)]
pub struct TestHost {
    model: Option<ScriptedModel>,
    granted: Vec<GrantedTool>,
    info: RunInfo,
    mounts: Vec<(String, PathBuf)>,
    budget: RunBudget,
    tools: Option<Vec<String>>,
    checkpoint: Option<Vec<u8>>,
}

impl Default for TestHost {
    fn default() -> Self {
        Self {
            model: None,
            granted: Vec::new(),
            info: RunInfo {
                run_id: "test".into(),
                session_id: "test-session".into(),
                directories: Vec::new(),
            },
            mounts: Vec::new(),
            budget: RunBudget {
                wall_ms: 600_000,
                cpu_ms: 600_000,
                memory_bytes: 256 << 20,
                events: 10_000,
                storage_bytes: 64 << 20,
                model_calls: 1000,
                tokens: 20_000_000,
                money_micro_usd: 10_000_000,
                low: false,
            },
            tools: None,
            checkpoint: None,
        }
    }
}

impl TestHost {
    /// A host that grants nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants the directory `path` of this machine under the name the agent knows it by. Reach it
    /// through [`Workspace`](crate::tools::Workspace), or [`path`].
    #[must_use]
    pub fn directory(
        mut self,
        guest: impl Into<String>,
        path: impl Into<PathBuf>,
        access: Access,
    ) -> Self {
        let guest = guest.into();
        self.mounts.push((guest.clone(), path.into()));
        self.info.directories.push(Directory {
            path: guest,
            access,
        });
        self.info.directories.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }

    /// What [`session::budget`](crate::session::budget) answers.
    #[must_use]
    pub fn budget(mut self, budget: RunBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Says that a soft limit has been passed.
    #[must_use]
    pub fn low_budget(mut self) -> Self {
        self.budget.low = true;
        self
    }

    /// Restricts the tools of the run; calls of others are refused in the receipt. Without this every
    /// tool goes.
    #[must_use]
    pub fn tools<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.tools = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Grants a model that answers with what `script` makes of each request. Before it is asked, a
    /// request is held to what the real host holds it to; replies get their step and their refused calls
    /// from this host.
    #[must_use]
    pub fn model(
        mut self,
        script: impl FnMut(&Request) -> Result<Reply, ModelError> + 'static,
    ) -> Self {
        self.model = Some(ScriptedModel(Rc::new(RefCell::new(script))));
        self
    }

    /// Grants a model that answers with these replies, in order, and panics when it is asked once more.
    #[must_use]
    #[expect(clippy::panic, reason = "tests say what is wrong by panicking")]
    pub fn replies(self, replies: impl IntoIterator<Item = Reply, IntoIter: 'static>) -> Self {
        let mut replies = replies.into_iter();
        self.model(move |request| match replies.next() {
            Some(reply) => Ok(reply),
            None => panic!("the model has no reply left for {:?}", request.messages),
        })
    }

    /// Grants a tool, as that of an MCP server.
    #[must_use]
    pub fn granted(
        self,
        tool: Tool,
        call: impl Fn(&ToolCall) -> Result<ToolResult, CallError> + 'static,
    ) -> Self {
        let offered = Offered {
            tool,
            read_only: false,
            parallel: false,
        };
        self.granted_as(offered, call)
    }

    /// Grants a tool of which more is known.
    #[must_use]
    pub fn granted_as(
        mut self,
        offered: Offered,
        call: impl Fn(&ToolCall) -> Result<ToolResult, CallError> + 'static,
    ) -> Self {
        self.granted.push(GrantedTool {
            offered,
            call: Rc::new(call),
        });
        self
    }

    /// A checkpoint of an earlier run.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: impl Into<Vec<u8>>) -> Self {
        self.checkpoint = Some(checkpoint.into());
        self
    }

    /// Makes this the host of the current thread until the guard is dropped.
    #[must_use = "the host goes away with the guard"]
    pub fn install(self) -> Installed {
        let before = STATE.with_borrow_mut(|state| {
            std::mem::replace(
                state,
                State {
                    host: self,
                    ..State::default()
                },
            )
        });
        Installed(Some(before))
    }

    /// Runs an agent, the value one would hand to [`agent!`](crate::agent!), on this host.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "agents are types and functions"
    )]
    pub fn run<K>(self, agent: impl Runnable<K>, commission: Commission) -> Trial {
        let installed = self.install();
        let result = agent.run(commission);
        let facts = facts();
        drop(installed);
        Trial { result, facts }
    }
}

/// Puts the host back that was there before.
#[derive(Debug)]
pub struct Installed(Option<State>);

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            STATE.set(before);
        }
    }
}

/// What was reported on this thread since its host was installed.
#[must_use]
pub fn facts() -> Vec<Fact> {
    STATE.with_borrow(|state| state.facts.clone())
}

/// A commission with this prompt and nothing else.
pub fn commission(prompt: impl Into<String>) -> Commission {
    Commission {
        run_id: "test".into(),
        model: "test/none".into(),
        prompt: Some(prompt.into()),
        system_prompt: None,
        output_schema: None,
        skills: Vec::new(),
        tools: Vec::new(),
        subagents: Vec::new(),
        builtin_skills: Vec::new(),
        thread_id: None,
        tags: Vec::new(),
        meta: None,
        raw: "{}".into(),
    }
}

/// A commission with this prompt for one agent: with its tools, sub-agents, skills and system prompt, as
/// the host fills them in.
pub fn commission_for<K>(agent: &impl Runnable<K>, prompt: impl Into<String>) -> Commission {
    let descriptor = agent.describe("test", "0.0.0");
    Commission {
        system_prompt: descriptor.system_prompt,
        tools: (descriptor.tools.into_iter())
            .map(|tool| tool.name)
            .collect(),
        subagents: (descriptor.subagents.into_iter())
            .map(|subagent| subagent.name)
            .collect(),
        builtin_skills: (descriptor.skills.into_iter())
            .map(|skill| skill.name)
            .collect(),
        ..commission(prompt)
    }
}

/// Where a path the agent knows is on this machine; none when it is not in a granted directory.
#[must_use]
pub fn path(guest: impl AsRef<Path>) -> Option<PathBuf> {
    let guest = guest.as_ref();
    STATE.with_borrow(|state| {
        state
            .host
            .mounts
            .iter()
            .filter_map(|(mount, target)| {
                let rest = guest.strip_prefix(mount).ok()?;
                Some((mount.len(), target.join(rest)))
            })
            .max_by_key(|(depth, _)| *depth)
            .map(|(_, path)| path)
    })
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// The current thread's host at work.
#[derive(Debug, Default)]
struct State {
    host: TestHost,
    facts: Vec<Fact>,
    /// Call id, and whether its result is known.
    calls: Vec<(String, bool)>,
    /// The tool of each call a model made.
    names: HashMap<String, String>,
    /// Invocation id, and whether it is closed.
    frames: Vec<(String, bool)>,
    /// Key of the open turn and the calls in it.
    open: Option<Open>,
    step: u32,
    completed: bool,
    stored: u64,
}

#[derive(Debug)]
struct Open {
    key: String,
    calls: Vec<String>,
}
