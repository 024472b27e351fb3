use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::*;
use crate::engine::{Allocation, Artifact, Profile, sample};

/// A cache with one entry.
struct Fixture {
    folder: tempfile::TempDir,
    cache: Cache,
    engine: Engine,
    artifact: Artifact,
    key: Key,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let engine = engine(Profile::Live);
        let artifact = Artifact::from_bytes(sample::agent()).unwrap();
        let key = Key::new(artifact.digest(), engine.compatibility());
        let fixture = Self {
            folder,
            cache,
            engine,
            artifact,
            key,
        };
        assert!(matches!(fixture.get().unwrap_err(), Rejected::Missing));
        fixture.load();
        fixture.get().unwrap();
        fixture
    }

    fn entry(&self) -> PathBuf {
        self.folder.path().join(self.key.file_name())
    }

    fn store(&self) -> &Store {
        self.cache.0.as_deref().unwrap()
    }

    fn get(&self) -> Result<Component, Rejected> {
        self.store().get(&self.key, &self.engine)
    }

    fn load(&self) {
        self.engine.load(&self.artifact, &self.cache).unwrap();
    }

    /// The entry is refused for the reason given; the next load compiles and replaces it.
    #[track_caller]
    fn assert_rejected(&self, is_reason: impl Fn(&Rejected) -> bool) {
        let why = self.get().unwrap_err();
        assert!(is_reason(&why), "{why:?}");
        self.load();
        self.get().unwrap();
    }
}

fn engine(profile: Profile) -> Engine {
    Engine::new(profile, Allocation::OnDemand).unwrap()
}

#[test]
fn an_entry_is_used_by_another_process() {
    let fixture = Fixture::new();
    let reopened = Cache::open(fixture.folder.path()).unwrap();
    let store = reopened.0.as_deref().unwrap();
    store.get(&fixture.key, &engine(Profile::Live)).unwrap();
}

