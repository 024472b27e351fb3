//! The tape without a guest: recording and replaying is the identity, and nothing else is.

use std::sync::Arc;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::format::{ClockKind, Component, FORMAT, Header, Reader};
use super::onward::Edit;
use super::tape::{Closing, Miss, Sink, Stop};
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
        placeholders: [].into(),
        inputs: Vec::new(),
        parent: None,
        redirects: Vec::new(),
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
    Act(Value, Result<Value, String>),
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
            prop_oneof![3 => value.clone().prop_map(Ok), 1 => "[a-z]{1,9}".prop_map(Err)],
        )
            .prop_map(|(kind, request, answer)| Deed::Call(kind, request, answer)),
        (
            value.clone(),
            prop_oneof![3 => value.prop_map(Ok), 1 => "[a-z]{1,9}".prop_map(Err)],
        )
            .prop_map(|(request, answer)| Deed::Act(request, answer)),
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
        Deed::Act(request, answer) => {
            let done = tape.act("tools.call", || request.clone(), async {
                assert!(performs, "a replay performs nothing");
                answer.clone().map_err(wasmtime::Error::msg)
            });
            let done = done.now_or_never().expect("nothing is waited for");
            done.map_err(|error| error.root_cause().to_string())
        }
    }
}

/// Records the deeds; the file's bytes, and what came of each.
fn record(deeds: &[Deed]) -> (Vec<u8>, Vec<Result<Value, String>>) {
    record_under(&header(), deeds)
}

