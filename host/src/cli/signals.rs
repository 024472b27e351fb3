//! Ctrl-C and its like: the first ends the run and closes its account, the second ends the process.

use wasm_agent::error::Exit;
use wasm_agent::run::Interrupt;

use super::live::Notes;

/// Signals that ask the program to end, caught from the moment this is made. It has to be made before a
/// run is started: until then a signal ends the process as it always does, which would leave the account
/// of a run open.
pub(super) struct Signals {
    #[cfg(unix)]
    caught: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    /// Starts catching. Has to be called inside the runtime.
    #[cfg(unix)]
    pub(super) fn catch() -> Signals {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt()).ok();
        Signals {
            caught: interrupt.zip(signal(SignalKind::terminate()).ok()),
        }
    }

    /// Starts catching. Has to be called inside the runtime.
    #[cfg(not(unix))]
    pub(super) fn catch() -> Signals {
        Signals {}
    }

    /// Interrupts a run with the first signal.
    pub(super) fn interrupt(mut self, interrupt: Interrupt, notes: Notes) {
        tokio::spawn(async move {
            self.next().await;
            interrupt.interrupt();
            notes.say("interrupting: the account is being closed; once more to quit at once");
            self.next().await;
            std::process::exit(Exit::Interrupted as i32);
        });
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.caught else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
