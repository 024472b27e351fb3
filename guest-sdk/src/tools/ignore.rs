//! Ignore files: `.gitignore` and its kin.

use regex::{RegexSet, RegexSetBuilder};

use super::glob::{Braces, MAX_COMPILED, expression};

/// Rules of a file that are taken; more are left out.
const MAX_RULES: usize = 1000;

/// The rules of one ignore file.
#[derive(Debug)]
pub(super) struct Ignore {
    expressions: RegexSet,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    verdict: Verdict,
    only_directories: bool,
}

/// What the rules say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Leave it out.
    Ignored,
    /// Take it, whatever came before.
    Kept,
}

impl Ignore {
    /// Reads the rules; lines that make no sense are left out, as git does.
    pub(super) fn parse(text: &str) -> Self {
        let (patterns, rules): (Vec<String>, Vec<Rule>) =
            text.lines().filter_map(rule).take(MAX_RULES).unzip();
        let expressions = RegexSetBuilder::new(patterns)
            .size_limit(16 * MAX_COMPILED)
            .build()
            .unwrap_or_default();
        Self { expressions, rules }
    }

    /// What the last rule that is about this path says. The path is relative to the folder of the file.
    pub(super) fn verdict(&self, path: &str, is_directory: bool) -> Option<Verdict> {
        self.expressions
            .matches(path)
            .iter()
            .filter_map(|at| self.rules.get(at))
            .rfind(|rule| is_directory || !rule.only_directories)
            .map(|rule| rule.verdict)
    }
}

fn rule(line: &str) -> Option<(String, Rule)> {
    // Blanks at the end count only when escaped.
    let line = match line.trim_end() {
        trimmed if trimmed.ends_with('\\') && trimmed.len() < line.len() => {
            line.get(..=trimmed.len())?
        }
        trimmed => trimmed,
    };
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (verdict, pattern) = match line.strip_prefix('!') {
        Some(pattern) => (Verdict::Kept, pattern),
        None => (Verdict::Ignored, line),
    };
    let (only_directories, pattern) = match pattern.strip_suffix('/') {
        Some(pattern) => (true, pattern),
        None => (false, pattern),
    };
    // A slash at the start or in the middle ties the pattern to the folder of the file.
    let start = if pattern.contains('/') {
        "^"
    } else {
        "(?:^|/)"
    };
    let body = expression(pattern.strip_prefix('/').unwrap_or(pattern), Braces::Plain)?;
    let pattern = format!("(?s){start}{body}$");
    // Compiled on its own first: one bad rule would spoil the whole set.
    regex::Regex::new(&pattern).ok()?;
    let rule = Rule {
        verdict,
        only_directories,
    };
    Some((pattern, rule))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_rule_decides() {
        let ignore = Ignore::parse(
            "# build output\n\
             /target\n\
             *.log\r\n\
             !keep.log\n\
             docs/*.html\n\
             cache/\n\
             **/tmp\n\
             \\#odd\n\
             space\\ \n\
             [broken\n\
             {a,b}\n",
        );
        let ignored = |path, directory| ignore.verdict(path, directory) == Some(Verdict::Ignored);
        assert!(ignored("target", true));
        assert!(!ignored("sub/target", true));
        assert!(ignored("a.log", false));
        assert!(ignored("deep/a.log", false));
        assert_eq!(ignore.verdict("deep/keep.log", false), Some(Verdict::Kept));
        assert!(ignored("docs/a.html", false));
        assert!(!ignored("docs/sub/a.html", false));
        assert!(ignored("x/cache", true));
        assert!(!ignored("x/cache", false), "a file of that name stays");
        assert!(ignored("a/b/tmp", false));
        assert!(ignored("#odd", false));
        assert!(ignored("space ", false));
        assert!(!ignored("a", false), "braces mean nothing here");
        assert!(ignored("{a,b}", false));
        assert_eq!(ignore.verdict("other", false), None);
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "[*?\\[\\]{}!,\\\\/ab#\\n -]{0,80}", path in "[ab/]{0,8}") {
            Ignore::parse(&text).verdict(&path, true);
        }
    }
}
