//! Finding the files that contain something.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

use regex::bytes::{Regex, RegexBuilder};

use super::glob::MAX_COMPILED;
use super::{Glob, Kind, ToolError, Walk, Workspace};
use crate::Tool;

/// Files that are named when no limit is given, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 2000;
/// Longest pattern that is taken, in bytes.
const MAX_PATTERN: usize = 4096;
/// Bytes of a file that are searched.
const MAX_FILE: u64 = 16 << 20;
/// A zero byte within this many marks a file that is not text.
const BINARY_PROBE: usize = 8 << 10;
/// Time a search may take.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Arguments of [`grep_files`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(deny_unknown_fields))]
pub struct GrepFiles {
    /// The regular expression a line has to match, in the syntax of the `regex` crate.
    pub pattern: String,
    /// A glob of the files to search.
    #[cfg_attr(feature = "json", serde(default))]
    pub include: Option<String>,
    /// The file or directory to search; all of the workspace where it is not given.
    #[cfg_attr(feature = "json", serde(default))]
    pub path: Option<String>,
    /// The most files to name; at most 2000 are.
    #[cfg_attr(feature = "json", serde(default = "hundred"))]
    pub limit: usize,
}

impl GrepFiles {
    /// Up to 100 files of the whole workspace.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            include: None,
            path: None,
            limit: DEFAULT_LIMIT,
        }
    }

    /// A glob of the files to search.
    #[must_use]
    pub fn include(mut self, glob: impl Into<String>) -> Self {
        self.include = Some(glob.into());
        self
    }

    /// The file or directory to search.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The most files to name.
    #[must_use]
    pub fn limit(mut self, files: usize) -> Self {
        self.limit = files;
        self
    }

    /// The tool as a model sees it.
    #[must_use]
    pub fn tool() -> Tool {
        Tool::new("grep_files")
            .describe(
                "Names the files with a line that matches a regular expression, newest first.",
            )
            .input_schema(include_str!("schemas/grep_files.json"))
    }
}

#[cfg(feature = "json")]
fn hundred() -> usize {
    DEFAULT_LIMIT
}

/// Names the files with a line that matches, a path a line, those changed last first; or
/// `No matches found.`
///
/// Left out in a directory: hidden files, what ignore files say, symbolic links, and files that are not
/// text. The first 16 MiB of a file are searched. The engine's time is linear in the text, whatever the
/// pattern.
///
/// # Errors
/// [`ToolError::Argument`] for a pattern, glob or limit that makes no sense, [`ToolError::TimedOut`]
/// after 30 seconds, others for a path that cannot be read.
pub fn grep_files(workspace: &Workspace, arguments: &GrepFiles) -> Result<String, ToolError> {
    let pattern = compile(arguments.pattern.trim())?;
    if arguments.limit == 0 {
        return Err(ToolError::argument("limit", "has to be at least 1"));
    }
    let include = match arguments.include.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(glob) => Some(Glob::new(glob)?),
    };
    let start = workspace.relative(arguments.path.as_deref().unwrap_or_default())?;
    let full = workspace.path(&start)?;
    let metadata =
        fs::metadata(&full).map_err(|error| ToolError::io(workspace.show(&start), error))?;

    let deadline = Instant::now() + MAX_TIME;
    let mut found: Vec<(SystemTime, String)> = Vec::new();
    let mut search = |path: String| -> Result<(), ToolError> {
        if Instant::now() >= deadline {
            return Err(ToolError::TimedOut {
                seconds: MAX_TIME.as_secs(),
            });
        }
        // A file that vanished or cannot be read is one without a match.
        if has_match(workspace, &path, &pattern) == Some(true) {
            let changed = (workspace.path(&path).ok())
                .and_then(|full| fs::metadata(full).ok()?.modified().ok())
                .unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((changed, path));
        }
        Ok(())
    };
    if metadata.is_dir() {
        let prefix = if start.is_empty() { 0 } else { start.len() + 1 };
        let walk = Walk::new(workspace, start)
            .respect_ignore_files()
            .skip_hidden();
        for entry in walk {
            let Ok(entry) = entry else { continue };
            let relative = entry.path.get(prefix..).unwrap_or_default();
            let wanted = (include.as_ref()).is_none_or(|include| include.matches(relative));
            if entry.kind == Kind::File && wanted {
                search(entry.path)?;
            }
        }
    } else {
        search(start)?;
    }

    if found.is_empty() {
        return Ok("No matches found.".into());
    }
    found.sort_by(|(a, a_path), (b, b_path)| b.cmp(a).then_with(|| a_path.cmp(b_path)));
    let limit = arguments.limit.min(MAX_LIMIT);
    let paths = found.iter().take(limit);
    let lines: Vec<String> = paths.map(|(_, path)| workspace.show(path)).collect();
    Ok(lines.join("\n"))
}

