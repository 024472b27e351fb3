//! `wasm-agent secret`.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use wasm_agent::egress::secrets::store::Before;
use wasm_agent::egress::secrets::value::MAX_BYTES;
use wasm_agent::egress::secrets::{Secret, SecretName, SecretStore};
use wasm_agent::error::Exit;

use super::Done;
use super::failure::Failure;
use super::out::{Cell, DIM, Out, Table, note, print_json};

const EXAMPLES: &str = "\
Examples:
  wasm-agent secret set github
  pass show github | wasm-agent secret set github --force
  wasm-agent run my-agent \"a task\" --allow-host api.github.com --secret github@api.github.com

A value is typed without being shown, or read from standard input: an argument would be in the list
of processes and in the history of the shell. WASM_AGENT_SECRET_NAME comes before what is stored.";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Keep a secret, for the host to put on the wire
    Set(SetArgs),
    /// List the names of the secrets that are kept
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Forget a secret
    Rm(RmArgs),
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SetArgs {
    /// Its name: a-z, 0-9, _ and -
    #[arg(value_name = "NAME")]
    name: String,

    /// Replace the one that is kept
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    store: StoreFlags,
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Print the list as one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreFlags,
}

#[derive(clap::Args)]
pub(super) struct RmArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    store: StoreFlags,
}

/// Where secrets are kept.
#[derive(clap::Args)]
#[command(next_help_heading = "Host")]
pub(super) struct StoreFlags {
    /// Keep secrets in this folder instead of the platform's data directory
    #[arg(
        long,
        value_name = "DIR",
        env = "WASM_AGENT_SECRETS_DIR",
        hide_env_values = true
    )]
    secrets_dir: Option<PathBuf>,
}

impl StoreFlags {
    /// The store.
    pub(super) fn store(&self) -> Result<SecretStore, Failure> {
        match &self.secrets_dir {
            Some(dir) => Ok(SecretStore::at(dir)),
            None => Ok(SecretStore::platform()?),
        }
    }
}

pub(super) fn secret(command: &Command) -> Done {
    match command {
        Command::Set(args) => set(args),
        Command::List(args) => list(args),
        Command::Rm(args) => rm(args),
    }
}

fn set(args: &SetArgs) -> Done {
    let name: SecretName = args.name.parse()?;
    let store = args.store.store()?;
    let before = if args.force {
        Before::Replaced
    } else {
        Before::Kept
    };
    // Before anybody types for nothing; setting it looks again.
    if before == Before::Kept && store.get(&name)?.is_some() {
        let name = name.to_string();
        return Err(wasm_agent::egress::secrets::StoreError::Exists { name }.into());
    }
    let value = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{name}: "))
            .context("cannot read the secret from the terminal")
            .map_err(Failure::new)?
    } else {
        piped()?
    };
    store.set(&name, &Secret::new(&name, value)?, before)?;
    note(&format!("kept {name} in {}", store.path().display()));
    Ok(Exit::Success)
}

/// The value from standard input, without the line break at its end.
fn piped() -> Result<String, Failure> {
    let mut value = String::with_capacity(MAX_BYTES + 3);
    io::stdin()
        .lock()
        .take(MAX_BYTES as u64 + 3)
        .read_to_string(&mut value)
        .map_err(|error| match error.kind() {
            // It says what it has read.
            io::ErrorKind::InvalidData => anyhow!("it is not UTF-8"),
            _ => error.into(),
        })
        .context("cannot read the secret from standard input")
        .map_err(Failure::new)?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(value)
}

fn list(args: &ListArgs) -> Done {
    let store = args.store.store()?;
    let stored = store.list()?;
    let mut rows: Vec<(String, &str, Option<String>)> = Vec::new();
    for secret in stored {
        let name: SecretName = secret.name.parse()?;
        let source = if std::env::var_os(name.variable()).is_some() {
            "environment"
        } else {
            "store"
        };
        rows.push((secret.name, source, Some(secret.set)));
    }
    // Those that are nowhere else. What a variable was called before it was in capitals, nobody knows.
    for (variable, _) in std::env::vars_os() {
        let variable = variable.to_string_lossy();
        let Some(name) = variable.strip_prefix("WASM_AGENT_SECRET_") else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        let known = rows.iter().any(|(row, ..)| row.replace('-', "_") == name);
        if name.parse::<SecretName>().is_ok() && !known {
            rows.push((name, "environment", None));
        }
    }
    rows.sort();
    if args.json {
        let secrets: Vec<_> = rows
            .iter()
            .map(|(name, source, set)| {
                serde_json::json!({ "name": name, "source": source, "set": set })
            })
            .collect();
        print_json(&serde_json::json!({ "format": "wasm-agent/secrets@1", "secrets": secrets }))?;
        return Ok(Exit::Success);
    }
    if rows.is_empty() {
        note("no secrets are kept; `wasm-agent secret set NAME` keeps one");
        return Ok(Exit::Success);
    }
    let mut table = Table::default();
    for (name, source, set) in rows {
        // The day is enough; `--json` has the time.
        let day = set.as_deref().and_then(|set| set.get(..10));
        table.row([
            name.as_str().into(),
            source.into(),
            Cell::styled(DIM, day.unwrap_or_default()),
        ]);
    }
    let mut out = Out::new();
    out.table(&table)?;
    out.finish()?;
    Ok(Exit::Success)
}

fn rm(args: &RmArgs) -> Done {
    let store = args.store.store()?;
    let name: SecretName = args.name.parse()?;
    store.remove(&name)?;
    note(&format!("forgot {name}"));
    Ok(Exit::Success)
}