/// The code is mapped with its trailer behind it, in memory of either allocator.
#[test]
fn mapped_code_runs() {
    let fixture = Fixture::new();
    for allocation in [Allocation::OnDemand, Allocation::Pooling { instances: 2 }] {
        let engine = Engine::new(Profile::Live, allocation).unwrap();
        let component = fixture.store().get(&fixture.key, &engine).unwrap();
        let mut store = wasmtime::Store::new(engine.wasmtime(), ());
        store.set_epoch_deadline(1000);
        let linker = wasmtime::component::Linker::new(engine.wasmtime());
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        run.call(&mut store, ()).unwrap();
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let fixture = Fixture::new();
    let good = fs::read(fixture.entry()).unwrap();
    let code_len = good.len() - Trailer::LEN;
    // In the code: its start, its middle, its end. In the trailer: every byte.
    let places = [0, 1, code_len / 2, code_len - 1]
        .into_iter()
        .chain(code_len..good.len());
    for place in places {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(fixture.entry(), &bad).unwrap();
        assert!(fixture.get().is_err(), "byte {place}");
    }
    fixture.load();
    fixture.get().unwrap();
}

#[test]
fn tampered_code_is_called_forged() {
    let fixture = Fixture::new();
    let mut bytes = fs::read(fixture.entry()).unwrap();
    bytes[100] ^= 0x80;
    fs::write(fixture.entry(), bytes).unwrap();
    fixture.assert_rejected(|why| matches!(why, Rejected::Forged));
}

#[test]
fn a_file_cut_short_or_grown_is_malformed() {
    let fixture = Fixture::new();
    let good = fs::read(fixture.entry()).unwrap();
    for len in [
        0,
        1,
        Trailer::LEN - 1,
        Trailer::LEN,
        good.len() / 2,
        good.len() - 1,
    ] {
        fs::write(fixture.entry(), &good[..len]).unwrap();
        assert!(
            matches!(fixture.get(), Err(Rejected::Malformed)),
            "{len} bytes"
        );
    }
    let mut grown = OpenOptions::new()
        .append(true)
        .open(fixture.entry())
        .unwrap();
    grown.write_all(&[0; 64]).unwrap();
    fixture.assert_rejected(|why| matches!(why, Rejected::Malformed));
}

#[test]
fn code_for_one_profile_is_not_used_for_another() {
    let fixture = Fixture::new();
    let hermetic = engine(Profile::Hermetic);
    let key = Key::new(fixture.artifact.digest(), hermetic.compatibility());
    assert!(key != fixture.key);
    let get = || fixture.store().get(&key, &hermetic);
    assert!(matches!(get(), Err(Rejected::Missing)));

    // Under the name of the other's entry it is still that of this one.
    fs::copy(fixture.entry(), fixture.folder.path().join(key.file_name())).unwrap();
    assert!(matches!(get(), Err(Rejected::Foreign)));

    // Even with a valid MAC wasmtime's own check stands behind ours.
    let live = fs::read(fixture.entry()).unwrap();
    let code = &live[..live.len() - Trailer::LEN];
    fixture.store().put(&key, code).unwrap();
    assert!(matches!(get(), Err(Rejected::Refused(_))));

    hermetic.load(&fixture.artifact, &fixture.cache).unwrap();
    get().unwrap();
    fixture.get().unwrap();
}

#[test]
fn an_entry_of_another_cache_is_forged() {
    let fixture = Fixture::new();
    let other = Fixture::new();
    fs::copy(other.entry(), fixture.entry()).unwrap();
    fixture.assert_rejected(|why| matches!(why, Rejected::Forged));
}

#[test]
fn an_entry_for_another_component_is_foreign() {
    let fixture = Fixture::new();
    let other = Artifact::from_bytes(sample::component(&[], &["describe", "run", "more"])).unwrap();
    fixture.engine.load(&other, &fixture.cache).unwrap();
    let key = Key::new(other.digest(), fixture.engine.compatibility());
    fs::copy(fixture.folder.path().join(key.file_name()), fixture.entry()).unwrap();
    fixture.assert_rejected(|why| matches!(why, Rejected::Foreign));
}

#[test]
fn without_a_cache_everything_is_compiled() {
    let cache = Cache::disabled();
    assert!(!cache.is_enabled());
    let artifact = Artifact::from_bytes(sample::agent()).unwrap();
    engine(Profile::Live).load(&artifact, &cache).unwrap();
}

#[test]
fn a_key_of_the_wrong_length_is_refused() {
    let fixture = Fixture::new();
    let key = fixture.folder.path().join(KEY_FILE);
    fs::write(&key, [7; 31]).unwrap();
    let error = Cache::open(fixture.folder.path()).unwrap_err();
    let CacheError::Key { problem, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(problem, KeyProblem::Length { found: 31 }));
    assert!(error.hint().unwrap().contains("remove"));
    assert!(!Cache::open_or_disabled(fixture.folder.path()).is_enabled());
}

#[test]
fn a_new_key_makes_every_entry_worthless() {
    let fixture = Fixture::new();
    fs::write(fixture.folder.path().join(KEY_FILE), [7; 32]).unwrap();
    let reopened = Cache::open(fixture.folder.path()).unwrap();
    let store = reopened.0.as_deref().unwrap();
    let got = store.get(&fixture.key, &fixture.engine);
    assert!(matches!(got, Err(Rejected::Forged)));
}

#[test]
fn processes_that_start_at_once_agree_on_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let secrets: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Cache::open(folder.path()).unwrap()))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap().0.unwrap().secret.0)
            .collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn the_cache_is_bounded_and_leftovers_go() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let keys: Vec<_> = (0..4).map(|n| Key([n; 32])).collect();
    let day = Duration::from_secs(86_400);
    for (age, key) in (1..).zip(&keys) {
        store.put(key, &[0; 1000]).unwrap();
        let file = File::options()
            .write(true)
            .open(fixture.folder.path().join(key.file_name()))
            .unwrap();
        file.set_modified(SystemTime::now() - day * age).unwrap();
    }
    let leftover = fixture.folder.path().join(".tmp-0000");
    File::create(&leftover)
        .unwrap()
        .set_modified(SystemTime::now() - day)
        .unwrap();
    let fresh = fixture.folder.path().join(".tmp-1111");
    File::create(&fresh).unwrap();

    let entry = fs::metadata(fixture.entry()).unwrap().len();
    store.clean_up(entry + 2200).unwrap();
    let exists = |key: &Key| fixture.folder.path().join(key.file_name()).exists();
    assert_eq!(
        keys.iter().map(exists).collect::<Vec<_>>(),
        [true, true, false, false]
    );
    fixture.get().unwrap();
    assert!(!leftover.exists());
    assert!(fresh.exists(), "it may be in the middle of being written");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn everything_in_it_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let cache = Cache::open(&folder).unwrap();
        let artifact = Artifact::from_bytes(sample::agent()).unwrap();
        engine(Profile::Live).load(&artifact, &cache).unwrap();
        assert_eq!(mode(&folder), 0o700);
        let mut files = 0;
        for file in fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
            files += 1;
        }
        assert_eq!(files, 2);
    }

    #[test]
    fn a_symbolic_link_is_not_followed_and_its_target_stays() {
        let fixture = Fixture::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        fs::rename(fixture.entry(), &target).unwrap();
        let before = fs::read(&target).unwrap();
        symlink(&target, fixture.entry()).unwrap();
        fixture.assert_rejected(|why| matches!(why, Rejected::NotPrivate(_)));
        assert_eq!(fs::read(&target).unwrap(), before);
        assert!(fs::symlink_metadata(fixture.entry()).unwrap().is_file());
    }

    #[test]
    fn an_entry_others_can_get_at_is_not_used() {
        let fixture = Fixture::new();
        set_mode(&fixture.entry(), 0o620);
        fixture.assert_rejected(|why| {
            matches!(why, Rejected::NotPrivate(NotPrivate::Mode { mode: 0o620 }))
        });
        assert_eq!(mode(&fixture.entry()), 0o600);
    }

    /// Giving files away takes root; where the tests do not run as root this one shows nothing.
    #[test]
    fn what_belongs_to_somebody_else_is_not_used() {
        let fixture = Fixture::new();
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(12345), None).unwrap();
        give(&fixture.entry());
        fixture.assert_rejected(|why| {
            matches!(
                why,
                Rejected::NotPrivate(NotPrivate::Owner { owner: 12345, .. })
            )
        });
        give(&fixture.folder.path().join(KEY_FILE));
        let error = Cache::open(fixture.folder.path()).unwrap_err();
        assert!(matches!(error, CacheError::Key { .. }));
        give(fixture.folder.path());
        let error = Cache::open(fixture.folder.path()).unwrap_err();
        assert!(matches!(error, CacheError::Dir { .. }));
    }

    #[test]
    fn a_fifo_in_place_of_an_entry_does_not_hang() {
        let fixture = Fixture::new();
        fs::remove_file(fixture.entry()).unwrap();
        let file_type = rustix::fs::FileType::Fifo;
        let private = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, fixture.entry(), file_type, private, 0).unwrap();
        fixture.assert_rejected(|why| matches!(why, Rejected::NotPrivate(NotPrivate::Kind { .. })));
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let fixture = Fixture::new();
        set_mode(&fixture.folder.path().join(KEY_FILE), 0o640);
        let error = Cache::open(fixture.folder.path()).unwrap_err();
        assert!(matches!(error, CacheError::Key { .. }), "{error:?}");
    }

    #[test]
    fn a_key_that_is_a_link_is_refused() {
        let fixture = Fixture::new();
        let key = fixture.folder.path().join(KEY_FILE);
        let elsewhere = fixture.folder.path().join("elsewhere");
        fs::rename(&key, &elsewhere).unwrap();
        symlink(&elsewhere, &key).unwrap();
        Cache::open(fixture.folder.path()).unwrap_err();
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused_and_one_they_can_list_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o770);
        let error = Cache::open(folder.path()).unwrap_err();
        assert!(error.hint().unwrap().contains("chmod"), "{error:?}");
        set_mode(folder.path(), 0o755);
        Cache::open(folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
    }

    /// The check and the mapping are of one file, also when the name leads elsewhere by then.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_path_of_an_open_file_survives_its_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("a");
        fs::write(&name, "first").unwrap();
        let file = File::open(&name).unwrap();
        fs::write(folder.path().join("b"), "second").unwrap();
        fs::rename(folder.path().join("b"), &name).unwrap();
        let path = path_of_open(&file).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "first");
    }
}
