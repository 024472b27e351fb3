//! Comments that say something is left to do.

use std::sync::LazyLock;

use regex::Regex;

use crate::owners::Owners;
use crate::report::{Found, Todo};
use crate::{secrets, text};

/// The word has to open a line or a comment, so that prose about such comments is not one.
static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|[/#*;%!>-])\s*(TODO|FIXME)(?:\(([^()]{1,64})\))?(?::|\s|$)(.*)").ok()
});

pub fn scan(path: &str, content: &str, owners: &Owners, found: &mut Found<Todo>) {
    // Most files have none; this spares them the expression.
    if !content.contains("TODO") && !content.contains("FIXME") {
        return;
    }
    let Some(mark) = MARK.as_ref() else { return };
    for (index, line) in content.lines().enumerate() {
        let Some(captures) = mark.captures(line) else {
            continue;
        };
        let group = |at| captures.get(at).map_or("", |group| group.as_str().trim());
        found.push(|| Todo {
            path: path.to_owned(),
            line: index + 1,
            kind: group(1).to_owned(),
            owner: match group(2) {
                "" => owners.of(path),
                name => text::quote(name),
            },
            // A comment can quote what it should not.
            text: text::quote(&secrets::mask(group(3))),
        });
    }
}
