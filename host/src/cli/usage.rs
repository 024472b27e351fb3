//! A command line that cannot be read, in the one style of errors.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use wasm_agent::error::Exit;

use super::Done;
use super::failure::Failure;

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
            return format!("did you mean `{}`?", text(similar));
        }
    }
    if let Some(values @ ContextValue::Strings(list)) = error.get(ContextKind::ValidValue)
        && !list.is_empty()
    {
        return format!("values are {}", text(values));
    }
    match error.get(ContextKind::Usage) {
        Some(usage) => {
            let usage = text(usage);
            let usage = usage
                .trim_start_matches("Usage:")
                .split_whitespace()
                .collect::<Vec<_>>();
            format!("usage is `{}`", usage.join(" "))
        }
        None => "`wasm-agent help` lists commands and options".to_owned(),
    }
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
    use super::super::command;
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
                &["run", "a", "--dri", "x"][..],
                "there is no option `--dri`",
                "did you mean `--dir`?",
            ),
            (&["rnu"], "there is no command `rnu`", "did you mean `run`?"),
            (
                &["run"],
                "missing <AGENT>",
                "usage is `wasm-agent run [OPTIONS] <AGENT> [TASK]`",
            ),
            (
                &["run", "a", "--dir"],
                "`--dir <HOST[::GUEST][:ro|:rw]>` needs a value",
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
}
