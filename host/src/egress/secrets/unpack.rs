//! Looking into what is compressed: gzip, zlib and deflate, one within the other as often as HTTP's own words for it are
//! looked through.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use super::scan::{Needle, Scan, Scanner};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Most bytes that are unpacked of one layer to look into them; what comes after is not looked at. Whoever goes to such
/// lengths has simpler ways to disguise a secret.
const MAX_UNPACKED: u64 = 64 << 20;

/// How many encodings of one body are looked through. A body that declares more is refused: nobody needs it, and each
/// one multiplies the work.
const LAYERS: usize = 2;

/// Looks into a compressed stream while it passes.
pub(super) struct Unpacking {
    packed: Packed,
    /// What is declared or found beneath it.
    inner: Inner,
}

enum Inner {
    /// It is not looked for.
    None,
    /// The beginning, until it can be seen whether it is compressed itself; and what it is declared to be.
    Begins {
        head: Vec<u8>,
        encodings: Vec<String>,
    },
    Packed(Box<Unpacking>),
}

enum Packed {
    Gzip(MultiGzDecoder<Unpacked>),
    Zlib(ZlibDecoder<Unpacked>),
    Deflate(DeflateDecoder<Unpacked>),
    /// It was not what it seemed to be, or is over.
    Done,
}

/// What has been unpacked and waits to be searched.
#[derive(Default)]
struct Unpacked {
    bytes: Vec<u8>,
    scan: Option<Scan>,
    total: u64,
}

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpacked {
    fn search(&mut self, scanner: &Scanner) -> Option<Needle> {
        let mut first = None;
        let scan = self.scan.get_or_insert_with(|| Scan::new(scanner));
        scan.feed(scanner, &self.bytes, &mut |hit| {
            first = first.or(Some(hit.needle));
        });
        self.total += self.bytes.len() as u64;
        scanner.needle(first?).cloned()
    }
}

impl Unpacking {
    /// For a stream that begins with `head`, by its encodings (outermost first) or what it looks like.
    pub(super) fn of(head: &[u8], encodings: &[String]) -> Option<Unpacking> {
        let layers = if down(Wall::SecretNested) { 1 } else { LAYERS };
        Unpacking::layer(head, encodings, layers)
    }

    fn layer(head: &[u8], encodings: &[String], layers: usize) -> Option<Unpacking> {
        if layers == 0 || down(Wall::SecretGzip) {
            return None;
        }
        let packed = match (encodings.first().map(String::as_str), head) {
            (_, [0x1f, 0x8b, ..]) => Packed::Gzip(MultiGzDecoder::new(Unpacked::default())),
            (_, [cmf, flags, ..])
                if cmf & 0x8f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0 =>
            {
                Packed::Zlib(ZlibDecoder::new(Unpacked::default()))
            }
            // What is called deflate is zlib, or not.
            (Some("deflate"), _) => Packed::Deflate(DeflateDecoder::new(Unpacked::default())),
            _ => return None,
        };
        let inner = match layers {
            1 => Inner::None,
            _ => Inner::Begins {
                head: Vec::new(),
                encodings: encodings.get(1..).unwrap_or_default().to_vec(),
            },
        };
        Some(Unpacking { packed, inner })
    }

