//! Counting the words of text files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Files that are counted, folders deep, and bytes of each.
const MAX_FILES: u64 = 10_000;
const MAX_DEPTH: u32 = 32;
const MAX_BYTES: u64 = 1 << 20;

/// What was counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub files: u64,
    pub words: u64,
}

/// Counts the words of every text file below a folder. A folder that is not granted has none.
pub fn count(folder: &Path) -> Counted {
    let mut counted = Counted::default();
    visit(folder, 0, &mut counted);
    counted
}

fn visit(folder: &Path, depth: u32, counted: &mut Counted) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if counted.files == MAX_FILES {
            return;
        }
        // The kind of the entry itself: links are not followed.
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && depth < MAX_DEPTH {
            visit(&entry.path(), depth + 1, counted);
        } else if kind.is_file()
            && let Some(words) = words(&entry.path())
        {
            counted.files += 1;
            counted.words += words;
        }
    }
}

/// The words of a file; none when it is not text.
fn words(path: &Path) -> Option<u64> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = (!bytes.contains(&0)).then(|| String::from_utf8_lossy(&bytes))?;
    Some(text.split_whitespace().count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_files_at_any_depth_count() {
        let root = std::env::temp_dir().join(format!("stdio-agent-{}", std::process::id()));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("a.txt"), "one two\nthree").unwrap();
        fs::write(root.join("sub/b.txt"), "four").unwrap();
        fs::write(root.join("binary"), "five\0").unwrap();
        let counted = count(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(counted, Counted { files: 2, words: 4 });
    }
}
