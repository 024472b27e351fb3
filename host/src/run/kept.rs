//! What a recorded run may change itself, as it was before: kept in its directory, so that the run can be gone
//! on with or forked from there.
//!
//! ```text
//! <run>/start/0/             a copy of a directory; see `capabilities::filesystem::cow`
//!       start/0/guest        where the guest had it
//!       start/files/…/NAME   a single file, under the digest of its path in the guest
//!       start/files/….host   the directory it was in
//!       onward.json          what of the grants leads outside
//!       found-1/…            what was there when it was first gone on with, where that was something else
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::start::StartError;
use super::workspaces::{self, WorkspacesError, at};
use crate::capabilities::filesystem::cow::{CopyLimits, Workspace};
use crate::capabilities::filesystem::{self, open_plain};
use crate::digest::Digest;
use crate::egress::secrets::Guard;
use crate::grants::{Access, DirGrant, FileGrant, Grants, Outside};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

const START: &str = "start";
const ONWARD: &str = "onward.json";

/// Version of `onward.json`.
const FORMAT: &str = "wasm-agent/onward@1";

/// What a run is gone on with that its recording does not have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Around {
    format: String,
    /// The working directory of the run: relative paths of its recording begin there.
    pub base: PathBuf,
    /// What of its grants leads outside.
    pub outside: Outside,
}

impl Around {
    fn of(grants: &Grants) -> Around {
        Around {
            format: FORMAT.to_owned(),
            base: std::env::current_dir().unwrap_or_default(),
            outside: grants.outside(),
        }
    }

    /// Reads it from the directory of a run.
    ///
    /// # Errors
    ///
    /// It is not there, or of another version.
    pub fn read(run: &Path) -> Result<Around, WorkspacesError> {
        let path = run.join(ONWARD);
        let bytes = fs::read(&path).map_err(at("read", &path))?;
        let around: Around = serde_json::from_slice(&bytes)
            .map_err(|error| at("read", &path)(io::Error::other(error)))?;
        if around.format != FORMAT {
            let reason = format!(
                "it has the format `{}`, this host reads `{FORMAT}`",
                around.format
            );
            return Err(at("read", &path)(io::Error::other(reason)));
        }
        Ok(around)
    }
}

/// Keeps what a run may change, as it is or as it was kept `before`, and what it takes to go on with it. Blocks
/// for as long as copying takes.
///
/// # Errors
///
/// A directory is too large or cannot be copied, or the value of a secret stands in what is granted.
pub(super) fn keep(
    run: &Path,
    before: Option<&Kept>,
    grants: &Grants,
    guard: Option<&Arc<Guard>>,
) -> Result<(), StartError> {
    let around = serde_json::to_string(&Around::of(grants)).unwrap_or_default();
    if guard.is_some_and(|guard| guard.redact_secrets(&around).is_some()) {
        return Err(StartError::SecretGiven);
    }
    let start = run.join(START);
    fs::create_dir_all(&start).map_err(at("make", &start))?;
    let limits = CopyLimits::default();
    let of = |dir: &DirGrant| before.and_then(|kept| kept.dir(&dir.guest));
    let dirs = grants.dirs.iter();
    let dirs = dirs.filter(|dir| dir.access == Access::ReadWrite || of(dir).is_some());
    for (index, dir) in dirs.enumerate() {
        let folder = start.join(index.to_string());
        let source = of(dir).unwrap_or_else(|| dir.host.clone());
        Workspace::prepare_from(&source, &dir.host, &folder, &limits, &grants.withheld)
            .map_err(WorkspacesError::from)?;
        let name = folder.join("guest");
        fs::write(&name, &dir.guest).map_err(at("write", &name))?;
    }
    for file in writable_files(grants) {
        let kept = place_of(&start, file);
        if let Some(folder) = kept.parent() {
            fs::create_dir_all(folder).map_err(at("make", folder))?;
        }
        copy_plain(&file.host_path(), &kept)?;
        let place = host_of(&start, file);
        fs::write(&place, file.host.as_os_str().as_bytes()).map_err(at("write", &place))?;
    }
    let path = run.join(ONWARD);
    let mut options = File::options();
    options.write(true).create_new(true);
    // Variables of tool servers are in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&path)
        .and_then(|mut file| file.write_all(around.as_bytes()));
    Ok(written.map_err(at("write", &path))?)
}

fn writable(grants: &Grants) -> impl Iterator<Item = &DirGrant> {
    let dirs = grants.dirs.iter();
    dirs.filter(|dir| dir.access == Access::ReadWrite)
}

fn writable_files(grants: &Grants) -> impl Iterator<Item = &FileGrant> {
    let files = grants.files.iter();
    files.filter(|file| file.access == Access::ReadWrite)
}

fn place_of(start: &Path, file: &FileGrant) -> PathBuf {
    let folder = Digest::of(file.guest.as_bytes()).hex();
    start.join("files").join(folder).join(&file.name)
}

/// Where it is written down which directory a file was in.
fn host_of(start: &Path, file: &FileGrant) -> PathBuf {
    let folder = Digest::of(file.guest.as_bytes()).hex();
    start.join("files").join(format!("{folder}.host"))
}

/// Copies a file as it stands at its path; where a link leads is not the file that was granted.
pub(super) fn copy_plain(from: &Path, to: &Path) -> Result<(), WorkspacesError> {
    let failed = || at("copy", from);
    let mut file = open_plain(from, &filesystem::Access::ReadOnly).map_err(failed())?;
    let mut copy = File::create(to).map_err(at("write", to))?;
    io::copy(&mut file, &mut copy).map_err(failed())?;
    let permissions = file.metadata().map_err(failed())?.permissions();
    copy.set_permissions(permissions).map_err(at("write", to))
}

