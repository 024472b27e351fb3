//! What the audit found: the answer of the run, and the same as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// Findings of a kind that are kept; the others are only counted.
const MAX_KEPT: usize = 200;

/// Copies of one file that are named in words; the answer as JSON has all that were kept.
const PATHS_SHOWN: usize = 3;

/// The answer of the run; `output.schema.json` describes it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The directory that was audited.
    pub root: String,
    /// False when the budget or the limit of files ended the audit early.
    pub complete: bool,
    /// Phases that were left out: not allowed, or no budget left.
    pub skipped: Vec<String>,
    /// Files that were looked at.
    pub files: usize,
    /// Their length together.
    pub bytes: u64,
    /// Files and folders that could not be read.
    pub unreadable: usize,
    /// Comments that say something is left to do.
    pub todos: Found<Todo>,
    /// Files larger than they should be.
    pub oversized: Found<Oversized>,
    /// Groups of files with the same content.
    pub duplicates: Found<Duplicate>,
    /// Source files without a licence header.
    pub licences: Found<String>,
    /// Strings that look like secrets.
    pub secrets: Found<Secret>,
}

/// Findings of one kind.
#[derive(Debug, Serialize)]
pub struct Found<T> {
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub items: Vec<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            total: 0,
            items: Vec::new(),
        }
    }
}

impl<T> Found<T> {
    /// Counts a finding; makes it only when there is room.
    pub fn push(&mut self, finding: impl FnOnce() -> T) {
        self.total += 1;
        if self.items.len() < MAX_KEPT {
            self.items.push(finding());
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Todo {
    pub path: String,
    pub line: usize,
    /// `TODO` or `FIXME`.
    pub kind: String,
    /// Named in the comment, else by CODEOWNERS, else `unowned`.
    pub owner: String,
    pub text: String,
}

#[derive(Debug, Serialize)]
pub struct Oversized {
    pub path: String,
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct Duplicate {
    pub digest: String,
    /// Length of one of them.
    pub bytes: u64,
    pub copies: usize,
    /// The first of them.
    pub paths: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Secret {
    pub path: String,
    pub line: usize,
    pub kind: String,
    /// Length of what was found; the text itself goes nowhere.
    pub characters: usize,
}

impl Report {
    pub fn new(root: &str) -> Self {
        Self {
            root: root.to_owned(),
            complete: true,
            skipped: Vec::new(),
            files: 0,
            bytes: 0,
            unreadable: 0,
            todos: Found::default(),
            oversized: Found::default(),
            duplicates: Found::default(),
            licences: Found::default(),
            secrets: Found::default(),
        }
    }

    /// What was found, in a sentence.
    pub fn summary(&self) -> String {
        format!(
            "{} files: {} TODO and FIXME, {} oversized, {} groups of duplicates, {} without a \
             licence header, {} that look like secrets",
            self.files,
            self.todos.total,
            self.oversized.total,
            self.duplicates.total,
            self.licences.total,
            self.secrets.total
        )
    }

    /// The report, with at most `most` findings of a kind listed.
    pub fn to_markdown(&self, most: usize) -> String {
        let mut out = format!("# Audit of `{}`\n\n{}.\n", self.root, self.summary());
        if !self.complete {
            out.push_str("\nThe audit ended early: not everything was looked at.\n");
        }
        if !self.skipped.is_empty() {
            line(
                &mut out,
                format_args!("\nLeft out: {}.", self.skipped.join(", ")),
            );
        }
        if self.unreadable > 0 {
            line(
                &mut out,
                format_args!("\n{} could not be read.", self.unreadable),
            );
        }

        section(
            &mut out,
            "Strings that look like secrets",
            &self.secrets,
            most,
            |secret| {
                format!(
                    "`{}:{}` {} of {} characters",
                    plain(&secret.path),
                    secret.line,
                    secret.kind,
                    secret.characters
                )
            },
        );
        self.owners(&mut out);
        section(&mut out, "TODO and FIXME", &self.todos, most, |todo| {
            format!(
                "`{}:{}` {} ({}): `{}`",
                plain(&todo.path),
                todo.line,
                todo.kind,
                todo.owner,
                todo.text
            )
        });
        section(&mut out, "Oversized files", &self.oversized, most, |file| {
            format!("`{}` {} bytes", plain(&file.path), file.bytes)
        });
        section(
            &mut out,
            "Duplicate files",
            &self.duplicates,
            most,
            |group| {
                let mut paths: Vec<String> = (group.paths.iter().take(PATHS_SHOWN))
                    .map(|path| format!("`{}`", plain(path)))
                    .collect();
                if group.copies > paths.len() {
                    paths.push(format!("and {} more", group.copies - paths.len()));
                }
                format!(
                    "{} times {} bytes: {}",
                    group.copies,
                    group.bytes,
                    paths.join(", ")
                )
            },
        );
        section(
            &mut out,
            "Source files without a licence header",
            &self.licences,
            most,
            |path| format!("`{}`", plain(path)),
        );
        out
    }

    fn owners(&self, out: &mut String) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for todo in &self.todos.items {
            *counts.entry(&todo.owner).or_default() += 1;
        }
        if counts.is_empty() {
            return;
        }
        out.push_str("\n## Open work by owner\n\n| owner | comments |\n|---|---|\n");
        for (owner, count) in counts {
            line(
                out,
                format_args!("| {} | {count} |", owner.replace('|', "\\|")),
            );
        }
    }
}

fn section<T>(
    out: &mut String,
    title: &str,
    found: &Found<T>,
    most: usize,
    item: impl Fn(&T) -> String,
) {
    line(out, format_args!("\n## {title}\n"));
    if found.total == 0 {
        out.push_str("None.\n");
    }
    let listed = found.items.len().min(most);
    for finding in found.items.iter().take(listed) {
        line(out, format_args!("- {}", item(finding)));
    }
    let more = found.total - listed;
    if more > 0 {
        line(out, format_args!("- and {more} more"));
    }
}

/// A path that cannot end its code span or its line.
fn plain(path: &str) -> String {
    path.replace(|c: char| c == '`' || c.is_control(), "?")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}
