use tokio::sync::mpsc;

use super::*;
use crate::capabilities::activity::Nature;
use crate::trajectory::Record;
use crate::trajectory::journal::{Entry, Journal, Link};
use crate::trajectory::ledger::FactLimits;
use crate::trajectory::recorder::{Ids, Recorder};

/// A run without a guest: what is supervised is a future of the test.
struct Run {
    meters: Meters,
    activity: Activity,
    ledger: Ledger,
    records: mpsc::Receiver<Arc<Record>>,
    limits: Limits,
    interrupt: Interrupt,
}

impl Run {
    fn new(limits: Limits) -> Run {
        Run::heard_by(1000, limits)
    }

    /// With a listener that keeps `room` records and reads none.
    fn heard_by(room: usize, limits: Limits) -> Run {
        let (sender, records) = mpsc::channel(room);
        let recorder = Recorder::new(Ids::seeded([0; 16]), "run", None);
        let facts = FactLimits {
            facts: 100,
            fact_bytes: 1000,
            total_bytes: 10_000,
        };
        let ledger = Ledger::new(
            recorder,
            Journal::in_memory(Link::of(b"")),
            facts,
            Some(sender),
        );
        Run {
            meters: Meters::default(),
            activity: Activity::new(&limits),
            ledger,
            records,
            limits,
            interrupt: Interrupt::default(),
        }
    }

    async fn supervise<F: Future>(&self, guest: F) -> Result<F::Output, Cut> {
        let supervision = Supervision {
            meters: &self.meters,
            activity: &self.activity,
            ledger: &self.ledger,
            limits: &self.limits,
            policy: Policy::of(&self.limits),
            interrupt: &self.interrupt,
            tape: &Tape::off(),
        };
        supervise(guest, supervision).await
    }

    /// Runs a guest that has to be cut at a limit.
    async fn limit<F: Future<Output = ()>>(&self, guest: F) -> LimitHit {
        match self.supervise(guest).await {
            Err(Cut::Limit(hit)) => hit,
            other => panic!("{other:?}"),
        }
    }

