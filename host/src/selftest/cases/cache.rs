//! Compiled code somebody else has put in the place of ours.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::super::case::{Case, Trying, Verdict, host};
use super::super::component::{Parts, command, module};
use super::super::setup::{Dirs, Setup};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::engine::Cache;
use crate::run::Ended;

pub(super) const CASES: &[Case] = &[
    host(
        "cache-twin",
        Wall::CacheMac,
        "CWE-345",
        "Code of another component under our key, with a MAC that is none, is not run.",
        twin,
    ),
    host(
        "cache-flipped",
        Wall::CacheMac,
        "CWE-354",
        "A bit that has changed makes an entry be compiled anew.",
        flipped,
    ),
    host(
        "cache-renamed",
        Wall::CacheMac,
        "CWE-345",
        "An entry of another component is not run under this one's name.",
        renamed,
    ),
    host(
        "cache-cut",
        Wall::Artifact,
        "CWE-354",
        "An entry that was cut short is compiled anew.",
        cut,
    ),
    host(
        "cache-link",
        Wall::CachePrivate,
        "CWE-59",
        "An entry that is a link is not followed.",
        link,
    ),
    host(
        "cache-shared-entry",
        Wall::CachePrivate,
        "CWE-732",
        "An entry others may write to is not used.",
        shared_entry,
    ),
    host(
        "cache-shared",
        Wall::CachePrivate,
        "CWE-732",
        "A cache others may write to is not used.",
        shared,
    ),
    host(
        "cache-shared-key",
        Wall::CachePrivate,
        "CWE-732",
        "A key others may read is not used.",
        shared_key,
    ),
];

/// Length of what follows the code of an entry: magic, key, length, MAC.
const TRAILER: usize = 16 + 32 + 8 + 32;

/// A cache with the entries of two components: one that succeeds, and one that fails.
struct Entries {
    dir: tempfile::TempDir,
    good: PathBuf,
    evil: PathBuf,
}

impl Entries {
    fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("cache")
    }
}

fn component(answer: i32) -> Vec<u8> {
    command(
        &module(&Parts {
            answer,
            ..Parts::default()
        }),
        1,
    )
}

fn entries_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "cwasm")
    });
    Ok(paths)
}

async fn fill() -> Result<Entries, String> {
    let io = |error: io::Error| error.to_string();
    let dir = tempfile::tempdir().map_err(io)?;
    let cache_dir = dir.path().join("cache");
    let load = async |answer| {
        let host = stage::host(Cache::open(&cache_dir).map_err(|error| error.to_string())?)?;
        stage::load(&host, &component(answer)).await.map(drop)
    };
    load(0).await?;
    let good = entries_in(&cache_dir)
        .map_err(io)?
        .pop()
        .ok_or("the cache keeps nothing")?;
    load(1).await?;
    let evil = entries_in(&cache_dir)
        .map_err(io)?
        .into_iter()
        .find(|path| *path != good);
    Ok(Entries {
        good,
        evil: evil.ok_or("the cache keeps one entry for two components")?,
        dir,
    })
}

/// Poisons the cache, loads the component that succeeds, and runs what the host takes for it.
async fn poisoned(stage: &Stage, poison: fn(&Entries) -> io::Result<()>) -> Verdict {
    let judged = async {
        let entries = fill().await?;
        poison(&entries).map_err(|error| error.to_string())?;
        let host = stage::host(Cache::open_or_disabled(entries.cache_dir()))?;
        let agent = stage::load(&host, &component(0)).await?;
        let world = match stage.world(&Setup::new(Dirs::Nothing)).await {
            Ok(world) => world,
            Err(verdict) => return Ok(verdict),
        };
        let setup = Setup::new(Dirs::Nothing);
        let outcome = stage::run(&host, &world, &agent, &setup, "escape-cache", "run").await?;
        Ok::<_, String>(match outcome.ended {
            Ended::Converged => Verdict::Held {
                saw: "the component itself was run".to_owned(),
            },
            ended => Verdict::broken(format!("something else was run: {ended:?}")),
        })
    };
    judged.await.unwrap_or_else(Verdict::broken)
}

/// Changes the good entry, and demands that the host does not take it as it is but writes it anew.
async fn rewritten(change: fn(&Entries) -> io::Result<()>) -> Verdict {
    let judged = async {
        let io = |error: io::Error| error.to_string();
        let entries = fill().await?;
        change(&entries).map_err(io)?;
        let poisoned = fs::read(&entries.good).map_err(io)?;
        let host = stage::host(Cache::open_or_disabled(entries.cache_dir()))?;
        stage::load(&host, &component(0)).await?;
        let now = fs::read(&entries.good).map_err(io)?;
        Ok::<_, String>(if now == poisoned {
            Verdict::broken("the entry was used as it was")
        } else {
            Verdict::Held {
                saw: "the entry was compiled anew".to_owned(),
            }
        })
    };
    judged.await.unwrap_or_else(Verdict::broken)
}

