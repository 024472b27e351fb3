//! Skills: folders with a `SKILL.md` (agentskills.io), by name and description until they are read.

use crate::trajectory::{ToolCall, ToolResult};
use crate::{Skill, SkillInfo, Tool};

/// The tool that reads skills.
pub(super) const TOOL: &str = "skill";

const MAIN_FILE: &str = "SKILL.md";

impl Skill {
    /// A skill without files.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            files: Vec::new(),
        }
    }

    /// Adds a file; one has to be called `SKILL.md`.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<String>) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// The content of one of its files.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<&str> {
        let path = path.trim_start_matches("./");
        (self.files.iter())
            .find(|(known, _)| known.trim_start_matches("./") == path)
            .map(|(_, content)| content.as_str())
    }

    /// Its name: what `SKILL.md` says in its front matter, or the id.
    #[must_use]
    pub fn name(&self) -> String {
        (self.front_matter("name")).unwrap_or_else(|| self.id.clone())
    }

    /// What it is for: what `SKILL.md` says in its front matter, or its first line of text.
    #[must_use]
    pub fn description(&self) -> String {
        self.front_matter("description").unwrap_or_else(|| {
            let main = self.content(MAIN_FILE).unwrap_or_default();
            let body = split(main).map_or(main, |(_, body)| body);
            let line = (body.lines())
                .map(|line| line.trim_start_matches('#').trim())
                .find(|line| !line.is_empty());
            line.unwrap_or_default().to_owned()
        })
    }

    fn front_matter(&self, key: &str) -> Option<String> {
        let (matter, _) = split(self.content(MAIN_FILE)?)?;
        field(matter, key).filter(|value| !value.is_empty())
    }

    /// Is this its id or its name?
    fn is_called(&self, name: &str) -> bool {
        self.id == name || self.name() == name
    }
}

/// The front matter and what comes after it.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches('\u{feff}');
    let after = text.strip_prefix("---")?.trim_start_matches([' ', '\t']);
    let after = after
        .strip_prefix("\r\n")
        .or_else(|| after.strip_prefix('\n'))?;
    let mut start = 0;
    for line in after.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some((after.get(..start)?, after.get(start + line.len()..)?));
        }
        start += line.len();
    }
    None
}

