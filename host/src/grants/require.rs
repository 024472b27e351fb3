//! What a run has to show before it counts as done.
//!
//! ```toml
//! [require]
//! complete = true                        # the agent declares its work done
//! output-schema = true                   # its output matches the commission's `output_schema`
//! artifacts = [{ name = "report.json", schema = "report.schema.json" }]
//! ```
//!
//! Evidence is what the host has seen come in through a host call of this run. What an agent prints, or
//! left behind in an earlier run, is none.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Hint;
use crate::schema::{MAX_SCHEMA, Schema, SchemaError};

/// Most artifacts that can be required. A person has to be able to read the list.
const MAX_ARTIFACTS: usize = 64;

/// Longest name of an artifact, in bytes: what every file system takes.
pub const MAX_NAME: usize = 128;

/// Whether `name` can be the name of an artifact: `[A-Za-z0-9._-]{1,128}` and no leading dot, so that it
/// stays in its folder on every file system.
#[must_use]
pub fn is_artifact_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What has to be shown, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Require {
    /// The agent has to declare its work done.
    pub complete: bool,
    /// Documents it has to hand over.
    pub artifacts: Vec<ArtifactSpec>,
    /// Its output has to match the commission's `output_schema`.
    pub output_schema: bool,
}

/// A document that has to be handed over, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSpec {
    /// Its name, `[A-Za-z0-9._-]{1,128}` without a leading dot.
    pub name: String,
    /// File of the JSON Schema it has to match.
    #[serde(default)]
    pub schema: Option<PathBuf>,
}

/// What has to be shown: every schema has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The agent has to declare its work done.
    pub complete: bool,
    /// Documents it has to hand over, by name.
    pub artifacts: Vec<ArtifactEvidence>,
    /// Its output has to match the commission's `output_schema`.
    pub output_schema: bool,
}

/// A document that has to be handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct ArtifactEvidence {
    /// Its name.
    pub name: String,
    /// The schema it has to match, and the file that was read from.
    pub schema: Option<(PathBuf, Schema)>,
}

/// What is required cannot be.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum RequireError {
    #[error("cannot require `{text}`: {reason}")]
    Syntax { text: String, reason: &'static str },
    #[error("cannot require the artifact `{name}`: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("cannot require more than {MAX_ARTIFACTS} artifacts")]
    TooMany,
    #[error("cannot read the schema `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot use the schema `{}`: {source}", path.display())]
    Schema { path: PathBuf, source: SchemaError },
}

impl Hint for RequireError {
    fn hint(&self) -> Option<String> {
        match self {
            RequireError::Syntax { .. } => Some(
                "write `complete`, `artifact=NAME`, `artifact=NAME:SCHEMA` or `output-schema`"
                    .to_owned(),
            ),
            RequireError::Schema { source, .. } => source.hint(),
            _ => None,
        }
    }
}

impl Require {
    /// Adds what a flag says: `complete`, `artifact=NAME[:SCHEMA]` or `output-schema`.
    ///
    /// # Errors
    ///
    /// It says none of these.
    pub fn add(&mut self, text: &str) -> Result<(), RequireError> {
        match text.split_once('=') {
            None if text == "complete" => self.complete = true,
            None if text == "output-schema" => self.output_schema = true,
            Some(("artifact", spec)) => self.artifacts.push(spec.parse()?),
            _ => {
                return Err(RequireError::Syntax {
                    text: text.to_owned(),
                    reason: "there is no such evidence",
                });
            }
        }
        Ok(())
    }

    /// The same with schemas that are relative to `base`.
    #[must_use]
    pub(super) fn relative_to(mut self, base: &Path) -> Require {
        for artifact in &mut self.artifacts {
            artifact.schema = artifact.schema.take().map(|schema| base.join(schema));
        }
        self
    }
}

impl FromStr for ArtifactSpec {
    type Err = RequireError;

    /// `NAME[:SCHEMA]`. No name has a colon in it.
    fn from_str(text: &str) -> Result<ArtifactSpec, RequireError> {
        let (name, schema) = match text.split_once(':') {
            Some((_, "")) => {
                return Err(RequireError::Syntax {
                    text: format!("artifact={text}"),
                    reason: "there is no schema after `:`",
                });
            }
            Some((name, schema)) => (name, Some(PathBuf::from(schema))),
            None => (text, None),
        };
        Ok(ArtifactSpec {
            name: name.to_owned(),
            schema,
        })
    }
}

