use proptest::prelude::*;

use super::*;
use crate::capabilities::activity::{Call, Nature};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The defaults, with a ceiling far away.
fn policy() -> Policy {
    Policy {
        wall: s(100_000),
        wall_soft: s(90_000),
        ..Policy::default()
    }
}

fn watchdog(policy: Policy) -> Watchdog {
    Watchdog::new(policy).unwrap()
}

fn computing(last_activity: u64) -> Snapshot {
    Snapshot {
        doing: Doing::Computing { since: s(0) },
        last_activity: s(last_activity),
        begun: true,
        result_at: None,
        cpu: s(0),
        pace: Pace::Guest,
        child: Evidence::Progress,
    }
}

fn sleeping(last_activity: u64) -> Snapshot {
    let call = Call {
        interface: "wasi:io/poll",
        function: None,
        nature: Nature::Looks,
    };
    Snapshot {
        doing: Doing::InHostCall { call, since: s(0) },
        ..computing(last_activity)
    }
}

fn waiting(last_activity: u64) -> Snapshot {
    Snapshot {
        doing: Doing::WaitingForChild { since: s(0) },
        ..computing(last_activity)
    }
}

fn child(evidence: Evidence) -> Snapshot {
    Snapshot {
        child: evidence,
        ..waiting(0)
    }
}

/// Evaluates once a second, from `from` to `to`, and gives every notice with its time.
fn watch(dog: &mut Watchdog, from: u64, to: u64, seen: &Snapshot) -> (Vec<(u64, Notice)>, Verdict) {
    let mut notices = Vec::new();
    let mut verdict = Verdict::Continue;
    for second in from..=to {
        let judgement = dog.evaluate(s(second), seen);
        notices.extend(judgement.notices.into_iter().map(|notice| (second, notice)));
        verdict = judgement.verdict;
        if let Verdict::Fire(_) = verdict {
            break;
        }
    }
    (notices, verdict)
}

#[test]
fn quiet_is_noted_at_30_seconds_and_ended_at_300_after_the_grace() {
    for seen in [computing(0), sleeping(0)] {
        let mut dog = watchdog(policy());
        let (notices, verdict) = watch(&mut dog, 0, 400, &seen);
        assert_eq!(notices, [(30, Notice::Idle), (301, Notice::HardStop)]);
        assert_eq!(verdict, Verdict::Fire(Reason::Idle(s(300))));
    }
}

#[test]
fn activity_ends_the_quiet_and_the_next_one_is_noted_again() {
    let mut dog = watchdog(policy());
    let (notices, _) = watch(&mut dog, 0, 100, &computing(0));
    assert_eq!(notices, [(30, Notice::Idle)]);
    let (notices, verdict) = watch(&mut dog, 101, 399, &computing(100));
    assert_eq!(
        (notices, verdict),
        (vec![(130, Notice::Idle)], Verdict::Continue)
    );
}

#[test]
fn grace_is_not_extended_by_asking_and_ends_at_once_when_it_is_zero() {
    let mut dog = watchdog(policy());
    for millis in [300_000, 300_100, 300_400, 300_499] {
        let judgement = dog.evaluate(Duration::from_millis(millis), &computing(0));
        assert_eq!(judgement.verdict, Verdict::Continue, "{millis}");
    }
    let judgement = dog.evaluate(Duration::from_millis(300_500), &computing(0));
    assert_eq!(judgement.verdict, Verdict::Fire(Reason::Idle(s(300))));

    let mut dog = watchdog(Policy {
        grace: s(0),
        ..policy()
    });
    assert_eq!(
        dog.evaluate(s(300), &computing(0)).verdict,
        Verdict::Fire(Reason::Idle(s(300)))
    );
}

#[test]
fn late_activity_cancels_the_grace() {
    let mut dog = watchdog(policy());
    dog.evaluate(s(300), &computing(0));
    assert_eq!(
        dog.evaluate(s(301), &computing(300)).verdict,
        Verdict::Continue
    );
    // The next time it is idle, it has its whole grace again.
    assert_eq!(
        dog.evaluate(s(600), &computing(300)).verdict,
        Verdict::Continue
    );
    assert_eq!(
        dog.evaluate(s(601), &computing(300)).verdict,
        Verdict::Fire(Reason::Idle(s(300)))
    );
}

