use proptest::prelude::*;

use super::*;

fn scanner(values: &[&str]) -> Scanner {
    let needle = |index: usize| Needle {
        name: index.to_string().into(),
        kind: Kind::Secret,
    };
    let values = values.iter().enumerate();
    Scanner::new(values.map(|(index, value)| (needle(index), value.as_bytes()))).unwrap()
}

fn percent(text: &str, which: impl Fn(usize) -> bool, upper: bool) -> String {
    let mut out = String::new();
    for (index, byte) in text.bytes().enumerate() {
        // One that stands for itself has to be encoded, or it would encode something.
        match (byte == b'%' || which(index), upper) {
            (true, true) => out.push_str(&format!("%{byte:02X}")),
            (true, false) => out.push_str(&format!("%{byte:02x}")),
            (false, _) => out.push(byte.into()),
        }
    }
    out
}

fn json(text: &str, which: impl Fn(usize) -> bool) -> String {
    let mut out = String::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push_str("\\/"),
            _ if which(index) => out.push_str(&format!("\\u{byte:04X}")),
            b'"' | b'\\' => out.extend(['\\', byte.into()]),
            _ => out.push(byte.into()),
        }
    }
    out
}

fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(width).collect();
    String::from_utf8(lines.join(&b"\r\n"[..])).unwrap()
}

/// Every way a value may be written, with `mask` for the parts of it that may be escaped.
fn written(value: &str, before: &str, after: &str, mask: u64) -> Vec<String> {
    let which = |index: usize| mask >> (index % 64) & 1 == 1;
    let text = format!("{before}{value}{after}");
    let (std, url) = (
        base64::engine::general_purpose::STANDARD.encode(&text),
        base64::engine::general_purpose::URL_SAFE.encode(&text),
    );
    let hex = crate::digest::hex(value.as_bytes());
    vec![
        value.to_owned(),
        percent(value, which, false),
        percent(value, which, true),
        percent(value, |_| true, true),
        json(value, which),
        json(value, |_| false),
        json(&percent(value, which, true), which),
        percent(&json(value, which), |_| true, false),
        percent(
            &std,
            |index| !std.as_bytes()[index].is_ascii_alphanumeric(),
            true,
        ),
        json(&std, |_| false),
        wrapped(&std, 4 + (mask % 73) as usize),
        json(&wrapped(&std, 76), |_| false).replace("\r\n", "\\r\\n"),
        std,
        url,
        hex.to_uppercase(),
        wrapped(&hex, 60),
        hex,
    ]
}

#[test]
fn where_it_is_found_is_said() {
    let scanner = scanner(&["hunter22"]);
    let ranges = |text: &str| -> Vec<Range<u64>> {
        let hits = scanner.find(text.as_bytes());
        hits.into_iter().map(|hit| hit.range).collect()
    };
    assert_eq!(ranges("a hunter22 and hunter22"), [2..10, 15..23]);
    assert_eq!(ranges("x%68unter22%21"), vec![1..11]);
    assert_eq!(ranges("hunter2 hunter 22"), Vec::<Range<u64>>::new());
    assert_eq!(ranges("hunterhunter22"), vec![6..14]);
}

#[test]
fn values_within_values_are_one_hit() {
    let scanner = scanner(&["abcdefgh", "cdefghij", "cdefgh"]);
    let hits = scanner.find(b"__abcdefghij__");
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].range, 2..12);
}

#[test]
fn only_what_may_still_become_a_secret_is_held_back() {
    let scanner = scanner(&["correct-horse"]);
    let mut scan = Scan::new(&scanner);
    scan.feed(&scanner, b"data: cor\n\n", &mut |_| {});
    assert_eq!(scan.held_from(), scan.position(), "too little of it");
    scan.feed(&scanner, b"xxcorrect-h", &mut |_| {});
    assert_eq!(scan.held_from(), 11 + 2);
    scan.feed(&scanner, b"%6f", &mut |_| {});
    assert_eq!(scan.held_from(), 11 + 2);
    scan.feed(&scanner, b"?", &mut |_| {});
    assert_eq!(scan.held_from(), scan.position());
}

#[test]
fn nothing_to_look_for_is_no_scanner() {
    assert!(Scanner::new([]).is_none());
}

#[test]
fn nothing_prints_what_is_looked_for() {
    let shown = format!("{:?}", scanner(&["correct-horse"]));
    assert!(!shown.contains("correct"), "{shown}");
}

#[test]
fn a_long_value_costs_a_bounded_amount() {
    let value: String = (0..super::super::value::MAX_BYTES)
        .map(|index| char::from(b'!' + u8::try_from(index * 7 % 90).unwrap()))
        .collect();
    let scanner = scanner(&[&value]);
    assert!(scanner.automaton.memory_usage() < 16 << 20);
    assert_eq!(scanner.find(value.as_bytes()).len(), 1);
}

proptest! {
    #[test]
    fn every_form_is_found_wherever_it_is_cut(
        value in "[!-~]{6,40}",
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
        mask in any::<u64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let scanner = scanner(&["another-secret", &value]);
        for form in written(&value, &before, &after, mask) {
            // What stands before must not look like the beginning of an escape.
            let text = format!(" .{form}. ").into_bytes();
            let (head, tail) = text.split_at(cut.index(text.len()));
            let mut scan = Scan::new(&scanner);
            let mut hits = Vec::new();
            scan.feed(&scanner, head, &mut |hit| hits.push(hit));
            scan.feed(&scanner, tail, &mut |hit| hits.push(hit));
            prop_assert!(hits.iter().any(|hit| hit.needle == 1), "{value:?} in {form:?}");
            prop_assert!(hits.iter().all(|hit| hit.range.end <= text.len() as u64));
        }
    }

    #[test]
    fn what_is_held_back_is_never_too_little(
        value in "[a-z]{6,20}",
        mask in any::<u64>(),
        noise in "[a-z%\\\\\n]{0,20}",
    ) {
        let scanner = scanner(&[&value]);
        for form in written(&value, "", "", mask) {
            let mut scan = Scan::new(&scanner);
            let mut out = 0;
            for byte in format!("{noise} {form} ").bytes() {
                let mut first = None;
                scan.feed(&scanner, &[byte], &mut |hit| first = first.or(Some(hit.range.start)));
                if let Some(start) = first {
                    // Nothing but a beginning too short to be held has left.
                    prop_assert!(out < start + 6 * HOLD as u64 * 3);
                }
                out = scan.held_from();
            }
        }
    }

    #[test]
    fn any_bytes_can_be_searched(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let scanner = scanner(&["abcdef", "\\u0041%41"]);
        let hits = scanner.find(&bytes);
        prop_assert!(hits.iter().all(|hit| hit.range.start < hit.range.end));
        prop_assert!(hits.windows(2).all(|it| it[0].range.end <= it[1].range.start));
    }
}