/// What was kept of a run.
#[derive(Clone, Debug)]
pub struct Kept {
    run: PathBuf,
    /// By path in the guest.
    dirs: Vec<(String, Arc<Workspace>)>,
}

impl Kept {
    /// Looks for it in the directory of a run.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn open(run: &Path) -> Result<Kept, WorkspacesError> {
        let mut dirs = Vec::new();
        loop {
            let folder = run.join(START).join(dirs.len().to_string());
            let name = folder.join("guest");
            if !name.is_file() {
                break;
            }
            let guest = fs::read_to_string(&name).map_err(at("read", &name))?;
            dirs.push((guest, Arc::new(Workspace::open(&folder)?)));
        }
        Ok(Kept {
            run: run.to_owned(),
            dirs,
        })
    }

    /// What a directory of the guest was like, where it was kept.
    #[must_use]
    pub fn dir(&self, guest: &str) -> Option<PathBuf> {
        Some(self.workspace(guest)?.tree())
    }

    fn workspace(&self, guest: &str) -> Option<&Workspace> {
        let (_, workspace) = self.dirs.iter().find(|(name, _)| name == guest)?;
        Some(workspace)
    }

    /// What a single file was like, where it was kept.
    #[must_use]
    pub fn file(&self, file: &FileGrant) -> Option<PathBuf> {
        Some(place_of(&self.run.join(START), file)).filter(|path| path.is_file())
    }

    /// Refuses directories and files that lie elsewhere than those of the run: a link that was put in the place of one
    /// leads to what nobody granted. `placed` knows those that the operator has said the place of.
    ///
    /// # Errors
    ///
    /// One of them lies elsewhere.
    pub(super) fn is_where_it_was(
        &self,
        grants: &Grants,
        placed: impl Fn(&str) -> bool,
    ) -> Result<(), WorkspacesError> {
        let same = |now: PathBuf, then: PathBuf| match now == then || down(Wall::ApplyPlace) {
            true => Ok(()),
            false => Err(WorkspacesError::Moved { now, then }),
        };
        for dir in grants.dirs.iter().filter(|dir| !placed(&dir.guest)) {
            if let Some(then) = self.workspace(&dir.guest) {
                same(dir.host.clone(), then.host().to_owned())?;
            }
        }
        let start = self.run.join(START);
        for file in writable_files(grants).filter(|file| !placed(&file.guest_path())) {
            if let Ok(then) = fs::read(host_of(&start, file)) {
                same(file.host.clone(), PathBuf::from(OsString::from_vec(then)))?;
            }
        }
        Ok(())
    }

    /// Undoes what is left of putting things back that was cut off.
    fn recover(&self) -> Result<(), WorkspacesError> {
        for found in self.found_before() {
            let folders = (0..).map(|index: usize| found.join(index.to_string()));
            for folder in folders.take_while(|folder| folder.is_dir()) {
                if Workspace::is_cut_off(&folder) {
                    Workspace::open(&folder)?.recover()?;
                }
            }
        }
        Ok(())
    }

    /// Makes directories and files what they were before the run. What was there instead is kept in the
    /// directory of the run. Blocks. Returns how many paths were put back.
    ///
    /// # Errors
    ///
    /// A directory cannot be copied, or somebody changes it right now; it is left as it was then.
    pub(super) fn put_back(&self, grants: &Grants) -> Result<usize, WorkspacesError> {
        self.recover()?;
        let limits = CopyLimits::default();
        let found = self.next_found();
        let mut put_back = 0;
        for (index, dir) in writable(grants).enumerate() {
            let Some(then) = self.workspace(&dir.guest) else {
                continue;
            };
            fs::create_dir_all(&found).map_err(at("make", &found))?;
            let folder = found.join(index.to_string());
            // Nothing of it is bounded: it is what the operator had.
            let was = Workspace::prepare(&dir.host, &folder, &limits, &grants.withheld)?
                .bounded(&workspaces::protection_of(dir, grants), None)?;
            let paths = was.turn_into(then)?.paths.len();
            put_back += paths;
            if paths == 0 {
                was.discard()?;
            }
        }
        for file in writable_files(grants) {
            let Some(kept) = self.file(file) else {
                continue;
            };
            let host = file.host_path();
            let mut now = Vec::new();
            open_plain(&host, &filesystem::Access::ReadOnly)
                .and_then(|mut file| file.read_to_end(&mut now))
                .map_err(at("read", &host))?;
            let then = fs::read(&kept).map_err(at("read", &kept))?;
            if now == then {
                continue;
            }
            let aside = place_of(&found, file);
            if let Some(folder) = aside.parent() {
                fs::create_dir_all(folder).map_err(at("make", folder))?;
            }
            copy_plain(&host, &aside)?;
            // In place: it keeps its owner, its permissions and its other names.
            open_plain(&host, &filesystem::Access::ReadWrite)
                .and_then(|mut file| file.set_len(0).and_then(|()| file.write_all(&then)))
                .map_err(at("write", &host))?;
            put_back += 1;
        }
        if put_back == 0 {
            // Nothing was set aside: an empty folder would say otherwise.
            let _ = fs::remove_dir(&found);
        }
        Ok(put_back)
    }

    /// Where things were set aside before.
    fn found_before(&self) -> impl Iterator<Item = PathBuf> {
        self.founds().take_while(|found| found.exists())
    }

    fn next_found(&self) -> PathBuf {
        let first = || self.run.join("found-1");
        self.founds()
            .find(|found| !found.exists())
            .unwrap_or_else(first)
    }

    fn founds(&self) -> impl Iterator<Item = PathBuf> {
        (1_u32..).map(|number| self.run.join(format!("found-{number}")))
    }
}
