//! Tools the operator granted: MCP servers, and components that are tools.
//!
//! Servers are connected to before a run starts. Nothing here knows a guest; `capabilities/tools.rs`
//! does.
