//! Views: what the bytes of a stream say once an encoding is undone, byte by byte.
//!
//! Percent-encoding and JSON escapes can be applied to any part of a text, so that a secret has too many
//! forms to look for. They are undone instead, and every decoded byte knows where it came from.

/// A byte of a view, and the bytes of the stream it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) byte: u8,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What is undone, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undo {
    escapes: Escapes,
    lines: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escapes {
    None,
    Percent,
    Json,
    JsonThenPercent,
    PercentThenJson,
}

impl Undo {
    /// Every combination that is looked through, beside the stream as it is.
    pub(super) const ALL: [Undo; 6] = [
        Undo::escapes(Escapes::Percent),
        Undo::escapes(Escapes::Json),
        Undo::escapes(Escapes::JsonThenPercent),
        Undo::escapes(Escapes::PercentThenJson),
        // Base64 and hexadecimal are wrapped into lines.
        Undo::lines(Escapes::None),
        Undo::lines(Escapes::JsonThenPercent),
    ];

    const fn escapes(escapes: Escapes) -> Undo {
        Undo {
            escapes,
            lines: false,
        }
    }

    const fn lines(escapes: Escapes) -> Undo {
        Undo {
            escapes,
            lines: true,
        }
    }

    /// Whether the view differs from the stream from this byte on.
    pub(super) fn begins_at(self, byte: u8) -> bool {
        match byte {
            b'%' => !matches!(self.escapes, Escapes::None | Escapes::Json),
            b'\\' => !matches!(self.escapes, Escapes::None | Escapes::Percent),
            b'\r' | b'\n' => self.lines,
            _ => false,
        }
    }
}

/// The decoder of one view.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    undo: Undo,
    json: Json,
    percent: Percent,
}

impl Decoder {
    pub(super) fn new(undo: Undo) -> Decoder {
        Decoder {
            undo,
            json: Json::default(),
            percent: Percent::default(),
        }
    }

    /// Takes a byte of the stream and hands out the bytes of the view it completes.
    pub(super) fn push(&mut self, item: Item, out: &mut impl FnMut(Item)) {
        let Decoder {
            undo,
            json,
            percent,
        } = self;
        let lines = undo.lines;
        let mut last = |item: Item| {
            if !(lines && matches!(item.byte, b'\r' | b'\n')) {
                out(item);
            }
        };
        match undo.escapes {
            Escapes::None => last(item),
            Escapes::Percent => percent.push(item, &mut last),
            Escapes::Json => json.push(item, &mut last),
            Escapes::JsonThenPercent => {
                json.push(item, &mut |item| percent.push(item, &mut last));
            }
            Escapes::PercentThenJson => {
                percent.push(item, &mut |item| json.push(item, &mut last));
            }
        }
    }

    /// Whether everything it has taken has been handed out.
    pub(super) fn is_idle(&self) -> bool {
        self.json.pending.is_empty() && self.json.high.is_none() && self.percent.pending.is_empty()
    }
}

/// A few bytes that may turn out to be an escape.
#[derive(Clone, Debug, Default)]
struct Pending {
    items: [Option<Item>; 6],
    len: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, item: Item) {
        if let Some(slot) = self.items.get_mut(self.len) {
            *slot = Some(item);
            self.len += 1;
        }
    }

    fn start(&self) -> u64 {
        self.items
            .first()
            .copied()
            .flatten()
            .map_or(0, |item| item.start)
    }

    fn clear(&mut self) {
        *self = Pending::default();
    }

    /// They were no escape.
    fn flush(&mut self, out: &mut impl FnMut(Item)) {
        for item in self.items.iter().take(self.len).flatten() {
            out(*item);
        }
        self.clear();
    }

    /// The hexadecimal digits from `from` on.
    fn digits(&self, from: usize) -> u32 {
        let digits = self.items.iter().take(self.len).skip(from).flatten();
        digits.fold(0, |value, item| {
            value << 4 | char::from(item.byte).to_digit(16).unwrap_or(0)
        })
    }
}

#[derive(Clone, Debug, Default)]
struct Percent {
    pending: Pending,
}

