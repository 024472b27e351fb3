//! `wasm-agent completions`, `man` and `schema`: made from the definitions that parse the command line and
//! the files.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use wasm_agent::error::Exit;

use super::failure::Failure;
use super::help::{EXIT_CODES, PROMISE};
use super::out::note;
use super::out::print_json;
use super::{Cli, Done, command};

const EXAMPLES: &str = "\
Examples:
  wasm-agent completions bash > ~/.local/share/bash-completion/completions/wasm-agent
  wasm-agent completions zsh > ~/.zfunc/_wasm-agent
  wasm-agent completions fish > ~/.config/fish/completions/wasm-agent.fish";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "wasm-agent", &mut script);
    write(&script)
}

#[derive(clap::Args)]
pub(super) struct ManArgs {
    /// Write the page of every command into this folder, instead of the main page to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn man(args: &ManArgs) -> Done {
    let Some(dir) = &args.out else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(documented()).render(&mut page);
        rendered
            .context("cannot write the manual page")
            .map_err(Failure::new)?;
        return write(&page);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(documented(), dir))
        .with_context(|| format!("cannot write manual pages to `{}`", dir.display()))
        .map_err(Failure::new)?;
    note(&format!("wrote manual pages to {}", dir.display()));
    Ok(Exit::Success)
}

#[derive(clap::Args)]
pub(super) struct SchemaArgs {
    /// The format
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// The grants file
    Grants,
    /// The script of a model, for `--model scripted/FILE`
    Script,
}

pub(super) fn schema(args: &SchemaArgs) -> Done {
    match args.format {
        Format::Grants => print_json(&wasm_agent::grants::file::schema())?,
        Format::Script => print_json(&wasm_agent::model::scripted::schema())?,
    }
    Ok(Exit::Success)
}

/// A manual page has room for what the help says around the list of commands. It needs no pages about
/// `help`, which the arranged command has.
fn documented() -> clap::Command {
    Cli::command()
        .long_about(PROMISE)
        .after_long_help(EXIT_CODES)
        .disable_help_subcommand(true)
        .mut_subcommand("runs", |runs| runs.disable_help_subcommand(true))
}

fn write(bytes: &[u8]) -> Done {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reader_gone()),
        Err(error) => Err(Failure::new(
            anyhow::Error::new(error).context("cannot write to standard output"),
        )),
        Ok(()) => Ok(Exit::Success),
    }
}
