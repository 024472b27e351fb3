//! `wasm-agent limits`.

use wasm_agent::error::Exit;
use wasm_agent::grants::limits::{TABLE, Unit};

use super::Done;
use super::out::{BOLD, DIM, Out, print_json, styled};
use super::text::wrapped;

/// Width of the text beside names and defaults: with them, a line of 100 characters.
const WIDTH: usize = 69;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print the table as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn limits(args: &Args) -> Done {
    if args.json {
        let limits: Vec<_> = TABLE
            .iter()
            .map(|limit| {
                serde_json::json!({
                    "name": limit.name,
                    "default": limit.default,
                    "unit": unit(limit.unit),
                    "doc": limit.doc,
                    "why": limit.why,
                })
            })
            .collect();
        print_json(&serde_json::json!({ "format": "wasm-agent/limits@1", "limits": limits }))?;
        return Ok(Exit::Success);
    }
    let mut out = Out::new();
    let name_width = TABLE
        .iter()
        .map(|limit| limit.name.len())
        .max()
        .unwrap_or(0);
    for limit in TABLE {
        let mut head = (limit.name, limit.default);
        let doc = wrapped(limit.doc, WIDTH)
            .into_iter()
            .map(|line| (line, clap::builder::styling::Style::new()));
        let why = wrapped(&format!("Why: {}", limit.why), WIDTH)
            .into_iter()
            .map(|line| (line, DIM));
        for (line, style) in doc.chain(why) {
            let (name, default) = std::mem::take(&mut head);
            out.line(&format!(
                "{BOLD}{name:name_width$}{BOLD:#}  {default:>9}  {}",
                styled(style, line)
            ))?;
        }
        out.line("")?;
    }
    for unit in [Unit::Bytes, Unit::Duration, Unit::Count, Unit::Percent] {
        out.line(&format!(
            "A {} is written like {}.",
            self::unit(unit),
            unit.example()
        ))?;
    }
    out.line("Set one with `--limit NAME=VALUE`, or under `[limits]` in a grants file.")?;
    out.finish()?;
    Ok(Exit::Success)
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "size",
        Unit::Duration => "time",
        Unit::Count => "count",
        Unit::Percent => "part",
        Unit::Money => "money",
    }
}
