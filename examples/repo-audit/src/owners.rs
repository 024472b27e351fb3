//! Who owns a path: the rules of a CODEOWNERS file.

use wasm_agent_sdk::tools::{Glob, Workspace};

/// Where the file can be, in the order they are looked at.
const PLACES: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];
/// Bytes of the file, and rules in it, that are taken.
const MAX_BYTES: u64 = 256 << 10;
const MAX_RULES: usize = 2000;

/// Whom nobody has named.
pub const UNOWNED: &str = "unowned";

/// The rules; the last one that fits decides.
#[derive(Debug, Default)]
pub struct Owners {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    glob: Glob,
    reach: Reach,
    owners: String,
}

/// What a rule is about beside the paths its pattern matches.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// Also everything below a folder that matches.
    PathsAndBelow,
    /// Only what is below a folder that matches.
    Below,
    /// Nothing: `docs/*` is about the files of `docs` alone.
    Paths,
}

impl Owners {
    /// The rules of a repository; none where it has no such file.
    pub fn load(work: &Workspace) -> Self {
        let file = (PLACES.iter()).find_map(|place| work.read(place, MAX_BYTES).ok());
        file.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes)))
            .unwrap_or_default()
    }

    pub fn parse(text: &str) -> Self {
        let rules = text.lines().filter_map(rule).take(MAX_RULES).collect();
        Self { rules }
    }

    /// The owners of a file, as the rule names them.
    pub fn of(&self, path: &str) -> String {
        let rule = self.rules.iter().rev().find(|rule| rule.covers(path));
        match rule {
            Some(rule) if !rule.owners.is_empty() => rule.owners.clone(),
            _ => UNOWNED.to_owned(),
        }
    }
}

impl Rule {
    fn covers(&self, path: &str) -> bool {
        if self.reach != Reach::Below && self.glob.matches(path) {
            return true;
        }
        let mut folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        self.reach != Reach::Paths && folders.any(|folder| self.glob.matches(folder))
    }
}

fn rule(line: &str) -> Option<Rule> {
    let line = line.split('#').next()?;
    let mut words = line.split_whitespace();
    let pattern = words.next()?;
    let reach = match pattern {
        _ if pattern.ends_with('/') => Reach::Below,
        _ if pattern.ends_with("/*") => Reach::Paths,
        _ => Reach::PathsAndBelow,
    };
    Some(Rule {
        glob: Glob::new(pattern.strip_suffix('/').unwrap_or(pattern)).ok()?,
        reach,
        owners: words.collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_decides() {
        let owners = Owners::parse(
            "# who reviews what\n\
             *            @everyone\n\
             *.rs         @rust @core\n\
             /docs/       @writers\n\
             apps/        @apps\n\
             guides/*     @guides # only the files\n\
             /build       @build\n\
             generated.rs\n",
        );
        for (path, expected) in [
            ("README.md", "@everyone"),
            ("src/a.rs", "@rust @core"),
            ("docs/a/b.rs", "@writers"),
            ("old/docs/b.md", "@everyone"),
            ("x/apps/a.rs", "@apps"),
            ("guides/a.md", "@guides"),
            ("guides/deep/a.md", "@everyone"),
            ("build", "@build"),
            ("build/x", "@build"),
            ("src/generated.rs", UNOWNED),
        ] {
            assert_eq!(owners.of(path), expected, "{path}");
        }
        assert_eq!(Owners::default().of("a"), UNOWNED);
    }
}