/// A field of YAML as skills write it: on its line, quoted or not, or indented below it.
fn field(matter: &str, key: &str) -> Option<String> {
    let mut lines = matter.lines();
    let first = lines
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?
        .trim();
    let quoted = |quote: char| {
        first
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    if let Some(text) = quoted('"') {
        return Some(text.replace("\\\"", "\"").replace("\\\\", "\\"));
    }
    if let Some(text) = quoted('\'') {
        return Some(text.replace("''", "'"));
    }
    let block = first.starts_with(['>', '|']);
    let first = (!block).then_some(first);
    let more = lines
        .take_while(|line| line.starts_with([' ', '\t']) || (block && line.trim().is_empty()))
        .map(str::trim);
    let words: Vec<&str> = (first.into_iter().chain(more))
        .filter(|line| !line.is_empty())
        .collect();
    Some(words.join(" "))
}

/// The tool as a model sees it.
pub(super) fn tool() -> Tool {
    Tool::new(TOOL)
        .describe("Reads a skill: its instructions, or another file of it.")
        .input_schema(
            r#"{"type":"object","properties":{"name":{"type":"string","description":"The skill."},"file":{"type":"string","description":"One of its files. Default `SKILL.md`."}},"required":["name"],"additionalProperties":false}"#,
        )
}

/// What the descriptor says of a skill.
pub(super) fn info(skill: &Skill) -> SkillInfo {
    SkillInfo {
        name: skill.id.clone(),
        description: Some(skill.description()),
        version: None,
        source: None,
    }
}

/// What the system prompt says about the skills. Without the tool that reads them their instructions
/// stand here themselves.
pub(super) fn instructions(skills: &[&Skill], readable: bool) -> Option<String> {
    if skills.is_empty() {
        return None;
    }
    let mut text = String::from(if readable {
        "Skills are instructions for certain tasks. Before you do a task a skill is for, read it with the \
         tool `skill` and follow it. These are there:\n"
    } else {
        "Skills are instructions for certain tasks. Follow a skill when you do a task it is for. These \
         are there:\n"
    });
    for skill in skills {
        text.push_str(&format!("- {}: {}\n", skill.name(), skill.description()));
    }
    if !readable {
        for skill in skills {
            let main = skill.content(MAIN_FILE).unwrap_or_default();
            let body = split(main).map_or(main, |(_, body)| body);
            text.push_str(&format!("\n# Skill {}\n\n{}\n", skill.name(), body.trim()));
        }
    }
    Some(text.trim_end().to_owned())
}

#[derive(serde::Deserialize)]
struct Arguments {
    name: String,
    file: Option<String>,
}

/// Reads a skill.
pub(super) fn read(skills: &[&Skill], call: &ToolCall) -> ToolResult {
    match content(skills, &call.input) {
        Ok(text) => ToolResult::text(&*call.id, text),
        Err(why) => ToolResult::error(&*call.id, why),
    }
}

fn content(skills: &[&Skill], input: &str) -> Result<String, String> {
    let arguments: Arguments = serde_json::from_str(input)
        .map_err(|error| format!("the arguments are not valid: {error}"))?;
    let Some(skill) = (skills.iter()).find(|skill| skill.is_called(&arguments.name)) else {
        let names: Vec<String> = skills.iter().map(|skill| skill.name()).collect();
        let known = if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        };
        return Err(format!(
            "no skill is called `{}`; there are: {known}",
            arguments.name
        ));
    };
    let others = |path: &str| {
        let names: Vec<&str> = (skill.files.iter())
            .map(|(name, _)| name.as_str())
            .filter(|name| *name != path)
            .collect();
        names.join(", ")
    };
    let path = arguments.file.as_deref().unwrap_or(MAIN_FILE);
    let text = skill
        .content(path)
        .ok_or_else(|| format!("the skill has no file `{path}`; it has: {}", others("")))?;
    if path != MAIN_FILE || skill.files.len() == 1 {
        return Ok(text.to_owned());
    }
    Ok(format!(
        "{text}\n\nOther files of this skill: {}",
        others(MAIN_FILE)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_read_as_skills_write_it() {
        let skill = |matter: &str| {
            Skill::new("s").file("SKILL.md", format!("---\n{matter}\n---\n\n# Body\n"))
        };
        for (matter, description) in [
            ("name: a\ndescription: Makes tea.", "Makes tea."),
            (
                "description: \"Makes: \\\"tea\\\"\"\nname: a",
                "Makes: \"tea\"",
            ),
            ("description: 'Ada''s tea'", "Ada's tea"),
            (
                "description: >-\n  Makes tea\n\n  and cake.\nname: a",
                "Makes tea and cake.",
            ),
            (
                "description: Makes tea\n  and cake.\nlicense: MIT",
                "Makes tea and cake.",
            ),
            ("license: MIT", "Body"),
        ] {
            assert_eq!(skill(matter).description(), description, "{matter}");
        }
        assert_eq!(skill("name: a").name(), "a");
        assert_eq!(skill("x: a").name(), "s");
        assert_eq!(
            Skill::new("s")
                .file("./SKILL.md", "Just do it.")
                .description(),
            "Just do it."
        );
        assert_eq!(Skill::new("s").description(), "");
        assert_eq!(
            Skill::new("s").file("SKILL.md", "---\nname: open").name(),
            "s"
        );
    }

    #[test]
    fn without_the_tool_the_instructions_are_in_the_prompt() {
        let skill = Skill::new("tea").file("SKILL.md", "---\nname: tea\n---\nBoil water.");
        let short = instructions(&[&skill], true).unwrap();
        assert!(short.contains("- tea: Boil water.") && !short.contains("# Skill"));
        assert!(
            instructions(&[&skill], false)
                .unwrap()
                .ends_with("# Skill tea\n\nBoil water.")
        );
        assert_eq!(instructions(&[], true), None);
    }
}
