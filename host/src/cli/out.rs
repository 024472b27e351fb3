//! Standard output and standard error: styles where a terminal shows them, tables, and readers that
//! went away.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;

use super::failure::Failure;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const RED: Style = AnsiColor::Red.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();

/// `text` in a style. Whether the style is shown is decided where it is written.
pub(super) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Standard output for reports of many lines.
pub(super) struct Out(io::BufWriter<anstream::AutoStream<io::Stdout>>);

impl Out {
    /// Standard output, buffered.
    pub(super) fn new() -> Out {
        Out(io::BufWriter::new(anstream::stdout()))
    }

    /// Standard output for text that is written as it is, escape sequences and all.
    pub(super) fn plain() -> Out {
        Out(io::BufWriter::new(anstream::AutoStream::always_ansi(
            io::stdout(),
        )))
    }

    /// Writes a line. Spaces at its end are left out.
    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        written(writeln!(self.0, "{}", line.trim_end()))
    }

    /// Writes a heading with an empty line before it.
    pub(super) fn heading(&mut self, heading: &str) -> Result<(), Failure> {
        self.line("")?;
        self.line(&styled(BOLD, heading))
    }

    /// Writes a table.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        written(write!(self.0, "{table}"))
    }

    /// Hands everything over.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        written(self.0.flush())
    }
}

/// Writes one text and a newline to standard output, as it is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
}

/// Writes a JSON document to standard output.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value)
        .context("cannot write JSON")
        .map_err(Failure::new)?;
    print(&json)
}

/// Adds a member to a JSON object.
pub(super) fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value.into());
    }
}

/// Writes a line to standard error. When that is gone there is nobody left to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::new(anyhow::Error::new(error).context("cannot write to standard output")),
    })
}

/// Rows of aligned columns, two spaces apart.
#[derive(Default)]
pub(super) struct Table {
    indent: usize,
    rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
pub(super) struct Cell {
    text: String,
    style: Style,
    align: Align,
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

impl Cell {
    /// A cell on the right side of its column: a number.
    pub(super) fn right(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            style: Style::new(),
            align: Align::Right,
        }
    }

    /// A cell in a style.
    pub(super) fn styled(style: Style, text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            style,
            align: Align::Left,
        }
    }

    /// The same cell in a style.
    pub(super) fn with(self, style: Style) -> Cell {
        Cell { style, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::styled(Style::new(), text)
    }
}

impl Table {
    /// A table whose lines start with `indent` spaces.
    pub(super) fn indented(indent: usize) -> Table {
        Table {
            indent,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there are no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(Cell::width)
                .max()
        };
        let widths: Vec<usize> = (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for row in &self.rows {
            let last = row
                .iter()
                .rposition(|cell| !cell.text.is_empty())
                .unwrap_or(0);
            write!(f, "{:1$}", "", self.indent)?;
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate().take(last + 1) {
                let fill = width.saturating_sub(cell.width());
                let (before, after) = match cell.align {
                    Align::Right => (fill, 0),
                    // Nothing follows the last one.
                    Align::Left if at == last => (0, 0),
                    Align::Left => (0, fill),
                };
                let gap = if at == 0 { "" } else { "  " };
                let (style, text) = (cell.style, &cell.text);
                write!(f, "{gap}{:before$}{style}{text}{style:#}{:after$}", "", "")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::indented(1);
        table.row([Cell::from("NAME"), Cell::right("SIZE"), "WHY".into()]);
        table.row([Cell::from("größe"), Cell::right("7"), "".into()]);
        let text = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(text, " NAME   SIZE  WHY\n größe     7\n");
    }
}
