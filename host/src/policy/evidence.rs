//! What is known of a run that has to do with its grants, read back from its directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::artifact::{Artifact, MAX_ARTIFACT};
use crate::engine::inspect::makes_requests;
use crate::error::Hint;
use crate::grants::models::ProviderSpec;
use crate::grants::secrets::SecretSpec;
use crate::grants::{DirSpec, FileSpec};
use crate::recording::Recording;
use crate::run::RunDir;
use crate::run::history::{HistoryError, PastBody};
use crate::run::taping::FILE;
use crate::trajectory::Used;

/// Different denials of a run that are kept.
const DENIALS: usize = 100;

/// One run as evidence.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Its session id.
    pub run: String,
    /// Name of its agent.
    pub agent: String,
    /// `sha256:…` of the component.
    pub component: String,
    /// Whether requests were made, or answered by a recording.
    pub outside: Outside,
    /// What it was granted.
    pub granted: Granted,
    /// What it used of that.
    pub used: Used,
    /// What it was denied, in the order of the first time.
    pub denied: Vec<Denied>,
    /// Values of its environment, where a recording has them.
    pub env: BTreeMap<String, String>,
    /// The model of its commission.
    pub model: Option<String>,
    /// Whether its agent starts without a host.
    pub hosts: Hosts,
}

/// What an agent has to do with hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// It starts without one.
    Optional,
    /// It can make requests, and does not start without a host it may make them to.
    Needed,
    /// Its component is not there any more.
    Unknown,
}

/// What answered a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The world.
    Live,
    /// A recording, at least in the beginning: what it answered for is not in the account.
    Recorded,
}

/// Something a run was denied.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Denied {
    /// The interface or resource kind.
    pub capability: String,
    /// What was asked for.
    pub subject: String,
    /// The rule that decided.
    pub rule: String,
}

/// Grants as `run.json` has them. What is not known here is left to its own version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as in the grants file")]
pub struct Granted {
    #[serde(deserialize_with = "dirs")]
    pub dirs: Vec<DirSpec>,
    #[serde(deserialize_with = "files")]
    pub files: Vec<FileSpec>,
    pub protect: Vec<String>,
    pub no_protect: bool,
    /// Names alone.
    pub env: Vec<String>,
    pub args: Vec<String>,
    pub limits: Map<String, Value>,
    pub require: Value,
    pub hosts: Vec<String>,
    pub ca_files: Vec<PathBuf>,
    pub proxy: Option<String>,
    pub models: Vec<String>,
    pub providers: Vec<ProviderSpec>,
    pub prices: Option<PathBuf>,
    pub secrets: Vec<SecretSpec>,
    pub leaks: Option<String>,
    pub mcp_servers: Vec<Value>,
    pub commands: Vec<String>,
    pub tools: Vec<PathBuf>,
}

/// A run is no evidence.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum EvidenceError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("cannot tell what run `{run}` has used: its account does not say")]
    Silent { run: String },
    #[error("cannot read what run `{run}` has used: {reason}")]
    Malformed { run: String, reason: String },
}

impl Hint for EvidenceError {
    fn hint(&self) -> Option<String> {
        match self {
            EvidenceError::History(error) => error.hint(),
            EvidenceError::Silent { .. } => Some(
                "its host was killed, it goes on, or an older wasm-agent wrote it: run it again"
                    .to_owned(),
            ),
            EvidenceError::Malformed { run, .. } => Some(format!(
                "`wasm-agent verify` says what is wrong with the account of {run}"
            )),
        }
    }
}

impl Evidence {
    /// Reads what a run was granted, has used and was denied.
    ///
    /// # Errors
    ///
    /// The run cannot be read, or its account has no `grants_used`.
    pub fn of(run: &RunDir) -> Result<Evidence, EvidenceError> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            kind: std::borrow::Cow<'a, str>,
        }
        let id = run.session_id().to_owned();
        let malformed = |error: serde_json::Error| EvidenceError::Malformed {
            run: id.clone(),
            reason: error.to_string(),
        };
        let request = run.request()?;
        let granted = Granted::deserialize(&request.grants).map_err(malformed)?;
        let mut used: Option<Used> = None;
        let mut denied: Vec<Denied> = Vec::new();
        for record in run.records()? {
            let PastBody::Audit(audit) = record?.body else {
                continue;
            };
            let kind: Kind<'_> = serde_json::from_str(audit.get()).map_err(malformed)?;
            match &*kind.kind {
                "grants_used" => used = Some(serde_json::from_str(audit.get()).map_err(malformed)?),
                "denied" if denied.len() < DENIALS => {
                    let denial = serde_json::from_str(audit.get()).map_err(malformed)?;
                    if !denied.contains(&denial) {
                        denied.push(denial);
                    }
                }
                _ => {}
            }
        }
        let text = |name: &str| request.commission.get(name).and_then(Value::as_str);
        let model = text("model").map(str::to_owned);
        let hosts = match (&used, &request.agent.component) {
            (Some(used), Some(path)) => hosts(used, &granted, path, &request.agent.digest),
            _ => Hosts::Unknown,
        };
        let related = request.taping.as_ref();
        Ok(Evidence {
            agent: request.agent.name,
            component: request.agent.digest,
            outside: match related.is_some_and(|related| related.mode.is_answered()) {
                true => Outside::Recorded,
                false => Outside::Live,
            },
            env: values(run.path(), &granted.env),
            granted,
            used: used.ok_or_else(|| EvidenceError::Silent { run: id.clone() })?,
            denied,
            model: model.filter(|model| model != "none/none"),
            hosts,
            run: id,
        })
    }
}

/// Looks at the component, where it matters.
fn hosts(used: &Used, granted: &Granted, component: &Path, digest: &str) -> Hosts {
    let guest = used.requests.iter().any(|it| it.caller == "guest");
    if guest || granted.hosts.is_empty() {
        return Hosts::Optional;
    }
    match Artifact::open(component, MAX_ARTIFACT) {
        Ok(artifact) if artifact.digest().to_string() != digest => Hosts::Unknown,
        Ok(artifact) if makes_requests(&artifact).is_some() => Hosts::Needed,
        Ok(_) => Hosts::Optional,
        Err(_) => Hosts::Unknown,
    }
}

/// Values of variables, as far as the run has a recording beside it: nothing else keeps them.
fn values(run: &Path, names: &[String]) -> BTreeMap<String, String> {
    let path = run.join(FILE);
    if names.is_empty() || !path.is_file() {
        return BTreeMap::new();
    }
    let env = Recording::read(&path)
        .ok()
        .and_then(|recording| recording.header.grants.get("env").cloned());
    env.and_then(|env| serde_json::from_value(env).ok())
        .unwrap_or_default()
}

fn dirs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<DirSpec>, D::Error> {
    parsed(deserializer)
}

fn files<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<FileSpec>, D::Error> {
    parsed(deserializer)
}

fn parsed<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let specs = texts.iter().map(|text| text.parse());
    specs
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}
