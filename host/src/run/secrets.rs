//! The secrets of a run, gathered before it starts: everything that can be wrong with them is an error then.

use crate::commission::{Body, McpServer};
use crate::egress::Caller;
use crate::egress::secrets::{Bound, Gathering, SecretError, Secrets, Vault};
use crate::grants::Grants;
use crate::model;
use crate::recording::Seed;
use crate::tools::plan::rule_of;

/// What the grants name, and what the commission names and the grants have for it, with its values.
///
/// # Errors
///
/// A secret is not set or cannot be used, or two of them want the same place.
pub(super) fn gather(
    vault: &Vault,
    grants: &Grants,
    commission: Option<&Body>,
    models: Option<&mut model::Setup>,
    seed: Seed,
) -> Result<Secrets, SecretError> {
    let mut gathering = Gathering::new(vault, seed);
    gathering.granted(&grants.secrets)?;
    for server in &grants.tools.servers {
        for name in server.env_secrets.values() {
            gathering.value(&name.parse()?)?;
        }
        if let (Some(url), Some(name)) = (&server.url, &server.secret)
            // A URL that is none is told of where the server is connected to.
            && let Ok(rule) = rule_of(url)
        {
            gathering.bind(Bound::bearer(Caller::Tools, name.parse()?, rule))?;
        }
    }
    for server in commission.into_iter().flat_map(|body| &body.mcp_servers) {
        let McpServer::Http(server) = server else {
            continue;
        };
        let Some(auth) = &server.auth else { continue };
        // A commission names a secret. Where it goes is what the operator has said.
        for granted in &grants.secrets.bindings {
            if granted.bound.name.as_str() == auth.vault {
                gathering.bind(Bound {
                    caller: Caller::Tools,
                    ..granted.bound.clone()
                })?;
            }
        }
    }
    if let Some(models) = models {
        models.bind_keys(vault, &mut gathering)?;
    }
    gathering.finish(grants.secrets.leaks)
}
