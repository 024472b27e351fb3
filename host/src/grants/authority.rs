//! The effective authority of a run: what is left of the grants after the ask, as a table that a person
//! could sign.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::limits::{Limit, Limits};
use super::secrets::SecretGrant;
use super::{Ask, Grants, InReach, Protection, ServerSpec};

/// Name and version of the JSON form of an [`Authority`].
pub const FORMAT: &str = "wasm-agent/authority@1";

/// Everything an agent can touch and use up in a run with certain grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// Always [`FORMAT`].
    pub format: &'static str,
    /// Directories that were granted, and what is left of each.
    pub dirs: Vec<DirAuthority>,
    /// Single files that were granted, and what is left of each.
    pub files: Vec<DirAuthority>,
    /// What stays as it is in those that can be written to.
    pub protection: ProtectionAuthority,
    /// What the host reads, builds or runs that lies where it may write. It is kept from being changed, unless
    /// `protection` is off.
    pub inputs: BTreeSet<InReach>,
    /// The digest of the only component that may be run.
    pub component: Option<String>,
    /// Rules of the requests it may make.
    pub hosts: Vec<String>,
    /// PEM files of authorities that are trusted besides the platform's.
    pub ca_files: Vec<PathBuf>,
    /// The proxy every request goes through.
    pub proxy: Option<String>,
    /// Patterns of the models it may ask.
    pub models: Vec<String>,
    /// Tool servers of the operator's.
    pub servers: Vec<ServerAuthority>,
    /// Commands a commission may start tool servers with, outside the sandbox.
    pub commands: Vec<String>,
    /// Components that are tools.
    pub tools: Vec<PathBuf>,
    /// Names of the variables that were granted, and whether the agent gets each.
    pub env: Vec<EnvAuthority>,
    /// Arguments.
    pub args: Vec<String>,
    /// What the component asks for and the grants do not have, as `/path:access` or `NAME`.
    pub missing: Vec<String>,
    /// What no grant of this version can change.
    pub fixed: Fixed,
    /// Which secrets the host puts where, as `NAME → PLACE of HOST`. The agent sees none of them.
    pub secrets: Vec<String>,
    /// Every limit.
    pub limits: Vec<LimitAuthority>,
    /// What it has to show to count as done, in the words of `--require`.
    pub require: Vec<String>,
}

/// One granted directory or file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirAuthority {
    /// The directory or file of the host.
    pub host: PathBuf,
    /// Where the agent finds it.
    pub guest: String,
    /// `ro`, `rw` or `cow`: what the operator granted.
    pub granted: &'static str,
    /// What is left of it. Nothing when the component does not ask for it.
    pub effective: Option<&'static str>,
}

/// What stays as it is in directories that can be written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtectionAuthority {
    /// `standard` or `off`.
    pub mode: &'static str,
    /// Patterns of the operator's, beyond those that are protected anyway.
    pub patterns: Vec<String>,
}

/// One granted tool server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerAuthority {
    /// Its id.
    pub id: String,
    /// Its URL, or its command without values of variables.
    pub reached: String,
    /// The directory it is started in, where it is not one of its own.
    pub cwd: Option<PathBuf>,
    /// True for a command: the host starts it, and nothing holds it in.
    pub outside_the_sandbox: bool,
    /// Patterns of its tools; all without.
    pub tools: Option<Vec<String>>,
    /// Tools whose arguments the operator narrows.
    pub narrowed: Vec<String>,
}

/// One granted variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvAuthority {
    /// Its name.
    pub name: String,
    /// False when the component does not ask for it: it is left out then.
    pub effective: bool,
}

/// What no grant of this version can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the words are for a table")]
pub struct Fixed {
    pub sockets: &'static str,
    pub processes: &'static str,
    pub clocks: &'static str,
    pub random: &'static str,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitAuthority {
    /// Its name.
    pub name: &'static str,
    /// Its value as it would be written.
    pub value: String,
    /// Whether that is the default.
    pub is_default: bool,
}

impl Authority {
    /// What a component that asks for `ask` gets of `grants`. A component without an ask gets them all.
    #[must_use]
    pub fn of(grants: &Grants, ask: Option<&Ask>) -> Authority {
        let mut narrowed = grants.clone();
        if let Some(ask) = ask {
            // The one place that decides is the one a run uses, too.
            let _ = narrowed.narrow(ask);
        }
        let dirs = grants.dirs.iter().map(|dir| DirAuthority {
            host: dir.host.clone(),
            guest: dir.guest.clone(),
            granted: dir.access.as_str(),
            effective: narrowed
                .dirs
                .iter()
                .find(|left| left.guest == dir.guest)
                .map(|left| left.access.as_str()),
        });
        let files = grants.files.iter().map(|file| DirAuthority {
            host: file.host_path(),
            guest: file.guest_path(),
            granted: file.access.as_str(),
            effective: narrowed
                .files
                .iter()
                .find(|left| left.guest == file.guest && left.name == file.name)
                .map(|left| left.access.as_str()),
        });
        let env = grants.env.keys().map(|name| EnvAuthority {
            name: name.clone(),
            effective: narrowed.env.contains_key(name),
        });
        let default = Limits::default();
        let limits = grants.limits.shown().zip(default.shown());
        Authority {
            format: FORMAT,
            dirs: dirs.collect(),
            files: files.collect(),
            protection: ProtectionAuthority {
                mode: match &grants.protection {
                    Protection::Standard(_) => "standard",
                    Protection::Off => "off",
                },
                patterns: grants
                    .protection
                    .patterns()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            },
            inputs: narrowed.inputs.in_reach(&narrowed),
            component: grants.component.map(|digest| digest.to_string()),
            hosts: grants
                .network
                .hosts
                .iter()
                .map(ToString::to_string)
                .collect(),
            models: grants.models.allow.clone(),
            servers: grants
                .tools
                .servers
                .iter()
                .map(ServerAuthority::of)
                .collect(),
            commands: grants
                .tools
                .commands
                .iter()
                .map(ToString::to_string)
                .collect(),
            tools: grants.tools.components.clone(),
            ca_files: grants.network.ca_files.clone(),
            proxy: grants.network.proxy.as_ref().map(ToString::to_string),
            env: env.collect(),
            args: narrowed.args.clone(),
            missing: ask.map(|ask| missing(&narrowed, ask)).unwrap_or_default(),
            fixed: Fixed {
                sockets: "none",
                processes: "none",
                clocks: "real",
                random: "real",
            },
            secrets: grants
                .secrets
                .bindings
                .iter()
                .map(SecretGrant::words)
                .collect(),
            limits: limits.map(LimitAuthority::new).collect(),
            require: grants.require.words(),
        }
    }
}

