//! One conversation with a model, from the task to the answer.

use serde_json::Value;

use super::answer::{self, Answer};
use super::{AgentLoop, Granted, room, skills, subagents};
use crate::model::{self, InputBlock, Message, ModelError, Reply, Request, StopCause, ToolChoice};
use crate::session::Access;
use crate::trajectory::{self, ToolCall, ToolResult};
use crate::{Commission, Error, Result, Skill, Tool, granted, session};

/// How often an answer that was cut off is continued.
const MAX_CONTINUATIONS: u32 = 3;
/// How often a conversation the model calls too long is shortened and asked again.
const MAX_SHORTENINGS: u32 = 4;

/// How often the model is told in a conversation that its reply could not be read.
const MAX_GARBLED: u32 = 2;

/// How a conversation came to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The model had nothing left to do.
    ByItself,
    /// It was told to answer with what it had.
    FinishedUp,
}

pub(super) struct Conversation<'a> {
    agent: &'a AgentLoop,
    commission: &'a Commission,
    frame: Option<&'a str>,
    system: Option<String>,
    /// What the model is offered.
    tools: Vec<Tool>,
    /// Names of those among them that are the operator's.
    granted: Vec<String>,
    skills: Vec<&'a Skill>,
    schema: Option<Value>,
    /// Whether the provider is asked to hold the model to the schema.
    enforced: bool,
    messages: Vec<Message>,
    /// Tokens of the last request and its reply, as the provider counted them.
    counted: usize,
    turns: u32,
    /// How often a reply could not be read.
    garbled: u32,
    ending: Ending,
}

impl<'a> Conversation<'a> {
    /// A conversation of the agent itself, or of a sub-agent in this frame.
    pub(super) fn new(
        agent: &'a AgentLoop,
        commission: &'a Commission,
        frame: Option<&'a str>,
    ) -> Result<Self> {
        // The form of the answer and the commission's skills are the agent's own business.
        let is_main = frame.is_none();
        let schema = if is_main {
            commission.output_schema()?
        } else {
            None
        };
        let builtin = (agent.skills.iter()).filter(|skill| commission.allows_skill(&skill.id));
        let given = commission.skills.iter().filter(|_| is_main);
        let mut conversation = Self {
            agent,
            commission,
            frame,
            system: None,
            tools: Vec::new(),
            granted: Vec::new(),
            skills: builtin.chain(given).collect(),
            enforced: schema.is_some(),
            schema,
            messages: Vec::new(),
            counted: 0,
            turns: 0,
            garbled: 0,
            ending: Ending::ByItself,
        };
        conversation.collect_tools();
        conversation.system = conversation.system_prompt();
        Ok(conversation)
    }

    fn collect_tools(&mut self) {
        let own = (self.agent.tools.iter()).map(|local| local.tool.clone());
        let allowed: Vec<_> = (self.agent.subagents.iter())
            .map(|(subagent, _)| subagent)
            .filter(|subagent| self.commission.allows_subagent(&subagent.name))
            .collect();
        let task = (!allowed.is_empty()).then(|| subagents::tool(allowed.into_iter()));
        let skill = (!self.skills.is_empty()).then(skills::tool);
        for tool in own.chain(task).chain(skill) {
            let twice = self.tools.iter().any(|other| other.name == tool.name);
            if self.commission.allows_tool(&tool.name) && !twice {
                self.tools.push(tool);
            }
        }
        if self.agent.granted == Granted::None {
            return;
        }
        for offered in granted::list() {
            if self.agent.granted == Granted::All || offered.read_only {
                self.granted.push(offered.tool.name.clone());
                self.tools.push(offered.tool);
            }
        }
    }

