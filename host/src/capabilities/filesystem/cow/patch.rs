//! A difference as a patch in git's format.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use similar::TextDiff;

use super::super::effort::Effort;
use super::super::sys;
use super::delta::{Delta, Item, PathDelta};
use super::{CowError, at};
use crate::digest::Digest;

/// Files up to this size are compared line by line; larger ones are shown like binary ones.
const TEXT_MAX: u64 = 4 << 20;

/// How long two files are compared for the shortest difference. After that a longer one has to do: a guest
/// can write two files for which the shortest one takes hours.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn write(
    host: &Path,
    copy: &Path,
    delta: &Delta,
    effort: &Effort,
    out: &mut dyn Write,
) -> Result<(), CowError> {
    let before = File::open(host).map_err(at("read", host))?;
    let after = File::open(copy).map_err(at("read", copy))?;
    for entry in &delta.paths {
        write_path(&before, &after, entry, effort, out)
            .map_err(at("show", &copy.join(&entry.path)))?;
    }
    if delta.unread > 0 {
        let unread = delta.unread;
        writeln!(
            out,
            "# {unread} files were too much to read, and are not compared"
        )
        .map_err(at("show", copy))?;
    }
    Ok(())
}

fn write_path(
    before: &File,
    after: &File,
    entry: &PathDelta,
    effort: &Effort,
    out: &mut dyn Write,
) -> io::Result<()> {
    let path = &entry.path;
    let (old, new) = (
        side(before, path, entry.before.as_ref(), effort)?,
        side(after, path, entry.after.as_ref(), effort)?,
    );
    match (old, new) {
        (Side::Nothing, Side::Nothing) => Ok(()),
        (Side::Unknown, _) | (_, Side::Unknown) => {
            let path = quote("", path);
            writeln!(
                out,
                "# {path} was changed on the host meanwhile, or not read, and cannot be shown"
            )
        }
        (old, new)
            if old
                .mode()
                .zip(new.mode())
                .is_some_and(|(a, b)| kind(a) != kind(b)) =>
        {
            // Git shows another kind of thing as one deleted and one created.
            write_change(path, &old, &Side::Nothing, effort, out)?;
            write_change(path, &Side::Nothing, &new, effort, out)
        }
        (old, new) => write_change(path, &old, &new, effort, out),
    }
}

fn kind(mode: &str) -> &str {
    mode.get(..3).unwrap_or(mode)
}

/// What is to be shown of one side of a difference.
enum Side {
    Nothing,
    Unknown,
    Content {
        mode: &'static str,
        bytes: Vec<u8>,
    },
    /// Too large to be shown.
    Large {
        mode: &'static str,
        size: u64,
        digest: Option<Digest>,
    },
}

impl Side {
    fn mode(&self) -> Option<&'static str> {
        match self {
            Side::Nothing | Side::Unknown => None,
            Side::Content { mode, .. } | Side::Large { mode, .. } => Some(mode),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Side::Content { bytes, .. } => bytes,
            Side::Nothing | Side::Unknown | Side::Large { .. } => &[],
        }
    }
}

/// Directories are nothing: git knows them by what is in them.
fn side(root: &File, path: &str, item: Option<&Item>, effort: &Effort) -> io::Result<Side> {
    Ok(match item {
        None | Some(Item::Dir) => Side::Nothing,
        Some(Item::Symlink { target }) => Side::Content {
            mode: "120000",
            bytes: target.clone().into_bytes(),
        },
        Some(Item::File { digest: None, .. }) => Side::Unknown,
        Some(Item::File {
            digest: Some(digest),
            executable,
        }) => {
            let mode = if *executable { "100755" } else { "100644" };
            let Ok(found) = sys::find_plain(root, path) else {
                return Ok(Side::Unknown);
            };
            if found.size() > TEXT_MAX || !effort.take(found.size()) {
                let (size, digest) = (found.size(), Some(*digest));
                return Ok(Side::Large { mode, size, digest });
            }
            let mut bytes = Vec::new();
            let file = found.reopen(OFlags::RDONLY)?;
            file.take(TEXT_MAX).read_to_end(&mut bytes)?;
            if Digest::of(&bytes) != *digest {
                return Ok(Side::Unknown);
            }
            Side::Content { mode, bytes }
        }
    })
}

