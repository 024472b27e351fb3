//! Reading a file with line numbers.

use std::io::{BufRead, BufReader};

use super::{ToolError, Workspace};
use crate::Tool;

/// Characters of a line that are shown.
const MAX_LINE_CHARS: usize = 500;
/// Bytes of a line that are looked at: enough for 500 characters and for any honest indentation.
const MAX_LINE_BYTES: usize = 8 << 10;
/// Lines of a file that indentation mode looks at; each costs eight bytes of memory.
const MAX_LINES: usize = 1_000_000;
/// Columns a tab counts for.
const TAB_WIDTH: u32 = 4;
/// How a comment begins, in the languages that have one of these.
const COMMENTS: [&str; 3] = ["#", "//", "--"];

/// Arguments of [`read_file`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(deny_unknown_fields))]
pub struct ReadFile {
    /// The file: relative to the workspace, or absolute.
    pub file_path: String,
    /// The first line to show, from 1.
    #[cfg_attr(feature = "json", serde(default = "one"))]
    pub offset: usize,
    /// The most lines to show.
    #[cfg_attr(feature = "json", serde(default = "two_thousand"))]
    pub limit: usize,
    /// Which lines to show.
    #[cfg_attr(feature = "json", serde(default))]
    pub mode: Mode,
    /// Options of [`Mode::Indentation`].
    #[cfg_attr(feature = "json", serde(default))]
    pub indentation: Indentation,
}

/// Which lines of a file to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Mode {
    /// `limit` lines from `offset` on.
    #[default]
    Slice,
    /// The block around a line, as its indentation tells.
    Indentation,
}

/// What belongs to the block around a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(default, deny_unknown_fields))]
pub struct Indentation {
    /// The line the block is around; `offset` where it is not given.
    pub anchor_line: Option<usize>,
    /// How many levels of four columns further out to go; 0 for all of them, to the file's own level.
    pub max_levels: usize,
    /// Whether blocks beside the outermost one belong to it.
    pub include_siblings: bool,
    /// Whether comments right above the outermost block belong to it.
    pub include_header: bool,
    /// The most lines to show, beside `limit`.
    pub max_lines: Option<usize>,
}

impl Default for Indentation {
    fn default() -> Self {
        Self {
            anchor_line: None,
            max_levels: 0,
            include_siblings: false,
            include_header: true,
            max_lines: None,
        }
    }
}

impl ReadFile {
    /// Up to 2000 lines from the first one on.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            file_path: path.into(),
            offset: one(),
            limit: two_thousand(),
            mode: Mode::Slice,
            indentation: Indentation::default(),
        }
    }

    /// The first line to show, from 1.
    #[must_use]
    pub fn offset(mut self, line: usize) -> Self {
        self.offset = line;
        self
    }

    /// The most lines to show.
    #[must_use]
    pub fn limit(mut self, lines: usize) -> Self {
        self.limit = lines;
        self
    }

    /// Shows the block around a line instead of a slice.
    #[must_use]
    pub fn indentation(mut self, options: Indentation) -> Self {
        self.mode = Mode::Indentation;
        self.indentation = options;
        self
    }

    /// The tool as a model sees it.
    #[must_use]
    pub fn tool() -> Tool {
        Tool::new("read_file")
            .describe(
                "Reads a file with line numbers from 1: a slice of lines, or the block around a line.",
            )
            .input_schema(include_str!("schemas/read_file.json"))
    }
}

fn one() -> usize {
    1
}

fn two_thousand() -> usize {
    2000
}

/// Reads lines of a file as `L{number}: {text}`, each cut at 500 characters.
///
/// Bytes that are not UTF-8 show as U+FFFD. In [`Mode::Indentation`] blank lines count to the block
/// before them, a tab is four columns, and blank lines at both ends are left out.
///
/// # Errors
/// [`ToolError`] for an argument out of range, among them an offset after the last line, and for a file
/// that cannot be read.
pub fn read_file(workspace: &Workspace, arguments: &ReadFile) -> Result<String, ToolError> {
    let ReadFile { offset, limit, .. } = *arguments;
    positive("offset", offset)?;
    positive("limit", limit)?;
    match arguments.mode {
        Mode::Slice => {
            let lines = slice(workspace, &arguments.file_path, offset, limit)?;
            if lines.is_empty() {
                return Err(ToolError::argument("offset", "is after the last line"));
            }
            Ok(lines.join("\n"))
        }
        Mode::Indentation => {
            let options = &arguments.indentation;
            let anchor = options.anchor_line.unwrap_or(offset);
            positive("anchor_line", anchor)?;
            positive("max_lines", options.max_lines.unwrap_or(1))?;
            let shapes = shapes(workspace, &arguments.file_path)?;
            if anchor > shapes.len() {
                return Err(ToolError::argument("anchor_line", "is after the last line"));
            }
            let limit = limit.min(options.max_lines.unwrap_or(limit));
            let (first, count) = block(&shapes, anchor - 1, limit, options);
            if count == 0 {
                return Ok(String::new());
            }
            Ok(slice(workspace, &arguments.file_path, first + 1, count)?.join("\n"))
        }
    }
}

