//! The tape without a guest: recording and replaying is the identity, and nothing else is.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::format::{ClockKind, Component, FORMAT, Header, Reader};
use super::tape::{Closing, Sink, Stop};
use super::*;
use crate::digest::Digest;
use crate::engine::Profile;
use crate::run::Ended;

fn header() -> Header {
    let raw = r#"{"schema_version":"0.1"}"#.to_owned();
    Header {
        format: FORMAT.to_owned(),
        host: "0.1.0".to_owned(),
        component: Component {
            digest: Digest::of(b"component"),
            name: "agent".to_owned(),
            path: None,
        },
        profile: Profile::Hermetic,
        clock: ClockKind::Real,
        seed: Seed::numbered(7),
        start: "2026-01-01T00:00:00.000000Z".to_owned(),
        session_id: "s".to_owned(),
        storage: false,
        commission: serde_json::value::RawValue::from_string(raw).unwrap(),
        grants: json!({}),
        guest_grants: json!({}),
        inputs: Vec::new(),
    }
}

fn closing() -> Closing {
    Closing {
        ended: serde_json::to_value(Ended::Converged).unwrap(),
        output: None,
        trajectory: Digest::of(b""),
        fuel: Some(1),
        run: Digest::of(b"run"),
    }
}

/// Something a guest does.
#[derive(Clone, Debug)]
enum Deed {
    Read(Reader),
    Call(&'static str, Value, Result<Value, String>),
}

fn deed() -> impl Strategy<Value = Deed> {
    let reader = prop_oneof![
        Just(Reader::Wall),
        Just(Reader::Monotonic),
        Just(Reader::Event)
    ];
    let value = prop_oneof![
        Just(Value::Null),
        any::<u32>().prop_map(Value::from),
        "[a-z\"\\\\\n]{0,300}".prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has it", |it| it.is_finite())
            .prop_map(Value::from),
        proptest::collection::vec(any::<bool>(), 0..4).prop_map(Value::from),
    ];
    prop_oneof![
        reader.prop_map(Deed::Read),
        (
            prop_oneof![Just("poll.poll"), Just("model.next")],
            value.clone(),
            prop_oneof![3 => value.prop_map(Ok), 1 => "[a-z]{1,9}".prop_map(Err)],
        )
            .prop_map(|(kind, request, answer)| Deed::Call(kind, request, answer)),
    ]
}

/// Does it, and says what came of it.
fn act(tape: &Tape, deed: &Deed, performs: bool) -> Result<Value, String> {
    match deed {
        Deed::Read(by) => match tape.read(*by) {
            Ok(now) => Ok(json!(now)),
            Err(error) => Err(error.to_string()),
        },
        Deed::Call(kind, request, answer) => tape
            .observe(
                kind,
                || request.clone(),
                || {
                    assert!(performs, "a replay performs nothing");
                    answer.clone().map_err(wasmtime::Error::msg)
                },
            )
            .map_err(|error| error.root_cause().to_string()),
    }
}

/// Records the deeds; the file's bytes, and what came of each.
fn record(deeds: &[Deed]) -> (Vec<u8>, Vec<Result<Value, String>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let tape = Tape::record(&header(), Some(Sink::create(&path).unwrap()), None).unwrap();
    let seen = deeds.iter().map(|deed| act(&tape, deed, true)).collect();
    tape.close(closing()).unwrap();
    (std::fs::read(path).unwrap(), seen)
}

fn replay(bytes: &[u8]) -> Tape {
    Tape::replay(Arc::new(Recording::parse(bytes).unwrap()), None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn recording_and_replaying_is_the_identity(deeds in proptest::collection::vec(deed(), 0..600)) {
        let (bytes, seen) = record(&deeds);
        let tape = replay(&bytes);
        let again: Vec<_> = deeds.iter().map(|deed| act(&tape, deed, false)).collect();
        prop_assert_eq!(&again, &seen);
        prop_assert!(tape.close(closing()).is_ok());
        // Written again, it is the same file.
        let recording = Recording::parse(&bytes).unwrap();
        let mut text = recording.header.line() + "\n";
        for entry in &recording.entries {
            text += &(entry.line() + "\n");
        }
        text += &(recording.end.unwrap().line() + "\n");
        prop_assert_eq!(text.as_bytes(), bytes.as_slice());
    }

    #[test]
    fn whoever_does_something_else_diverges_there(
        deeds in proptest::collection::vec(deed(), 1..40),
        at in any::<proptest::sample::Index>(),
    ) {
        let (bytes, _) = record(&deeds);
        let at = at.index(deeds.len());
        let tape = replay(&bytes);
        for deed in &deeds[..at] {
            let _ = act(&tape, deed, false);
        }
        let other = Deed::Call("tools.call", json!("never recorded"), Ok(Value::Null));
        prop_assert!(act(&tape, &other, false).is_err());
        let Some(Stop::Diverged(divergence)) = tape.stopped() else {
            panic!("{:?}", tape.stopped());
        };
        prop_assert_eq!(divergence.call, at as u64 + 1);
        // Nothing is answered any more.
        let call = Deed::Call("poll.poll", Value::Null, Ok(Value::Null));
        prop_assert!(act(&tape, &call, false).is_err());
    }

    #[test]
    fn a_run_that_ends_too_soon_diverges(deeds in proptest::collection::vec(deed(), 1..40)) {
        let (bytes, _) = record(&deeds);
        let tape = replay(&bytes);
        for deed in &deeds[..deeds.len() - 1] {
            let _ = act(&tape, deed, false);
        }
        prop_assert!(matches!(tape.close(closing()), Err(TapeError::Diverged(_))));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Recording::parse(&bytes);
        let mut with_header = (header().line() + "\n").into_bytes();
        with_header.extend(bytes);
        let _ = Recording::parse(&with_header);
    }

    /// One byte of a recording is changed: it is refused, or was not whole before.
    #[test]
    fn an_edited_recording_is_refused(
        deeds in proptest::collection::vec(deed(), 1..20),
        at in any::<proptest::sample::Index>(),
        byte in 32_u8..127,
    ) {
        let (mut bytes, _) = record(&deeds);
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte && bytes[at] != b'\n');
        let last = bytes[..bytes.len() - 1].iter().rposition(|it| *it == b'\n').unwrap();
        prop_assume!(at < last);
        bytes[at] = byte;
        prop_assert!(Recording::parse(&bytes).is_err());
    }
}

#[test]
fn every_prefix_is_read_as_far_as_it_goes_and_is_no_whole_recording() {
    let deeds = [
        Deed::Read(Reader::Event),
        Deed::Call("poll.poll", json!(1), Ok(json!([0]))),
        Deed::Read(Reader::Wall),
    ];
    let (bytes, _) = record(&deeds);
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for len in first..bytes.len() {
        let recording = Recording::parse(&bytes[..len]).unwrap();
        assert!(matches!(
            recording.finished(),
            Err(RecordingError::Unfinished)
        ));
    }
    assert!(Recording::parse(&bytes).unwrap().finished().is_ok());
}

#[test]
fn a_cut_ends_the_replay_and_lets_the_account_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let tape = Tape::record(&header(), Some(Sink::create(&path).unwrap()), None).unwrap();
    let ended = serde_json::to_value(Ended::Interrupted).unwrap();
    tape.read(Reader::Event).unwrap();
    tape.cut(ended.clone());
    let last = tape.read(Reader::Event).unwrap();
    tape.close(closing()).unwrap();

