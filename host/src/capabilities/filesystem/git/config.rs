//! Reading git's configuration, as far as it takes to know which files it names.
//!
//! More is understood than git would accept: a line that git stops at is passed over, and every file that is included
//! under some condition counts. What is read too much is protected needlessly, what is read too little is a way out.

/// A variable: `[section "subsection"] key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// In lower case, as far as it is a name of git's.
    pub(super) section: String,
    /// In lower case.
    pub(super) key: String,
    pub(super) value: String,
}

/// Everything a configuration sets, in order.
pub(super) fn variables(text: &str) -> Vec<Variable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text.chars().peekable();
    let mut section = String::new();
    let mut found = Vec::new();
    while let Some(&c) = rest.peek() {
        match c {
            '[' => {
                rest.next();
                section = header(&mut rest);
            }
            '#' | ';' => while rest.next_if(|c| *c != '\n').is_some() {},
            c if c.is_ascii_alphanumeric() => {
                let mut key = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '-') {
                    key.push(c.to_ascii_lowercase());
                }
                while rest.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
                // Without a value it is `true`, which names no file.
                if rest.next_if_eq(&'=').is_some() {
                    let value = value(&mut rest);
                    found.push(Variable {
                        section: section.clone(),
                        key,
                        value,
                    });
                }
            }
            _ => {
                rest.next();
            }
        }
    }
    found
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// The name of a section, after its bracket. What stands in quotes, or behind a dot, is passed over.
fn header(rest: &mut Chars<'_>) -> String {
    let mut name = String::new();
    let mut named = false;
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        match c {
            ']' => break,
            '"' => {
                named = true;
                while let Some(c) = rest.next_if(|c| *c != '\n') {
                    match c {
                        '\\' => {
                            rest.next_if(|c| *c != '\n');
                        }
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '.' => named = true,
            c if !named && !c.is_whitespace() => name.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    name
}

/// A value, after its equals sign.
fn value(rest: &mut Chars<'_>) -> String {
    while rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
    let mut value = String::new();
    // Blanks at its end are not part of it, unless in quotes.
    let mut kept = 0;
    let mut quoted = false;
    while let Some(c) = rest.next() {
        match c {
            '\n' => break,
            '\r' if rest.peek() == Some(&'\n') => {}
            '"' => {
                quoted = !quoted;
                kept = value.len();
            }
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some('\r') => {
                    rest.next_if_eq(&'\n');
                }
                Some(escaped) => {
                    value.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'b' => '\u{8}',
                        other => other,
                    });
                    kept = value.len();
                }
            },
            '#' | ';' if !quoted => while rest.next_if(|c| *c != '\n').is_some() {},
            c => {
                value.push(c);
                if quoted || !c.is_whitespace() {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    value
}

/// The words of a command line as a shell would part them, near enough to find the files among them.
pub(super) fn words(command: &str) -> impl Iterator<Item = &str> {
    command
        .split(|c: char| c.is_whitespace() || "'\"|&;<>()$`=!".contains(c))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String, String)> {
        let variables = variables(text).into_iter();
        variables.map(|it| (it.section, it.key, it.value)).collect()
    }

    #[test]
    fn reads_what_git_reads() {
        let text = "\u{feff}# comment\n[Core]\n\tHooksPath = .githooks ; mine\n\tbare\n[core] hookspath=a/b\n\
            [includeIf \"gitdir:~/x\\\"]/\"] path = \"../a b\" \n[filter \"x\"]\r\n\tclean = ./run \\\r\n  --fast\\n\"q # q\"  \r\n\
            [alias.y] z = !./tool\n[section\nkey = v";
        let expected = [
            ("core", "hookspath", ".githooks"),
            ("core", "hookspath", "a/b"),
            ("includeif", "path", "../a b"),
            ("filter", "clean", "./run   --fast\nq # q"),
            ("alias", "z", "!./tool"),
            ("section", "key", "v"),
        ];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(read(text), expected);
        assert_eq!(
            words("!f() { sh -c './a b'; }; f").collect::<Vec<_>>(),
            ["f", "{", "sh", "-c", "./a", "b", "}", "f"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\[\\]\"\\\\#;=a-c \\n\\r\\t.]{0,80}") {
            variables(&text);
        }

        /// Whatever comes before it on lines of its own, a section with a path in quotes is found.
        #[test]
        fn nothing_before_hides_what_follows(before in "[\\[\\]a-c#;=. \\t]{0,30}", path in "[a-z/. #;]{1,20}") {
            let text = format!("{before}\n[core]\nhooksPath = \"{path}\"\n");
            let found = read(&text).into_iter().any(|(section, key, value)| {
                (section.as_str(), key.as_str()) == ("core", "hookspath") && value == path
            });
            prop_assert!(found, "{text}");
        }
    }
}
