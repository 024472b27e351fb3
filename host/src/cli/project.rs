//! `wasm-agent new` and `wasm-agent build`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;
use wasm_agent::error::Exit;
use wasm_agent::grants::Ask;
use wasm_agent::grants::ask::Access;
use wasm_agent::project::build::Freshness;
use wasm_agent::project::{SdkSource, scaffold, scaffold::Lang};

use super::Done;
use super::failure::Failure;
use super::load;
use super::out::{BOLD, DIM, GREEN, note, print, styled};
use super::text::size;

const NEW_EXAMPLES: &str = "\
Examples:
  wasm-agent new my-agent
  wasm-agent run my-agent \"hello\" --dir .";

#[derive(clap::Args)]
#[command(after_help = NEW_EXAMPLES)]
pub(super) struct NewArgs {
    /// Name of the agent and of its folder; a path makes it elsewhere
    name: PathBuf,

    /// Language of the agent
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    /// Rust, with the crate wasm-agent-sdk
    Rust,
}

impl From<Language> for Lang {
    fn from(language: Language) -> Lang {
        match language {
            Language::Rust => Lang::Rust,
        }
    }
}

pub(super) fn new(args: &NewArgs) -> Done {
    let Some(name) = args.name.file_name().and_then(|name| name.to_str()) else {
        return Err(Failure::with_hint(
            anyhow!(
                "cannot make a project in `{}`: it has no name",
                args.name.display()
            ),
            "write a name such as `my-agent`",
        ));
    };
    let files = scaffold::scaffold(&args.name, name, args.lang.into(), &sdk())?;
    note(&format!(
        "{} made {}",
        styled(GREEN, "✔"),
        styled(BOLD, args.name.display())
    ));
    for file in files {
        note(&format!("  {}", styled(DIM, file.display())));
    }
    note(&format!(
        "next: wasm-agent run {} \"hello\" --dir .",
        args.name.display()
    ));
    Ok(Exit::Success)
}

/// The SDK of the checkout this program was built from while that is still there, otherwise the
/// published one.
fn sdk() -> SdkSource {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("guest-sdk");
    if checkout.join("Cargo.toml").is_file() {
        SdkSource::Path(checkout)
    } else {
        SdkSource::Version(env!("CARGO_PKG_VERSION").to_owned())
    }
}

const BUILD_EXAMPLES: &str = "\
Examples:
  wasm-agent build
  wasm-agent inspect \"$(wasm-agent build my-agent)\"";

#[derive(clap::Args)]
#[command(after_help = BUILD_EXAMPLES)]
pub(super) struct BuildArgs {
    /// Folder of the agent project
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(super) fn build(args: &BuildArgs) -> Done {
    let built = load::project(&args.dir)?;
    let path = built.artifact.path().unwrap_or(Path::new("")).to_owned();
    let what = match built.freshness {
        Freshness::Fresh => "is up to date",
        Freshness::Changed => "is a component now",
    };
    let asks = match built.artifact.ask() {
        None => "no ask".to_owned(),
        Some(ask) => {
            let dirs = ask
                .dirs()
                .iter()
                .map(|dir| format!("{}:{}", dir.path, dir.access));
            let names = dirs
                .chain(ask.env().iter().map(|env| env.name.clone()))
                .collect::<Vec<_>>();
            if names.is_empty() {
                "asks for nothing".to_owned()
            } else {
                format!("asks for {}", names.join(", "))
            }
        }
    };
    let bytes = size(built.artifact.bytes().len() as u64);
    note(&format!(
        "{} {} {what} ({bytes}, {asks})",
        styled(GREEN, "✔"),
        styled(BOLD, &built.name)
    ));
    let dirs = built.artifact.ask().map(Ask::dirs).unwrap_or_default();
    let dirs = dirs.iter().map(|dir| {
        // What it is built from should not lie where it may write.
        let host = match dir.access {
            Access::ReadOnly => ".",
            _ => "FOLDER",
        };
        format!(" --dir {host}::{}:{}", dir.path, dir.access)
    });
    note(&format!(
        "next: wasm-agent run {} \"task\"{}",
        args.dir.display(),
        dirs.collect::<String>()
    ));
    print(&path.display().to_string())?;
    Ok(Exit::Success)
}