impl Percent {
    fn push(&mut self, item: Item, out: &mut impl FnMut(Item)) {
        if self.pending.is_empty() {
            if item.byte == b'%' {
                self.pending.push(item);
            } else {
                out(item);
            }
            return;
        }
        if !item.byte.is_ascii_hexdigit() {
            self.pending.flush(out);
            // It may begin one itself.
            return self.push(item, out);
        }
        self.pending.push(item);
        if self.pending.len == 3 {
            let start = self.pending.start();
            let byte = u8::try_from(self.pending.digits(1)).unwrap_or(0);
            self.pending.clear();
            let end = item.end;
            out(Item { byte, start, end });
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Json {
    pending: Pending,
    /// The first half of a surrogate pair, and where it stands.
    high: Option<(u32, u64)>,
}

impl Json {
    fn push(&mut self, item: Item, out: &mut impl FnMut(Item)) {
        match self.pending.len {
            0 if item.byte == b'\\' => self.pending.push(item),
            0 => {
                self.high = None;
                out(item);
            }
            1 => {
                let start = self.pending.start();
                let byte = match item.byte {
                    b'u' => return self.pending.push(item),
                    b'"' | b'\\' | b'/' => item.byte,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    _ => {
                        self.pending.flush(out);
                        return self.push(item, out);
                    }
                };
                self.pending.clear();
                self.high = None;
                let end = item.end;
                out(Item { byte, start, end });
            }
            _ if !item.byte.is_ascii_hexdigit() => {
                self.pending.flush(out);
                self.push(item, out);
            }
            _ => {
                self.pending.push(item);
                if self.pending.len == 6 {
                    let (start, unit) = (self.pending.start(), self.pending.digits(2));
                    self.pending.clear();
                    self.unit(unit, start, item.end, out);
                }
            }
        }
    }

    /// One UTF-16 code unit.
    fn unit(&mut self, unit: u32, start: u64, end: u64, out: &mut impl FnMut(Item)) {
        let (code, start) = match (unit, self.high.take()) {
            (0xd800..=0xdbff, _) => {
                self.high = Some((unit, start));
                return;
            }
            (0xdc00..=0xdfff, Some((high, start))) => {
                (0x10000 + ((high & 0x3ff) << 10) + (unit & 0x3ff), start)
            }
            _ => (unit, start),
        };
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            out(Item { byte, start, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view(undo: Undo, text: &[u8]) -> Vec<Item> {
        let mut decoder = Decoder::new(undo);
        let mut items = Vec::new();
        for (index, byte) in text.iter().enumerate() {
            let start = index as u64;
            let item = Item {
                byte: *byte,
                start,
                end: start + 1,
            };
            decoder.push(item, &mut |item| items.push(item));
        }
        items
    }

    fn text(undo: Undo, text: &str) -> String {
        let bytes = view(undo, text.as_bytes()).into_iter().map(|it| it.byte);
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
    }

    const PERCENT: Undo = Undo::escapes(Escapes::Percent);
    const JSON: Undo = Undo::escapes(Escapes::Json);
    const ALL: Undo = Undo::lines(Escapes::JsonThenPercent);

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        assert_eq!(text(PERCENT, "a%41%2fb%zz%%41%4%41."), "aA/b%zz%A%4A.");
        assert_eq!(
            text(JSON, r#"a\u0041\/\"\\\x\u00g1\u00e4\ud83d\ude00."#),
            "aA/\"\\\\x\\u00g1ä😀."
        );
        assert_eq!(text(ALL, "a\r\n%0Ab\\n\\u0025\\u0034\\u0031c"), "abAc");
    }

    #[test]
    fn every_byte_knows_where_it_came_from() {
        let items = view(JSON, br"x\u0041y");
        let places: Vec<_> = items.iter().map(|it| (it.byte, it.start, it.end)).collect();
        assert_eq!(places, [(b'x', 0, 1), (b'A', 1, 7), (b'y', 7, 8)]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_viewed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for undo in Undo::ALL {
                let items = view(undo, &bytes);
                prop_assert!(items.iter().all(|it| it.start < it.end && it.end <= bytes.len() as u64));
                prop_assert!(items.windows(2).all(|it| it[0].start <= it[1].start));
            }
        }

        #[test]
        fn what_serde_writes_is_read(value in "\\PC{0,40}") {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(text(JSON, &json[1..json.len() - 1]), value);
        }
    }
}
