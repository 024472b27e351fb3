//! Server-sent events, as the HTML standard has them, within bounds.

use super::wire::{Class, Failure, ServerEvent};

/// Bytes of one event, the line that is arriving included. The largest events hold a whole reply.
pub const MAX_EVENT: usize = 24 << 20;

/// Takes bytes as they arrive and gives events.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that is arriving.
    line: Vec<u8>,
    /// The event that is arriving.
    event: String,
    data: String,
    has_data: bool,
    /// The last byte was a carriage return, so a line feed now belongs to it.
    after_cr: bool,
    /// The first line may begin with a byte order mark.
    begun: bool,
}

impl Parser {
    /// Takes some bytes; the events that are complete now.
    ///
    /// # Errors
    ///
    /// An event is too long.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, Failure> {
        let mut events = Vec::new();
        let mut rest = bytes;
        if self.after_cr
            && let Some((b'\n', after)) = rest.split_first()
        {
            rest = after;
        }
        self.after_cr = self.after_cr && bytes.is_empty();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, end) = rest.split_at(at);
            self.grow(line)?;
            rest = match end {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
            events.extend(self.line());
        }
        self.grow(rest)?;
        Ok(events)
    }

    /// The event the stream ended in, when it had data. A server that forgets the last blank line means
    /// what it says nevertheless.
    pub fn finish(&mut self) -> Option<ServerEvent> {
        let rest = (!self.line.is_empty()).then(|| self.line()).flatten();
        rest.or_else(|| self.dispatch())
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.line.len() + self.data.len() + bytes.len() > MAX_EVENT {
            return Err(Failure::new(
                Class::Garbled,
                format!("an event is longer than {MAX_EVENT} bytes"),
            ));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the line that is complete.
    fn line(&mut self) -> Option<ServerEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, ids and times to reconnect are of no use here.
            _ => {}
        }
        None
    }

    /// An event without data is none.
    fn dispatch(&mut self) -> Option<ServerEvent> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then_some(ServerEvent { event, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything in pieces of `size` bytes.
    fn parse(bytes: &[u8], size: usize) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in bytes.chunks(size.max(1)) {
            events.extend(parser.feed(piece).unwrap());
        }
        events.extend(parser.finish());
        events
            .into_iter()
            .map(|event| (event.event, event.data))
            .collect()
    }

    fn event(event: &str, data: &str) -> (String, String) {
        (event.to_owned(), data.to_owned())
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        for (text, expected) in [
            ("data: x\n\n", vec![event("", "x")]),
            ("\u{feff}data:x\n\n", vec![event("", "x")]),
            ("event: a\ndata: x\n\n", vec![event("a", "x")]),
            ("event: a\n\ndata: x\n\n", vec![event("", "x")]),
            ("data: x\ndata:  y\ndata\n\n", vec![event("", "x\n y\n")]),
            (
                ": hello\nid: 1\nretry: 5\n\ndata: x\n\n",
                vec![event("", "x")],
            ),
            (
                "data: x\r\n\r\ndata: y\r\rdata: z\n\n",
                vec![event("", "x"), event("", "y"), event("", "z")],
            ),
            ("data: last", vec![event("", "last")]),
            ("data: last\n", vec![event("", "last")]),
            ("data\n\n", vec![event("", "")]),
            ("nothing\n\n\n", vec![]),
            ("", vec![]),
        ] {
            for size in [1, 2, 3, 1000] {
                assert_eq!(parse(text.as_bytes(), size), expected, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn an_event_that_does_not_end_is_given_up() {
        for line in ["x", "data: x\n"] {
            let mut parser = Parser::default();
            let piece = line.repeat((1 << 20) / line.len());
            let mut fed = 0;
            let failure = loop {
                match parser.feed(piece.as_bytes()) {
                    Ok(_) => fed += piece.len(),
                    Err(failure) => break failure,
                }
                assert!(fed <= 8 * MAX_EVENT, "it has to end somewhere");
            };
            assert_eq!(failure.class, Class::Garbled);
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in proptest::collection::vec("(data|event|id)?:? ?[a-zé]{0,5}(\n|\r|\r\n)", 0..12),
            size in 1_usize..9,
        ) {
            let text = lines.concat();
            prop_assert_eq!(parse(text.as_bytes(), size), parse(text.as_bytes(), usize::MAX));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            parse(&bytes, size);
        }
    }
}
