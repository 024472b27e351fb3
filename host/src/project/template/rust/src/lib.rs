//! The agent {{name}}.
