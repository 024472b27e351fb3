//! The secrets of a run, gathered before it starts: everything that can be wrong with them is an error then.

use crate::egress::secrets::{Gathering, SecretError, Secrets, Vault};
use crate::grants::Grants;
use crate::model;

/// What the grants name, with its values.
///
/// # Errors
///
/// A secret is not set or cannot be used, or two of them want the same place.
pub(super) fn gather(
    vault: &Vault,
    grants: &Grants,
    models: Option<&mut model::Setup>,
) -> Result<Secrets, SecretError> {
    let mut gathering = Gathering::new(vault);
    gathering.granted(&grants.secrets)?;
    for server in &grants.tools.servers {
        for name in server.env_secrets.values() {
            gathering.value(&name.parse()?)?;
        }
    }
    if let Some(models) = models {
        models.bind_keys(vault, &mut gathering)?;
    }
    gathering.finish(grants.secrets.leaks)
}
