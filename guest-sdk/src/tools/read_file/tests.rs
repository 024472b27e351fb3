use std::fs;

use super::*;
use crate::tools::workspace::tests::workspace;

fn read(content: impl AsRef<[u8]>, arguments: &ReadFile) -> Result<String, ToolError> {
    let (work, dir, _host) = workspace();
    fs::write(dir.path().join("f"), content).unwrap();
    read_file(&work, arguments)
}

fn around(content: &str, line: usize, options: Indentation) -> Vec<usize> {
    let arguments = ReadFile::new("f").offset(line).indentation(options);
    let text = read(content, &arguments).unwrap();
    (text.lines())
        .map(|line| line[1..line.find(':').unwrap()].parse().unwrap())
        .collect()
}

const MODULE: &str = "\
import os

# About the class.
class Shape:
    sides = 0

    def area(self):
        if self.sides:
            return 1
        return 0

    def name(self):
        return 'shape'

def main():
    pass
";

#[test]
fn a_slice_has_line_numbers() {
    let text = read("first\nsecond\nthird\n", &ReadFile::new("f").offset(2)).unwrap();
    assert_eq!(text, "L2: second\nL3: third");
    let text = read("a\r\nb\r\n\nc", &ReadFile::new("f").limit(3)).unwrap();
    assert_eq!(text, "L1: a\nL2: b\nL3: ");
    let text = read("a\nb", &ReadFile::new("/work/f").offset(2)).unwrap();
    assert_eq!(text, "L2: b");
}

#[test]
fn long_lines_are_cut_by_characters() {
    let text = read("ü".repeat(100_000), &ReadFile::new("f")).unwrap();
    assert_eq!(text, format!("L1: {}", "ü".repeat(500)));
}

#[test]
fn foreign_bytes_are_replaced() {
    assert_eq!(
        read(b"a\xffb\n", &ReadFile::new("f")).unwrap(),
        "L1: a\u{fffd}b"
    );
}

#[test]
fn mistakes_are_errors_that_name_the_argument() {
    let problem = |arguments: ReadFile| read("one\n", &arguments).unwrap_err().to_string();
    let file = || ReadFile::new("f");
    assert_eq!(problem(file().offset(0)), "`offset` has to be at least 1");
    assert_eq!(problem(file().limit(0)), "`limit` has to be at least 1");
    assert_eq!(problem(file().offset(2)), "`offset` is after the last line");
    assert_eq!(problem(ReadFile::new("g")), "`g` does not exist");
    assert_eq!(problem(ReadFile::new("")), "`` is not a file");
    let anchored = |anchor_line, max_lines| {
        file().indentation(Indentation {
            anchor_line,
            max_lines,
            ..Indentation::default()
        })
    };
    assert_eq!(
        problem(anchored(Some(0), None)),
        "`anchor_line` has to be at least 1"
    );
    assert_eq!(
        problem(anchored(Some(2), None)),
        "`anchor_line` is after the last line"
    );
    assert_eq!(
        problem(anchored(None, Some(0))),
        "`max_lines` has to be at least 1"
    );
    let empty = read("", &file()).unwrap_err();
    assert_eq!(empty.to_string(), "`offset` is after the last line");
}

#[test]
fn a_block_is_what_is_indented_around_its_anchor() {
    // One level out of `return 1`: its `if` with the lines that open and close it.
    let one_level = Indentation {
        max_levels: 1,
        ..Indentation::default()
    };
    assert_eq!(around(MODULE, 9, one_level.clone()), [8, 9, 10]);
    let siblings = Indentation {
        include_siblings: true,
        ..one_level
    };
    assert_eq!(around(MODULE, 9, siblings), [8, 9, 10]);

    let method = Indentation {
        max_levels: 2,
        ..Indentation::default()
    };
    assert_eq!(around(MODULE, 9, method.clone()), [7, 8, 9, 10, 11, 12, 13]);
    let siblings = Indentation {
        include_siblings: true,
        ..method
    };
    assert_eq!(around(MODULE, 9, siblings), [5, 6, 7, 8, 9, 10, 11, 12, 13]);
}

#[test]
fn a_header_is_the_comments_above() {
    let whole = Indentation {
        anchor_line: Some(5),
        ..Indentation::default()
    };
    assert_eq!(around(MODULE, 1, whole.clone())[..2], [3, 4]);
    let bare = Indentation {
        include_header: false,
        ..whole
    };
    assert_eq!(around(MODULE, 1, bare)[0], 4);
}

#[test]
fn blocks_grow_evenly_and_stop_at_the_limit() {
    let lines = |max_lines| {
        let options = Indentation {
            include_siblings: true,
            max_lines: Some(max_lines),
            ..Indentation::default()
        };
        around("a\nb\nc\nd\ne\n", 3, options)
    };
    assert_eq!(lines(1), [3]);
    assert_eq!(lines(2), [2, 3]);
    assert_eq!(lines(3), [2, 3, 4]);
    assert_eq!(lines(99), [1, 2, 3, 4, 5]);
}

#[test]
fn tabs_count_for_four_columns_and_blank_edges_go() {
    // The blank line above the anchor is on the level of the line before it, and so closes the block.
    let text = "fn a() {\n\n\tlet x = 1;\n\n}\n\nfn b() {}\n";
    assert_eq!(around(text, 3, Indentation::default()), [3, 4, 5]);
    let inner = Indentation {
        max_levels: 1,
        ..Indentation::default()
    };
    assert_eq!(around(text, 3, inner), [3, 4, 5]);
    assert_eq!(
        around(
            "\n\nx\n\n",
            3,
            Indentation {
                include_siblings: true,
                ..Indentation::default()
            }
        ),
        [3]
    );
}

#[cfg(feature = "json")]
#[test]
fn a_models_arguments_are_understood_and_no_others() {
    let parse = serde_json::from_str::<ReadFile>;
    assert_eq!(parse(r#"{"file_path":"f"}"#).unwrap(), ReadFile::new("f"));
    let block = parse(r#"{"file_path":"f","mode":"indentation","indentation":{"max_levels":2}}"#);
    assert_eq!(block.unwrap().indentation.max_levels, 2);
    for bad in [
        r#"{"file_path":"f","lines":3}"#,
        r#"{"file_path":"f","offset":-1}"#,
        r#"{"file_path":"f","mode":"all"}"#,
        r#"{"offset":1}"#,
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let schema: serde_json::Value =
        serde_json::from_str(ReadFile::tool().input_schema.as_deref().unwrap()).unwrap();
    assert_eq!(schema["required"][0], "file_path");
}
