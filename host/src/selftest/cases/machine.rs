//! Memory, tables, instances, stacks, and values the host keeps for a guest.

use super::super::case::{Case, Trying, Verdict, guest, host};
use super::super::component::{Parts, command, module};
use super::super::evidence::Evidence;
use super::super::resources::{self, Destructor, Keeper};
use super::super::setup::{Dirs, Ending, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::run::Ended;

const NOTHING: Setup = Setup::new(Dirs::Nothing);
const WORK: Setup = Setup::new(Dirs::Work);

pub(super) const CASES: &[Case] = &[
    guest(
        "memory-grow",
        Wall::Memory,
        "CWE-770",
        "Memory does not grow beyond its limit, and the guest can handle that.",
        NOTHING
            .limits(&[("memory", "16MiB")])
            .text("16777216")
            .leaves(&[Trace::Limit("memory")])
            .check(peak_is_within_16_mib),
    ),
    host(
        "memory-sum",
        Wall::Memory,
        "CWE-770",
        "Memories of several instances count together.",
        memory_sum,
    ),
    host(
        "memory-initial",
        Wall::Memory,
        "CWE-770",
        "A memory that starts beyond the limit is not made.",
        memory_initial,
    ),
    host(
        "table-grow",
        Wall::Tables,
        "CWE-770",
        "A table does not grow beyond its limit.",
        table_grow,
    ),
    host(
        "table-initial",
        Wall::Tables,
        "CWE-770",
        "A table that starts beyond the limit is not made.",
        table_initial,
    ),
    host(
        "instance-flood",
        Wall::Instances,
        "CWE-770",
        "A component of hundreds of instances is not started.",
        instances,
    ),
    guest(
        "stack-overflow",
        Wall::Wasmtime,
        "CWE-674",
        "Endless recursion ends the guest and nothing else.",
        NOTHING.ends(Ending::Crashed),
    ),
    guest(
        "random-flood",
        Wall::RandomBytes,
        "CVE-2026-27204",
        "Megabytes of random bytes are not made in one call.",
        NOTHING
            .limits(&[("memory", "256MiB")])
            .ends(Ending::Crashed),
    ),
    guest(
        "random-small-flood",
        Wall::Sound,
        "CVE-2026-27204",
        "Many small requests for random bytes are served.",
        NOTHING,
    ),
    guest(
        "hostcall-bytes",
        Wall::HostcallBytes,
        "GHSA-852m-cvvp-9p4w",
        "One call cannot make the host copy more than its limit.",
        NOTHING
            .limits(&[("hostcall-bytes", "1MiB"), ("event-bytes", "64KiB")])
            .ends(Ending::Limit(&["hostcall-bytes"])),
    ),
    guest(
        "handle-flood",
        Wall::Resources,
        "GHSA-q554-3cjc-rx7p",
        "Timers the host keeps for a guest are bounded.",
        NOTHING.ends(Ending::Limit(&["handles"])),
    ),
    guest(
        "handle-double-drop",
        Wall::Wasmtime,
        "CWE-415",
        "Dropping a handle twice ends the guest.",
        WORK.ends(Ending::Crashed),
    ),
    guest(
        "handle-after-drop",
        Wall::Wasmtime,
        "CWE-416",
        "Using a handle after it was dropped ends the guest.",
        WORK.ends(Ending::Crashed),
    ),
    guest(
        "handle-forged",
        Wall::Wasmtime,
        "CWE-822",
        "A number nobody gave out is not a handle.",
        WORK.ends(Ending::Crashed),
    ),
    guest(
        "handle-of-other-type",
        Wall::Wasmtime,
        "CWE-843",
        "A handle of one kind is not taken for another.",
        WORK.ends(Ending::Crashed),
    ),
    host(
        "handle-borrow-kept",
        Wall::Wasmtime,
        "Canonical ABI, borrow handles",
        "A handle that was lent and is kept, or used after it was given back, ends the guest.",
        borrow_kept,
    ),
    guest(
        "handle-parent-first",
        Wall::Wasmtime,
        "GHSA-6fr9",
        "A stream dropped while it is waited for does no harm to the host.",
        WORK.ends(Ending::Either),
    ),
    guest(
        "handle-poll-nothing",
        Wall::Wasmtime,
        "WASI 0.2 poll",
        "Waiting for nothing ends the guest instead of waiting for ever.",
        NOTHING.ends(Ending::Crashed),
    ),
];

fn borrow_kept(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let cases = [
            // With one that gives it back, so that it is known to be the keeping.
            (Keeper::GivesBack, Ending::Answered),
            (Keeper::Keeps, Ending::Crashed),
            (Keeper::UsesAfter, Ending::Crashed),
        ];
        let mut saw = Vec::new();
        for (keeper, ending) in cases {
            let component = resources::component(keeper, Destructor::Returns);
            let setup = NOTHING.ends(ending);
            match handmade(stage, "handle-borrow-kept", &component, &setup).await {
                Verdict::Held { saw: this } => saw.push(this),
                verdict => return verdict,
            }
        }
        Verdict::Held {
            saw: saw.join("; "),
        }
    })
}