fn write_change(
    path: &str,
    old: &Side,
    new: &Side,
    effort: &Effort,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (a, b) = (quote("a/", path), quote("b/", path));
    writeln!(out, "diff --git {a} {b}")?;
    match (old.mode(), new.mode()) {
        (None, Some(mode)) => writeln!(out, "new file mode {mode}")?,
        (Some(mode), None) => writeln!(out, "deleted file mode {mode}")?,
        (Some(from), Some(to)) if from != to => {
            writeln!(out, "old mode {from}\nnew mode {to}")?;
        }
        _ => {}
    }
    if let Side::Large { size, digest, .. } = new {
        let digest = digest.map_or_else(String::new, |digest| format!(", {digest}"));
        return writeln!(out, "# {b} is too large to be shown: {size} bytes{digest}");
    }
    if let Side::Large { .. } = old {
        return writeln!(out, "# {a} was too large to be shown");
    }
    let (before, after) = (old.bytes(), new.bytes());
    if before == after {
        return Ok(());
    }
    let text = |bytes| {
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))
    };
    let (Some(before), Some(after)) = (text(before), text(after)) else {
        writeln!(out, "index {}..{}", object(old), object(new))?;
        return binary::write(before, after, out);
    };
    let none = "/dev/null".to_owned();
    let from = if old.mode().is_some() {
        a
    } else {
        none.clone()
    };
    let to = if new.mode().is_some() { b } else { none };
    let patience = effort.left().map_or(PATIENCE, |left| left.min(PATIENCE));
    let diff = TextDiff::configure()
        .timeout(patience)
        .diff_lines(before, after);
    write!(out, "{}", diff.unified_diff().header(&from, &to))
}

/// The name of a content to git, which takes no binary difference without it.
fn object(side: &Side) -> String {
    use sha1::{Digest as _, Sha1};
    let Side::Content { bytes, .. } = side else {
        return "0".repeat(40);
    };
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name as git writes it. Names with control characters are quoted: one with a line break could
/// otherwise pass for lines of the patch.
fn quote(prefix: &str, path: &str) -> String {
    let plain = |c: char| !c.is_control() && c.is_ascii() && c != '"' && c != '\\';
    if path.chars().all(plain) {
        // Git ends a name with a space in it by a tab where it matters; quoting is always understood.
        if !path.contains(' ') {
            return format!("{prefix}{path}");
        }
    }
    let mut quoted = format!("\"{prefix}");
    for byte in path.bytes() {
        match byte {
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            0x20..=0x7e => quoted.push(char::from(byte)),
            byte => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Git's form of a binary difference: both contents, deflated, in base 85.
mod binary {
    use std::io::{self, Write};

    /// Git's alphabet, in order of value.
    const DIGITS: &[u8; 85] =
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

    pub(super) fn write(before: &[u8], after: &[u8], out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "GIT binary patch")?;
        literal(after, out)?;
        literal(before, out)
    }

    fn literal(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "literal {}", bytes.len())?;
        for line in deflate_stored(bytes).chunks(52) {
            // `A` to `Z` are 1 to 26 bytes in a line, `a` to `z` 27 to 52.
            let length = u8::try_from(line.len()).unwrap_or(52);
            let letter = match length {
                1..=26 => b'A' + (length - 1),
                _ => b'a' + (length - 27),
            };
            let mut text = vec![letter];
            for group in line.chunks(4) {
                let mut padded = [0; 4];
                for (to, from) in padded.iter_mut().zip(group) {
                    *to = *from;
                }
                let mut value = u32::from_be_bytes(padded);
                let mut digits = [0; 5];
                for digit in digits.iter_mut().rev() {
                    let index = usize::try_from(value % 85).unwrap_or(0);
                    *digit = DIGITS.get(index).copied().unwrap_or(b'0');
                    value /= 85;
                }
                text.extend(digits);
            }
            text.push(b'\n');
            out.write_all(&text)?;
        }
        writeln!(out)
    }

    /// A zlib stream that stores instead of compressing: a reviewer needs the format, not the size.
    fn deflate_stored(bytes: &[u8]) -> Vec<u8> {
        let mut stream = vec![0x78, 0x01];
        let mut blocks = bytes.chunks(0xffff).peekable();
        if blocks.peek().is_none() {
            stream.extend([1, 0, 0, 0xff, 0xff]);
        }
        while let Some(block) = blocks.next() {
            stream.push(u8::from(blocks.peek().is_none()));
            let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
            stream.extend(length.to_le_bytes());
            stream.extend((!length).to_le_bytes());
            stream.extend(block);
        }
        stream.extend(adler32(bytes).to_be_bytes());
        stream
    }

    fn adler32(bytes: &[u8]) -> u32 {
        let (mut a, mut b) = (1_u32, 0_u32);
        // As many as can be added before the sums overflow.
        for chunk in bytes.chunks(5552) {
            for byte in chunk {
                a += u32::from(*byte);
                b += a;
            }
            a %= 65_521;
            b %= 65_521;
        }
        b << 16 | a
    }
}