#[test]
fn a_wait_that_begins_in_the_grace_defers_the_end() {
    let mut dog = watchdog(policy());
    assert_eq!(
        dog.evaluate(s(300), &computing(0)).verdict,
        Verdict::Continue
    );
    assert_eq!(dog.evaluate(s(301), &waiting(0)).verdict, Verdict::Waiting);
    // When it is over without any activity, a new grace begins.
    let judgement = dog.evaluate(s(302), &computing(0));
    assert_eq!(judgement.notices, [Notice::WaitingExited]);
    assert_eq!(judgement.verdict, Verdict::Continue);
    assert_eq!(
        dog.evaluate(s(303), &computing(0)).verdict,
        Verdict::Fire(Reason::Idle(s(300)))
    );
}

#[test]
fn idling_can_be_unlimited_but_the_ceiling_stays() {
    let mut dog = watchdog(Policy {
        idle: None,
        wall: s(5000),
        wall_soft: s(4000),
        ..policy()
    });
    let (notices, verdict) = watch(&mut dog, 0, 6000, &sleeping(0));
    assert_eq!(
        notices,
        [(4000, Notice::BudgetLow), (5000, Notice::HardStop)]
    );
    assert_eq!(verdict, Verdict::Fire(Reason::Wall(s(5000))));
}

#[test]
fn the_ceiling_fires_whatever_the_guest_does() {
    let policy = Policy {
        wall: s(3300),
        wall_soft: s(3000),
        ..policy()
    };
    for seen in [
        computing(3299),
        sleeping(3299),
        waiting(0),
        child(Evidence::OnlyHeartbeats),
    ] {
        let mut dog = watchdog(policy);
        assert_eq!(
            dog.evaluate(s(3300), &seen).verdict,
            Verdict::Fire(Reason::Wall(s(3300)))
        );
    }
    // In the grace.
    let mut dog = watchdog(Policy {
        wall: s(300),
        wall_soft: s(300),
        grace: s(9),
        ..policy
    });
    assert_eq!(
        dog.evaluate(s(300), &computing(0)).verdict,
        Verdict::Fire(Reason::Wall(s(300)))
    );
    // Computing is a ceiling, too.
    let mut dog = watchdog(policy);
    let seen = Snapshot {
        cpu: policy.cpu,
        ..computing(0)
    };
    assert_eq!(
        dog.evaluate(s(1), &seen).verdict,
        Verdict::Fire(Reason::Cpu(policy.cpu))
    );
}

#[test]
fn the_soft_limit_comes_once_and_before_the_hard_one() {
    let mut dog = watchdog(Policy {
        wall: s(3300),
        wall_soft: s(3000),
        idle: None,
        ..policy()
    });
    let (notices, _) = watch(&mut dog, 2990, 3400, &computing(0));
    assert_eq!(
        notices,
        [(3000, Notice::BudgetLow), (3300, Notice::HardStop)]
    );
    let mut dog = watchdog(policy());
    let seen = Snapshot {
        cpu: dog.policy.cpu_soft,
        ..computing(0)
    };
    assert_eq!(dog.evaluate(s(1), &seen).notices, [Notice::BudgetLow]);
}

#[test]
fn waiting_defers_and_does_not_count_as_activity() {
    let mut dog = watchdog(policy());
    let (notices, verdict) = watch(&mut dog, 0, 310, &waiting(0));
    assert_eq!(notices, [(30, Notice::Idle), (301, Notice::WaitingEntered)]);
    assert_eq!(verdict, Verdict::Waiting);
    // The child is gone and nothing was reported: still idle since 0.
    let (notices, verdict) = watch(&mut dog, 311, 320, &computing(0));
    assert_eq!(
        notices,
        [(311, Notice::WaitingExited), (312, Notice::HardStop)]
    );
    assert_eq!(verdict, Verdict::Fire(Reason::Idle(s(300))));
}

