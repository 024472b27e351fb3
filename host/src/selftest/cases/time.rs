//! Guests that never come back, or not as they should.

use super::super::case::{Case, Trying, Verdict, guest, host};
use super::super::component::{Parts, command, module};
use super::super::guests;
use super::super::resources::{self, Destructor, Keeper};
use super::super::setup::{Dirs, Ending, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use super::machine::handmade;
use crate::selftest::sabotage::down;

/// A third of a second of computing, however long that takes.
const CPU: Setup = Setup::new(Dirs::Work)
    .limits(&[("cpu", "300ms")])
    .ends(Ending::Limit(&["cpu"]));

/// Less than a second of waiting.
const WAIT: Setup = Setup::new(Dirs::Work)
    .limits(&[("wall", "700ms")])
    .ends(Ending::Limit(&["wall"]));

pub(super) const CASES: &[Case] = &[
    guest(
        "time-loop",
        Wall::Cpu,
        "CWE-835",
        "An endless loop is ended.",
        CPU,
    ),
    guest(
        "time-host-calls",
        Wall::Cpu,
        "CWE-835",
        "An endless loop of host calls is ended.",
        CPU,
    ),
    guest(
        "calls-total",
        Wall::HostCalls,
        "CWE-770",
        "Calls of the host beyond their number end the run.",
        Setup::new(Dirs::Nothing)
            .limits(&[("host-calls", "5000")])
            .ends(Ending::Limit(&["host-calls"])),
    ),
    guest(
        "calls-rate",
        Wall::HostCallRate,
        "CWE-799",
        "A guest that calls the host too often is held back, and lives.",
        Setup::new(Dirs::Nothing)
            .limits(&[("host-call-rate", "1000")])
            .leaves(&[Trace::Limit("host-call-rate")]),
    ),
    guest(
        "time-idle",
        Wall::Idle,
        "CWE-400",
        "A guest that does nothing is ended before its time is over.",
        Setup::new(Dirs::Nothing)
            .limits(&[("idle", "1s"), ("idle-notice", "500ms")])
            .ends(Ending::Limit(&["idle"])),
    ),
    guest(
        "time-first-call",
        Wall::Idle,
        "CWE-400",
        "A guest that does not begin to do anything is ended when it should have.",
        Setup::new(Dirs::Nothing)
            .limits(&[("first-call", "500ms")])
            .ends(Ending::Limit(&["first-call"])),
    ),
    guest(
        "time-after-result",
        Wall::Idle,
        "CWE-400",
        "So is one that does nothing with the result of a tool.",
        Setup::new(Dirs::Nothing)
            .limits(&[("after-result", "500ms")])
            .ends(Ending::Limit(&["after-result"])),
    ),
    guest(
        "repeated-call",
        Wall::Repetition,
        "CWE-834",
        "The same call with the same answer, over and over, ends the run.",
        Setup::new(Dirs::Nothing)
            .limits(&[("repeated-call", "5")])
            .ends(Ending::Limit(&["repeated-call"])),
    ),
    guest(
        "repeated-error",
        Wall::Repetition,
        "CWE-834",
        "The same failure, over and over, ends the run.",
        Setup::new(Dirs::Work)
            .limits(&[("repeated-error", "5")])
            .ends(Ending::Limit(&["repeated-error"])),
    ),
    guest(
        "time-files",
        Wall::WallClock,
        "CWE-835",
        "An endless loop that reads files is ended.",
        WAIT,
    ),
    guest(
        "time-pool",
        Wall::PoolCpu,
        "CWE-405",
        "Computing that a guest makes the host do on other threads uses up its budget.",
        CPU,
    ),
    guest(
        "time-drop",
        Wall::Cpu,
        "CWE-835",
        "A destructor of the guest's language that never ends is ended.",
        CPU,
    ),
    host(
        "time-destructor",
        Wall::Cpu,
        "CWE-835",
        "So is the destructor of a component's resource; one that traps ends the guest.",
        destructor,
    ),
    guest(
        "time-realloc",
        Wall::Cpu,
        "CWE-835",
        "An allocator that never ends while the host hands over a result is ended.",
        CPU,
    ),
    guest(
        "time-bulk",
        Wall::Cpu,
        "CWE-407",
        "An endless loop of bulk copies is ended.",
        CPU,
    ),
    host(
        "time-start",
        Wall::Cpu,
        "CWE-835",
        "A start function that never ends is ended.",
        start,
    ),
    host(
        "time-describe",
        Wall::Cpu,
        "CWE-835",
        "A description that never ends is ended.",
        describe,
    ),
    guest(
        "time-sleep",
        Wall::WallClock,
        "CWE-400",
        "Sleeping ends with the run's time.",
        WAIT,
    ),
    guest(
        "time-poll",
        Wall::WallClock,
        "CWE-400",
        "Waiting for what never comes ends with the run's time.",
        WAIT,
    ),
    guest(
        "time-stdin",
        Wall::Environment,
        "CWE-400",
        "Standard input of an agent is empty, not something to wait for.",
        Setup::new(Dirs::Nothing),
    ),
    guest(
        "panic",
        Wall::Wasmtime,
        "CWE-248",
        "A guest that panics ends itself and nothing else.",
        Setup::new(Dirs::Nothing).ends(Ending::Crashed),
    ),
    guest(
        "exit-zero",
        Wall::Wasmtime,
        "CWE-393",
        "An agent that exits, with success even, has not converged.",
        Setup::new(Dirs::Nothing).ends(Ending::Crashed),
    ),
    guest(
        "exit-one",
        Wall::Wasmtime,
        "CWE-393",
        "An agent that exits with failure has not converged.",
        Setup::new(Dirs::Nothing).ends(Ending::Crashed),
    ),
];

fn start(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let component = command(
            &module(&Parts {
                endless_start: true,
                ..Parts::default()
            }),
            1,
        );
        let setup = Setup::new(Dirs::Nothing)
            .limits(&[("cpu", "300ms")])
            .ends(Ending::Limit(&["cpu"]));
        handmade(stage, "time-start", &component, &setup).await
    })
}

fn destructor(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = Setup::new(Dirs::Nothing).limits(&[("cpu", "300ms")]);
        let cases = [
            // With one that returns, so that it is known to be the destructor.
            (Destructor::Returns, Ending::Answered),
            (Destructor::Traps, Ending::Crashed),
            (Destructor::Loops, Ending::Limit(&["cpu"])),
        ];
        let mut last = Verdict::broken("nothing was tried");
        for (destructor, ending) in cases {
            let component = resources::component(Keeper::GivesBack, destructor);
            last = handmade(stage, "time-destructor", &component, &setup.ends(ending)).await;
            if !matches!(last, Verdict::Held { .. }) {
                break;
            }
        }
        last
    })
}

fn describe(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        match stage::load(&stage.host, guests::DESCRIBE).await {
            Ok(_) => Verdict::broken("it was loaded"),
            Err(error) if error.contains("limit `cpu`") => Verdict::Held { saw: error },
            // Describing has ten times as much time as computing. A machine that gives it less than a tenth of a
            // core ends it by the clock, and that is an end; with the wall down it would be the only one.
            Err(error) if error.contains("limit `wall`") && !down(Wall::Cpu) => {
                Verdict::Held { saw: error }
            }
            Err(error) => Verdict::broken(format!("it failed otherwise: {error}")),
        }
    })
}
