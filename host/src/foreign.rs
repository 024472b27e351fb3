//! Files that somebody else may have written, read with a bound.
//!
//! A few bytes of JSON can stand for many in memory: `[[0]]` takes more than a hundred times its length. What a line
//! would take is therefore estimated from its text before anything is built of it.

use std::fs::File;
use std::io::{self, BufRead, Read as _};
use std::path::Path;

/// Longest line of an event log, in bytes: far above what the default limits of a run let a host write.
pub(crate) const MAX_LINE: u64 = 16 << 20;

/// What the JSON of one document may take in memory, in bytes: what a megabyte of the densest JSON takes, which is the
/// largest event that the default limits allow.
pub(crate) const MAX_BUILT: u64 = 512 << 20;

/// A container that has something in it: the memory it is first given.
const CONTAINER: u64 = 640;

/// One more thing in it, with its share of what a container is given in advance.
const ELEMENT: u64 = 256;

/// What the JSON document in `text` takes in memory beyond its text, in bytes; more rather than less. The text may
/// be anything.
pub(crate) fn built(text: &[u8]) -> u64 {
    let mut bytes = ELEMENT;
    let (mut in_string, mut escaped, mut opened) = (false, false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        // An empty container takes nothing.
        if opened && !matches!(byte, b']' | b'}') {
            bytes += CONTAINER;
        }
        opened = matches!(byte, b'[' | b'{');
        match byte {
            b'"' => in_string = true,
            b',' => bytes += ELEMENT,
            _ => {}
        }
    }
    bytes
}

/// Refuses a JSON document of which too much would be built.
pub(crate) fn check_built(text: &[u8]) -> Result<(), String> {
    if built(text) > MAX_BUILT {
        return Err(format!(
            "it would take more than {} MiB of memory",
            MAX_BUILT >> 20
        ));
    }
    Ok(())
}

/// One line of a file.
pub(crate) enum Line {
    /// With its line feed at the end.
    Whole(Vec<u8>),
    /// The last one, where the line feed is missing: it was being written when the writer was killed.
    Torn,
    /// There are no more.
    None,
}

/// Reads a line of at most `max` bytes.
///
/// # Errors
///
/// It has more, or cannot be read.
pub(crate) fn line(input: &mut impl BufRead, max: u64) -> io::Result<Line> {
    let mut text = Vec::new();
    input
        .by_ref()
        .take(max.saturating_add(1))
        .read_until(b'\n', &mut text)?;
    match text.last() {
        None => Ok(Line::None),
        Some(b'\n') => Ok(Line::Whole(text)),
        Some(_) if text.len() as u64 > max => Err(too_large(max)),
        Some(_) => Ok(Line::Torn),
    }
}

/// Reads a file of at most `max` bytes.
///
/// # Errors
///
/// It has more, or cannot be read.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(too_large(max));
    }
    Ok(bytes)
}

/// Reads a file of at most `max` bytes of UTF-8.
///
/// # Errors
///
/// It has more, is something else, or cannot be read.
pub(crate) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(max.saturating_add(1))
        .read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(too_large(max));
    }
    Ok(text)
}

/// Reads a JSON document of an event log's longest line.
///
/// # Errors
///
/// It is too large, or cannot be read.
pub(crate) fn read_json(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = read(path, MAX_LINE)?;
    check_built(&bytes).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
    Ok(bytes)
}

fn too_large(max: u64) -> io::Error {
    let reason = format!("it has more than {max} bytes");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What a value takes in memory: what its containers are given, and its strings.
    fn taken(value: &Value) -> u64 {
        let own = size_of::<Value>() as u64;
        match value {
            Value::Array(items) => {
                // It has grown by doubling.
                let room =
                    items.len().next_power_of_two().max(4) as u64 * u64::from(!items.is_empty());
                room * own + items.iter().map(|it| taken(it) - own).sum::<u64>() + own
            }
            Value::Object(members) => {
                let slot = own + 32 + 8 + 1;
                let room = members.len().next_power_of_two().max(4) as u64
                    * u64::from(!members.is_empty());
                room * slot + members.values().map(|it| taken(it) - own).sum::<u64>() + own
            }
            _ => own,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a\"\\\\,\\[{]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 200, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                prop::collection::btree_map("[a\",:]{0,3}", inner, 0..12)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_takes_more_than_is_estimated(value in any_json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            prop_assert!(taken(&value) <= built(text.as_bytes()), "{text}");
        }

        #[test]
        fn anything_can_be_estimated(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let estimate = built(&bytes);
            prop_assert!(estimate <= ELEMENT + bytes.len() as u64 * CONTAINER);
        }

        #[test]
        fn lines_are_read_up_to_their_bound(
            lines in prop::collection::vec("[a-z]{0,20}", 0..8),
            torn: bool,
        ) {
            let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            if torn {
                text.push('x');
            }
            let mut input = text.as_bytes();
            for expected in &lines {
                match line(&mut input, 12) {
                    Ok(Line::Whole(read)) => prop_assert_eq!(read, format!("{expected}\n").into_bytes()),
                    Ok(_) => prop_assert!(false, "a line is missing"),
                    Err(_) => {
                        prop_assert!(expected.len() > 12);
                        return Ok(());
                    }
                }
            }
            let end = line(&mut input, 12).unwrap();
            prop_assert_eq!(matches!(end, Line::Torn), torn);
            prop_assert_eq!(matches!(end, Line::None), !torn);
        }
    }

    #[test]
    fn a_megabyte_of_anything_can_be_built_and_more_of_the_densest_cannot() {
        for dense in ["[[0]],", "[],", "{\"\":0},", "0,", "[0],", "\"a\","] {
            let text = format!("[{}0]", dense.repeat((1 << 20) / dense.len()));
            assert_eq!(check_built(text.as_bytes()), Ok(()), "{dense}");
        }
        let text = format!("[{}0]", "[[0]],".repeat(1 << 20));
        assert!(check_built(text.as_bytes()).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), b"12345");
        assert!(read(file.path(), 4).is_err());
    }
}
