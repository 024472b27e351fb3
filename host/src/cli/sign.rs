//! `wasm-agent sign`, and `run --sign`: who vouches for the account of a run.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use wasm_agent::attest::{SecretKey, sign as sign_run};
use wasm_agent::error::Exit;
use wasm_agent::run::Outcome;

use super::Done;
use super::failure::Failure;
use super::load::RunsFlags;
use super::out::{DIM, note, print, styled};

#[derive(clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  it is signed\n  2  it cannot be signed: its account is not closed, not valid, or there is no key"
)]
pub(super) struct SignArgs {
    /// The run: its directory, the beginning of its id, or `latest`
    run: PathBuf,

    /// The private key, as `key new` or `openssl genpkey -algorithm ed25519` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    #[command(flatten)]
    runs: RunsFlags,
}

pub(super) fn sign(args: &SignArgs) -> Done {
    let key = SecretKey::read(&args.key)?;
    let directory = run_at(&args.run, &args.runs)?;
    let signed = sign_run(&directory, &key)?;
    note(&styled(DIM, format!("key: {}", signed.keyid)));
    print(&signed.file.display().to_string())?;
    Ok(Exit::Success)
}

/// A run where it is, or by its id, which has no dot as files do.
pub(super) fn run_at(run: &Path, runs: &RunsFlags) -> Result<PathBuf, Failure> {
    match run.to_str() {
        Some(id) if !run.exists() && !id.contains(['.', MAIN_SEPARATOR]) => {
            Ok(runs.dir()?.find(id)?.path().to_owned())
        }
        _ => Ok(run.to_owned()),
    }
}

/// Signing a run that is made now.
#[derive(clap::Args)]
pub(super) struct SignFlag {
    /// Sign the account of the run with this private key: `receipt.dsse.json` in the run directory
    #[arg(long, value_name = "KEY", help_heading = "Repeat")]
    sign: Option<PathBuf>,
}

impl SignFlag {
    /// Where the key is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.sign.as_deref()
    }

    /// The key: read before anything is done, so that a bad one is not found out after the run.
    pub(super) fn key(&self) -> Result<Option<SecretKey>, Failure> {
        Ok(self.sign.as_deref().map(SecretKey::read).transpose()?)
    }
}

/// Signs a run that has ended. The file is told unless there is nobody to tell.
pub(super) fn sign_outcome(
    key: Option<&SecretKey>,
    outcome: &Outcome,
    quiet: bool,
) -> Result<(), Failure> {
    let (Some(key), Some(directory)) = (key, &outcome.directory) else {
        return Ok(());
    };
    let signed =
        sign_run(directory, key).map_err(|error| Failure::from(error).exiting(Exit::HostFault))?;
    if !quiet {
        note(&styled(DIM, format!("receipt: {}", signed.file.display())));
    }
    Ok(())
}