fn peak_is_within_16_mib(evidence: &Evidence<'_>) -> Result<(), String> {
    let peak = evidence.outcome.memory_peak;
    if peak <= 16 << 20 {
        Ok(())
    } else {
        Err(format!("{peak} bytes at the peak"))
    }
}

/// Runs a component made by hand, and judges it as any other.
pub(super) async fn handmade(stage: &Stage, id: &str, component: &[u8], setup: &Setup) -> Verdict {
    let agent = match stage::load(&stage.host, component).await {
        Ok(agent) => agent,
        Err(error) => return Verdict::broken(format!("it could not be loaded at all: {error}")),
    };
    let world = match stage.world(setup).await {
        Ok(world) => world,
        Err(verdict) => return verdict,
    };
    let run_id = format!("escape-{id}");
    let judged = match stage::run(&stage.host, &world, &agent, setup, &run_id, id).await {
        Ok(outcome) => judge(&world, &run_id, &outcome, setup),
        Err(error) => Err(error),
    };
    judged.unwrap_or_else(Verdict::broken)
}

/// A component made by hand has no words: it converges when the wall held.
fn judge(
    world: &super::super::world::World,
    run_id: &str,
    outcome: &crate::run::Outcome,
    setup: &Setup,
) -> Result<Verdict, String> {
    let evidence = Evidence::gather(world, run_id, outcome)?;
    let mut wrong = evidence.judge(setup);
    if matches!(setup.ending, Ending::Answered) && outcome.ended == Ended::Converged {
        wrong.retain(|why| why != "the guest says nothing");
    }
    Ok(Verdict::of(wrong, format!("{:?}", outcome.ended)))
}

const SMALL: &[(&str, &str)] = &[("memory", "16MiB")];

fn memory_sum(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        // 8 instances of 3 MiB each.
        let component = command(
            &module(&Parts {
                memory: Some(48),
                ..Parts::default()
            }),
            8,
        );
        let setup = NOTHING
            .limits(SMALL)
            .ends(Ending::Limit(&["memory"]))
            .leaves(&[Trace::Limit("memory")]);
        handmade(stage, "memory-sum", &component, &setup).await
    })
}

fn memory_initial(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let component = command(
            &module(&Parts {
                memory: Some(1000),
                ..Parts::default()
            }),
            1,
        );
        let setup = NOTHING
            .limits(SMALL)
            .ends(Ending::Limit(&["memory"]))
            .leaves(&[Trace::Limit("memory")]);
        handmade(stage, "memory-initial", &component, &setup).await
    })
}

fn table_grow(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let parts = Parts {
            table: Some(1),
            grow_table: Some(5_000_000),
            ..Parts::default()
        };
        let setup = NOTHING.leaves(&[Trace::Limit("table-elements")]);
        handmade(stage, "table-grow", &command(&module(&parts), 1), &setup).await
    })
}

fn table_initial(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let component = command(
            &module(&Parts {
                table: Some(5_000_000),
                ..Parts::default()
            }),
            1,
        );
        let setup = NOTHING
            .ends(Ending::Limit(&["table-elements"]))
            .leaves(&[Trace::Limit("table-elements")]);
        handmade(stage, "table-initial", &component, &setup).await
    })
}

fn instances(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let component = command(&module(&Parts::default()), 500);
        handmade(
            stage,
            "instance-flood",
            &component,
            &NOTHING.ends(Ending::Crashed),
        )
        .await
    })
}
