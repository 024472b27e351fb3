//! The audit: what has been found so far, and the phases that find more.

use serde::Deserialize;
use wasm_agent_sdk::tools::{Kind, Workspace};
use wasm_agent_sdk::{Result, session, trajectory};

use crate::owners::Owners;
use crate::report::{Found, Oversized, Report};
use crate::{REPORT_FILE, duplicates, licences, secrets, text, todos};

/// Files of a repository that are looked at; their names are what is held in memory.
const MAX_FILES: usize = 100_000;
/// Folders that hold what others made.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// What a commission can say about the audit, in its `meta`. Other keys are not for this agent.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Files larger than this many bytes are reported.
    max_file_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_file_bytes: 512 << 10,
        }
    }
}

/// A step of the audit; each is a tool of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Walk,
    Todos,
    Oversized,
    Duplicates,
    Licences,
    Secrets,
}

impl Phase {
    pub const ALL: [Self; 6] = [
        Self::Walk,
        Self::Todos,
        Self::Oversized,
        Self::Duplicates,
        Self::Licences,
        Self::Secrets,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::Todos => "scan_todos",
            Self::Oversized => "find_oversized",
            Self::Duplicates => "find_duplicates",
            Self::Licences => "check_licences",
            Self::Secrets => "scan_secrets",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Walk => "List the files of the repository, without what .gitignore leaves out.",
            Self::Todos => "Find TODO and FIXME comments and who owns them.",
            Self::Oversized => "Find files that are larger than they should be.",
            Self::Duplicates => "Find files with the same content.",
            Self::Licences => "Find source files without a licence header.",
            Self::Secrets => "Find strings that look like secrets.",
        }
    }
}

/// A file of the repository.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the repository.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// An audit under way.
pub struct Audit<'a> {
    work: &'a Workspace,
    options: Options,
    files: Vec<SourceFile>,
    report: Report,
}

/// Whether to look at more files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

impl<'a> Audit<'a> {
    pub fn new(work: &'a Workspace, options: Options) -> Self {
        Self {
            work,
            options,
            files: Vec::new(),
            report: Report::new(work.name()),
        }
    }

    /// Notes that a phase was left out.
    pub fn skip(&mut self, phase: Phase) {
        self.report.skipped.push(phase.name().into());
    }

    pub fn finish(self) -> Report {
        self.report
    }

    /// Does a phase and says in a sentence what it found.
    pub fn perform(&mut self, phase: Phase) -> Result<String> {
        match phase {
            Phase::Walk => self.walk(),
            Phase::Todos => self.scan_todos(),
            Phase::Oversized => Ok(self.find_oversized()),
            Phase::Duplicates => self.find_duplicates(),
            Phase::Licences => self.check_licences(),
            Phase::Secrets => self.scan_secrets(),
        }
    }

    fn walk(&mut self) -> Result<String> {
        let walk = self.work.walk().respect_ignore_files().skip(SKIPPED);
        for entry in walk {
            // What cannot be listed is counted, and does not end the audit.
            let Ok(entry) = entry else {
                self.report.unreadable += 1;
                continue;
            };
            if entry.kind != Kind::File || entry.path == REPORT_FILE {
                continue;
            }
            if self.files.len() == MAX_FILES || self.pause(self.files.len())? == Go::Stop {
                self.report.complete = false;
                break;
            }
            let full = self.work.path(&entry.path);
            let Some(metadata) = full.ok().and_then(|full| full.metadata().ok()) else {
                self.report.unreadable += 1;
                continue;
            };
            self.report.bytes += metadata.len();
            self.files.push(SourceFile {
                path: entry.path,
                bytes: metadata.len(),
            });
        }
        self.report.files = self.files.len();
        Ok(format!(
            "{} files, {} bytes",
            self.report.files, self.report.bytes
        ))
    }

    fn scan_todos(&mut self) -> Result<String> {
        let owners = Owners::load(self.work);
        let mut found = Found::default();
        self.each_text(|path, content| todos::scan(path, content, &owners, &mut found))?;
        let answer = format!("{} comments", found.total);
        self.report.todos = found;
        Ok(answer)
    }

    fn find_oversized(&mut self) -> String {
        let max = self.options.max_file_bytes;
        let mut large: Vec<&SourceFile> = (self.files.iter())
            .filter(|file| file.bytes > max)
            .collect();
        large.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        for file in large {
            self.report.oversized.push(|| Oversized {
                path: file.path.clone(),
                bytes: file.bytes,
            });
        }
        format!("{} files over {max} bytes", self.report.oversized.total)
    }

    fn find_duplicates(&mut self) -> Result<String> {
        let mut count = 0;
        let mut stopped = false;
        let found = duplicates::find(self.work, &self.files, || {
            count += 1;
            stopped = stopped || self.pause(count)? == Go::Stop;
            Ok(!stopped)
        })?;
        self.report.complete &= !stopped;
        let answer = format!("{} groups of files with the same content", found.total);
        self.report.duplicates = found;
        Ok(answer)
    }

    fn check_licences(&mut self) -> Result<String> {
        let mut found = Found::default();
        let mut checked = 0usize;
        self.each_file(licences::is_source, licences::HEAD_BYTES, |path, head| {
            checked += 1;
            if !licences::has_header(head) {
                found.push(|| path.to_owned());
            }
        })?;
        let answer = format!("{} of {checked} source files without a header", found.total);
        self.report.licences = found;
        Ok(answer)
    }

    fn scan_secrets(&mut self) -> Result<String> {
        let mut found = Found::default();
        self.each_text(|path, content| secrets::scan(path, content, &mut found))?;
        let answer = format!("{} strings that look like secrets", found.total);
        self.report.secrets = found;
        Ok(answer)
    }

    fn each_text(&mut self, each: impl FnMut(&str, &str)) -> Result<()> {
        self.each_file(|_| true, text::MAX_BYTES, each)
    }

    /// Reads the beginning of every wanted text file, one at a time.
    fn each_file(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        max_bytes: u64,
        mut each: impl FnMut(&str, &str),
    ) -> Result<()> {
        for (count, file) in self.files.iter().enumerate() {
            if self.pause(count)? == Go::Stop {
                self.report.complete = false;
                break;
            }
            if !wanted(&file.path) {
                continue;
            }
            // A file that is gone by now is not there to be audited.
            let Ok(bytes) = self.work.read(&file.path, max_bytes) else {
                continue;
            };
            if let Some(content) = text::decode(&bytes) {
                each(&file.path, &content);
            }
        }
        Ok(())
    }

    /// Says every now and then how far it is, and whether the budget allows more.
    fn pause(&self, count: usize) -> Result<Go> {
        if count > 0 && count.is_multiple_of(1000) {
            trajectory::progress(&format!("{count} files"), None)?;
        }
        Ok(match session::budget().low {
            true => Go::Stop,
            false => Go::On,
        })
    }
}
