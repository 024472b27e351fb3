//! What a guest writes into files, searched for secrets on its way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::filesystem::FileId;
use crate::egress::secrets::{Guard, Hit, Needle, Scan};
use crate::grants::secrets::Leaks;
use crate::trajectory::search::{Found, Rest};

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

impl Contents {
    pub(super) fn new(guard: Arc<Guard>) -> Contents {
        Contents {
            guard,
            files: Mutex::default(),
        }
    }

    /// Searches one write.
    pub(super) fn search(&self, file: FileId, offset: u64, bytes: &[u8]) -> Option<Found<Rest>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let before = files.get(&file).filter(|written| written.next == offset);
        let scanner = self.guard.scanner();
        let mut scan = before.map_or_else(|| Scan::new(scanner), |written| written.scan.clone());
        let begin = scan.position();
        let mut hits: Vec<Hit> = Vec::new();
        scan.feed(scanner, bytes, &mut |hit| hits.push(hit));
        let mut secrets: Vec<Needle> = Vec::new();
        for needle in hits.iter().filter_map(|hit| scanner.needle(hit.needle)) {
            if !secrets.contains(needle) {
                secrets.push(needle.clone());
            }
        }
        let policy = self.guard.policy();
        let found = (!secrets.is_empty())
            .then(|| Found::by(policy, secrets, Rest(masked(bytes, &hits, begin))));
        if found.is_some() && policy == Leaks::Block {
            // It did not take place: the next one goes on from the one before.
            return found;
        }
        if files.len() >= REMEMBERED && !files.contains_key(&file) {
            files.clear();
        }
        let next = offset.saturating_add(bytes.len() as u64);
        files.insert(file, Written { next, scan });
        found
    }
}

/// Whether `masked` is `bytes` with stars in some places.
pub(super) fn is_masked(masked: &[u8], bytes: &[u8]) -> bool {
    masked.len() == bytes.len()
        && masked
            .iter()
            .zip(bytes)
            .all(|(one, other)| one == other || *one == b'*')
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
    use crate::egress::secrets::{Kind, Scanner};
    use crate::trajectory::audit::LeakAction;

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
            assert_eq!(contents.search(FILE, at, head), None);
            // To another file, and somewhere else: they are not its end.
            assert_eq!(contents.search((1, 3), at, tail), None);
            for _ in 0..2 {
                let found = contents.search(FILE, at + cut as u64, tail).unwrap();
                assert!(found.refusal().is_some(), "{cut}");
                assert_eq!(found.secrets.len(), 1);
            }
            let other = contents.search(FILE, at + cut as u64, b"other");
            assert_eq!(other, None);
        }
    }

    #[test]
    fn what_is_masked_keeps_its_length() {
        let contents = contents(Leaks::Redact);
        let whole = b"a hunter22 b hun";
        let rest = contents.search(FILE, 0, whole).unwrap().rest.unwrap().0;
        assert_eq!(rest, b"a ******** b hun");
        assert!(is_masked(&rest, whole) && !is_masked(&rest, b"b hunter22 b hun"));
        let found = contents.search(FILE, 16, b"ter22 hunter22.").unwrap();
        assert_eq!(found.action, LeakAction::Redacted);
        assert_eq!(found.rest.unwrap().0, b"***** ********.");
    }

    #[test]
    fn a_warning_changes_nothing() {
        let found = contents(Leaks::Warn).search(FILE, 0, b"hunter22").unwrap();
        assert_eq!((found.action, found.rest), (LeakAction::Passed, None));
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
