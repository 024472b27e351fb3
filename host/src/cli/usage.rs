//! A command line that cannot be read, in the one style of errors.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use wasm_agent::error::Exit;

use super::failure::Failure;
use super::{Done, command};

/// Prints help or the version when that is what was asked for; otherwise says what is wrong.
pub(super) fn explain(error: &clap::Error) -> Done {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody reads on: that is no error.
            let _ = error.print();
            Ok(Exit::Success)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Ok(Exit::CannotRun)
        }
        _ => Err(Failure::with_hint(
            anyhow::anyhow!(message(error)),
            hint(error),
        )),
    }
}

fn message(error: &clap::Error) -> String {
    let get = |kind| error.get(kind).map(text);
    let argument = get(ContextKind::InvalidArg).unwrap_or_default();
    let value = get(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("there is no option `{argument}`")
        }
        ErrorKind::UnknownArgument => format!("`{argument}` is one argument too many"),
        ErrorKind::InvalidSubcommand => {
            format!(
                "there is no command `{}`",
                get(ContextKind::InvalidSubcommand).unwrap_or_default()
            )
        }
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::MissingRequiredArgument => format!("missing {argument}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` needs a value"),
        ErrorKind::InvalidValue => format!("`{value}` is not a value of `{argument}`"),
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(|source| format!(": {source}"));
            format!(
                "`{value}` is not a value of `{argument}`{}",
                reason.unwrap_or_default()
            )
        }
        ErrorKind::ArgumentConflict => match get(ContextKind::PriorArg) {
            Some(prior) if prior != argument => format!("`{argument}` does not go with `{prior}`"),
            _ => format!("`{argument}` is given more than once"),
        },
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

fn hint(error: &clap::Error) -> String {
    for kind in [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ] {
        if let Some(similar) = error.get(kind) {
            return format!("did you mean `{}`?", text(similar).replace(", ", "` or `"));
        }
    }
    if let Some(values @ ContextValue::Strings(list)) = error.get(ContextKind::ValidValue)
        && !list.is_empty()
    {
        return format!("values are {}", text(values));
    }
    let Usage { path, usage } = Usage::of(error);
    match error.kind() {
        // The usage names what has to be there, and not what there is.
        ErrorKind::UnknownArgument | ErrorKind::InvalidValue | ErrorKind::InvalidSubcommand
            if !is_positional(error) =>
        {
            format!("`{path} --help` lists what there is")
        }
        _ => format!("usage is `{usage}`"),
    }
}

fn is_positional(error: &clap::Error) -> bool {
    let argument = error.get(ContextKind::InvalidArg).map(text);
    argument.is_some_and(|argument| !argument.starts_with('-'))
}

/// How the command that could not be read is used.
struct Usage {
    /// Its name and those above it.
    path: String,
    usage: String,
}

impl Usage {
    /// The usage that clap puts into an error lists what was given or set in the environment, too; only
    /// the names of commands are taken from it.
    fn of(error: &clap::Error) -> Usage {
        // Of a value that is none, clap does not say which command it was for.
        let given = match error.get(ContextKind::Usage) {
            Some(usage) => text(usage),
            None => as_given(std::env::args()),
        };
        let given = given.trim_start_matches("Usage:").trim();
        let mut words = given.split_whitespace();
        let root = command();
        let mut path = root.get_name().to_owned();
        if words.next() != Some(&path) {
            // What AVP's harness appends is parsed by itself.
            let path = "wasm-agent avp".to_owned();
            return Usage {
                usage: format!("{path} AGENT {given}"),
                path,
            };
        }
        let mut found = &root;
        for word in words {
            let Some(next) = found.find_subcommand(word) else {
                break;
            };
            found = next;
            path.push(' ');
            path.push_str(word);
        }
        let usage = found.clone().render_usage().to_string();
        Usage {
            path,
            usage: usage.trim_start_matches("Usage:").trim().to_owned(),
        }
    }
}

/// The command line as it was given, by the name of this program.
fn as_given(args: impl Iterator<Item = String>) -> String {
    let name = command().get_name().to_owned();
    let args: Vec<String> = std::iter::once(name).chain(args.skip(1)).collect();
    args.join(" ")
}

/// What clap knows, as plain text.
fn text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(list) => list.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        ContextValue::StyledStrs(list) => list
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        ContextValue::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(args: &[&str]) -> (String, String) {
        let args = std::iter::once("wasm-agent").chain(args.iter().copied());
        let error = command().try_get_matches_from(args).unwrap_err();
        (message(&error), hint(&error))
    }

    #[test]
    fn each_kind_of_mistake_says_what_is_wrong_and_what_to_do() {
        for (args, message, hint) in [
            (
                &["run", "a", "--dirr", "x"][..],
                "there is no option `--dirr`",
                "did you mean `--dir`?",
            ),
            (
                &["insepct"],
                "there is no command `insepct`",
                "did you mean `inspect`?",
            ),
            (
                &["run"],
                "missing <AGENT>",
                "usage is `wasm-agent run [OPTIONS] [AGENT] [TASK]`",
            ),
            (
                &["run", "a", "--timeout"],
                "`--timeout <TIME>` needs a value",
                "",
            ),
            (
                &["run", "a", "--format", "xml"],
                "`xml` is not a value of `--format <FORMAT>`",
                "values are text, json, avp",
            ),
            (
                &["run", "a", "b", "c"],
                "`c` is one argument too many",
                "usage is ",
            ),
            (
                &["run", "a", "--timeout", "1s", "--timeout", "2s"],
                "`--timeout <TIME>` is given more than once",
                "usage is ",
            ),
        ] {
            let explained = explained(args);
            assert_eq!(explained.0, message);
            assert!(explained.1.starts_with(hint), "{explained:?}");
        }
    }

    #[test]
    fn a_command_line_begins_with_the_name_of_this_program() {
        let args = ["target/debug/x", "fork", "--at", "y"].map(str::to_owned);
        assert_eq!(as_given(args.into_iter()), "wasm-agent fork --at y");
    }
}