fn record_under(header: &Header, deeds: &[Deed]) -> (Vec<u8>, Vec<Result<Value, String>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let tape = Tape::record(header, Some(Sink::create(&path).unwrap()), None).unwrap();
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
    fn checks_find_what_they_found_and_nothing_else(
        steps in proptest::collection::vec(
            (deed(), proptest::collection::vec(any::<Option<u32>>(), 0..4)),
            0..40,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.rec");
        let tape = Tape::record(&header(), Some(Sink::create(&path).unwrap()), None).unwrap();
        let check = |tape: &Tape, look: &dyn Fn() -> Option<u32>| {
            tape.exception("secrets.found", "a place", look).unwrap()
        };
        for (deed, checks) in &steps {
            let _ = act(&tape, deed, true);
            for found in checks {
                prop_assert_eq!(check(&tape, &|| *found), *found);
            }
        }
        tape.close(closing()).unwrap();
        let tape = replay(&std::fs::read(&path).unwrap());
        for (deed, checks) in &steps {
            let _ = act(&tape, deed, false);
            for found in checks {
                prop_assert_eq!(check(&tape, &|| panic!("a replay does not look")), *found);
            }
        }
        prop_assert!(tape.close(closing()).is_ok());
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

    /// Killed before any call and gone on with, a run ends with the recording it would have ended with.
    #[test]
    fn whoever_goes_on_comes_to_the_same_end(
        deeds in proptest::collection::vec(deed(), 0..300),
        at in any::<proptest::sample::Index>(),
    ) {
        let header = Header { clock: ClockKind::Virtual, ..header() };
        let (bytes, seen) = record_under(&header, &deeds);
        let whole = Recording::parse(&bytes).unwrap();
        prop_assert_eq!(whole.calls(), deeds.len() as u64);
        let at = at.index(deeds.len() + 1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.rec");
        let sink = Some(Sink::create(&path).unwrap());
        let beginning = Arc::new(whole.before(at as u64 + 1).unwrap());
        let tape = Tape::go_on(beginning, None, Miss::Diverges, &header, sink, None).unwrap();
        let mut again = Vec::new();
        for (index, deed) in deeds.iter().enumerate() {
            prop_assert_eq!(tape.replays(), index < at);
            again.push(act(&tape, deed, index >= at));
        }
        prop_assert_eq!(again, seen);
        tape.close(closing()).unwrap();
        let written = std::fs::read(path).unwrap();
        prop_assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(bytes).unwrap());
    }

    /// What a recording does not have is performed, if that is wanted, and never before it is missed.
    #[test]
    fn a_miss_goes_live(
        deeds in proptest::collection::vec(deed(), 1..40),
        at in any::<proptest::sample::Index>(),
    ) {
        let (bytes, seen) = record(&deeds);
        let at = at.index(deeds.len());
        let whole = Arc::new(Recording::parse(&bytes).unwrap().ongoing());
        let tape = Tape::go_on(whole, None, Miss::Performs, &header(), None, None).unwrap();
        for (deed, seen) in deeds[..at].iter().zip(&seen) {
            prop_assert_eq!(&act(&tape, deed, false), seen);
        }
        prop_assert!(tape.replays());
        let other = Deed::Call("tools.call", json!("never recorded"), Ok(json!(1)));
        prop_assert_eq!(act(&tape, &other, true), Ok(json!(1)));
        prop_assert!(!tape.replays());
        prop_assert!(tape.close(closing()).is_ok());
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
fn a_check_that_is_not_made_is_a_difference() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let tape = Tape::record(&header(), Some(Sink::create(&path).unwrap()), None).unwrap();
    let check = |tape: &Tape, place: &str, found: Option<u8>| {
        tape.exception("secrets.found", place, || found).unwrap()
    };
    check(&tape, "a", None);
    check(&tape, "b", Some(7));
    tape.close(closing()).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let same = replay(&bytes);
    assert_eq!(check(&same, "a", None), None);
    assert_eq!(check(&same, "b", None), Some(7));
    same.close(closing()).unwrap();
    for places in [&["b"][..], &["a", "a"], &["a", "c"], &["a", "a", "b"]] {
        let other = replay(&bytes);
        for place in places {
            assert_eq!(check(&other, place, Some(1)), None, "{places:?}");
        }
        assert!(other.close(closing()).is_err(), "{places:?}");
    }
}

#[test]
fn a_secret_in_a_request_is_not_needed_to_ask_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let scrub = |line: &str| {
        line.contains("hunter2")
            .then(|| line.replace("hunter2", "[secret:a]"))
    };
    let sink = Sink::create(&path).unwrap();
    let tape = Tape::record(&header(), Some(sink), Some(Arc::new(scrub))).unwrap();
    let ask = |tape: &Tape, key: &str| {
        let asked = || json!({ "url": format!("/?key={key}"), "n": 1 });
        tape.observe("model.next", asked, || Ok(1_u8))
    };
    ask(&tape, "hunter2").unwrap();
    tape.close(closing()).unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(ask(&replay(&bytes), "hunter2").unwrap(), 1);
    let other = replay(&bytes);
    let asked = || json!({ "url": "/?key=hunter2", "n": 2 });
    assert!(other.observe("model.next", asked, || Ok(1_u8)).is_err());
    let Some(Stop::Diverged(divergence)) = other.stopped() else {
        panic!("{:?}", other.stopped());
    };
    assert_eq!(divergence.field.as_deref(), Some("n"));
    assert!(!divergence.to_string().contains("hunter2"), "{divergence}");
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

/// Entries of a recording, each of them one call with its number, without the times.
fn recording(entries: &[&str]) -> Recording {
    let mut text = header().line() + "\n";
    for entry in entries {
        text += entry;
        text += "\n";
    }
    Recording::parse(text.as_bytes()).unwrap()
}

const SEND: &str = r#"{"n":2,"call":"model.send","request":null,"result":{"us":1,"step":"begun"}}"#;
const PIECE: &str =
    r#"{"n":3,"call":"model.next","request":null,"result":{"us":1,"step":{"delta":{}}}}"#;
const REPLY: &str =
    r#"{"n":4,"call":"model.next","request":null,"result":{"us":1,"step":{"reply":{}}}}"#;
const READ: &str = r#"{"n":1,"read":"e","us":[5]}"#;

fn resumed_at(entries: &[&str]) -> u64 {
    let told = |_: &str| Value::Null;
    let beginning = recording(entries).resumable(InDoubt::Retry, told).unwrap();
    assert_eq!(beginning.recording.calls() + 1, beginning.at);
    beginning.at
}

#[test]
fn an_answer_that_had_not_arrived_whole_is_asked_for_again_and_no_other() {
    assert_eq!(resumed_at(&[]), 1);
    assert_eq!(resumed_at(&[READ]), 2);
    assert_eq!(resumed_at(&[READ, SEND]), 2);
    assert_eq!(resumed_at(&[READ, SEND, PIECE]), 2);
    assert_eq!(resumed_at(&[READ, SEND, PIECE, REPLY]), 5);
    let cut = r#"{"n":4,"cut":{"kind":"interrupted"}}"#;
    let partial = r#"{"n":4,"call":"model.partial","request":null,"result":null}"#;
    // How the account was closed is no part of it.
    assert_eq!(resumed_at(&[READ, SEND, PIECE, cut, partial]), 2);
    // Something was done meanwhile that must not be done again.
    let post = r#"{"n":4,"call":"http.send","request":{"method":"POST"},"result":null}"#;
    assert_eq!(resumed_at(&[READ, SEND, PIECE, post]), 5);
    let get = r#"{"n":4,"call":"http.send","request":{"method":"GET"},"result":null}"#;
    assert_eq!(resumed_at(&[READ, SEND, PIECE, get]), 2);
}

#[test]
fn a_call_under_way_is_left_to_the_policy() {
    let asked = r#"{"n":2,"call":"tools.call","request":{"tool":"pay"}}"#;
    let other = r#"{"n":3,"call":"tools.call","request":{"tool":"look"}}"#;
    let answered = r#"{"of":2,"result":1}"#;
    let told = |kind: &str| json!(format!("{kind} is in doubt"));
    let under_way = recording(&[READ, asked, other, answered]);

    let error = under_way.resumable(InDoubt::Stop, told).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot resume: call 3 (`tools.call` {\"tool\":\"look\"}) was under way when the run was ended, \
         and nobody knows whether it was done"
    );
    let again = under_way.resumable(InDoubt::Retry, told).unwrap();
    assert_eq!(again.at, 3);
    assert_eq!(again.recording.entries.len(), 3);
    let told = under_way.resumable(InDoubt::Tell, told).unwrap();
    assert_eq!(told.at, 4);
    assert_eq!(
        told.recording.entries.last().unwrap().line(),
        r#"{"of":3,"result":"tools.call is in doubt"}"#
    );
    // Both were asked for together: the first that is not answered is where it goes on.
    let both = recording(&[READ, asked, other]);
    assert_eq!(
        both.resumable(InDoubt::Retry, |_| Value::Null).unwrap().at,
        2
    );
}

#[test]
fn a_request_under_way_is_made_again_or_left_to_the_policy() {
    let call = |n: u64, kind: &str, request: &str, result: &str| {
        format!(r#"{{"n":{n},"call":"http.{kind}","request":{request},"result":{result}}}"#)
    };
    let at = |entries: &[String]| {
        let mut all = vec![READ];
        all.extend(entries.iter().map(String::as_str));
        recording(&all).resumable(InDoubt::Stop, |_| Value::Null)
    };
    let of = r#"{"request":1}"#;
    let get = call(2, "send", r#"{"request":1,"method":"GET"}"#, r#""sent""#);
    let post = call(2, "send", r#"{"request":1,"method":"POST"}"#, r#""sent""#);
    let refused = call(
        2,
        "send",
        r#"{"request":1,"method":"POST"}"#,
        r#"{"refused":"x"}"#,
    );
    let pending = call(3, "response", of, r#""pending""#);
    let head = call(3, "response", of, r#"{"head":{"status":200,"headers":[]}}"#);
    let failed = call(3, "response", of, r#"{"failed":"http-request-denied"}"#);
    let piece = call(4, "read", of, r#"{"ok":"closed"}"#);
    let end = call(4, "read", of, r#""closed""#);
    let other = call(4, "read", r#"{"request":2}"#, r#""closed""#);

    // Who only asks asks again, unless the answer had arrived whole.
    for under_way in [
        vec![&get],
        vec![&get, &head],
        vec![&get, &head, &piece],
        vec![&get, &head, &other],
    ] {
        let under_way: Vec<_> = under_way.into_iter().cloned().collect();
        assert_eq!(at(&under_way).unwrap().at, 2, "{under_way:?}");
    }
    assert_eq!(at(&[get.clone(), failed.clone()]).unwrap().at, 4);
    assert_eq!(at(&[get.clone(), head.clone(), end]).unwrap().at, 5);
    let next = call(4, "send", r#"{"request":2,"method":"GET"}"#, r#""sent""#);
    let both = [get.clone(), head.clone(), next.clone()];
    assert_eq!(
        at(&both).unwrap().at,
        4,
        "the first was read as far as it was wanted"
    );
    let both = [get.clone(), pending.clone(), next];
    assert_eq!(at(&both).unwrap().at, 2, "the first is still waited for");
    // Not behind something that was done.
    let done = call(3, "send", r#"{"request":2,"method":"POST"}"#, r#""sent""#);
    let answered = call(4, "response", r#"{"request":2}"#, r#"{"head":{}}"#);
    assert_eq!(at(&[get, done, answered]).unwrap().at, 5);

    // Whether the other kind was done is known when it was answered.
    assert_eq!(at(&[refused]).unwrap().at, 3);
    assert_eq!(at(&[post.clone(), head]).unwrap().at, 4);
    assert_eq!(at(&[post.clone(), failed]).unwrap().at, 4);
    for under_way in [vec![post.clone()], vec![post.clone(), pending.clone()]] {
        let error = at(&under_way).unwrap_err();
        assert!(error.to_string().contains("call 2 (`http.send`"), "{error}");
    }
    let entries = [READ, &post, &pending];
    let again = recording(&entries).resumable(InDoubt::Retry, |_| Value::Null);
    assert_eq!(again.unwrap().at, 2);
    let told = recording(&entries)
        .resumable(InDoubt::Tell, |_| Value::Null)
        .unwrap();
    assert_eq!(
        (told.at, told.in_doubt.len(), told.recording.entries.len()),
        (4, 1, 3)
    );
}

#[test]
fn an_answer_nobody_waits_for_is_no_recording() {
    for entries in [
        vec![READ, r#"{"of":1,"result":1}"#],
        vec![r#"{"of":7,"result":1}"#],
        vec![
            r#"{"n":1,"call":"tools.call","request":null}"#,
            r#"{"of":1,"result":1}"#,
            r#"{"of":1,"result":1}"#,
        ],
    ] {
        let text = header().line() + "\n" + &entries.join("\n") + "\n";
        let error = Recording::parse(text.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("does not wait for it"),
            "{error}"
        );
    }
}

#[test]
fn an_answer_is_changed_where_it_is_pointed_at() {
    let mut recording = recording(&[READ, SEND]);
    let edit = |call, pointer: &str| Edit {
        call,
        pointer: pointer.to_owned(),
        value: json!(7),
    };
    recording.edit(edit(2, "/us")).unwrap();
    assert!(recording.entries[1].line().contains(r#""us":7"#));
    for (call, pointer) in [(1, ""), (2, "/nothing"), (9, "")] {
        assert!(recording.edit(edit(call, pointer)).is_err(), "{call}");
    }
    for at in [0, 4] {
        assert!(matches!(
            recording.before(at),
            Err(OnwardError::NoSuchCall { .. })
        ));
    }
}

#[test]
fn what_was_done_since_is_not_done_again() {
    let pay = r#"{"n":2,"call":"tools.call","request":{"tool":"pay"}}"#;
    let look = r#"{"n":3,"call":"tools.call","request":{"tool":"look"}}"#;
    let looked = r#"{"of":3,"result":1}"#;
    let since = recording(&[READ, pay, look, looked]);
    let told = |_: &str| json!("told");
    let error = since.resumable(InDoubt::Retry, told).unwrap_err();
    assert!(
        matches!(error, OnwardError::DoneSince { call: 2, since: 3 }),
        "{error}"
    );
    // What was begun before a call that is told of is not asked for again, or that would be made again, too.
    let get = r#"{"n":2,"call":"http.send","request":{"method":"GET","request":1},"result":{}}"#;
    let pay = r#"{"n":3,"call":"tools.call","request":{"tool":"pay"}}"#;
    let beginning = recording(&[READ, get, pay])
        .resumable(InDoubt::Tell, told)
        .unwrap();
    assert_eq!(beginning.at, 4);
    let last = beginning.recording.entries.last().unwrap();
    assert_eq!(last.line(), r#"{"of":3,"result":"told"}"#);
}

#[test]
fn a_call_without_an_answer_ends_what_can_be_replayed() {
    let pay = r#"{"n":2,"call":"tools.call","request":{"tool":"pay"}}"#;
    let open = recording(&[READ, pay]);
    assert_eq!(open.first_open(), Some(2));
    assert_eq!(open.answered().calls(), 1);
    assert_eq!(open.before(2).unwrap().calls(), 1);
    assert!(matches!(
        open.before(3),
        Err(OnwardError::Open { at: 3, open: 2 })
    ));
    let answered = recording(&[READ, pay, r#"{"of":2,"result":1}"#]);
    assert_eq!(answered.answered().calls(), 2);
}

/// Six digits are a secret, too, and may be what a clock says.
#[test]
fn a_secret_that_is_a_number_leaves_the_recording_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rec");
    let scrub = |line: &str| {
        line.contains("123001")
            .then(|| line.replace("123001", "(secret)"))
    };
    let header = Header {
        clock: ClockKind::Virtual,
        ..header()
    };
    let sink = Sink::create(&path).unwrap();
    let tape = Tape::record(&header, Some(sink), Some(Arc::new(scrub))).unwrap();
    tape.advance(123_000);
    tape.read(Reader::Monotonic).unwrap();
    let said: String = tape
        .observe("model.next", || json!("123001"), || Ok("123001".to_owned()))
        .unwrap();
    assert_eq!(said, "(secret)");
    tape.close(closing()).unwrap();
    let bytes = std::fs::read(path).unwrap();
    Recording::parse(&bytes).unwrap().finished().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("123001").count(), 1, "as a time: {text}");
}
