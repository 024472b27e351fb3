//! Ctrl-C and its like. Until a run is started, the first ends the process; then the first ends the run and
//! closes its account, and the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use tokio::sync::oneshot;
use wasm_agent::error::Exit;
use wasm_agent::run::Interrupt;

use super::failure::Failure;
use super::live::Notes;

/// Signals that ask the program to end, caught from the moment this is made, and for good.
pub(super) struct Signals {
    /// From here on a signal waits for the run it shall end.
    held: Arc<AtomicBool>,
    run: oneshot::Sender<(Interrupt, Notes)>,
}

impl Signals {
    /// Starts catching. Has to be called inside the runtime, and has an effect while one of its threads is
    /// free.
    pub(super) fn catch() -> Signals {
        let (run, started) = oneshot::channel();
        let held = Arc::new(AtomicBool::new(false));
        tokio::spawn(obey(Caught::new(), held.clone(), started));
        Signals { held, run }
    }

    /// There is about to be a run: a signal must not end the process any more, as its account would stay
    /// open. It ends the run once [`Signals::interrupt`] says which.
    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Interrupts a run with the first signal.
    pub(super) fn interrupt(self, interrupt: Interrupt, notes: Notes) {
        // Without a task to obey, signals do what they always do.
        let _ = self.run.send((interrupt, notes));
    }
}

async fn obey(
    mut caught: Caught,
    held: Arc<AtomicBool>,
    mut started: oneshot::Receiver<(Interrupt, Notes)>,
) {
    let run = tokio::select! {
        biased;
        run = &mut started => run.ok(),
        () = caught.next() => {
            if !held.load(Ordering::SeqCst) {
                give_up();
            }
            // A run that could not be started ends the process anyway.
            let Ok((interrupt, notes)) = started.await else { return };
            return end(caught, &interrupt, &notes).await;
        }
    };
    match run {
        Some((interrupt, notes)) => {
            caught.next().await;
            end(caught, &interrupt, &notes).await;
        }
        // The command needs no run; it is about to end.
        None => {
            caught.next().await;
            give_up();
        }
    }
}

/// The first signal of a run, and then the second.
async fn end(mut caught: Caught, interrupt: &Interrupt, notes: &Notes) {
    interrupt.interrupt();
    notes.say("interrupting: the account is being closed; once more to quit at once");
    caught.next().await;
    std::process::exit(Exit::Interrupted as i32);
}

/// Ends the process before there is a run. Whatever the compiler is doing ends with it.
fn give_up() -> ! {
    let failure = Failure::with_hint(
        anyhow!("interrupted before there was a run"),
        "nothing was run; a component that takes long to compile does so only once",
    );
    std::process::exit(failure.print() as i32)
}

#[cfg(unix)]
struct Caught(Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl Caught {
    fn new() -> Caught {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt()).ok();
        Caught(interrupt.zip(signal(SignalKind::terminate()).ok()))
    }

    async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Caught;

#[cfg(not(unix))]
impl Caught {
    fn new() -> Caught {
        Caught
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
