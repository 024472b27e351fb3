//! What of the granted directories is used: told where a path has been found and may be used.

use std::borrow::Cow;

use wasmtime_wasi::p2::bindings::filesystem::types;

use super::disk::Disk;
use super::place::Place;
use super::resolve::Dir;
use super::sys::Links;
use crate::trajectory::Touch;

impl Disk {
    /// Tells of the use of a path of the guest's; whether it is the first of its kind. A path that is written
    /// in its shortest form, and was used like that before, costs one look-up.
    pub(super) fn touched(&self, from: &Dir, path: &str, touch: Touch) -> bool {
        let Some(root) = self.roots.get(from.mount) else {
            return false;
        };
        let path = written(&from.at, path);
        self.observer.touched(&root.guest, &path, touch)
    }

    /// Tells of the use of a path that leads to `place`: under that name, too, if it is another one.
    pub(super) fn touched_at(&self, from: &Dir, path: &str, place: &Place, touch: Touch) {
        if self.touched(from, path, touch) {
            self.compare(from, path, place, touch);
        }
    }

    /// Tells of a path that was looked at.
    pub(super) fn looked(
        &self,
        from: &Dir,
        path: &str,
        links: Links,
        kind: Result<types::DescriptorType, types::ErrorCode>,
    ) {
        let touch = match kind {
            Ok(types::DescriptorType::Directory) => Touch::Folder,
            Ok(_) => Touch::Seen,
            Err(types::ErrorCode::NoEntry) => Touch::Missing,
            Err(_) => return,
        };
        if self.touched(from, path, touch)
            && touch != Touch::Missing
            && let Ok(found) = self.find(from, path, links)
            && let Ok(place) = self.place(from.mount, found.handle())
        {
            self.compare(from, path, &place, touch);
        }
    }

    fn compare(&self, from: &Dir, path: &str, place: &Place, touch: Touch) {
        let real = place.rel.to_string_lossy();
        if let Some(root) = self.roots.get(from.mount)
            && real != written(&from.at, path)
        {
            self.observer.touched(&root.guest, "", Touch::Link);
            self.observer.touched(&root.guest, &real, touch);
        }
    }
}

/// `path`, from the directory at `at`, without `.`, `..` and needless slashes, as if there were no links.
fn written<'a>(at: &str, path: &'a str) -> Cow<'a, str> {
    let plain = |name: &str| !matches!(name, "" | "." | "..");
    if at.is_empty() && path.split('/').all(plain) {
        return path.into();
    }
    let mut names: Vec<&str> = Vec::new();
    for name in at.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for (at, path, one) in [
            ("", "a/b", "a/b"),
            ("", ".", ""),
            ("", "./a//b/", "a/b"),
            ("", "a/../b/.", "b"),
            ("x/y", "a", "x/y/a"),
            ("x/y", "../a", "x/a"),
            ("x", "../..", ""),
        ] {
            assert_eq!(written(at, path), one, "{at} {path}");
        }
        let path = String::from("a/b");
        assert!(matches!(written("", &path), Cow::Borrowed(_)), "no copy");
    }
}