fn twin(stage: &Stage) -> Trying<'_> {
    Box::pin(poisoned(stage, |entries| {
        let (good, mut evil) = (fs::read(&entries.good)?, fs::read(&entries.evil)?);
        // The evil code, with a trailer that names the good key; the MAC is the evil entry's.
        let (from, to) = (good.len() - TRAILER + 16, evil.len() - TRAILER + 16);
        if let (Some(key), Some(place)) = (good.get(from..from + 32), evil.get_mut(to..to + 32)) {
            place.copy_from_slice(key);
        }
        fs::write(&entries.good, evil)
    }))
}

fn renamed(stage: &Stage) -> Trying<'_> {
    Box::pin(poisoned(stage, |entries| {
        fs::rename(&entries.evil, &entries.good)
    }))
}

fn flipped(_: &Stage) -> Trying<'_> {
    Box::pin(rewritten(|entries| {
        let mut bytes = fs::read(&entries.good)?;
        // In the MAC itself: were it not looked at, what would run is still code of ours.
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        fs::write(&entries.good, bytes)
    }))
}

fn cut(stage: &Stage) -> Trying<'_> {
    Box::pin(async move {
        for keep in [0, 1, TRAILER - 1, TRAILER, TRAILER + 1] {
            let verdict = match fill().await {
                Ok(entries) => cut_to(stage, &entries, keep).await,
                Err(error) => Verdict::broken(error),
            };
            if !matches!(verdict, Verdict::Held { .. }) {
                return verdict;
            }
        }
        Verdict::Held {
            saw: "each was compiled anew".to_owned(),
        }
    })
}

/// Cuts the front off: the trailer is whole, the code is not.
async fn cut_to(_: &Stage, entries: &Entries, keep: usize) -> Verdict {
    let judged = async {
        let io = |error: io::Error| error.to_string();
        let bytes = fs::read(&entries.good).map_err(io)?;
        fs::write(
            &entries.good,
            bytes
                .get(bytes.len().saturating_sub(keep)..)
                .unwrap_or_default(),
        )
        .map_err(io)?;
        let host = stage::host(Cache::open_or_disabled(entries.cache_dir()))?;
        stage::load(&host, &component(0)).await?;
        let now = fs::read(&entries.good).map_err(io)?;
        Ok::<_, String>(if now.len() > keep {
            Verdict::Held { saw: String::new() }
        } else {
            Verdict::broken(format!("an entry of {keep} bytes was left in place"))
        })
    };
    judged.await.unwrap_or_else(Verdict::broken)
}

/// What the link leads to is fine here; that it is a link is not.
fn link(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let judged = async {
            let io = |error: io::Error| error.to_string();
            let entries = fill().await?;
            let elsewhere = entries.dir.path().join("elsewhere");
            fs::rename(&entries.good, &elsewhere).map_err(io)?;
            symlink(&elsewhere, &entries.good).map_err(io)?;
            let host = stage::host(Cache::open_or_disabled(entries.cache_dir()))?;
            stage::load(&host, &component(0)).await?;
            let is_link = fs::symlink_metadata(&entries.good)
                .map_err(io)?
                .is_symlink();
            Ok::<_, String>(if is_link {
                Verdict::broken("the link was followed")
            } else {
                Verdict::Held {
                    saw: "the entry was compiled anew".to_owned(),
                }
            })
        };
        judged.await.unwrap_or_else(Verdict::broken)
    })
}

/// The entry is not what changes here, only who may write to it.
fn shared_entry(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let judged = async {
            let io = |error: io::Error| error.to_string();
            let entries = fill().await?;
            fs::set_permissions(&entries.good, fs::Permissions::from_mode(0o666)).map_err(io)?;
            let host = stage::host(Cache::open_or_disabled(entries.cache_dir()))?;
            stage::load(&host, &component(0)).await?;
            let mode = fs::metadata(&entries.good)
                .map_err(io)?
                .permissions()
                .mode()
                & 0o777;
            Ok::<_, String>(if mode == 0o666 {
                Verdict::broken("the entry was used as it was")
            } else {
                Verdict::Held {
                    saw: format!("the entry was compiled anew, as {mode:o}"),
                }
            })
        };
        judged.await.unwrap_or_else(Verdict::broken)
    })
}

async fn not_opened(change: fn(&Entries) -> io::Result<()>) -> Verdict {
    let judged = async {
        let entries = fill().await?;
        change(&entries).map_err(|error| error.to_string())?;
        Ok::<_, String>(match Cache::open(entries.cache_dir()) {
            Ok(_) => Verdict::broken("it was opened"),
            Err(error) => Verdict::Held {
                saw: error.to_string(),
            },
        })
    };
    judged.await.unwrap_or_else(Verdict::broken)
}

fn shared(_: &Stage) -> Trying<'_> {
    Box::pin(not_opened(|entries| {
        fs::set_permissions(entries.cache_dir(), fs::Permissions::from_mode(0o777))
    }))
}

fn shared_key(_: &Stage) -> Trying<'_> {
    Box::pin(not_opened(|entries| {
        fs::set_permissions(
            entries.cache_dir().join("key"),
            fs::Permissions::from_mode(0o644),
        )
    }))
}
