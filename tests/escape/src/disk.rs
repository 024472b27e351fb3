//! The calls of `wasi:filesystem`, a little shorter.

use wasip2::filesystem::preopens::get_directories;
pub use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

pub const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
pub const KEEP: PathFlags = PathFlags::empty();
pub const NONE: OpenFlags = OpenFlags::empty();

/// The granted directory at `path`. Not being granted it is a mistake of the case.
pub fn dir(path: &str) -> Descriptor {
    get_directories()
        .into_iter()
        .find(|(_, name)| name == path)
        .expect("granted for this case")
        .0
}

/// Opens for reading.
pub fn open(dir: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    dir.open_at(FOLLOW, path, NONE, DescriptorFlags::READ)
}

/// Opens a directory.
pub fn open_dir(dir: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    dir.open_at(FOLLOW, path, OpenFlags::DIRECTORY, DescriptorFlags::READ)
}

/// Opens for writing, creating it where it is not there.
pub fn create(dir: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    dir.open_at(
        FOLLOW,
        path,
        OpenFlags::CREATE,
        DescriptorFlags::READ | DescriptorFlags::WRITE,
    )
}

/// Reads a file of at most 64 KiB.
pub fn read(dir: &Descriptor, path: &str) -> Result<String, ErrorCode> {
    let (bytes, _) = open(dir, path)?.read(64 << 10, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file, creating it where it is not there.
pub fn write(dir: &Descriptor, path: &str, text: &str) -> Result<(), ErrorCode> {
    let file = create(dir, path)?;
    file.write(text.as_bytes(), 0).map(drop)
}