fn compile(pattern: &str) -> Result<Regex, ToolError> {
    let problem = |why: String| ToolError::argument("pattern", why);
    if pattern.is_empty() {
        return Err(problem("is empty".into()));
    }
    if pattern.len() > MAX_PATTERN {
        return Err(problem(format!("is longer than {MAX_PATTERN} bytes")));
    }
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| problem(format!("is not a regular expression: {error}")))
}

/// Does a line of the file match? None for a file that is not there or not text.
fn has_match(workspace: &Workspace, path: &str, pattern: &Regex) -> Option<bool> {
    let mut text = Vec::new();
    let mut file = workspace.file(path).ok()?.take(MAX_FILE);
    // The beginning alone first, so that a big binary is not read for nothing.
    (&mut file)
        .take(BINARY_PROBE as u64)
        .read_to_end(&mut text)
        .ok()?;
    if text.contains(&0) {
        return None;
    }
    file.read_to_end(&mut text).ok()?;
    let mut lines = text.split(|byte| *byte == b'\n');
    Some(lines.any(|line| pattern.is_match(line.strip_suffix(b"\r").unwrap_or(line))))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::tools::workspace::tests::workspace;

    #[test]
    fn files_that_match_come_newest_first() {
        let (work, dir, _host) = workspace();
        fs::create_dir(dir.path().join("sub")).unwrap();
        for (file, text, age) in [
            ("old.rs", "fn needle() {}\n", 300),
            ("new.rs", "x\r\n// needle\r\n", 100),
            ("sub/mid.txt", "a needle", 200),
            ("sub/none.rs", "hay", 0),
            (".hidden", "needle", 0),
            ("ignored.log", "needle", 0),
            ("binary", "needle\0", 0),
        ] {
            let path = dir.path().join(file);
            fs::write(&path, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        fs::write(dir.path().join(".gitignore"), "*.log\n").unwrap();
        let grep = |arguments: GrepFiles| grep_files(&work, &arguments).unwrap();
        assert_eq!(
            grep(GrepFiles::new("needle")),
            "/work/new.rs\n/work/sub/mid.txt\n/work/old.rs"
        );
        assert_eq!(grep(GrepFiles::new("needle").limit(1)), "/work/new.rs");
        assert_eq!(
            grep(GrepFiles::new("needle").include("*.rs")),
            "/work/new.rs\n/work/old.rs"
        );
        assert_eq!(
            grep(GrepFiles::new("needle").path("/work/sub")),
            "/work/sub/mid.txt"
        );
        assert_eq!(
            grep(GrepFiles::new("needle").path("old.rs")),
            "/work/old.rs"
        );
        assert_eq!(
            grep(GrepFiles::new("needle$").include("new.rs")),
            "/work/new.rs"
        );
        assert_eq!(grep(GrepFiles::new("x.*needle")), "No matches found.");
        assert_eq!(grep(GrepFiles::new("nowhere")), "No matches found.");
    }

    #[test]
    fn mistakes_are_errors() {
        let (work, _dir, _host) = workspace();
        let problem = |arguments: GrepFiles| match grep_files(&work, &arguments).unwrap_err() {
            ToolError::Argument { argument, .. } => argument,
            other => panic!("{other}"),
        };
        assert_eq!(problem(GrepFiles::new(" ")), "pattern");
        assert_eq!(problem(GrepFiles::new("(")), "pattern");
        assert_eq!(problem(GrepFiles::new("(?:a{1000}){1000}")), "pattern");
        assert_eq!(problem(GrepFiles::new("a").include("[")), "include");
        assert_eq!(problem(GrepFiles::new("a").limit(0)), "limit");
        let missing = grep_files(&work, &GrepFiles::new("a").path("no"));
        assert!(matches!(missing, Err(ToolError::NotFound(_))));
    }

    #[test]
    fn patterns_made_to_blow_up_do_not() {
        let (work, dir, _host) = workspace();
        fs::write(dir.path().join("f"), "a".repeat(200_000)).unwrap();
        let found = grep_files(&work, &GrepFiles::new("(a+)+$|(a|aa)*b"));
        assert_eq!(found.unwrap(), "/work/f");
    }
}
