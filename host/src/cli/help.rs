//! How `wasm-agent --help` is arranged: commands in groups, examples, exit codes.

use std::fmt::Write as _;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;

use super::out::CYAN;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The exit codes of everything that runs an agent.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the run converged, or the command did what it was asked to do
  1    the agent stopped without converging, or `verify`, `selftest`, `policy check` or `runs diff` found something
  2    nothing could be run: usage, bad component, bad grant, bad commission
  3    a limit was reached
  4    a replay diverged
  70   the host failed
  130  interrupted";

const EXAMPLES: &str = "  \
  wasm-agent new my-agent                          make an agent
  wasm-agent run my-agent \"a task\" --dir repo:rw   let it work in a directory
  wasm-agent runs show latest                      see what it did";

/// What a person has to know before anything else. It is not clap's long help, with which every option
/// would take three lines.
pub(super) const PROMISE: &str = "\
An agent starts with no files, no network and no environment. What it may touch is said on the
command line or in a grants file; what it did is written by the host, not by the agent.";

/// Commands by what a person wants to do. A test sees to it that none is left out.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Run agents",
        &[
            "run",
            "replay",
            "fork",
            "runs",
            "apply",
            "verify",
            "sign",
            "key",
            "recording",
            "secret",
        ],
    ),
    (
        "Look before running",
        &["inspect", "policy", "describe", "limits", "selftest"],
    ),
    ("Make agents", &["new", "build"]),
    (
        "Integrate",
        &["avp", "schema", "completions", "man", "help"],
    ),
];

/// `command` with its help arranged.
pub(super) fn arranged(mut command: clap::Command) -> clap::Command {
    command.build();
    command = command.mut_subcommand("help", |help| help.about("Explain a command"));
    let header = STYLES.get_header();
    let mut groups = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(groups, "{header}{title}:{header:#}");
        for name in *names {
            let found = command.find_subcommand(name);
            let about = found
                .and_then(clap::Command::get_about)
                .map(ToString::to_string);
            let about = about.unwrap_or_default();
            let _ = writeln!(groups, "  {CYAN}{name:<12}{CYAN:#} {about}");
        }
        groups.push('\n');
    }
    command.styles(STYLES).help_template(format!(
        "{{about-with-newline}}\n{PROMISE}\n\n{{usage-heading}} {{usage}}\n\n{groups}\
         {header}Options:{header:#}\n{{options}}\n\n\
         {header}Examples:{header:#}\n{EXAMPLES}\n\n{EXIT_CODES}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<_> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        grouped.sort_unstable();
        let command = command();
        let mut names: Vec<_> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        names.sort_unstable();
        assert_eq!(grouped, names);
    }

    #[test]
    fn the_definitions_hold_together() {
        command().debug_assert();
    }
}
