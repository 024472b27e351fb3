use std::collections::BTreeSet;
use std::io::{self, Read};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(folder);
    let mut paths: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// The rules a forgery's file name promises: `rule+rule.what-was-done.ndjson`.
fn promised(path: &Path) -> BTreeSet<&str> {
    path.file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .split('.')
        .next()
        .unwrap()
        .split('+')
        .collect()
}

fn found(report: &Report) -> BTreeSet<&'static str> {
    report
        .violations
        .iter()
        .map(|violation| violation.rule.id())
        .collect()
}

fn honest(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/honest");
    fs::read(root.join(name)).unwrap()
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

#[test]
fn honest_trajectories_pass() {
    let paths = fixtures("honest");
    assert!(paths.len() >= 8);
    for path in paths {
        let report = verify_path(&path).unwrap();
        assert_eq!(
            report.verdict(),
            Verdict::Valid,
            "{}: {report:#?}",
            path.display()
        );
        assert!(report.events > 0);
        assert_eq!(report.head.is_some(), report.kind == Kind::RunDirectory);
    }
}

#[test]
fn every_forgery_is_found_for_its_reason() {
    let paths = fixtures("forgeries");
    assert!(paths.len() >= 160);
    let mut missed = Vec::new();
    for path in paths {
        let report = verify_path(&path).unwrap();
        let promised = promised(&path);
        let unfinished = promised == BTreeSet::from(["unfinished"]);
        let verdict = if unfinished {
            Verdict::Unfinished
        } else {
            Verdict::Invalid
        };
        if !promised.is_subset(&found(&report)) || report.verdict() != verdict {
            missed.push(format!("{}: {:#?}", path.display(), report.violations));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_rule_is_broken_by_a_fixture() {
    // These need an input that is no file, or a file too large to keep.
    let mut broken = BTreeSet::from(["unreadable", "line-too-long", "too-many-events"]);
    let paths = fixtures("forgeries");
    for path in &paths {
        broken.extend(promised(path));
    }
    let known: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(known.len(), Rule::ALL.len(), "two rules share an id");
    assert_eq!(broken, known);
    for rule in Rule::ALL {
        assert!(
            rule.doc().ends_with('.') && !rule.source().is_empty(),
            "{rule}"
        );
    }
}

#[test]
fn violations_name_line_field_and_rule() {
    let mut text = lines(&honest("full.ndjson"));
    let edited = String::from_utf8(text[4].clone())
        .unwrap()
        .replace("\"c1\"", "\"\\u001b[2J\"");
    text[4] = edited.into_bytes();
    let report = verify_lines(text.concat().as_slice());
    let first = &report.violations[0];
    assert_eq!((first.line, first.rule), (5, Rule::CallInvented));
    assert_eq!(first.field.as_deref(), Some("data.avp.tool.call_id"));
    assert_eq!(
        first.to_string(),
        "line 5: call-invented: data.avp.tool.call_id: no turn called `\\u{1b}[2J`"
    );
}

#[test]
fn long_lines_are_reported_and_skipped() {
    let text = honest("full.ndjson");
    let mut input = vec![b'x'; MAX_LINE + 1];
    input.push(b'\n');
    input.extend(&text);
    let report = verify_lines(input.as_slice());
    assert_eq!(found(&report), BTreeSet::from(["line-too-long"]));
    assert_eq!(report.events, 21);
}

#[test]
fn endless_trajectories_come_to_an_end() {
    // Every repetition is a violation, and only the first few are kept.
    struct Repeat(Vec<u8>, usize);
    impl Read for Repeat {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = (&self.0[self.1..]).read(buffer)?;
            self.1 = (self.1 + n) % self.0.len();
            Ok(n)
        }
    }
    let report = verify_lines(BufReader::new(Repeat(b"{\"id\":\"x\"}\n".to_vec(), 0)));
    assert!(report.events > MAX_EVENTS);
    assert_eq!(report.violations.len(), MAX_VIOLATIONS);
    assert!(report.total > MAX_EVENTS);
    assert_eq!(report.verdict(), Verdict::Invalid);
}

#[test]
fn a_failing_input_is_a_violation() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let text = honest("full.ndjson");
    let report = verify_lines(BufReader::new(text.as_slice().chain(Failing)));
    assert_eq!(found(&report), BTreeSet::from(["unreadable"]));
}

#[test]
fn a_torn_last_line_is_incomplete_and_no_forgery() {
    let text = honest("full.ndjson");
    let report = verify_lines(&text[..text.len() - 30]);
    assert!(!report.complete);
    assert_eq!(found(&report), BTreeSet::from(["unfinished"]));
    // A whole last event is no torn write in a plain file.
    let report = verify_lines(&text[..text.len() - 1]);
    assert_eq!(report.verdict(), Verdict::Valid);
    // In a run directory the line feed is part of the record.
    let events = honest("run/events.ndjson");
    let report = verify_records(&honest("run/run.json"), &events[..events.len() - 1]);
    assert_eq!(
        (report.complete, report.verdict()),
        (false, Verdict::Unfinished)
    );
}

#[test]
fn paths_that_hold_no_run_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        verify_path(&folder.path().join("x")),
        Err(VerifyError::Read { .. })
    ));
    assert!(matches!(
        verify_path(folder.path()),
        Err(VerifyError::NotARun { .. })
    ));
    fs::write(folder.path().join(RUN_FILE), honest("run/run.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join(EVENTS_FILE)).unwrap();
    assert!(matches!(
        verify_path(folder.path()),
        Err(VerifyError::NotARun { .. })
    ));
    fs::remove_file(folder.path().join(EVENTS_FILE)).unwrap();
    fs::write(folder.path().join(EVENTS_FILE), honest("run/events.ndjson")).unwrap();
    let report = verify_path(&folder.path().join(EVENTS_FILE)).unwrap();
    assert_eq!(
        (report.kind, report.verdict()),
        (Kind::RunDirectory, Verdict::Valid)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_byte_of_a_run_directory_can_change(at in any::<Index>(), byte in any::<u8>()) {
        let mut events = honest("run/events.ndjson");
        let at = at.index(events.len());
        prop_assume!(events[at] != byte);
        events[at] = byte;
        prop_assert_ne!(verify_records(&honest("run/run.json"), events.as_slice()).verdict(), Verdict::Valid);
    }

    #[test]
    fn no_record_can_be_dropped_doubled_or_swapped(a in any::<Index>(), b in any::<Index>(), how in 0..3) {
        let mut records = lines(&honest("run/events.ndjson"));
        let (a, b) = (a.index(records.len()), b.index(records.len()));
        match how {
            0 => drop(records.remove(a)),
            1 => records.insert(b, records[a].clone()),
            _ => {
                prop_assume!(a != b);
                records.swap(a, b);
            }
        }
        let report = verify_records(&honest("run/run.json"), records.concat().as_slice());
        prop_assert_ne!(report.verdict(), Verdict::Valid);
    }

    #[test]
    fn no_event_can_be_dropped_doubled_or_swapped(a in any::<Index>(), b in any::<Index>(), how in 0..3) {
        let mut events = lines(&honest("full.ndjson"));
        let (a, b) = (a.index(events.len()), b.index(events.len()));
        match how {
            0 => {
                // Without a chain nobody can miss an error (line 19), or a last turn without calls.
                prop_assume!(a != 18 && a != 19);
                events.remove(a);
            }
            1 => events.insert(b, events[a].clone()),
            _ => {
                prop_assume!(a != b);
                events.swap(a, b);
            }
        }
        prop_assert_ne!(verify_lines(events.concat().as_slice()).verdict(), Verdict::Valid);
    }

    /// Any member of any event, anywhere in it, replaced by another value: what is not free text is
    /// noticed.
    #[test]
    fn no_required_member_can_be_removed(line in any::<Index>(), member in any::<Index>()) {
        let mut events = lines(&honest("full.ndjson"));
        let line = line.index(events.len());
        let mut event: Value = serde_json::from_slice(&events[line]).unwrap();
        let data = event["data"].as_object_mut().unwrap();
        let keys: Vec<String> = data.keys().cloned().collect();
        let key = &keys[member.index(keys.len())];
        // Optional, and without another event that tells.
        let optional = ["avp.operation.name", "avp.tool.dispatch_target", "avp.output", "wasm_agent.origin",
            "avp.subagent.usage", "avp.skills", "avp.commission"];
        prop_assume!(!optional.contains(&key.as_str()));
        data.remove(key);
        events[line] = format!("{event}\n").into_bytes();
        let verdict = verify_lines(events.concat().as_slice()).verdict();
        prop_assert_ne!(verdict, Verdict::Valid, "{} on line {}", key, line + 1);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = verify_lines(bytes.as_slice());
        let _ = verify_records(&bytes, bytes.as_slice());
    }

    #[test]
    fn arbitrary_values_in_an_event_never_panic(line in any::<Index>(), member in any::<Index>(), text in "[\\[\\]{}\",:0-9a-c]{0,30}") {
        let mut events = lines(&honest("full.ndjson"));
        let line = line.index(events.len());
        let mut event: Value = serde_json::from_slice(&events[line]).unwrap();
        let data = event["data"].as_object_mut().unwrap();
        let keys: Vec<String> = data.keys().cloned().collect();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        data.insert(keys[member.index(keys.len())].clone(), value);
        events[line] = format!("{event}\n").into_bytes();
        let _ = verify_lines(events.concat().as_slice());
    }
}
