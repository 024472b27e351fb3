//! Who may read, write and execute a file that stands for another one: never more than before.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::fs::{Gid, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::sys::Found;
use super::tree::Owner;

/// The access control list of a file, as an extended attribute.
const ACL: &str = "system.posix_acl_access";

/// Names and values of extended attributes are no larger on Linux.
const XATTR_MAX: usize = 64 << 10;

/// Rights of the group, which are those of a mask where there is an access control list.
const GROUP: u32 = 0o070;

/// Rights of everybody else.
const OTHERS: u32 = 0o007;

/// What permission bits are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// A file that its owner shall be able to execute, or not.
    File { executable: bool },
    /// A directory.
    Dir,
}

/// Gives `to`, which stands for `from`, its owner, mode, access control list and other extended attributes. Who cannot
/// be given what they had gets less, and nobody gets more. Set-uid bits and capabilities are for the content they were
/// set on, and are not kept.
///
/// # Errors
/// It would be for more than before: there is an access control list that cannot be given.
pub(super) fn take_over(from: &Found, to: &File, bits: Bits) -> io::Result<()> {
    let meta = from.meta();
    let mode = own(to, meta.uid(), meta.gid(), mode(meta.mode(), bits))?;
    copy_attributes(from, to)?;
    to.set_permissions(Permissions::from_mode(mode))
}

/// Gives `to` what somebody had who is not there any more, as far as it is known.
pub(super) fn restore(owner: &Owner, to: &File, bits: Bits) -> io::Result<()> {
    let mut mode = own(to, owner.user, owner.group, mode(owner.mode, bits))?;
    if owner.listed {
        // Whom the list has let in, and whom it has kept out, is not known.
        mode &= !(GROUP | OTHERS);
    }
    remove_acl(to)?;
    to.set_permissions(Permissions::from_mode(mode))
}

/// Permission bits with those for executing as they shall be: for everybody who may read, or for nobody.
fn mode(before: u32, bits: Bits) -> u32 {
    let Bits::File { executable } = bits else {
        // Set-gid and sticky bits of a directory say what becomes of what is in it.
        return before & 0o3777;
    };
    let before = before & 0o777;
    match (executable, before & 0o100 != 0) {
        (true, true) | (false, false) => before,
        (true, false) => before | 0o100 | (before & 0o444) >> 2,
        (false, true) => before & !0o111,
    }
}

/// Lets it belong to these, as far as whoever asks may do that. Gives `mode` without what would be for others than
/// before.
fn own(to: &File, user: u32, group: u32, mode: u32) -> io::Result<u32> {
    let change = |user, group| match rustix::fs::fchown(to, user, group) {
        // Somebody who is not root cannot give files away, but to groups of theirs.
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        result => result,
    };
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    let mut now = to.metadata()?;
    if (now.uid(), now.gid()) != (user, group) {
        change(Some(uid), Some(gid))?;
        change(None, Some(gid))?;
        now = to.metadata()?;
    }
    Ok(less(mode, now.uid() == user, now.gid() == group))
}

/// Rights that are no more than `mode` where the owner or the group is another one now: who was the owner may be
/// anybody, who was in the group one of the others, and the other way round.
fn less(mode: u32, same_user: bool, same_group: bool) -> u32 {
    let (user, mut group, mut others) = (mode >> 6 & 0o7, mode >> 3 & 0o7, mode & 0o7);
    if !same_group {
        group &= others;
        others = group;
    }
    if !same_user {
        group &= user;
        others &= user;
    }
    mode & !(GROUP | OTHERS) | group << 3 | others
}

/// What is to be known of a thing to give the same to what stands for it when it is gone.
pub(super) fn of(found: &Found) -> Owner {
    let meta = found.meta();
    Owner {
        mode: meta.mode() & 0o7777,
        user: meta.uid(),
        group: meta.gid(),
        listed: has_acl(found),
    }
}

fn has_acl(found: &Found) -> bool {
    let path = format!("/proc/self/fd/{}", found.handle().as_raw_fd());
    let mut none: [u8; 0] = [];
    // Without room for it only its length is told.
    rustix::fs::getxattr(path, ACL, none.as_mut_slice()).is_ok()
}

/// Gives `to` all extended attributes of `from` that whoever asks can see and give.
fn copy_attributes(from: &Found, to: &File) -> io::Result<()> {
    // The handle cannot be read through; its link can.
    let from = format!("/proc/self/fd/{}", from.handle().as_raw_fd());
    remove_acl(to)?;
    let mut names = vec![0; XATTR_MAX];
    let length = match rustix::fs::listxattr(from.as_str(), names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    names.truncate(length);
    let mut value = vec![0; XATTR_MAX];
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && *name != b"security.capability")
    {
        let is_acl = name == ACL.as_bytes();
        let name = std::ffi::OsStr::from_bytes(name);
        let given =
            rustix::fs::getxattr(from.as_str(), name, value.as_mut_slice()).and_then(|length| {
                let value = value.get(..length).unwrap_or_default();
                rustix::fs::fsetxattr(to, name, value, XattrFlags::empty())
            });
        match given {
            // It may say who is kept out: without it, it would be for more than before.
            Err(errno) if is_acl => return Err(errno.into()),
            // Gone since it was listed, or not for us to see or to give: labels of the system are its own.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
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
            let bits = Bits::File { executable };
            assert_eq!(mode(before, bits), after, "{before:o}");
        }
        assert_eq!(mode(0o6750, Bits::Dir), 0o2750);
    }

    #[test]
    fn another_owner_or_group_makes_it_for_nobody_more() {
        for (mode, same_user, same_group, after) in [
            (0o640, true, true, 0o640),
            (0o640, false, true, 0o640),
            (0o640, true, false, 0o600),
            (0o644, true, false, 0o644),
            // The group was kept out, and whoever is of it is one of the others now.
            (0o604, true, false, 0o600),
            (0o066, false, true, 0o000),
            (0o775, false, false, 0o755),
        ] {
            let less = less(mode, same_user, same_group);
            assert_eq!(less, after, "{mode:o} {same_user} {same_group}");
        }
    }
}