impl Evidence {
    /// Reads the schemas of what a file and flags require. Both count; where they name the same
    /// artifact, the flags decide.
    ///
    /// # Errors
    ///
    /// A name that is none or stands twice in the file or in the flags, a schema that cannot be used.
    pub(super) fn resolve(file: Require, flags: Require) -> Result<Evidence, RequireError> {
        named_once(&file.artifacts)?;
        named_once(&flags.artifacts)?;
        let mut specs = file.artifacts;
        specs.retain(|spec| flags.artifacts.iter().all(|other| other.name != spec.name));
        specs.extend(flags.artifacts);
        if specs.len() > MAX_ARTIFACTS {
            return Err(RequireError::TooMany);
        }
        let mut artifacts = specs
            .into_iter()
            .map(|spec| {
                Ok(ArtifactEvidence {
                    name: spec.name,
                    schema: spec.schema.map(read_schema).transpose()?,
                })
            })
            .collect::<Result<Vec<_>, RequireError>>()?;
        artifacts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Evidence {
            complete: file.complete || flags.complete,
            artifacts,
            output_schema: file.output_schema || flags.output_schema,
        })
    }

    /// Whether nothing is required: returning is enough then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.complete && !self.output_schema && self.artifacts.is_empty()
    }

    /// All of it in the words of `--require`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let complete = self.complete.then(|| "complete".to_owned());
        let output = self.output_schema.then(|| "output-schema".to_owned());
        let artifacts = self.artifacts.iter().map(ArtifactEvidence::to_string);
        complete
            .into_iter()
            .chain(artifacts)
            .chain(output)
            .collect()
    }

    /// What is required of the artifact `name`, if anything.
    #[must_use]
    pub fn artifact(&self, name: &str) -> Option<&ArtifactEvidence> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }

    /// As the guest may see it: no path of the host.
    pub(super) fn to_guest_json(&self) -> Value {
        self.to_json(|_, schema| json!(schema.digest().to_string()))
    }

    /// As `run.json` keeps it: the digest says which schema the file held.
    pub(super) fn to_host_json(&self) -> Value {
        self.to_json(|path, schema| json!({ "path": path, "digest": schema.digest().to_string() }))
    }

    fn to_json(&self, schema: impl Fn(&Path, &Schema) -> Value) -> Value {
        let artifacts = self.artifacts.iter().map(|artifact| {
            let mut json = Map::new();
            json.insert("name".to_owned(), json!(artifact.name));
            if let Some((path, read)) = &artifact.schema {
                json.insert("schema".to_owned(), schema(path, read));
            }
            Value::Object(json)
        });
        json!({
            "complete": self.complete,
            "artifacts": artifacts.collect::<Vec<_>>(),
            "output-schema": self.output_schema,
        })
    }
}

impl fmt::Display for ArtifactEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "artifact={}", self.name)?;
        match &self.schema {
            Some((path, _)) => write!(f, ":{}", path.display()),
            None => Ok(()),
        }
    }
}

fn named_once(specs: &[ArtifactSpec]) -> Result<(), RequireError> {
    for (n, spec) in specs.iter().enumerate() {
        let reason = if !is_artifact_name(&spec.name) {
            "a name is 1 to 128 of A-Z a-z 0-9 . _ - without a leading dot"
        } else if specs.iter().take(n).any(|other| other.name == spec.name) {
            "it is named twice"
        } else {
            continue;
        };
        return Err(RequireError::Name {
            name: crate::json::printable(&spec.name),
            reason,
        });
    }
    Ok(())
}

fn read_schema(path: PathBuf) -> Result<(PathBuf, Schema), RequireError> {
    use std::io::Read as _;
    let mut text = Vec::new();
    // One byte more than a schema may have, so that a longer one is called that.
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_SCHEMA as u64 + 1).read_to_end(&mut text));
    if let Err(source) = read {
        return Err(RequireError::Unreadable { path, source });
    }
    match Schema::parse(&text) {
        Ok(schema) => Ok((path, schema)),
        Err(source) => Err(RequireError::Schema { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(texts: &[&str]) -> Result<Require, RequireError> {
        let mut require = Require::default();
        for text in texts {
            require.add(text)?;
        }
        Ok(require)
    }

    fn message(texts: &[&str]) -> String {
        flags(texts)
            .and_then(|flags| Evidence::resolve(Require::default(), flags))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn nothing_is_required_by_itself() {
        let evidence = Evidence::resolve(Require::default(), Require::default()).unwrap();
        assert!(evidence.is_empty());
    }

    #[test]
    fn flags_add_to_the_file_and_decide_where_both_name_an_artifact() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("s.json"), r#"{"type":"object"}"#).unwrap();
        let file = Require {
            complete: true,
            ..flags(&["artifact=a:missing.json", "artifact=b:s.json"]).unwrap()
        };
        let flags = flags(&["output-schema", "artifact=a"]).unwrap();
        let evidence = Evidence::resolve(file.relative_to(dir.path()), flags).unwrap();
        assert!(evidence.complete && evidence.output_schema);
        assert_eq!(evidence.artifact("a").unwrap().schema, None);
        let (path, _) = evidence.artifact("b").unwrap().schema.as_ref().unwrap();
        assert_eq!(path, &dir.path().join("s.json"));
        let guest = evidence.to_guest_json();
        assert!(!guest.to_string().contains("s.json"), "{guest}");
        let digest = guest["artifacts"][1]["schema"].as_str().unwrap();
        assert!(digest.starts_with("sha256:"), "{guest}");
        assert_eq!(
            evidence.to_host_json()["artifacts"][1]["schema"]["digest"],
            digest
        );
    }

    #[test]
    fn what_cannot_be_required_is_refused() {
        for text in [
            "",
            "completed",
            "complete=true",
            "output-schema=x",
            "artifact",
            "artifact=a:",
            "Artifact=a",
        ] {
            assert!(message(&[text]).starts_with("cannot require `"), "{text}");
        }
        for name in ["", ".", "..", "a/b", ".a", "ä", &"x".repeat(129)] {
            let text = format!("artifact={name}");
            assert!(message(&[&text]).contains("a name is"), "{name}");
        }
        assert!(message(&["artifact=a", "artifact=a"]).contains("twice"));
        assert!(message(&["artifact=a:/no/such"]).starts_with("cannot read the schema"));
        let many: Vec<_> = (0..65).map(|n| format!("artifact=a{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(message(&many).contains("more than 64"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, "{").unwrap();
        let text = format!("artifact=a:{}", path.display());
        assert!(message(&[&text]).contains("it is not JSON"));
    }
}