    /// Takes the next compressed bytes; the first thing found.
    pub(super) fn feed(&mut self, scanner: &Scanner, bytes: &[u8]) -> Option<Needle> {
        // A few at a time: a small piece can become a thousand times as large.
        for piece in bytes.chunks(4 << 10) {
            // Flushed, because nobody asks for the end of a body whose length is known.
            let written = match &mut self.packed {
                Packed::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                Packed::Zlib(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                Packed::Deflate(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                Packed::Done => return None,
            };
            let found = self.search(scanner);
            if written.is_err() || self.total() > MAX_UNPACKED {
                self.packed = Packed::Done;
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The end of the stream; what is found in the last of it.
    pub(super) fn finish(&mut self, scanner: &Scanner) -> Option<Needle> {
        // What is missing of the stream is missing for its reader, too.
        match &mut self.packed {
            Packed::Gzip(decoder) => drop(decoder.try_finish()),
            Packed::Zlib(decoder) => drop(decoder.try_finish()),
            Packed::Deflate(decoder) => drop(decoder.try_finish()),
            Packed::Done => {}
        }
        let found = self.search(scanner);
        match &mut self.inner {
            Inner::Packed(inner) => found.or_else(|| inner.finish(scanner)),
            Inner::None | Inner::Begins { .. } => found,
        }
    }

    fn unpacked(&mut self) -> Option<&mut Unpacked> {
        match &mut self.packed {
            Packed::Gzip(decoder) => Some(decoder.get_mut()),
            Packed::Zlib(decoder) => Some(decoder.get_mut()),
            Packed::Deflate(decoder) => Some(decoder.get_mut()),
            Packed::Done => None,
        }
    }

    /// Searches what has been unpacked, and what is packed in it.
    fn search(&mut self, scanner: &Scanner) -> Option<Needle> {
        let unpacked = self.unpacked()?;
        let found = unpacked.search(scanner);
        let bytes = std::mem::take(&mut unpacked.bytes);
        let deeper = self.inner.feed(scanner, &bytes);
        // The space is used again.
        if let Some(unpacked) = self.unpacked() {
            unpacked.bytes = bytes;
            unpacked.bytes.clear();
        }
        found.or(deeper)
    }

    fn total(&mut self) -> u64 {
        self.unpacked().map_or(0, |unpacked| unpacked.total)
    }
}

impl Inner {
    fn feed(&mut self, scanner: &Scanner, bytes: &[u8]) -> Option<Needle> {
        if let Inner::Begins { head, encodings } = self {
            let early = head.len();
            head.extend(bytes.iter().take(2));
            if head.len() < 2 {
                return None;
            }
            let Some(mut inner) = Unpacking::layer(head, encodings, 1) else {
                *self = Inner::None;
                return None;
            };
            let found = inner.feed(scanner, head.get(..early).unwrap_or_default());
            *self = Inner::Packed(Box::new(inner));
            if found.is_some() {
                return found;
            }
        }
        match self {
            Inner::Packed(inner) => inner.feed(scanner, bytes),
            Inner::None | Inner::Begins { .. } => None,
        }
    }
}

/// The encodings that headers declare of a body, outermost first; nothing when they are more than are looked through.
pub(super) fn declared(headers: &HeaderMap) -> Option<Vec<String>> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let text: Vec<String> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
        .collect();
    let mut encodings: Vec<String> = text
        .iter()
        .flat_map(|text| text.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !matches!(name.as_str(), "" | "identity"))
        .collect();
    // The last one was applied last.
    encodings.reverse();
    (encodings.len() <= LAYERS || down(Wall::SecretNested)).then_some(encodings)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use proptest::prelude::*;

    use super::super::scan::Kind;
    use super::*;

    fn scanner() -> Scanner {
        let needle = Needle {
            name: "github".into(),
            kind: Kind::Secret,
        };
        Scanner::new([(needle, &b"hunter22"[..])]).unwrap()
    }

    fn packed(text: &[u8]) -> [Vec<u8>; 3] {
        fn filled<W: Write>(mut writer: W, text: &[u8]) -> W {
            writer.write_all(text).unwrap();
            writer
        }
        use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
        let level = Compression::default;
        [
            filled(GzEncoder::new(Vec::new(), level()), text)
                .finish()
                .unwrap(),
            filled(ZlibEncoder::new(Vec::new(), level()), text)
                .finish()
                .unwrap(),
            filled(DeflateEncoder::new(Vec::new(), level()), text)
                .finish()
                .unwrap(),
        ]
    }

    /// What is found in pieces of `size` bytes.
    fn found(bytes: &[u8], encodings: &[&str], size: usize) -> bool {
        let scanner = scanner();
        let encodings: Vec<String> = encodings.iter().map(|&it| it.to_owned()).collect();
        let Some(mut unpacking) = Unpacking::of(bytes, &encodings) else {
            return false;
        };
        let mut pieces = bytes.chunks(size);
        pieces.any(|piece| unpacking.feed(&scanner, piece).is_some())
            || unpacking.finish(&scanner).is_some()
    }

    fn text() -> Vec<u8> {
        let text = format!(
            "{}hunter22{}",
            "some text ".repeat(5000),
            "more ".repeat(5000)
        );
        text.into_bytes()
    }

    #[test]
    fn one_and_two_layers_are_looked_into() {
        let [gzip, zlib, deflate] = packed(&text());
        for size in [1, 7, 100_000] {
            assert!(found(&gzip, &[], size) && found(&zlib, &[], size));
            assert!(found(&deflate, &["deflate"], size));
            for outer in packed(&gzip)
                .iter()
                .take(2)
                .chain(packed(&zlib).iter().take(2))
            {
                assert!(found(outer, &[], size));
            }
            let [gzip_of_deflate, _, deflate_of_deflate] = packed(&deflate);
            assert!(found(&gzip_of_deflate, &["gzip", "deflate"], size));
            assert!(found(&deflate_of_deflate, &["deflate", "deflate"], size));
        }
        let [twice, ..] = packed(&gzip);
        let [thrice, ..] = packed(&twice);
        assert!(
            !found(&thrice, &[], 100),
            "what is not declared is looked through as often"
        );
    }

    #[test]
    fn what_grows_too_large_is_given_up() {
        let scanner = scanner();
        let [bytes, ..] = packed(&vec![b'0'; 5 << 20]);
        let mut unpacking = Unpacking::of(&bytes, &[]).unwrap();
        unpacking.unpacked().unwrap().total = MAX_UNPACKED - (1 << 20);
        assert_eq!(unpacking.feed(&scanner, &bytes), None);
        assert!(unpacking.unpacked().is_none());
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        let declare = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            declared(&headers)
        };
        let list = |names: &[&str]| Some(names.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
        assert_eq!(declare(&[]), list(&[]));
        assert_eq!(declare(&["GZIP , deflate"]), list(&["deflate", "gzip"]));
        assert_eq!(
            declare(&["gzip", "identity,, gzip"]),
            list(&["gzip", "gzip"])
        );
        assert_eq!(declare(&["gzip, gzip", "gzip"]), None);
        assert_eq!(declare(&["br"]), list(&["br"]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..50) {
            found(&bytes, &["deflate", "deflate"], size);
            let [gzip, ..] = packed(&bytes);
            found(&gzip, &["gzip", "deflate"], size);
            found(&[&[0x1f, 0x8b, 8, 0], &bytes[..]].concat(), &[], size);
        }
    }
}
