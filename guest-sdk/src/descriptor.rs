//! What an agent says of itself.

use crate::{Descriptor, Json, McpServer, SkillInfo, Subagent, Tool};

impl Descriptor {
    /// A descriptor with nothing but a stable name and the version of this build.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            agent_name: name.into(),
            agent_version: version.into(),
            default_model: None,
            supported_models: None,
            system_prompt: None,
            prompt: None,
            tools: Vec::new(),
            subagents: Vec::new(),
            skills: Vec::new(),
            mcp_servers: Vec::new(),
            capabilities: Vec::new(),
        }
    }

    /// The model used when the operator names none, as `origin/model`.
    #[must_use]
    pub fn default_model(mut self, model: impl Into<String>) -> Self {
        self.default_model = Some(model.into());
        self
    }

    /// A glob pattern of models the agent can work with; the first call ends "any model".
    #[must_use]
    pub fn supported_model(mut self, pattern: impl Into<String>) -> Self {
        self.supported_models
            .get_or_insert_default()
            .push(pattern.into());
        self
    }

    /// The system prompt the agent ships with.
    #[must_use]
    pub fn system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.system_prompt = Some(prompt.into());
        self
    }

    /// The task the agent has without being given one.
    #[must_use]
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Adds a tool of the agent's own code. Names have to be unique.
    #[must_use]
    pub fn tool(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Adds a sub-agent. Names have to be unique.
    #[must_use]
    pub fn subagent(mut self, subagent: Subagent) -> Self {
        self.subagents.push(subagent);
        self
    }

    /// Adds a skill. Names have to be unique.
    #[must_use]
    pub fn skill(mut self, skill: SkillInfo) -> Self {
        self.skills.push(skill);
        self
    }

    /// Adds an MCP server the agent brings along. Ids have to be unique.
    #[must_use]
    pub fn mcp_server(mut self, server: McpServer) -> Self {
        self.mcp_servers.push(server);
        self
    }

    /// Adds a capability flag.
    #[must_use]
    pub fn capability(mut self, flag: impl Into<String>) -> Self {
        self.capabilities.push(flag.into());
        self
    }
}

impl Tool {
    /// A tool with nothing but a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            input_schema: None,
            output_schema: None,
            mcp_server_id: None,
        }
    }

    /// What it does, as a model reads it.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// JSON Schema of its input, as text or as a `serde_json::Value`.
    #[must_use]
    pub fn input_schema(mut self, schema: impl Into<Json>) -> Self {
        self.input_schema = Some(schema.into().into_text());
        self
    }

    /// JSON Schema of its structured output.
    #[must_use]
    pub fn output_schema(mut self, schema: impl Into<Json>) -> Self {
        self.output_schema = Some(schema.into().into_text());
        self
    }
}

impl Subagent {
    /// A sub-agent with nothing but a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            input_schema: None,
            agent_type: None,
        }
    }

    /// When to delegate to it, as a model reads it.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// JSON Schema of its input.
    #[must_use]
    pub fn input_schema(mut self, schema: impl Into<Json>) -> Self {
        self.input_schema = Some(schema.into().into_text());
        self
    }
}
