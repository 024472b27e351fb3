//! Licence headers of source files.

/// Bytes at the beginning of a file where a header has to be.
pub const HEAD_BYTES: u64 = 2 << 10;

/// Extensions of files that are expected to have one.
const EXTENSIONS: [&str; 26] = [
    "c", "cc", "cpp", "cs", "go", "h", "hpp", "java", "js", "jsx", "kt", "m", "mjs", "php", "pl",
    "py", "rb", "rs", "scala", "sh", "sql", "swift", "ts", "tsx", "vue", "zig",
];

/// What only a header says.
const MARKS: [&str; 7] = [
    "spdx-license-identifier",
    "copyright",
    "licensed under",
    "license, version",
    "permission is hereby granted",
    "all rights reserved",
    "general public license",
];

pub fn is_source(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.')
        .is_some_and(|(stem, extension)| !stem.is_empty() && EXTENSIONS.contains(&extension))
}

pub fn has_header(head: &str) -> bool {
    let head = head.to_lowercase();
    MARKS.iter().any(|mark| head.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_known_by_their_words() {
        assert!(has_header(
            "// SPDX-License-Identifier: Apache-2.0\nfn main() {}"
        ));
        assert!(has_header("#!/bin/sh\n# Copyright 2026 Ada\n"));
        assert!(!has_header("//! Parses licences.\n"));
        assert!(!has_header(""));
    }

    #[test]
    fn only_source_files_need_one() {
        assert!(is_source("src/lib.rs"));
        assert!(!is_source("README.md"));
        assert!(!is_source(".rs"));
        assert!(!is_source("rs"));
    }
}