#[test]
fn waiting_ends_at_its_ceiling_with_every_event_in_between() {
    let mut dog = watchdog(policy());
    let (notices, verdict) = watch(&mut dog, 0, 9999, &waiting(0));
    assert_eq!(verdict, Verdict::Fire(Reason::Waiting(s(1800))));
    let at = |notice| -> Vec<u64> {
        notices
            .iter()
            .filter(|(_, found)| *found == notice)
            .map(|(at, _)| *at)
            .collect()
    };
    assert_eq!(at(Notice::WaitingEntered), [301]);
    assert_eq!(at(Notice::WaitingSuspected), [901]);
    assert_eq!(at(Notice::HardStop), [2101]);
    assert_eq!(
        at(Notice::WaitingProgress),
        (1..60).map(|n| 301 + 30 * n).collect::<Vec<_>>()
    );
    assert_eq!(dog.waited(), s(1800));
}

#[test]
fn a_person_may_take_as_long_as_a_child_that_makes_progress() {
    let mut dog = watchdog(policy());
    let doing = Doing::WaitingForHuman { since: s(0) };
    let seen = Snapshot {
        doing,
        child: Evidence::Spinning,
        ..computing(0)
    };
    let (_, verdict) = watch(&mut dog, 0, 9999, &seen);
    assert_eq!(verdict, Verdict::Fire(Reason::Waiting(s(1800))));
}

#[test]
fn a_child_without_progress_is_waited_for_less() {
    for evidence in [Evidence::OnlyHeartbeats, Evidence::Spinning] {
        let mut dog = watchdog(policy());
        let (notices, verdict) = watch(&mut dog, 0, 9999, &child(evidence));
        assert_eq!(
            verdict,
            Verdict::Fire(Reason::Waiting(s(600))),
            "{evidence:?}"
        );
        assert_eq!(notices.last(), Some(&(901, Notice::HardStop)));
    }
}

#[test]
fn the_ceiling_follows_the_evidence_of_each_moment() {
    let mut dog = watchdog(policy());
    let (_, verdict) = watch(&mut dog, 0, 1500, &child(Evidence::Progress));
    assert_eq!(verdict, Verdict::Waiting);
    let verdict = dog
        .evaluate(s(1501), &child(Evidence::OnlyHeartbeats))
        .verdict;
    assert_eq!(verdict, Verdict::Fire(Reason::Waiting(s(600))));
}

#[test]
fn time_spent_waiting_survives_activity_and_oscillation() {
    let mut dog = watchdog(policy());
    let mut now = 0;
    let mut fired = None;
    for _ in 0..20 {
        // Active, then 300 s quiet, then 100 s of waiting.
        let (_, verdict) = watch(&mut dog, now, now + 401, &waiting(now));
        if let Verdict::Fire(reason) = verdict {
            fired = Some(reason);
            break;
        }
        let waited = dog.waited();
        now += 402;
        let judgement = dog.evaluate(s(now), &computing(now));
        assert_eq!(
            (judgement.verdict, dog.waited()),
            (Verdict::Continue, waited)
        );
        assert_eq!(judgement.notices, [Notice::WaitingExited]);
    }
    assert_eq!(fired, Some(Reason::Waiting(s(1800))));
    assert_eq!(now / 402, 17, "100 s in each of 18 turns");
}

#[test]
fn asking_often_does_not_count_a_wait_twice() {
    let mut dog = watchdog(policy());
    watch(&mut dog, 0, 401, &waiting(0));
    for _ in 0..10 {
        dog.evaluate(s(401), &waiting(0));
    }
    assert_eq!(dog.waited(), s(100));
}

#[test]
fn a_listener_that_does_not_keep_up_is_not_the_guests_idleness() {
    let mut dog = watchdog(policy());
    let held = Snapshot {
        pace: Pace::Host,
        ..sleeping(0)
    };
    assert_eq!(watch(&mut dog, 0, 1000, &held), (vec![], Verdict::Continue));
    let (notices, _) = watch(&mut dog, 1001, 1400, &sleeping(0));
    assert_eq!(notices, [(1030, Notice::Idle), (1301, Notice::HardStop)]);
}

