//! What a component says it needs. An ask is a ceiling and never a grant: what the operator allows is cut
//! down to it, and nothing it says can widen anything.
//!
//! It travels in the component as the custom section [`SECTION`], a JSON document:
//!
//! ```json
//! {"version":1,"description":"Audits a repository.",
//!  "dirs":[{"path":"/work","access":"ro","why":"the repository"}],
//!  "env":[{"name":"AUDIT_LEVEL","why":"how strict to be"}]}
//! ```
//!
//! In an agent project it is written in `Cargo.toml`, in long or in short:
//!
//! ```toml
//! [package.metadata.wasm-agent.ask]
//! description = "Audits a repository."
//! dirs = ["/work:ro", { path = "/out", access = "rw", why = "the report" }]
//! env = ["AUDIT_LEVEL"]
//! ```
//!
//! An unknown key, a repeated one, a name or path that is not in its one canonical form: each is an error.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use wasm_encoder::{ComponentSection as _, CustomSection, Encode as _};

use crate::engine::artifact::ArtifactProblem;
use crate::engine::outline::TopLevel;
use crate::error::Hint;

/// Name of the custom section an ask travels in.
pub const SECTION: &str = "wasm-agent:ask";

/// Version of the format this host writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// Greatest ask that is read, in bytes. A hundred directories with a line about each are a tenth of it.
pub const MAX_BYTES: usize = 64 << 10;

/// Most directories, and most variables, one ask can name.
const MAX_ENTRIES: usize = 128;

/// Longest path or name, in bytes.
const MAX_NAME: usize = 1024;

/// Longest description or reason, in bytes: it is shown in a table.
const MAX_TEXT: usize = 1024;

/// What a component says it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dirs: Vec<DirAsk>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    env: Vec<EnvAsk>,
}

/// A directory a component needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirAsk {
    /// Where the component expects it: absolute, normal form.
    pub path: String,
    /// What it does there.
    pub access: Access,
    /// What for, for a person who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An environment variable a component needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvAsk {
    /// Its name.
    pub name: String,
    /// What for, for a person who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a component does in a directory. The greater includes the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Reads.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Reads and writes.
    #[serde(rename = "rw")]
    ReadWrite,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        })
    }
}

impl Ask {
    /// Reads the content of the custom section.
    ///
    /// # Errors
    ///
    /// [`AskError`] when it is longer than [`MAX_BYTES`], not JSON of this form, or of another version.
    pub fn parse(section: &[u8]) -> Result<Self, AskError> {
        /// The version alone, so that a later format is called that and not malformed.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }

        if section.len() > MAX_BYTES {
            return Err(AskError::TooLong { max: MAX_BYTES });
        }
        let versioned: Versioned = serde_json::from_slice(section).map_err(AskError::json)?;
        if versioned.version != VERSION {
            return Err(AskError::Version {
                found: versioned.version,
            });
        }
        serde_json::from_slice::<Self>(section)
            .map_err(AskError::json)?
            .checked()
    }

    /// Reads `[package.metadata.wasm-agent.ask]`, as cargo's JSON gives it.
    ///
    /// # Errors
    ///
    /// [`AskError`] when it has a key, type or value that an ask does not have.
    pub fn from_metadata(table: &serde_json::Value) -> Result<Self, AskError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            description: Option<String>,
            #[serde(default)]
            dirs: Vec<Dir>,
            #[serde(default)]
            env: Vec<Env>,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a directory is written as \"/path:ro\", \"/path:rw\" or as a table with `path`, `access` and `why`"
        )]
        enum Dir {
            Short(String),
            Long(DirAsk),
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a variable is written as \"NAME\" or as a table with `name` and `why`"
        )]
        enum Env {
            Short(String),
            Long(EnvAsk),
        }

        let table = Table::deserialize(table).map_err(AskError::json)?;
        let dirs = table.dirs.into_iter().map(|dir| match dir {
            Dir::Long(dir) => Ok(dir),
            Dir::Short(text) => short_dir(&text),
        });
        let env = table.env.into_iter().map(|env| match env {
            Env::Long(env) => env,
            Env::Short(name) => EnvAsk { name, why: None },
        });
        Self {
            version: VERSION,
            description: table.description,
            dirs: dirs.collect::<Result<_, _>>()?,
            env: env.collect(),
        }
        .checked()
    }

    /// What the agent does, in its author's words.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The directories it needs.
    pub fn dirs(&self) -> &[DirAsk] {
        &self.dirs
    }

    /// The environment variables it needs.
    pub fn env(&self) -> &[EnvAsk] {
        &self.env
    }

    /// The most it asks for at `path`, a directory of the guest in normal form: what it asks for there or
    /// for a directory above. Nothing means that a grant there goes beyond the ask.
    pub fn access_at(&self, path: &str) -> Option<Access> {
        self.dirs
            .iter()
            .filter(|dir| is_at_or_below(path, &dir.path))
            .map(|dir| dir.access)
            .max()
    }

    /// Whether it asks for the variable `name`.
    pub fn wants_env(&self, name: &str) -> bool {
        self.env.iter().any(|env| env.name == name)
    }

    /// The section's content.
    ///
    /// # Errors
    ///
    /// [`AskError::TooLong`] when it would not be read back.
    pub fn to_section(&self) -> Result<Vec<u8>, AskError> {
        let bytes = serde_json::to_vec(self).map_err(AskError::json)?;
        if bytes.len() > MAX_BYTES {
            return Err(AskError::TooLong { max: MAX_BYTES });
        }
        Ok(bytes)
    }

    fn checked(self) -> Result<Self, AskError> {
        let count = self.dirs.len().max(self.env.len());
        if count > MAX_ENTRIES {
            return Err(AskError::TooMany { max: MAX_ENTRIES });
        }
        for (at, dir) in self.dirs.iter().enumerate() {
            if !is_normal(&dir.path) {
                return Err(AskError::Path(quote(&dir.path)));
            }
            let earlier = self.dirs.iter().take(at);
            if earlier.into_iter().any(|other| other.path == dir.path) {
                return Err(AskError::Twice(quote(&dir.path)));
            }
        }
        for (at, env) in self.env.iter().enumerate() {
            if !is_variable(&env.name) {
                return Err(AskError::Variable(quote(&env.name)));
            }
            let earlier = self.env.iter().take(at);
            if earlier.into_iter().any(|other| other.name == env.name) {
                return Err(AskError::Twice(quote(&env.name)));
            }
        }
        let reasons = self.dirs.iter().map(|dir| &dir.why);
        let reasons = reasons.chain(self.env.iter().map(|env| &env.why));
        for text in reasons.chain([&self.description]).flatten() {
            // It is shown to the person who decides: it must not be able to move the cursor.
            if text.len() > MAX_TEXT || text.chars().any(is_control) {
                return Err(AskError::Text(quote(text)));
            }
        }
        Ok(self)
    }
}