fn positive(argument: &'static str, value: usize) -> Result<(), ToolError> {
    if value == 0 {
        return Err(ToolError::argument(argument, "has to be at least 1"));
    }
    Ok(())
}

/// Up to `limit` numbered lines from line `first` on, which counts from 1.
fn slice(
    workspace: &Workspace,
    path: &str,
    first: usize,
    limit: usize,
) -> Result<Vec<String>, ToolError> {
    let mut shown = Vec::new();
    each_line(workspace, path, |number, line| {
        if number < first {
            return More::Yes;
        }
        let text: String = String::from_utf8_lossy(line)
            .chars()
            .take(MAX_LINE_CHARS)
            .collect();
        shown.push(format!("L{number}: {text}"));
        if shown.len() < limit {
            More::Yes
        } else {
            More::No
        }
    })?;
    Ok(shown)
}

/// What indentation mode has to know of a line.
#[derive(Clone, Copy)]
struct Shape {
    /// Columns before the text; for a blank line those of the last line that was not.
    indent: u32,
    is_blank: bool,
    is_comment: bool,
}

fn shapes(workspace: &Workspace, path: &str) -> Result<Vec<Shape>, ToolError> {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut indent = 0;
    each_line(workspace, path, |number, line| {
        if number > MAX_LINES {
            return More::No;
        }
        let text = String::from_utf8_lossy(line);
        let is_blank = text.trim().is_empty();
        if !is_blank {
            indent = (text.chars())
                .map_while(|character| match character {
                    ' ' => Some(1),
                    '\t' => Some(TAB_WIDTH),
                    _ => None,
                })
                .sum();
        }
        shapes.push(Shape {
            indent,
            is_blank,
            is_comment: COMMENTS.iter().any(|mark| text.trim().starts_with(mark)),
        });
        More::Yes
    })?;
    Ok(shapes)
}

/// The lines of the block around `anchor`, as the first one and how many; both count from 0.
///
/// The block grows from the anchor a line up and a line down in turn. It ends where a line is further
/// out than the outermost level, and at the second line on that level: the first above is what opens
/// the block, the first below what closes it. Comments above what opens it are let through.
fn block(shapes: &[Shape], anchor: usize, limit: usize, options: &Indentation) -> (usize, usize) {
    let inner = shapes.get(anchor).map_or(0, |shape| shape.indent);
    let levels = u32::try_from(options.max_levels).unwrap_or(u32::MAX);
    let outer = match levels {
        0 => 0,
        levels => inner.saturating_sub(levels.saturating_mul(TAB_WIDTH)),
    };
    let limit = limit.min(shapes.len());
    if limit <= 1 {
        return (anchor, 1);
    }

    let (mut first, mut end) = (anchor, anchor + 1);
    let (mut up, mut down) = (Side::default(), Side::default());
    while end - first < limit && (up.grows || down.grows) {
        if up.grows {
            let above = first.checked_sub(1).and_then(|at| shapes.get(at));
            let let_through = options.include_header && above.is_some_and(|line| line.is_comment);
            if up.takes(above, outer, options.include_siblings, let_through) {
                first -= 1;
            }
        }
        if down.grows
            && end - first < limit
            && down.takes(shapes.get(end), outer, options.include_siblings, false)
        {
            end += 1;
        }
    }

    let is_blank = |at: usize| shapes.get(at).is_some_and(|shape| shape.is_blank);
    while first < end && is_blank(first) {
        first += 1;
    }
    while first < end && is_blank(end - 1) {
        end -= 1;
    }
    (first, end - first)
}

/// One of the two directions a block grows in.
struct Side {
    grows: bool,
    /// A line of the outermost level has been taken.
    bounded: bool,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            grows: true,
            bounded: false,
        }
    }
}

impl Side {
    /// Does the block take this line? Where it does not, it has ended on this side.
    fn takes(
        &mut self,
        line: Option<&Shape>,
        outer: u32,
        siblings: bool,
        let_through: bool,
    ) -> bool {
        self.grows = match line {
            None => false,
            Some(line) if line.indent != outer || siblings => line.indent >= outer,
            Some(_) => {
                let taken = let_through || !self.bounded;
                self.bounded = true;
                taken
            }
        };
        self.grows
    }
}

/// Whether to go on reading.
enum More {
    Yes,
    No,
}

/// Calls `each` with the number, from 1, and the first bytes of every line, without its end.
fn each_line(
    workspace: &Workspace,
    path: &str,
    mut each: impl FnMut(usize, &[u8]) -> More,
) -> Result<(), ToolError> {
    let mut reader = BufReader::with_capacity(64 << 10, workspace.file(path)?);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let mut started = false;
        let ended = loop {
            let bytes = reader
                .fill_buf()
                .map_err(|error| ToolError::io(path, error))?;
            if bytes.is_empty() {
                break false;
            }
            started = true;
            let at = bytes.iter().position(|byte| *byte == b'\n');
            let text = bytes.get(..at.unwrap_or(bytes.len())).unwrap_or_default();
            let room = MAX_LINE_BYTES - line.len();
            line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            let used = text.len() + usize::from(at.is_some());
            reader.consume(used);
            if at.is_some() {
                break true;
            }
        };
        if !started {
            return Ok(());
        }
        number += 1;
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        if matches!(each(number, text), More::No) || !ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
