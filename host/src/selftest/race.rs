//! Somebody else on the machine who exchanges two names, over and over, while a guest works with them.
//!
//! It is another process: a thread of this one would share its locks, its scheduling and its file
//! descriptors, and no attacker does.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, RenameFlags};

/// The command that calls [`exchange`] with the two paths that follow its arguments.
#[derive(Clone, Debug)]
pub struct Racer {
    /// The program: this one, usually.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
}

/// Exchanges `one` and `other` until standard input ends, as it does when whoever started this process is
/// gone. Writes one byte to standard output once they have changed places for the first time.
///
/// # Errors
///
/// They cannot be exchanged: the file system cannot do it, or one of them is not there.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let swap = || rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    swap()?;
    io::stdout().write_all(b".")?;
    io::stdout().flush()?;
    let asked_to_end = std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
    });
    while !asked_to_end.is_finished() {
        // The case removes what it was about when it is over.
        swap()?;
        std::thread::yield_now();
    }
    Ok(())
}

/// A race under way; it ends when dropped.
pub(super) struct Race(Child);

impl Race {
    /// Starts it, and waits for the first exchange.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where names cannot be exchanged; anything else is a failure.
    pub(super) fn start(racer: &Racer, one: &Path, other: &Path) -> io::Result<Race> {
        let child = Command::new(&racer.program)
            .args(&racer.arguments)
            .args([one, other])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut race = Race(child);
        let first = race.0.stdout.as_mut().map(|out| out.read(&mut [0]));
        match first {
            Some(Ok(1)) => Ok(race),
            Some(Err(error)) => Err(error),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "names cannot be exchanged here",
            )),
        }
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        // It holds nothing that has to be put in order; whether it is gone already does not matter.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
