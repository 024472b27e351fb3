//! The grant flags, shared by every command that runs an agent.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use wasm_agent::grants::{DirSpec, FileSpec, GrantError, Grants, GrantsFile};

use super::failure::Failure;

/// What the agent may touch. Everything else does not exist for it.
#[derive(clap::Args)]
#[command(next_help_heading = "Grants")]
pub(super) struct GrantFlags {
    /// Read grants from a TOML file; flags add to it and win over it
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,

    /// Grant a directory: at /work unless `::GUEST` says where, read-only unless `:rw` says otherwise
    #[arg(long = "dir", value_name = "HOST[::GUEST][:ro|:rw|:cow]")]
    dirs: Vec<String>,

    /// Grant a single file, read-only or to be changed in place; GUEST is its path for the agent
    #[arg(long = "file", value_name = "HOST[::GUEST][:ro|:rw]")]
    files: Vec<String>,

    /// Keep matching paths in writable directories as they are, such as secrets or *.pem, at any depth
    #[arg(long, value_name = "PATTERN")]
    protect: Vec<String>,

    /// Let the agent change everything in writable directories, git hooks and shell configuration included
    #[arg(long, conflicts_with = "protect")]
    no_protect: bool,

    /// Set an environment variable; nothing is inherited
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Pass an argument to the agent
    #[arg(long = "arg", value_name = "VALUE", allow_hyphen_values = true)]
    args: Vec<String>,

    /// Set a limit, such as memory=256MiB, cpu=30s or events=5000; `wasm-agent limits` lists them all
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,

    /// What the run has to show to count as done; without it, it ends as incomplete
    #[arg(long, value_name = "complete|artifact=NAME[:SCHEMA]|output-schema")]
    require: Vec<String>,

    /// The longest the run may take, such as 90s or 10m: the same as `--limit wall=TIME`
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

impl GrantFlags {
    /// Whether anything is said about grants at all.
    pub(super) fn any(&self) -> bool {
        self.grants.is_some()
            || self.timeout.is_some()
            || self.no_protect
            || [
                &self.dirs,
                &self.files,
                &self.protect,
                &self.env,
                &self.args,
                &self.limits,
                &self.require,
            ]
            .iter()
            .any(|flag| !flag.is_empty())
    }

    /// Grants as resolved from the file and the flags.
    pub(super) fn resolve(&self) -> Result<Grants, Failure> {
        let file = match &self.grants {
            Some(path) => GrantsFile::read(path)?,
            None => GrantsFile::default(),
        };
        let mut flags = GrantsFile {
            protect: self.protect.clone(),
            no_protect: self.no_protect,
            args: self.args.clone(),
            ..GrantsFile::default()
        };
        for dir in &self.dirs {
            flags
                .dirs
                .push(dir.parse::<DirSpec>()?.relative_to(Path::new("")));
        }
        for file in &self.files {
            let file = file.parse::<FileSpec>()?.relative_to(Path::new(""));
            flags.files.push(file);
        }
        for pair in &self.env {
            let (name, value) = split(pair, "--env")?;
            flags.env.insert(name, value);
        }
        for pair in &self.limits {
            flags.limits.push(split(pair, "--limit")?);
        }
        for text in &self.require {
            flags.require.add(text).map_err(GrantError::from)?;
        }
        if let Some(timeout) = &self.timeout {
            flags.limits.push(("wall".to_owned(), timeout.clone()));
        }
        Ok(Grants::resolve(file, flags)?)
    }
}

fn split(pair: &str, flag: &str) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::with_hint(
            anyhow!("cannot read `{flag} {pair}`: there is no `=` in it"),
            format!("write `{flag} NAME=VALUE`"),
        )),
    }
}
