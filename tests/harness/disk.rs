//! A file system with little room.

use std::path::PathBuf;
use std::process::Command;

/// A file system in memory; unmounted when dropped, also by a test that fails.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one with these options of tmpfs. Nothing when this user may not.
    pub(crate) fn mount(at: &str, options: &str) -> Option<SmallDisk> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs", at])
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| SmallDisk(at.into()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A panic here would hide the one that a failing test ends with.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
