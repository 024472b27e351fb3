//! What can be wrong with the file that is to be run, and how compiled code is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, snapshot};

/// Cannot be run, by `run` and by `describe` alike.
fn unusable(lab: &Lab, agent: &str) -> Done {
    lab.call(["describe", agent]).done().exits_with(2);
    let done = lab.run(agent, "x").done().exits_with(2);
    assert!(lab.accounts().is_empty(), "nothing was run");
    assert_eq!(done.stdout(), "");
    done
}

#[test]
fn files_that_are_no_components() {
    let lab = Lab::new();
    snapshot!(unusable(&lab, "missing.wasm"), @r#"
    $ wasm-agent run missing.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: looking for the agent `missing.wasm`: No such file or directory (os error 2)
    hint: AGENT is a `.wasm` component or an agent project folder; `wasm-agent new NAME` makes one
    "#);
    lab.file("empty.wasm", "");
    snapshot!(unusable(&lab, "empty.wasm"), @r#"
    $ wasm-agent run empty.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `empty.wasm`: the file is empty
    hint: build or download it again
    "#);
    lab.file("module.wasm", b"\0asm\x01\0\0\0");
    snapshot!(unusable(&lab, "module.wasm"), @r#"
    $ wasm-agent run module.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `module.wasm`: it is a core module, not a component
    hint: build it for the target `wasm32-wasip2`, or in an agent project with `wasm-agent build`
    "#);
    lab.file("component.wasm", b"\0asm\x0d\0\x01\0");
    snapshot!(unusable(&lab, "component.wasm"), @r#"
    $ wasm-agent run component.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `component.wasm`: it is not an agent: it exports nothing
    hint: an agent exports the world `wasm-agent:agent/agent` or `wasi:cli/run` of WASI 0.2
    "#);
    lab.file("text.wat", "(component)");
    snapshot!(unusable(&lab, "text.wat"), @r#"
    $ wasm-agent run text.wat x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `text.wat`: it is WebAssembly text, not a binary
    hint: convert it first: `wasm-tools parse AGENT -o agent.wasm`
    "#);
    lab.file("picture.png", b"\x89PNG\r\n\x1a\n");
    snapshot!(unusable(&lab, "picture.png"), @r#"
    $ wasm-agent run picture.png x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `picture.png`: it is not WebAssembly
    "#);
    // Its beginning: with debug information it may be larger than any component.
    let program = fs::read(env!("CARGO_BIN_EXE_wasm-agent")).unwrap();
    lab.file("program", &program[..1 << 20]);
    snapshot!(unusable(&lab, "program"), @r#"
    $ wasm-agent run program x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `program`: it is machine code, not WebAssembly; compiled code is only taken from the host's own cache
    hint: give the `.wasm` component it was compiled from
    "#);
    lab.folder("folder");
    snapshot!(unusable(&lab, "folder"), @r#"
    $ wasm-agent run folder x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: looking for the agent `folder`: the folder has no `Cargo.toml`
    hint: AGENT is a `.wasm` component or an agent project folder; `wasm-agent new NAME` makes one
    "#);
    snapshot!(unusable(&lab, "/dev/zero"), @r#"
    $ wasm-agent run /dev/zero x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `/dev/zero`: it is not a regular file
    "#);
}

#[test]
fn a_component_that_is_cut_short_anywhere() {
    let lab = Lab::new();
    let whole = fs::read(guests::ANSWERS_WITH_TEXT).unwrap();
    for part in 1..16 {
        lab.file("cut.wasm", &whole[..whole.len() * part / 16]);
        let done = unusable(&lab, "cut.wasm");
        assert!(done.stderr().starts_with("error: "), "{}", done.shown());
    }
    lab.file("cut.wasm", &whole[..20_000]);
    snapshot!(unusable(&lab, "cut.wasm"), @r#"
    $ wasm-agent run cut.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `cut.wasm`: it is incomplete: it ends in the middle, after 20000 bytes
    hint: build or download it again
    "#);
}

#[test]
fn a_component_with_a_flipped_bit_never_crashes_the_host() {
    let lab = Lab::new();
    let whole = fs::read(guests::ANSWERS_WITH_TEXT).unwrap();
    for at in (8..whole.len()).step_by(whole.len() / 24) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        lab.file("flipped.wasm", bytes);
        // Whatever it has become, the program says so and ends in an orderly way.
        let done = lab
            .run("flipped.wasm", "x")
            .limit("wall=10s")
            .limit("cpu=1s")
            .done();
        assert!(
            [0, 1, 2, 3].contains(&done.code()),
            "byte {at}: {}",
            done.shown()
        );
    }
}

#[test]
fn a_component_that_is_too_large() {
    let lab = Lab::new();
    let file = fs::File::create(lab.path("large.wasm")).unwrap();
    // Sparse: it has the length of 200 MB and no content.
    file.set_len(200 << 20).unwrap();
    snapshot!(unusable(&lab, "large.wasm"), @r#"
    $ wasm-agent run large.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `large.wasm`: it is larger than the limit of 134217728 bytes
    "#);
}

#[test]
pub(crate) fn imports_something_unknown() {
    let lab = Lab::new();
    snapshot!(unusable(&lab, guests::IMPORTS_SOMETHING_UNKNOWN), @r#"
    $ wasm-agent run [GUESTS]/imports_something_unknown.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot start `[GUESTS]/imports_something_unknown.wasm`: it imports what this host does not offer: `test:teleport/beam@1.0.0`
    hint: `wasm-agent inspect [GUESTS]/imports_something_unknown.wasm` shows what each import needs
    "#);
}

#[test]
pub(crate) fn exports_other_types() {
    let lab = Lab::new();
    snapshot!(unusable(&lab, guests::EXPORTS_OTHER_TYPES), @r#"
    $ wasm-agent run [GUESTS]/exports_other_types.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot start `[GUESTS]/exports_other_types.wasm`: type-checking export func `describe`: expected `record` found `string`
    hint: build it against this host's wit/, or with `wasm-agent build`
    "#);
}

#[test]
pub(crate) fn exports_something_else() {
    let lab = Lab::new();
    snapshot!(unusable(&lab, guests::EXPORTS_SOMETHING_ELSE), @r#"
    $ wasm-agent run [GUESTS]/exports_something_else.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: reading agent `[GUESTS]/exports_something_else.wasm`: it is not an agent: it exports `add`, but neither `describe` and `run` nor `wasi:cli/run@0.2`
    hint: an agent exports the world `wasm-agent:agent/agent` or `wasi:cli/run` of WASI 0.2
    "#);
}

#[test]
fn inspecting_tells_without_running() {
    let lab = Lab::new();
    let call = lab.call(["inspect", guests::IMPORTS_SOMETHING_UNKNOWN]);
    assert!(call.done().stdout().contains("test:teleport/beam@1.0.0"));
    // An agent that would trap as soon as it is asked who it is.
    let done = lab
        .call(["inspect", guests::PANICS_IN_DESCRIBE])
        .done()
        .exits_with(0);
    assert!(
        done.stdout()
            .contains("agent (exports `describe` and `run`)"),
        "{}",
        done.shown()
    );
    lab.file("empty.wasm", "");
    lab.call(["inspect", "empty.wasm"]).done().exits_with(2);
}

/// Entries of compiled code in a cache.
fn entries(lab: &Lab) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(lab.path("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cwasm")
        })
        .collect()
}

/// Runs with a cache of the lab's own; whether the component was compiled.
fn compiles(lab: &Lab) -> bool {
    let call = lab
        .run(guests::ANSWERS_WITH_TEXT, "x")
        .env("WASM_AGENT_LOG", "debug");
    let done = call
        .env("WASM_AGENT_CACHE_DIR", lab.path("cache"))
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "You said: x\n");
    done.stderr().contains("compiled")
}

fn own_cache() -> Lab {
    let lab = Lab::new();
    lab.folder("cache");
    fs::set_permissions(lab.path("cache"), PermissionsExt::from_mode(0o700)).unwrap();
    lab
}

#[test]
fn a_second_start_does_not_compile_again() {
    let lab = own_cache();
    assert!(compiles(&lab));
    assert_eq!(entries(&lab).len(), 1);
    assert!(!compiles(&lab));
}

#[test]
fn compiled_code_that_was_tampered_with_is_never_loaded() {
    let lab = own_cache();
    assert!(compiles(&lab));
    let entry = entries(&lab).remove(0);
    let good = fs::read(&entry).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&entry, bytes).unwrap();
        assert!(compiles(&lab), "byte {at} is not what was written");
        assert!(!compiles(&lab), "it was replaced");
    }
    fs::write(&entry, &good[..good.len() / 2]).unwrap();
    assert!(compiles(&lab), "half of it is not what was written");
    fs::set_permissions(&entry, PermissionsExt::from_mode(0o666)).unwrap();
    assert!(compiles(&lab), "anybody could have written it");
}

#[test]
fn a_cache_others_can_write_to_is_not_used() {
    let lab = own_cache();
    fs::set_permissions(lab.path("cache"), PermissionsExt::from_mode(0o777)).unwrap();
    let call = lab.run(guests::ANSWERS_WITH_TEXT, "x");
    let done = call
        .env("WASM_AGENT_CACHE_DIR", lab.path("cache"))
        .done()
        .exits_with(0);
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x
    exit 0
    ----- stdout -----
    You said: x
    ----- stderr -----
     WARN opening the cache of compiled components in `[LAB]/cache`; components are compiled at every start reason="its permissions are 777: others than its owner can get at it" hint="remove it, or if nobody else wrote there: `chmod 700 [LAB]/cache`"
         asked x
       stopped converged
    ✔ guests converged · [TIME]
    run: [LAB]/runs/[SESSION]
    "#);
    assert!(entries(&lab).is_empty());
}

#[test]
fn a_cache_that_cannot_be_used_stops_no_run() {
    let lab = Lab::new();
    lab.file("cache", "a file where a folder is meant");
    assert!(compiles(&lab));
}
