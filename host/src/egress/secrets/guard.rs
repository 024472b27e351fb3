//! The guard of one run: what is looked for in everything that leaves the guest, and what happens then.

use std::ops::Range;

use super::scan::{Hit, Kind, Needle, Scanner};
use super::unpack::Unpacking;
use crate::grants::secrets::Leaks;

/// Looks for the secrets of a run.
#[derive(Debug)]
pub struct Guard {
    pub(super) scanner: Scanner,
    policy: Leaks,
}

/// Text without what was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<T> {
    /// What is left.
    pub rest: T,
    /// What was in it, in order, each once.
    pub found: Vec<Needle>,
}

/// What may become of something that leaves the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing in it.
    Clean,
    /// It must not leave.
    Blocked(Needle),
    /// This may leave instead.
    Redacted(Redacted<Vec<u8>>),
    /// It may leave, and it has to be told.
    Warned(Needle),
}

impl Guard {
    /// A guard with a policy.
    #[must_use]
    pub fn new(scanner: Scanner, policy: Leaks) -> Guard {
        Guard { scanner, policy }
    }

    /// What finds it.
    #[must_use]
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// What happens to what is found.
    #[must_use]
    pub fn policy(&self) -> Leaks {
        self.policy
    }

    /// The first thing found in `bytes`, which may be compressed.
    #[must_use]
    pub fn first(&self, bytes: &[u8]) -> Option<Needle> {
        self.scanner
            .first(bytes)
            .cloned()
            .or_else(|| self.first_packed(bytes))
    }

    /// The first thing found once `bytes` are unpacked.
    fn first_packed(&self, bytes: &[u8]) -> Option<Needle> {
        let mut unpacking = Unpacking::of(bytes, &[])?;
        let found = unpacking.feed(&self.scanner, bytes);
        found.or_else(|| unpacking.finish(&self.scanner))
    }

    /// Decides on something that is there as a whole.
    #[must_use]
    pub fn judge(&self, bytes: &[u8]) -> Verdict {
        let Some(first) = self.first(bytes) else {
            return Verdict::Clean;
        };
        match self.policy {
            Leaks::Block => Verdict::Blocked(first),
            Leaks::Warn => Verdict::Warned(first),
            Leaks::Redact => match self.redact(bytes) {
                Some(redacted) => Verdict::Redacted(redacted),
                // It is in what is compressed: nothing can be cut out there.
                None => Verdict::Blocked(first),
            },
        }
    }

    /// `bytes` without what is looked for; nothing when there is none in it.
    #[must_use]
    pub fn redact(&self, bytes: &[u8]) -> Option<Redacted<Vec<u8>>> {
        self.cut_out(bytes, |_| true)
    }

    fn cut_out(&self, bytes: &[u8], counts: impl Fn(&Needle) -> bool) -> Option<Redacted<Vec<u8>>> {
        let mut hits = self.scanner.find(bytes);
        hits.retain(|hit| self.scanner.needle(hit.needle).is_some_and(&counts));
        (!hits.is_empty()).then(|| {
            let mut found = Vec::new();
            let mut rest = Vec::with_capacity(bytes.len());
            let mut at = 0;
            for Hit { needle, range } in hits {
                let Range { start, end } = place(&range);
                rest.extend_from_slice(bytes.get(at..start).unwrap_or_default());
                if let Some(needle) = self.scanner.needle(needle) {
                    rest.extend_from_slice(needle.mark().as_bytes());
                    note(&mut found, needle);
                }
                at = end;
            }
            rest.extend_from_slice(bytes.get(at..).unwrap_or_default());
            Redacted { rest, found }
        })
    }

    /// As [`Guard::redact`], for text.
    #[must_use]
    pub fn redact_text(&self, text: &str) -> Option<Redacted<String>> {
        self.cut_out_of_text(text, |_| true)
    }

    fn cut_out_of_text(
        &self,
        text: &str,
        counts: impl Fn(&Needle) -> bool,
    ) -> Option<Redacted<String>> {
        let Redacted { rest, found } = self.cut_out(text.as_bytes(), counts)?;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        Some(Redacted { rest, found })
    }

    /// As [`Guard::redact`], for a JSON document, which is one afterwards: strings are searched as what they
    /// say, and a number that says a secret becomes a string.
    #[must_use]
    pub fn redact_json(&self, json: &str) -> Option<Redacted<String>> {
        self.cut_out_of_json(json, |_| true)
    }

    /// As [`Guard::redact_json`], leaving the placeholders: they follow from the seed of the run, where that is
    /// kept as well.
    #[must_use]
    pub fn redact_secrets(&self, json: &str) -> Option<Redacted<String>> {
        self.cut_out_of_json(json, |needle| needle.kind == Kind::Secret)
    }