#[test]
fn a_guest_that_does_not_begin_is_ended_when_it_should_have() {
    let mut dog = watchdog(Policy {
        first_call: s(15),
        ..policy()
    });
    let stuck = Snapshot {
        begun: false,
        ..computing(0)
    };
    assert_eq!(dog.due(s(0), &stuck), s(15));
    let (notices, verdict) = watch(&mut dog, 0, 100, &stuck);
    assert_eq!(notices, [(15, Notice::HardStop)]);
    assert_eq!(verdict, Verdict::Fire(Reason::FirstCall(s(15))));
    assert_eq!(Reason::FirstCall(s(15)).limit().name, "first-call");

    // Once it has begun, it may be quiet for as long as others.
    let mut dog = watchdog(Policy {
        first_call: s(15),
        ..policy()
    });
    let (notices, _) = watch(&mut dog, 0, 400, &computing(0));
    assert_eq!(notices.last(), Some(&(301, Notice::HardStop)));
}

#[test]
fn a_guest_that_does_nothing_with_a_result_is_ended_before_it_is_idle() {
    let policy = Policy {
        after_result: s(120),
        ..policy()
    };
    let given = |at| Snapshot {
        result_at: Some(s(at)),
        ..sleeping(at)
    };
    let mut dog = watchdog(policy);
    assert_eq!(dog.due(s(0), &computing(0)), s(1), "one may come unseen");
    assert_eq!(watch(&mut dog, 0, 50, &computing(50)).1, Verdict::Continue);
    assert_eq!(watch(&mut dog, 51, 150, &given(50)).1, Verdict::Continue);
    // Another result: it went on in between.
    let (notices, verdict) = watch(&mut dog, 151, 400, &given(150));
    assert_eq!(verdict, Verdict::Fire(Reason::AfterResult(s(120))));
    assert_eq!(notices.last(), Some(&(270, Notice::HardStop)));
    assert_eq!(Reason::AfterResult(s(120)).limit().name, "after-result");

    // A model that takes its time is something done.
    let mut dog = watchdog(policy);
    let verdict = watch(&mut dog, 51, 200, &sleeping(50)).1;
    assert_eq!(verdict, Verdict::Continue);
}

#[test]
fn a_guest_that_is_held_back_gets_its_time_back() {
    let mut dog = watchdog(Policy {
        after_result: s(10),
        ..policy()
    });
    let held = Snapshot {
        result_at: Some(s(0)),
        pace: Pace::Host,
        ..sleeping(0)
    };
    assert_eq!(watch(&mut dog, 0, 60, &held).1, Verdict::Continue);
    let free = Snapshot {
        pace: Pace::Guest,
        ..held
    };
    assert_eq!(watch(&mut dog, 61, 69, &free).1, Verdict::Continue);
    let verdict = watch(&mut dog, 70, 70, &free).1;
    assert_eq!(verdict, Verdict::Fire(Reason::AfterResult(s(10))));
}

