//! Which servers a run is to have: the operator's, and those of the commission he allows.

use std::collections::BTreeMap;

use super::mcp::Reach;
use crate::commission::{Body, McpServer};
use crate::egress::secrets::Secrets;
use crate::egress::{Caller, Egress, HostRule};
use crate::grants::{CommandLine, Grants, ServerSpec};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// A server that is to be connected to.
pub(crate) struct Wanted {
    /// Its id.
    pub(crate) id: String,
    /// What the operator says of its tools. A server of the commission's has all of them.
    pub(crate) spec: ServerSpec,
    /// How to reach it, or why it is not tried.
    pub(crate) reach: Result<Reach, NotTried>,
}

impl Wanted {
    /// The same, not tried for this reason.
    pub(crate) fn not_tried(self, reason: &str) -> Wanted {
        Wanted {
            reach: Err(NotTried::Unusable(reason.to_owned())),
            ..self
        }
    }
}

/// What the operator says of the servers of a run, in the order of [`plan`].
pub(crate) fn specs(grants: &Grants, commission: &Body) -> Vec<ServerSpec> {
    let handed = commission.mcp_servers.iter().map(|server| ServerSpec {
        id: server.id().to_owned(),
        ..ServerSpec::default()
    });
    grants.tools.servers.iter().cloned().chain(handed).collect()
}

/// Why a server is not connected to.
pub(crate) enum NotTried {
    /// The operator has not granted it.
    Denied {
        /// What was asked for.
        subject: String,
        /// The rule that decided.
        rule: String,
    },
    /// It cannot be.
    Unusable(String),
}

/// The servers of a run: first the operator's.
pub(crate) fn plan(
    grants: &Grants,
    commission: &Body,
    egress: &Egress,
    secrets: &Secrets,
) -> Vec<Wanted> {
    let own = grants.tools.servers.iter().map(|spec| Wanted {
        id: spec.id.clone(),
        spec: spec.clone(),
        reach: operators(spec, egress, secrets),
    });
    let handed = commission.mcp_servers.iter().map(|server| Wanted {
        id: server.id().to_owned(),
        spec: ServerSpec {
            id: server.id().to_owned(),
            ..ServerSpec::default()
        },
        reach: commissioned(server, grants, egress, secrets),
    });
    own.chain(handed).collect()
}

fn operators(spec: &ServerSpec, egress: &Egress, secrets: &Secrets) -> Result<Reach, NotTried> {
    let Some(url) = &spec.url else {
        let mut env = spec.env.clone();
        for (variable, name) in &spec.env_secrets {
            // The run would not have been started without it.
            let Some(secret) = name.parse().ok().and_then(|name| secrets.value(&name)) else {
                let reason = format!("the secret `{name}` cannot be had");
                return Err(NotTried::Unusable(reason));
            };
            env.insert(variable.clone(), secret.expose().to_owned());
        }
        return Ok(Reach::Command(CommandLine {
            env,
            words: spec.command.clone(),
            cwd: spec.cwd.clone(),
        }));
    };
    let rule: HostRule = rule_of(url).map_err(NotTried::Unusable)?;
    Ok(Reach::Http {
        url: url.clone(),
        headers: BTreeMap::new(),
        way: egress.way(Caller::Tools, vec![rule]),
    })
}

/// The rule that allows requests to a server's URL, and nothing else.
pub(crate) fn rule_of(url: &str) -> Result<HostRule, String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("its url is wrong: {error}"))?;
    // A slash at the end of a rule means what is below, without the path itself.
    let path = parsed.path().trim_end_matches('/');
    let rule = format!(
        "GET,POST,DELETE {}://{}{path}",
        parsed.scheme(),
        parsed.authority()
    );
    rule.parse()
        .map_err(|error| format!("its url cannot be a rule: {error}"))
}

fn commissioned(
    server: &McpServer,
    grants: &Grants,
    egress: &Egress,
    secrets: &Secrets,
) -> Result<Reach, NotTried> {
    match server {
        McpServer::Stdio(server) => {
            let words: Vec<_> = server.command.iter().chain(&server.args).collect();
            let granted = grants.tools.commands.iter().find(|line| {
                // What the commission may say about the environment is what the operator says, too.
                line.words.iter().eq(words.iter().copied())
                    && server
                        .env
                        .iter()
                        .all(|it| line.env.iter().any(|granted| granted == it))
            });
            let asked = CommandLine {
                env: server.env.clone(),
                words: words.into_iter().cloned().collect(),
                cwd: None,
            };
            match granted {
                Some(line) => Ok(Reach::Command(line.clone())),
                None if down(Wall::Commands) => Ok(Reach::Command(asked)),
                None => Err(NotTried::Denied {
                    subject: asked.to_string(),
                    rule: "no granted command is the same, word by word".to_owned(),
                }),
            }
        }
        McpServer::Http(server) => {
            if let Some(auth) = &server.auth
                && !secrets.binds(Caller::Tools, &auth.vault, &server.url)
            {
                return Err(NotTried::Denied {
                    subject: format!("secret {} for {}", auth.vault, server.url),
                    rule: "the operator has not bound it to this host".to_owned(),
                });
            }
            Ok(Reach::Http {
                url: server.url.clone(),
                headers: server.headers.clone(),
                // The operator's rules decide, as for a request of the agent's own.
                way: egress.way(Caller::Tools, grants.network.hosts.clone()),
            })
        }
    }
}