impl ServerAuthority {
    fn of(server: &ServerSpec) -> ServerAuthority {
        ServerAuthority {
            id: server.id.clone(),
            reached: server.reached(),
            cwd: server.cwd.clone(),
            outside_the_sandbox: server.url.is_none(),
            tools: server.tools.clone(),
            narrowed: server.arguments.keys().cloned().collect(),
        }
    }
}

impl LimitAuthority {
    fn new(((limit, value), (_, default)): ((&Limit, String), (&Limit, String))) -> LimitAuthority {
        LimitAuthority {
            name: limit.name,
            is_default: value == default,
            value,
        }
    }
}

/// What is asked for and not there. A grant at or below a directory that is asked for answers it.
fn missing(grants: &Grants, ask: &Ask) -> Vec<String> {
    let dirs = ask.dirs().iter().filter(|asked| {
        let dirs = grants.dirs.iter().map(|dir| &dir.guest);
        let mut granted = dirs.chain(grants.files.iter().map(|file| &file.guest));
        !granted.any(|guest| {
            let below = guest.strip_prefix(asked.path.trim_end_matches('/'));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    let env = ask
        .env()
        .iter()
        .filter(|asked| !grants.env.contains_key(&asked.name));
    let dirs = dirs.map(|dir| format!("{}:{}", dir.path, dir.access));
    dirs.chain(env.map(|env| env.name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Access, DirGrant};
    use super::*;

    fn ask(json: &str) -> Ask {
        Ask::parse(json.as_bytes()).unwrap()
    }

    fn grants() -> Grants {
        let dir = |guest: &str, access| DirGrant {
            host: PathBuf::from("/host").join(guest.trim_start_matches('/')),
            guest: guest.to_owned(),
            access,
        };
        let mut grants = Grants {
            dirs: vec![
                dir("/home", Access::ReadOnly),
                dir("/work", Access::ReadWrite),
            ],
            env: [
                ("LANG".to_owned(), "C".to_owned()),
                ("TOKEN".to_owned(), "x".to_owned()),
            ]
            .into(),
            ..Grants::default()
        };
        grants.limits.set("events", "7").unwrap();
        grants
    }

    #[test]
    fn an_ask_narrows_and_what_it_misses_is_named() {
        let ask = ask(
            r#"{"version":1,"dirs":[{"path":"/work","access":"ro"},{"path":"/out","access":"rw"}],
                "env":[{"name":"LANG"},{"name":"LEVEL"}]}"#,
        );
        let authority = Authority::of(&grants(), Some(&ask));
        let dirs: Vec<_> = authority
            .dirs
            .iter()
            .map(|dir| (&*dir.guest, dir.granted, dir.effective))
            .collect();
        assert_eq!(dirs, [("/home", "ro", None), ("/work", "rw", Some("ro"))]);
        let env: Vec<_> = authority
            .env
            .iter()
            .map(|env| (&*env.name, env.effective))
            .collect();
        assert_eq!(env, [("LANG", true), ("TOKEN", false)]);
        assert_eq!(authority.missing, ["/out:rw", "LEVEL"]);
    }

    #[test]
    fn without_an_ask_everything_granted_is_there_and_no_value_is_shown() {
        let authority = Authority::of(&grants(), None);
        assert!(
            authority
                .dirs
                .iter()
                .all(|dir| dir.effective == Some(dir.granted))
        );
        assert!(authority.env.iter().all(|env| env.effective));
        let changed: Vec<_> = authority
            .limits
            .iter()
            .filter(|limit| !limit.is_default)
            .collect();
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].name, &*changed[0].value), ("events", "7"));
        let json = serde_json::to_string(&authority).unwrap();
        assert!(!json.contains("\"x\""), "{json}");
    }

    #[test]
    fn a_grant_below_or_at_a_path_answers_the_ask_and_one_beside_it_does_not() {
        let ask = ask(
            r#"{"version":1,"dirs":[{"path":"/wor","access":"ro"},{"path":"/","access":"rw"}]}"#,
        );
        assert_eq!(Authority::of(&grants(), Some(&ask)).missing, ["/wor:ro"]);
    }
}
