//! Lines of bounded length.

use std::io::{self, BufRead, Read as _};

/// Reads lines of at most `max` bytes, whatever the input is.
pub(super) struct Lines<R> {
    input: R,
    max: usize,
    buffer: Vec<u8>,
}

/// One line, without its line feed.
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    /// The last one, where the line feed is missing.
    Torn(&'a [u8]),
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, max: usize) -> Self {
        Self {
            input,
            max,
            buffer: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let limit = u64::try_from(self.max)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let read = (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            return Ok(Some(Line::Whole(&self.buffer)));
        }
        if self.buffer.len() <= self.max {
            return Ok(Some(Line::Torn(&self.buffer)));
        }
        self.input.skip_until(b'\n')?;
        Ok(Some(Line::TooLong))
    }
}
