//! Asking a person before something that cannot be taken back.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::anyhow;

use super::failure::Failure;

/// Asks a question on the terminal, on which depends whether to do `what`. Where there is none, nobody has agreed.
pub(super) fn agreed(what: &str, question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::with_hint(
            anyhow!("cannot {what}: there is no terminal to ask on"),
            "add `--yes`",
        ));
    }
    let mut stderr = io::stderr().lock();
    let mut answer = String::new();
    let asked = write!(stderr, "{question}? [y/N] ").and_then(|()| stderr.flush());
    asked
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|error| Failure::new(anyhow!("cannot ask whether to {what}: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