/// `component` with `ask` in its section; one that is there already is replaced.
///
/// # Errors
///
/// [`EmbedError`] when the component is malformed on its outermost level or the ask too long.
pub fn embed(component: &[u8], ask: &Ask) -> Result<Vec<u8>, EmbedError> {
    let data = ask.to_section()?;
    let mut out = Vec::with_capacity(component.len() + data.len() + SECTION.len() + 16);
    for section in TopLevel::new(component) {
        let section = section?;
        let is_ask = matches!(&section.payload, wasmparser::Payload::CustomSection(custom) if custom.name() == SECTION);
        if !is_ask {
            out.extend_from_slice(component.get(section.range).unwrap_or_default());
        }
    }
    let section = CustomSection {
        name: Cow::Borrowed(SECTION),
        data: Cow::Owned(data),
    };
    out.push(section.id());
    section.encode(&mut out);
    Ok(out)
}

/// `/path:ro` or `/path:rw`. The access is never left out: what an agent asks for is said in full.
fn short_dir(text: &str) -> Result<DirAsk, AskError> {
    let (path, access) = match text.rsplit_once(':') {
        Some((path, "ro")) => (path, Access::ReadOnly),
        Some((path, "rw")) => (path, Access::ReadWrite),
        _ => return Err(AskError::Short(quote(text))),
    };
    Ok(DirAsk {
        path: path.to_owned(),
        access,
        why: None,
    })
}

/// Whether `path` is absolute with no empty, `.` or `..` part and no trailing slash. There is one way to
/// write a place, so that comparing texts compares places.
fn is_normal(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    path.len() <= MAX_NAME
        && !path.chars().any(is_control)
        && (rest.is_empty() || !rest.split('/').any(|part| matches!(part, "" | "." | "..")))
}

/// Whether `path` is `above` or in it. Both are in normal form.
fn is_at_or_below(path: &str, above: &str) -> bool {
    match path.strip_prefix(above) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || above == "/",
        None => false,
    }
}

fn is_variable(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Control characters, and those that change the direction of what follows.
fn is_control(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The start of `text`, with what is not printable escaped, for a message.
fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        quoted.push('…');
    }
    quoted
}

/// Why an ask cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It is longer than what is read.
    #[error("its ask is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// It names too many things.
    #[error("its ask names more than {max} directories or variables")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// It is in a format this host does not know.
    #[error("its ask has version {found}, and this host reads version {VERSION}")]
    Version {
        /// The version it has.
        found: u32,
    },
    /// It is not JSON, or has the wrong keys or types.
    #[error("its ask is malformed: {0}")]
    Malformed(String),
    /// A path is not absolute or not in normal form.
    #[error("its ask has the directory `{0}`, which is not an absolute path in normal form")]
    Path(String),
    /// A short form of a directory is none.
    #[error("its ask has the directory `{0}`, which ends neither in `:ro` nor in `:rw`")]
    Short(String),
    /// A name is not one of an environment variable.
    #[error("its ask has the variable `{0}`, which is not a name of letters, digits and `_`")]
    Variable(String),
    /// Something is asked for twice.
    #[error("its ask names `{0}` twice")]
    Twice(String),
    /// A text is too long or holds control characters.
    #[error("its ask has a text that is too long or not printable: `{0}`")]
    Text(String),
    /// The component carries more than one ask.
    #[error("it carries more than one ask")]
    Repeated,
}

impl AskError {
    fn json(error: impl fmt::Display) -> Self {
        Self::Malformed(quote(&error.to_string()))
    }
}

impl Hint for AskError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Version { .. } => Some("a newer wasm-agent may read it".into()),
            Self::Repeated => {
                Some("build it again with `wasm-agent build`, which keeps one".into())
            }
            _ => None,
        }
    }
}

/// Why an ask could not be put into a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The ask cannot be written.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The component is malformed.
    #[error(transparent)]
    Component(#[from] ArtifactProblem),
}

impl Hint for EmbedError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ask(error) => error.hint(),
            Self::Component(problem) => problem.hint(),
        }
    }
}

#[cfg(test)]
mod tests;
