//! Agent projects on disk: making one, and building one into a component.