    fn notices(&mut self) -> Vec<(&'static str, serde_json::Value)> {
        let mut notices = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            if let Entry::Audit(Audit::Supervision {
                notice, diagnosis, ..
            }) = &record.entry
            {
                notices.push((*notice, diagnosis.clone()));
            }
        }
        notices
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test(start_paused = true)]
async fn beginning_and_going_on_have_deadlines_of_their_own() {
    let run = Run::new(limits(|limits| limits.first_call = 15_000));
    let looking = async {
        loop {
            run.activity.enter("wasi:io/poll", Nature::Looks);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let hit = run.limit(looking).await;
    assert_eq!((hit.name, hit.max), ("first-call", 15_000));

    let run = Run::new(limits(|limits| limits.after_result = 120_000));
    let start = Instant::now();
    let given_a_result = async {
        for _ in 0..5 {
            run.activity
                .enter("wasm-agent:agent/trajectory", Nature::Acts);
            run.activity.tool_returned();
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let hit = run.limit(given_a_result).await;
    assert_eq!((hit.name, hit.max), ("after-result", 120_000));
    assert!(
        start.elapsed() >= Duration::from_secs(520),
        "after the last"
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_sleeps_is_noted_then_cut_and_the_record_says_what_it_did() {
    let mut run = Run::new(Limits::default());
    let start = Instant::now();
    let hit = run
        .limit(async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            run.activity.enter("wasi:cli/environment", Nature::Acts);
            run.activity.enter("wasi:io/poll", Nature::Looks);
            std::future::pending::<()>().await;
        })
        .await;
    assert_eq!(
        hit,
        LimitHit {
            name: "idle",
            max: 300_000
        }
    );
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(310_500) && took < Duration::from_secs(312),
        "{took:?}"
    );

    run.ledger.deliver().await;
    let notices = run.notices();
    let names: Vec<_> = notices.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["idle", "hard_stop"]);
    let (_, last) = &notices[1];
    assert_eq!(
        (&last["doing"], &last["call"]),
        (&"host_call".into(), &"wasi:io/poll".into())
    );
    assert_eq!(last["host_calls"], 2);
    assert_eq!(last["last_seq"], 0);
    assert!(last["for_ms"].as_u64().unwrap() >= 300_000, "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_acts_now_and_then_is_cut_at_the_wall_limit_after_a_warning() {
    let mut run = Run::new(limits(|limits| limits.wall = 3_600_000));
    let start = Instant::now();
    let hit = run
        .limit(async {
            loop {
                run.activity.enter("wasi:io/streams", Nature::Acts);
                run.activity.enter("wasi:io/poll", Nature::Looks);
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        })
        .await;
    assert_eq!(
        hit,
        LimitHit {
            name: "wall",
            max: 3_600_000
        }
    );
    assert!(
        start.elapsed() <= Duration::from_millis(3_600_010),
        "{:?}",
        start.elapsed()
    );
    run.ledger.deliver().await;
    let names: Vec<_> = run.notices().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["budget_low", "hard_stop"]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_keep_a_guest_alive() {
    let run = Run::new(Limits::default());
    let hit = run
        .limit(async {
            loop {
                run.activity
                    .enter("wasm-agent:agent/trajectory", Nature::Acts);
                run.activity.says("still working");
                run.activity.enter("wasi:clocks/wall-clock", Nature::Looks);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
    assert_eq!(hit.name, "idle");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_waits_for_a_slow_listener_is_not_idle() {
    let mut run = Run::heard_by(1, Limits::default());
    let progress = || Audit::Progress {
        message: "x".to_owned(),
        fraction: None,
    };
    let hit = run
        .limit(async {
            run.ledger.audit(progress()).unwrap();
            run.ledger.audit(progress()).unwrap();
            run.activity
                .enter("wasm-agent:agent/trajectory", Nature::Acts);
            run.ledger.deliver().await;
        })
        .await;
    assert_eq!(
        hit,
        LimitHit {
            name: "wall",
            max: 600_000
        }
    );
    assert!(run.notices().is_empty());
}

#[tokio::test]
async fn a_guest_that_computes_for_ever_is_cut_at_the_cpu_limit() {
    let run = Run::new(limits(|limits| limits.cpu = 20));
    let spin = std::future::poll_fn(|context| {
        let until = thread_time() + Duration::from_millis(5);
        while thread_time() < until {}
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    assert_eq!(
        run.limit(spin).await,
        LimitHit {
            name: "cpu",
            max: 20
        }
    );
}

/// Calls the host `calls` times in each poll, for ever.
async fn flood(activity: &Activity, calls: u64) {
    loop {
        for _ in 0..calls {
            activity.enter("wasi:clocks/wall-clock", Nature::Looks);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_host_calls_end_a_run() {
    let run = Run::new(limits(|limits| limits.host_calls = 1000));
    let hit = run.limit(flood(&run.activity, 300)).await;
    assert_eq!(
        hit,
        LimitHit {
            name: "host-calls",
            max: 1000
        }
    );
    assert_eq!(run.activity.seen().host_calls, 1200);
}

#[tokio::test(start_paused = true)]
async fn host_calls_are_held_to_their_rate() {
    let run = Run::new(limits(|limits| {
        limits.host_call_rate = 100;
        limits.host_calls = 1000;
    }));
    let start = Instant::now();
    let hit = run.limit(flood(&run.activity, 60)).await;
    assert_eq!(hit.name, "host-calls");
    // 120 calls a second until the 1000th is passed.
    assert_eq!(start.elapsed().as_secs(), 8);
    assert_eq!(
        run.activity.held_back(),
        Some(LimitHit {
            name: "host-call-rate",
            max: 100
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_floods_the_clock_is_idle_although_it_is_held_back() {
    let run = Run::new(limits(|limits| limits.host_call_rate = 100));
    assert_eq!(run.limit(flood(&run.activity, 150)).await.name, "idle");
}

#[tokio::test(start_paused = true)]
async fn the_same_refusal_again_and_again_ends_a_run() {
    let mut run = Run::new(Limits::default());
    let mut tries = 0;
    let hit = run
        .limit(async {
            loop {
                tries += 1;
                run.ledger.finish_subagent_that_is_not_there();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
    assert_eq!(
        (hit, tries),
        (
            LimitHit {
                name: "repeated-error",
                max: 5
            },
            5
        )
    );
    run.ledger.deliver().await;
    assert_eq!(run.notices().last().unwrap().0, "hard_stop");
}

impl Ledger {
    fn finish_subagent_that_is_not_there(&self) {
        let result = crate::trajectory::fact::SubagentResult {
            invocation_id: "nobody".to_owned(),
            text: String::new(),
            structured: None,
            reason: crate::trajectory::StopReason::Converged,
            usage: None,
        };
        self.subagent_result(crate::trajectory::Origin::Claimed, result)
            .unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_is_done_counts_as_done_when_its_time_runs_out_at_the_same_moment() {
    let run = Run::new(limits(|limits| limits.wall = 1000));
    let done = run
        .supervise(tokio::time::sleep(Duration::from_millis(990)))
        .await;
    assert!(matches!(done, Ok(())), "{done:?}");
}

#[tokio::test]
async fn an_interrupt_cuts_whatever_waits_even_when_asked_before() {
    let run = Run::new(Limits::default());
    run.interrupt.interrupt();
    let cut = run.supervise(std::future::pending::<()>()).await;
    assert!(matches!(cut, Err(Cut::Interrupted)), "{cut:?}");
}

fn changed(of: usize) -> Audit {
    Audit::FileChanged {
        path: "x".repeat(of),
        change: "modified",
        from: None,
        bytes_written: 0,
        before: None,
        after: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_of_whose_deeds_nobody_hears_is_not_polled_whatever_it_waits_for() {
    let mut run = Run::heard_by(1, limits(|limits| limits.wall = 60_000));
    let told = std::cell::Cell::new(0);
    let hit = run
        .limit(async {
            // It calls nothing that waits for the listener.
            loop {
                run.ledger.audit(changed(100_000)).unwrap();
                told.set(told.get() + 1);
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert_eq!(hit.name, "wall");
    assert!((40..50).contains(&told.get()), "{}", told.get());

    // It has heard one, and room for one more was made meanwhile.
    assert!(run.records.try_recv().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_guest_goes_on_when_the_listener_does() {
    let Run {
        meters,
        activity,
        ledger,
        mut records,
        limits,
        interrupt,
    } = Run::heard_by(10, limits(|limits| limits.wall = 60_000));
    let reader = tokio::spawn(async move {
        let mut read = 0;
        while records.recv().await.is_some() {
            read += 1;
        }
        read
    });
    let supervision = Supervision {
        meters: &meters,
        activity: &activity,
        ledger: &ledger,
        limits: &limits,
        policy: Policy::of(&limits),
        interrupt: &interrupt,
        tape: &Tape::off(),
    };
    let guest = async {
        for _ in 0..500 {
            ledger.audit(changed(100_000)).unwrap();
            tokio::task::yield_now().await;
        }
    };
    supervise(guest, supervision).await.unwrap();
    ledger.deliver().await;
    drop(ledger);
    assert_eq!(reader.await.unwrap(), 500);
}

#[tokio::test(start_paused = true)]
async fn what_the_host_tells_of_a_guest_has_an_end() {
    let run = Run::new(Limits::default());
    run.ledger.bound_audit(10_000);
    let told = std::cell::Cell::new(0);
    let hit = run
        .limit(async {
            loop {
                run.ledger.audit(changed(1000)).unwrap();
                told.set(told.get() + 1);
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert_eq!((hit.name, hit.max), ("audit-bytes", 10_000));
    assert!(told.get() < 10, "{}", told.get());
}