    fn system_prompt(&self) -> Option<String> {
        // A sub-agent's prompt is its own; the agent's can be replaced by the commission.
        let own = self.agent.system.clone();
        let base = match self.frame {
            None => self.commission.system_prompt.clone().or(own),
            Some(_) => own,
        };
        let readable = self.tools.iter().any(|tool| tool.name == skills::TOOL);
        let parts: Vec<String> = [
            base,
            directories(),
            skills::instructions(&self.skills, readable),
            self.schema.as_ref().map(answer::instructions),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// Talks until there is an answer.
    pub(super) fn run(mut self, prompt: &str) -> Result<Answer> {
        let prompt = if prompt.trim().is_empty() {
            "Do what your instructions say."
        } else {
            prompt
        };
        self.messages.push(Message::user(prompt));
        let mut said = String::new();
        let (mut continued, mut repaired) = (0, 0);
        let mut was_empty = false;
        loop {
            self.look_ahead();
            let reply = self.ask()?;
            self.turns += 1;
            if !reply.content.is_empty() {
                self.messages
                    .push(Message::Assistant(reply.content.clone()));
            }
            if let Some(why) = reply.refusal() {
                return Err(Error::refused(if why.trim().is_empty() {
                    "the model declined".to_owned()
                } else {
                    why
                }));
            }
            if reply.tool_calls().next().is_some() {
                was_empty = false;
                said.clear();
                let results = self.perform(&reply);
                self.messages.push(Message::results(results));
                if self.ending == Ending::FinishedUp {
                    let text = reply.text();
                    if text.trim().is_empty() || self.schema.is_some() {
                        return Err(Error::abandoned(
                            "the model went on calling tools when it had to answer",
                        ));
                    }
                    return Ok(self.answer(text, None));
                }
                continue;
            }
            // The provider's own tools are not done.
            let paused = (reply.finish_reasons.iter()).any(|reason| reason == "pause_turn");
            if paused && self.turns < self.agent.max_turns {
                continue;
            }
            said.push_str(&reply.text());
            if reply.stop == StopCause::MaxTokens {
                if continued == MAX_CONTINUATIONS || reply.content.is_empty() {
                    return Err(Error::new(
                        "the model's answer is longer than a reply may be, and was cut off",
                    ));
                }
                continued += 1;
                self.tell("Your answer was cut off. Go on exactly where it ends, without repeating anything.");
                continue;
            }
            if said.trim().is_empty() && reply.says_nothing() {
                // A model that has done its work may think that nothing is left to say. It has to say so.
                if self.ending == Ending::FinishedUp {
                    return Err(Error::abandoned(
                        "the model gave no answer when it had to: its reply was empty",
                    ));
                }
                if was_empty {
                    return Err(Error::new(
                        "the model gave no answer: its reply was empty, and empty again when it was asked once more",
                    ));
                }
                was_empty = true;
                said.clear();
                self.tell(
                    "Your reply was empty. Go on with the task, or answer in words if it is done.",
                );
                continue;
            }
            let Some(schema) = &self.schema else {
                return Ok(self.answer(said, None));
            };
            match answer::structured(&said, schema) {
                Ok(value) => return Ok(self.answer(said, Some(value))),
                Err(what) if repaired == self.agent.repairs => {
                    return Err(Error::new(format!("the answer is not usable: {what}")));
                }
                Err(what) => {
                    repaired += 1;
                    said.clear();
                    self.tell(&format!(
                        "Your answer is not usable: {what}. Answer again, with the JSON document alone."
                    ));
                }
            }
        }
    }

    fn answer(self, text: String, structured: Option<Value>) -> Answer {
        Answer {
            text,
            structured,
            ending: self.ending,
        }
    }

    /// Adds words to what the model reads next.
    fn tell(&mut self, text: &str) {
        let block = InputBlock::Text(text.into());
        match self.messages.last_mut() {
            Some(Message::User(blocks)) => blocks.push(block),
            _ => self.messages.push(Message::User(vec![block])),
        }
    }

    /// Has it come to the end? Then the model is told so.
    fn look_ahead(&mut self) {
        if self.ending == Ending::FinishedUp {
            return;
        }
        let why = if self.turns + 1 >= self.agent.max_turns {
            "This is your last turn."
        } else if session::budget().low {
            "The budget of this run is nearly used up."
        } else {
            return;
        };
        self.ending = Ending::FinishedUp;
        self.tell(&format!(
            "{why} Do not call tools any more: answer now with what you have, and say what is left undone."
        ));
    }

    fn request(&self) -> Request {
        let mut request = Request::new().sampling(self.agent.sampling.clone());
        request.model.clone_from(&self.agent.model);
        request.system.clone_from(&self.system);
        request.messages.clone_from(&self.messages);
        request.tools.clone_from(&self.tools);
        request.frame = self.frame.map(Into::into);
        if self.ending == Ending::FinishedUp && !self.tools.is_empty() {
            request.tool_choice = ToolChoice::None;
        }
        if self.enforced {
            request.output_schema = self.schema.as_ref().map(ToString::to_string);
        }
        request
    }

    /// Asks, with a conversation the model can read.
    fn ask(&mut self) -> Result<Reply> {
        let fixed = self.system.as_deref().unwrap_or_default().len() / 4;
        let size = self.counted.max(fixed + room::tokens(&self.messages));
        if size > self.agent.context_tokens {
            self.shorten(size - self.agent.context_tokens / 4 * 3);
        }
        let mut shortened = 0;
        loop {
            match self.exchange() {
                Ok(reply) => {
                    self.counted = reply.usage.map_or(0, |usage| {
                        usize::try_from(usage.input_tokens.saturating_add(usage.output_tokens))
                            .unwrap_or(usize::MAX)
                    });
                    return Ok(reply);
                }
                Err(error @ ModelError::ContextLimit(_)) => {
                    let excess = room::tokens(&self.messages) / 3;
                    if shortened == MAX_SHORTENINGS || self.shorten(excess) == 0 {
                        return Err(error.into());
                    }
                    shortened += 1;
                }
                // Its next attempt may be readable, when it knows that this one was not.
                Err(ModelError::Garbled(failure)) if self.garbled < MAX_GARBLED => {
                    self.garbled += 1;
                    self.tell(&format!(
                        "Your last reply could not be read: {}. Reply again.",
                        failure.message
                    ));
                }
                // The schema is in the system prompt too.
                Err(ModelError::Unsupported(_)) if self.enforced => self.enforced = false,
                Err(error @ ModelError::Limit(_)) => {
                    return Err(Error::abandoned(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn exchange(&self) -> Result<Reply, ModelError> {
        let Some(watch) = &self.agent.watch else {
            return model::complete(self.request());
        };
        let mut completion = model::stream(self.request())?;
        for delta in &mut completion {
            watch(&delta?);
        }
        completion.reply()
    }

    /// Makes room of about this many tokens; answers with what it came to.
    fn shorten(&mut self, excess: usize) -> usize {
        let saved = room::shorten(&mut self.messages, excess.max(1));
        self.counted = 0;
        if saved > 0 {
            // Nobody has to know; a full log of events is no reason to stop.
            let _ = trajectory::progress(
                &format!("shortened older tool results by about {saved} tokens"),
                None,
            );
        }
        saved
    }

    /// Makes the calls of a reply. The results are in their order.
    fn perform(&self, reply: &Reply) -> Vec<ToolResult> {
        let calls: Vec<&ToolCall> = reply.tool_calls().collect();
        let mut results = Vec::with_capacity(calls.len());
        let mut rest = calls.as_slice();
        while let Some(first) = rest.first() {
            let together = (rest.iter())
                .take_while(|call| self.runs(reply, call) && self.is_granted(call))
                .count();
            let (these, others) = rest.split_at(together.max(1));
            rest = others;
            if together > 0 {
                results.extend(self.call_granted(these));
            } else if !reply.allows(&first.id) {
                results.push(ToolResult::error(
                    &*first.id,
                    // In the host's words: it has answered this call in the trajectory.
                    self.refusal(first),
                ));
            } else {
                results.push(self.call_own(reply, first));
            }
        }
        results
    }

    /// Why the host has refused a call.
    fn refusal(&self, call: &ToolCall) -> String {
        let input: Value = serde_json::from_str(&call.input).unwrap_or_default();
        let is_offered = self.tools.iter().any(|tool| tool.name == call.name);
        match (input.get("unparsed_arguments"), input.get("error")) {
            (Some(_), Some(Value::String(reason))) if is_offered => {
                format!("the arguments are not a JSON object: {reason}")
            }
            _ => format!("tool `{}` is not available in this run", call.name),
        }
    }

    /// Is this call carried out at all?
    fn runs(&self, reply: &Reply, call: &ToolCall) -> bool {
        self.why_not(reply).is_none() && reply.allows(&call.id)
    }

    fn why_not(&self, reply: &Reply) -> Option<&'static str> {
        if self.ending == Ending::FinishedUp {
            return Some("not run: you were told to answer without tools");
        }
        // What is missing could be the end of the arguments.
        (reply.stop == StopCause::MaxTokens)
            .then_some("not run: your reply was cut off; call again, with less at once")
    }

    fn is_granted(&self, call: &ToolCall) -> bool {
        self.granted.contains(&call.name)
    }

    fn call_granted(&self, calls: &[&ToolCall]) -> Vec<ToolResult> {
        let calls: Vec<ToolCall> = calls.iter().map(|call| (*call).clone()).collect();
        // The host has written down the results, and the errors as results.
        (granted::call_all(&calls).into_iter().zip(&calls))
            .map(|(result, call)| {
                let mut result =
                    result.unwrap_or_else(|error| ToolResult::error(&*call.id, error.to_string()));
                room::cut(&mut result, self.agent.result_tokens);
                result
            })
            .collect()
    }

    /// Answers a call in the agent's own code, and reports the result.
    fn call_own(&self, reply: &Reply, call: &ToolCall) -> ToolResult {
        let offered = self.tools.iter().any(|tool| tool.name == call.name);
        let local = self
            .agent
            .tools
            .iter()
            .find(|local| local.tool.name == call.name);
        let mut result = if let Some(why) = self.why_not(reply) {
            ToolResult::error(&*call.id, why)
        } else if !offered {
            ToolResult::error(&*call.id, format!("there is no tool `{}` here", call.name))
        } else {
            match (local, call.name.as_str()) {
                (Some(local), _) => local.call(call),
                (None, subagents::TOOL) => {
                    subagents::delegate(&self.agent.subagents, self.commission, call)
                }
                (None, _) => skills::read(&self.skills, call),
            }
        };
        room::cut(&mut result, self.agent.result_tokens);
        // A result that is refused, over a limit of the run, is still what the model gets to read.
        let _ = trajectory::tool_result(result.clone());
        result
    }
}

/// What there is to work on.
fn directories() -> Option<String> {
    let directories: Vec<String> = (session::info().directories.into_iter())
        .map(|directory| {
            let access = match directory.access {
                Access::ReadOnly => "read-only",
                Access::ReadWrite => "reading and writing",
            };
            format!("- {} ({access})", directory.path)
        })
        .collect();
    (!directories.is_empty())
        .then(|| format!("Directories you can use:\n{}", directories.join("\n")))
}