    fn cut_out_of_json(
        &self,
        json: &str,
        counts: impl Fn(&Needle) -> bool,
    ) -> Option<Redacted<String>> {
        let mut rest = String::new();
        let mut found = Vec::new();
        let mut copied = 0;
        for Range { start, end } in tokens(json) {
            let Some(token) = json.get(start..end) else {
                continue;
            };
            let text = match serde_json::from_str::<String>(token) {
                Ok(text) => text,
                // A number, or a string no program can read, such as half a surrogate pair.
                Err(_) => token.trim_matches('"').to_owned(),
            };
            if let Some(redacted) = self.cut_out_of_text(&text, &counts) {
                rest.push_str(json.get(copied..start).unwrap_or_default());
                rest.push_str(&serde_json::Value::from(redacted.rest).to_string());
                copied = end;
                for needle in &redacted.found {
                    note(&mut found, needle);
                }
            }
        }
        (!found.is_empty()).then(|| {
            rest.push_str(json.get(copied..).unwrap_or_default());
            Redacted { rest, found }
        })
    }

    /// As [`Guard::redact_json`], for something that is written and read as JSON.
    #[must_use]
    pub fn redact_value<T>(&self, value: &T) -> Option<Redacted<T>>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let json = serde_json::to_string(value).ok()?;
        let Redacted { rest, found } = self.redact_json(&json)?;
        let rest = serde_json::from_str(&rest).ok()?;
        Some(Redacted { rest, found })
    }
}

fn note(found: &mut Vec<Needle>, needle: &Needle) {
    if !found.contains(needle) {
        found.push(needle.clone());
    }
}

fn place(range: &Range<u64>) -> Range<usize> {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    index(range.start)..index(range.end)
}

/// Where the strings and numbers of a JSON document are.
fn tokens(json: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = json.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'"' => {
                    while let Some(byte) = bytes.get(at) {
                        at += 1;
                        match byte {
                            b'\\' => at += 1,
                            b'"' => break,
                            _ => {}
                        }
                    }
                    return Some(start..at.min(bytes.len()));
                }
                b'-' | b'0'..=b'9' => {
                    while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E') = bytes.get(at) {
                        at += 1;
                    }
                    return Some(start..at);
                }
                _ => {}
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn guard(policy: Leaks) -> Guard {
        let needle = |name: &str, kind| Needle {
            name: name.into(),
            kind,
        };
        let values = [
            (needle("github", Kind::Secret), &b"hunter22"[..]),
            (needle("quoted", Kind::Secret), &br#"a"b\c/d e"#[..]),
            (needle("number", Kind::Secret), &b"31415926535"[..]),
            (
                needle("github", Kind::Placeholder),
                &b"wa-placeholder-x"[..],
            ),
        ];
        Guard::new(Scanner::new(values).unwrap(), policy)
    }

    #[test]
    fn json_is_still_json_without_its_secrets() {
        let guard = guard(Leaks::Block);
        let json = json!({
            "a": "x hunter22 y",
            "hunter22": [1, 31_415_926_535_u64, true, null],
            "b": { "c": "\nhunter22", "d": r#"a"b\c/d e"#, "e": "aHVudGVyMjI=" },
            "f": json!({ "nested": "hunter22 \"x\"", "q": r#"a"b\c/d e"# }).to_string(),
            "g": "wa-placeholder-x",
        });
        let redacted = guard.redact_json(&json.to_string()).unwrap();
        let value: Value = serde_json::from_str(&redacted.rest).unwrap();
        assert_eq!(value["a"], "x [secret:github] y");
        assert_eq!(
            value["[secret:github]"],
            json!([1, "[secret:number]", true, null])
        );
        assert_eq!(value["b"]["c"], "\n[secret:github]");
        assert_eq!(value["b"]["d"], "[secret:quoted]");
        assert_eq!(value["g"], "[placeholder:github]");
        assert_eq!(guard.redact_json(&redacted.rest), None);
        assert_eq!(redacted.found.len(), 4);
        assert_eq!(guard.first(redacted.rest.as_bytes()), None);
        assert_eq!(guard.redact_json(r#"{"a":[1,"b"]}"#), None);
    }

    #[test]
    fn the_policy_decides() {
        let text = b"key hunter22";
        assert!(matches!(
            guard(Leaks::Block).judge(text),
            Verdict::Blocked(_)
        ));
        assert!(matches!(guard(Leaks::Warn).judge(text), Verdict::Warned(_)));
        let Verdict::Redacted(redacted) = guard(Leaks::Redact).judge(text) else {
            panic!("not redacted");
        };
        assert_eq!(redacted.rest, b"key [secret:github]");
        assert_eq!(guard(Leaks::Block).judge(b"key"), Verdict::Clean);
    }

    proptest! {
        #[test]
        fn any_json_is_json_afterwards(text in "\\PC{0,30}", number in any::<f64>()) {
            let guard = guard(Leaks::Block);
            let value = json!({ &text: [number, format!("{text}hunter22{text}"), { "k": text }] });
            let redacted = guard.redact_json(&value.to_string()).unwrap();
            prop_assert!(serde_json::from_str::<Value>(&redacted.rest).is_ok());
            prop_assert!(!redacted.rest.contains("hunter22"));
        }

        #[test]
        fn any_bytes_can_be_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let guard = guard(Leaks::Redact);
            let _ = guard.judge(&bytes);
            let _ = guard.judge(&[&[0x1f, 0x8b, 8, 0], &bytes[..]].concat());
            let _ = guard.judge(&[&[0x78, 0x9c], &bytes[..]].concat());
            let _ = guard.redact_json(&String::from_utf8_lossy(&bytes));
        }
    }
}