#[test]
fn a_policy_that_contradicts_itself_names_both_fields() {
    let wrong = |change: fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        let error = Watchdog::new(policy).unwrap_err();
        (error.field, error.other)
    };
    assert_eq!(wrong(|p| p.idle = Some(s(0))), ("idle", "zero"));
    assert_eq!(wrong(|p| p.poll = s(0)), ("poll", "zero"));
    assert_eq!(
        wrong(|p| p.status_interval = s(0)),
        ("status_interval", "zero")
    );
    assert_eq!(wrong(|p| p.waiting = s(299)), ("suspect", "waiting"));
    assert_eq!(
        wrong(|p| {
            p.suspect = s(1);
            p.waiting_without_progress = s(1);
            p.waiting = s(299);
        }),
        ("idle", "waiting")
    );
    assert_eq!(
        wrong(|p| {
            p.wall = s(299);
            p.wall_soft = s(1);
        }),
        ("idle", "wall")
    );
    assert_eq!(wrong(|p| p.suspect = s(0)), ("suspect", "zero"));
    assert_eq!(wrong(|p| p.suspect = s(1800)), ("suspect", "waiting"));
    assert_eq!(
        wrong(|p| p.waiting_without_progress = s(0)),
        ("waiting_without_progress", "zero")
    );
    assert_eq!(
        wrong(|p| p.waiting_without_progress = s(1801)),
        ("waiting_without_progress", "waiting")
    );
    assert_eq!(wrong(|p| p.idle_notice = s(301)), ("idle_notice", "idle"));
    assert_eq!(wrong(|p| p.wall_soft = s(100_001)), ("wall_soft", "wall"));
    assert_eq!(wrong(|p| p.cpu_soft = s(100_001)), ("cpu_soft", "cpu"));
    let error = Watchdog::new(Policy {
        suspect: s(1800),
        ..policy()
    })
    .unwrap_err();
    let text = "`suspect` (1800s) has to be less than `waiting` (1800s)";
    assert_eq!(error.to_string(), text);
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let call = Call {
        interface: "x",
        function: None,
        nature: Nature::Acts,
    };
    let doing = prop_oneof![
        Just(Doing::Computing { since: s(0) }),
        Just(Doing::InHostCall { call, since: s(0) }),
        Just(Doing::WaitingForChild { since: s(0) }),
        Just(Doing::WaitingForHuman { since: s(0) }),
    ];
    let child = prop_oneof![
        Just(Evidence::Progress),
        Just(Evidence::OnlyHeartbeats),
        Just(Evidence::Spinning)
    ];
    let pace = prop_oneof![4 => Just(Pace::Guest), 1 => Just(Pace::Host)];
    (doing, child, pace, 0_u64..50).prop_map(|(doing, child, pace, cpu)| Snapshot {
        doing,
        last_activity: s(0),
        begun: true,
        result_at: None,
        cpu: s(cpu),
        pace,
        child,
    })
}

proptest! {
    #[test]
    fn the_rules_hold_whatever_happens(
        steps in prop::collection::vec((0_u64..200, any::<bool>(), any_snapshot()), 1..80),
    ) {
        let policy = Policy { wall: s(4000), wall_soft: s(3600), ..policy() };
        let mut dog = watchdog(policy);
        let (mut now, mut active, mut waited) = (0, 0, s(0));
        for (step, acts, mut seen) in steps {
            now += step;
            if acts {
                active = now;
            }
            seen.last_activity = s(active);
            let first = dog.evaluate(s(now), &seen);
            let again = dog.evaluate(s(now), &seen);
            prop_assert_eq!(again.verdict, first.verdict);
            prop_assert_eq!(again.notices, vec![]);
            prop_assert!(dog.waited() >= waited);
            waited = dog.waited();
            prop_assert!(waited <= s(now));
            if now >= 4000 {
                prop_assert_eq!(first.verdict, Verdict::Fire(Reason::Wall(s(4000))));
            }
            if let Verdict::Fire(_) = first.verdict {
                prop_assert_eq!(first.notices.last(), Some(&Notice::HardStop));
                break;
            }
            prop_assert!(now - active < 300 || first.verdict == Verdict::Waiting
                || dog.grace_until.is_some() || dog.held_back > s(active));
            let due = dog.due(s(now), &seen);
            prop_assert!(due > Duration::ZERO && s(now) + due <= s(4000));
        }
    }

    /// Sleeping as long as `due` says misses no deadline by more than the shortest poll.
    #[test]
    fn due_is_never_late(start in 0_u64..1000, seen in any_snapshot()) {
        let mut seen = seen;
        seen.pace = Pace::Guest;
        seen.last_activity = s(start);
        let mut dog = watchdog(policy());
        let mut now = s(start);
        let mut fired = None;
        for _ in 0..10_000 {
            if let Verdict::Fire(reason) = dog.evaluate(now, &seen).verdict {
                fired = Some(reason);
                break;
            }
            now += dog.due(now, &seen);
        }
        let took = now - s(start);
        match fired {
            Some(Reason::Idle(_)) => prop_assert_eq!(took, Duration::from_millis(300_500)),
            Some(Reason::Waiting(ceiling)) => {
                let exact = Duration::from_millis(300_500) + ceiling;
                prop_assert!(took >= exact && took <= exact + s(1));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
