//! Who may read, write and execute a file that stands for another one: never more than before.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::fs::{Gid, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::sys::Found;

/// The access control list of a file, as an extended attribute.
const ACL: &str = "system.posix_acl_access";

/// Names and values of extended attributes are no larger on Linux.
const XATTR_MAX: usize = 64 << 10;

/// Rights of the group, which are those of a mask where there is an access control list.
const GROUP: u32 = 0o070;

/// Gives `to`, which replaces `from`, its owner, mode, access control list and other extended attributes. What cannot
/// be given is taken from those who would have it otherwise. Set-uid bits and capabilities are for the content they
/// were set on, and are not kept.
pub(super) fn take_over(from: &Found, to: &File, executable: bool) -> io::Result<()> {
    let meta = from.meta();
    let mut mode = mode(meta.mode(), executable);
    if !own(to, meta.uid(), meta.gid())? {
        mode &= !GROUP;
    }
    if !copy_attributes(from, to)? {
        mode &= !GROUP;
    }
    to.set_permissions(Permissions::from_mode(mode))
}

/// Gives `to` the permission bits of a file that is not there any more, and no list of its directory's.
pub(super) fn restrict(to: &File, before: u32, executable: bool) -> io::Result<()> {
    remove_acl(to)?;
    to.set_permissions(Permissions::from_mode(mode(before, executable)))
}

/// Permission bits with those for executing as they shall be: for everybody who may read, or for nobody.
fn mode(before: u32, executable: bool) -> u32 {
    let before = before & 0o777;
    match (executable, before & 0o100 != 0) {
        (true, true) | (false, false) => before,
        (true, false) => before | 0o100 | (before & 0o444) >> 2,
        (false, true) => before & !0o111,
    }
}

/// Whether the file belongs to these now, as far as its group's rights go.
fn own(to: &File, uid: u32, gid: u32) -> io::Result<bool> {
    let now = to.metadata()?;
    if (now.uid(), now.gid()) == (uid, gid) {
        return Ok(true);
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if rustix::fs::fchown(to, Some(user), Some(group)).is_ok() {
        return Ok(true);
    }
    // Somebody who is not root cannot give files away, but to groups of theirs.
    match rustix::fs::fchown(to, None, Some(group)) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL) => Ok(now.gid() == gid),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the access control list is the same now.
fn copy_attributes(from: &Found, to: &File) -> io::Result<bool> {
    // The handle cannot be read through; its link can.
    let from = format!("/proc/self/fd/{}", from.handle().as_raw_fd());
    let mut names = vec![0; XATTR_MAX];
    let length = match rustix::fs::listxattr(from.as_str(), names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(true),
        Err(errno) => return Err(errno.into()),
    };
    names.truncate(length);
    let mut has_acl = false;
    let mut kept = true;
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name == b"security.capability" {
            continue;
        }
        let is_acl = name == ACL.as_bytes();
        has_acl |= is_acl;
        let name = std::ffi::OsStr::from_bytes(name);
        let mut value = vec![0; XATTR_MAX];
        let length = match rustix::fs::getxattr(from.as_str(), name, value.as_mut_slice()) {
            Ok(length) => length,
            // Gone since it was listed, or not for us to see.
            Err(_) if !is_acl => continue,
            Err(_) => {
                kept = false;
                continue;
            }
        };
        value.truncate(length);
        let set = rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty());
        // Labels of the system are its own to give; it has given the new file some.
        kept &= set.is_ok() || !is_acl;
    }
    if !has_acl {
        remove_acl(to)?;
    }
    Ok(kept)
}

/// Takes away a list that was inherited from the directory the file was made in.
fn remove_acl(to: &File) -> io::Result<()> {
    match rustix::fs::fremovexattr(to, ACL) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executing_is_for_those_who_read() {
        for (before, executable, after) in [
            (0o600, false, 0o600),
            (0o640, true, 0o750),
            (0o755, true, 0o755),
            (0o750, false, 0o640),
            (0o4711, true, 0o711),
            (0o464, false, 0o464),
        ] {
            assert_eq!(mode(before, executable), after, "{before:o}");
        }
    }
}
