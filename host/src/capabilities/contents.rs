//! What a guest writes into files, searched for secrets on its way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::filesystem::{Content, FileId};
use crate::egress::secrets::{Guard, Hit, Kind, Needle, Scan};
use crate::grants::secrets::Leaks;
use crate::trajectory::audit::LeakAction;

/// Files whose last write is remembered. A guest that writes to more at a time may cut a secret in two.
const REMEMBERED: usize = 4096;

/// Searches what is written, a secret cut into several writes one after the other included.
pub(super) struct Contents {
    guard: Arc<Guard>,
    files: Mutex<HashMap<FileId, Written>>,
}

struct Written {
    /// Where the next write goes on from here.
    next: u64,
    scan: Scan,
}

/// What was found in a write.
pub(super) struct Found {
    /// What becomes of the write.
    pub(super) content: Content,
    /// What is to be told of.
    pub(super) leaks: Vec<(Needle, LeakAction)>,
}

impl Contents {
    pub(super) fn new(guard: Arc<Guard>) -> Contents {
        Contents {
            guard,
            files: Mutex::default(),
        }
    }

    /// Searches one write.
    pub(super) fn search(&self, file: FileId, offset: u64, bytes: &[u8]) -> Found {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let before = files.get(&file).filter(|written| written.next == offset);
        let scanner = self.guard.scanner();
        let mut scan = before.map_or_else(|| Scan::new(scanner), |written| written.scan.clone());
        let begin = scan.position();
        let mut hits: Vec<Hit> = Vec::new();
        scan.feed(scanner, bytes, &mut |hit| hits.push(hit));
        let mut leaks: Vec<(Needle, LeakAction)> = Vec::new();
        let policy = self.guard.policy();
        for needle in hits.iter().filter_map(|hit| scanner.needle(hit.needle)) {
            let action = match policy {
                Leaks::Block => LeakAction::Blocked,
                Leaks::Redact => LeakAction::Redacted,
                Leaks::Warn => LeakAction::Passed,
            };
            if !leaks.iter().any(|(told, _)| told == needle) {
                leaks.push((needle.clone(), action));
            }
        }
        let content = match (leaks.first(), policy) {
            (None, _) | (_, Leaks::Warn) => Content::Passes,
            (Some((needle, _)), Leaks::Block) => {
                let what = match needle.kind {
                    Kind::Secret => "secret",
                    Kind::Placeholder => "placeholder of the secret",
                };
                // It did not take place: the next one goes on from the one before.
                return Found {
                    content: Content::Refused(format!("it contains the {what} `{}`", needle.name)),
                    leaks,
                };
            }
            (Some(_), Leaks::Redact) => Content::Instead(masked(bytes, &hits, begin)),
        };
        if files.len() >= REMEMBERED && !files.contains_key(&file) {
            files.clear();
        }
        let next = offset.saturating_add(bytes.len() as u64);
        files.insert(file, Written { next, scan });
        Found { content, leaks }
    }
}

/// The bytes with stars where a secret is: a file keeps its length.
fn masked(bytes: &[u8], hits: &[Hit], begin: u64) -> Vec<u8> {
    let mut masked = bytes.to_vec();
    let index = |at: u64| usize::try_from(at.saturating_sub(begin)).unwrap_or(usize::MAX);
    for hit in hits {
        let (start, end) = (index(hit.range.start), index(hit.range.end));
        if let Some(place) = masked.get_mut(start..end.min(bytes.len())) {
            place.fill(b'*');
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::secrets::Scanner;

    fn contents(policy: Leaks) -> Contents {
        let needle = Needle {
            name: "github".into(),
            kind: Kind::Secret,
        };
        let scanner = Scanner::new([(needle, &b"hunter22"[..])]).unwrap();
        Contents::new(Arc::new(Guard::new(scanner, policy)))
    }

    const FILE: FileId = (1, 2);

    #[test]
    fn a_secret_is_found_however_it_is_cut() {
        let contents = contents(Leaks::Block);
        for cut in 1..8 {
            let (head, tail) = b"hunter22".split_at(cut);
            let at = 100 * cut as u64;
            assert_eq!(contents.search(FILE, at, head).content, Content::Passes);
            // To another file, and somewhere else: they are not its end.
            assert_eq!(contents.search((1, 3), at, tail).content, Content::Passes);
            for _ in 0..2 {
                let found = contents.search(FILE, at + cut as u64, tail);
                assert!(matches!(found.content, Content::Refused(_)), "{cut}");
                assert_eq!(found.leaks.len(), 1);
            }
            let other = contents.search(FILE, at + cut as u64, b"other");
            assert_eq!(other.content, Content::Passes);
        }
    }

    #[test]
    fn what_is_masked_keeps_its_length() {
        let contents = contents(Leaks::Redact);
        let found = contents.search(FILE, 0, b"a hunter22 b hun");
        assert_eq!(
            found.content,
            Content::Instead(b"a ******** b hun".to_vec())
        );
        let found = contents.search(FILE, 16, b"ter22 hunter22.");
        assert_eq!(found.content, Content::Instead(b"***** ********.".to_vec()));
        assert_eq!(found.leaks[0].1, LeakAction::Redacted);
    }

    #[test]
    fn a_warning_changes_nothing() {
        let found = contents(Leaks::Warn).search(FILE, 0, b"hunter22");
        assert_eq!(found.content, Content::Passes);
        assert_eq!(found.leaks[0].1, LeakAction::Passed);
    }

    #[test]
    fn many_files_do_not_fill_the_memory() {
        let contents = contents(Leaks::Block);
        for number in 0..2 * REMEMBERED as u64 {
            contents.search((1, number), 0, b"x");
        }
        assert!(contents.files.lock().unwrap().len() <= REMEMBERED);
    }
}