    let tape = replay(&std::fs::read(path).unwrap());
    tape.read(Reader::Event).unwrap();
    assert!(matches!(tape.read(Reader::Monotonic), Err(TapeError::Cut)));
    assert_eq!(tape.stopped(), Some(Stop::Cut(ended)));
    assert!(tape.was_cut());
    assert_eq!(tape.read(Reader::Event).unwrap(), last);
    tape.close(closing()).unwrap();
}

#[test]
fn what_is_scrubbed_is_neither_written_nor_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let scrub = |line: &str| {
        line.contains("hunter2")
            .then(|| line.replace("hunter2", "(secret)"))
    };
    let sink = Sink::create(&path).unwrap();
    let tape = Tape::record(&header(), Some(sink), Some(Arc::new(scrub))).unwrap();
    let asked = || json!({ "password": "hunter2" });
    let got: String = tape
        .observe("model.next", asked, || Ok("it is hunter2".to_owned()))
        .unwrap();
    assert_eq!(got, "it is (secret)");
    tape.close(closing()).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn virtual_time_goes_on_by_what_is_declared() {
    let header = Header {
        clock: ClockKind::Virtual,
        ..header()
    };
    let tape = Tape::record(&header, None, None).unwrap();
    assert_eq!(tape.read(Reader::Wall).unwrap(), Some(1));
    tape.advance(1000);
    tape.advance(10);
    assert_eq!(tape.read(Reader::Monotonic).unwrap(), Some(1001));
    assert_eq!(tape.peek(), 1001);
}

#[test]
fn what_follows_from_a_seed_follows_from_nothing_else() {
    let seed = Seed::numbered(1);
    assert_eq!(seed.bytes::<8>("a"), seed.bytes::<8>("a"));
    assert_ne!(seed.bytes::<8>("a"), seed.bytes::<8>("b"));
    assert_ne!(seed.bytes::<8>("a"), Seed::numbered(2).bytes::<8>("a"));
    assert_eq!(seed.to_string().parse::<Seed>().unwrap(), seed);
    assert!("1".parse::<Seed>().is_err());
    assert!(!format!("{seed:?}").contains(&seed.to_string()));
}

#[test]
fn a_recording_that_cannot_be_written_is_told() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let tape = Tape::record(&header(), Some(Sink::create(full).unwrap()), None);
    assert!(matches!(tape, Err(TapeError::Write { .. })));
}
