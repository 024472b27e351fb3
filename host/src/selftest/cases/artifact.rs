//! Files that are no agents, or were made to bring the host down before there is one.

use std::time::Duration;

use super::super::case::{Case, Trying, Verdict, host};
use super::super::component::{self, Parts};
use super::super::guests;
use super::super::setup::{Dirs, Setup};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::digest::Digest;
use crate::engine::artifact::MAX_ARTIFACT;
use crate::engine::{Allocation, Artifact, Cache, Engine, Profile};
use crate::grants::ask;
use crate::run::{Host, HostOptions};

pub(super) const CASES: &[Case] = &[
    host(
        "import-unknown",
        Wall::Imports,
        "CWE-829",
        "An import the host does not offer is named, and nothing is started.",
        import_unknown,
    ),
    host(
        "import-incoming",
        Wall::Imports,
        "CWE-918",
        "An agent is no server: there is nothing to listen with.",
        import_incoming,
    ),
    host(
        "nesting-types",
        Wall::Nesting,
        "CWE-674",
        "Types nested without end do not overflow the host's stack.",
        nesting_types,
    ),
    host(
        "nesting-components",
        Wall::Nesting,
        "CWE-674",
        "Nor do components nested without end.",
        nesting_components,
    ),
    host(
        "artifact-cut",
        Wall::Artifact,
        "CWE-20",
        "A component that was cut short anywhere is refused with an error.",
        cut,
    ),
    host(
        "artifact-flipped",
        Wall::Artifact,
        "CWE-20",
        "A component with a byte changed anywhere does not bring the host down.",
        flipped,
    ),
    host(
        "artifact-pinned",
        Wall::Pin,
        "CWE-494",
        "Another component than the one the grants are for is not started.",
        pinned,
    ),
    host(
        "artifact-not-one",
        Wall::Artifact,
        "CWE-434",
        "Core modules, text, machine code and noise are refused.",
        not_one,
    ),
    host(
        "artifact-precompiled",
        Wall::Artifact,
        "CWE-494",
        "Compiled code is not taken for an agent.",
        precompiled,
    ),
    host(
        "artifact-special",
        Wall::Artifact,
        "CWE-67",
        "A FIFO or device in the place of a component is refused at once.",
        special,
    ),
    host(
        "artifact-laborious",
        Wall::LoadTime,
        "CWE-407",
        "Nobody waits for a component that takes the compiler longer than its time.",
        laborious,
    ),
    host(
        "ask-forged",
        Wall::Artifact,
        "CWE-1286",
        "An ask that is malformed, enormous or there twice is refused.",
        ask_forged,
    ),
];

/// What the compiler works on for seconds.
const LOOPS: u32 = 1000;
const LOCALS: u32 = 1000;

async fn refused(stage: &Stage, bytes: &[u8], because: &str) -> Verdict {
    match stage::load(&stage.host, bytes).await {
        Ok(_) => Verdict::broken("it was loaded"),
        Err(error) if error.contains(because) => Verdict::Held { saw: error },
        Err(error) => Verdict::broken(format!("it was refused for something else: {error}")),
    }
}

fn import_unknown(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let bytes = component::importing("evil:host/exec@1.0.0");
        refused(
            stage,
            &bytes,
            "imports what this host does not offer: `evil:host/exec@1.0.0`",
        )
        .await
    })
}

fn import_incoming(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let bytes = component::importing("wasi:http/incoming-handler@0.2.0");
        refused(
            stage,
            &bytes,
            "imports what this host does not offer: `wasi:http/incoming-handler@0.2.0`",
        )
        .await
    })
}

fn nesting_types(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let command = component::command(&component::module(&Parts::default()), 1);
        let mut wrong = Vec::new();
        for levels in [101, 1000, 6000, 100_000, 1_000_000] {
            let bytes = component::with_nested_types(command.clone(), levels);
            // A few thousand are no harm: the compiler has a stack of its own for them.
            if stage::load(&stage.host, &bytes).await.is_ok() && levels > 5000 {
                wrong.push(format!("{levels} levels were loaded"));
            }
        }
        Verdict::of(wrong, "each was refused, or read without harm")
    })
}

fn nesting_components(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let mut wrong = Vec::new();
        for levels in [200, 2000] {
            if stage::load(&stage.host, &component::nested(levels))
                .await
                .is_ok()
            {
                wrong.push(format!("{levels} levels were loaded"));
            }
        }
        Verdict::of(wrong, "each was refused")
    })
}

/// Offsets spread over `len` bytes, those of the header among them.
fn offsets(len: usize) -> impl Iterator<Item = usize> {
    (0..32.min(len)).chain((32..len).step_by((len / 200).max(1)))
}

fn cut(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let bytes = guests::ESCAPE;
        let mut wrong = Vec::new();
        for end in offsets(bytes.len()) {
            // Cut at the end of a section, what is left is a component; only its entry point is missing.
            let part = bytes.get(..end).unwrap_or_default();
            if Artifact::from_bytes(part).is_ok() {
                wrong.push(format!("{end} bytes were taken for all of {}", bytes.len()));
            }
        }
        Verdict::of(wrong, "each was refused")
    })
}

/// Outlines are read of all of them; a few are compiled as well, which validates every byte.
fn flipped(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let command = component::command(
            &component::module(&Parts {
                memory: Some(1),
                table: Some(8),
                ..Parts::default()
            }),
            2,
        );
        let mut loaded = 0;
        for at in 0..command.len() {
            for bit in [0x01_u8, 0x10, 0x80, 0xff] {
                let mut bytes = command.clone();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
                loaded += u32::from(stage::load(&stage.host, &bytes).await.is_ok());
            }
        }
        let bytes = guests::ESCAPE;
        for at in offsets(bytes.len()) {
            let mut bytes = bytes.to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x41;
            }
            loaded += u32::from(Artifact::from_bytes(bytes).is_ok());
        }
        Verdict::Held {
            saw: format!("{loaded} were components still, all others were refused"),
        }
    })
}

fn not_one(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let core = component::module(&Parts::default()).finish();
        let noise: Vec<u8> = (0..4096_u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let files: [(&str, &[u8]); 6] = [
            ("nothing", b""),
            ("a core module", &core),
            ("text", b"(component)"),
            ("a program", b"\x7fELF\x02\x01\x01\x00"),
            ("a header alone", b"\0asm\x0d\0\x01\0"),
            ("noise", &noise),
        ];
        let taken = files
            .iter()
            .filter(|(_, bytes)| Artifact::from_bytes(*bytes).is_ok());
        Verdict::of(
            taken
                .map(|(what, _)| format!("{what} was taken for an agent"))
                .collect(),
            "each was refused",
        )
    })
}

fn precompiled(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let compiled = (|| {
            let engine = Engine::new(Profile::Live, Allocation::OnDemand)
                .map_err(|error| error.to_string())?;
            let command = component::command(&component::module(&Parts::default()), 1);
            let artifact = Artifact::from_bytes(command).map_err(|error| error.to_string())?;
            let component = engine
                .load(&artifact, &Cache::disabled())
                .map_err(|error| error.to_string())?;
            component.serialize().map_err(|error| error.to_string())
        })();
        match compiled.map(Artifact::from_bytes) {
            Ok(Ok(_)) => Verdict::broken("it was taken for an agent"),
            Ok(Err(error)) => Verdict::Held {
                saw: error.to_string(),
            },
            Err(error) => Verdict::broken(error),
        }
    })
}

fn special(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let world = match stage
            .world(&super::super::setup::Setup::new(
                super::super::setup::Dirs::Work,
            ))
            .await
        {
            Ok(world) => world,
            Err(verdict) => return verdict,
        };
        let mut wrong = Vec::new();
        for path in [
            world.path("work/fifo"),
            world.path("work/socket"),
            "/dev/zero".into(),
            world.path("work"),
        ] {
            if Artifact::open(&path, MAX_ARTIFACT).is_ok() {
                wrong.push(format!("{} was taken for an agent", path.display()));
            }
        }
        Verdict::of(wrong, "each was refused")
    })
}

fn laborious(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let host = Host::new(HostOptions {
                load_time: Duration::from_millis(100),
                ..HostOptions::default()
            })
            .map_err(|error| error.to_string())?;
            // A few seconds of work.
            let component = component::laborious(LOOPS, LOCALS);
            match stage::load(&host, &component).await {
                Ok(_) => Err("it was waited for".to_owned()),
                Err(error) if error.contains("takes longer than 100ms") => Ok(error),
                Err(error) => Err(format!("it failed otherwise: {error}")),
            }
        };
        tried.await.into()
    })
}

fn ask_forged(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        use wasm_encoder::{ComponentSection as _, CustomSection, Encode as _};
        let with = |asks: &[&[u8]]| {
            let mut bytes = component::command(&component::module(&Parts::default()), 1);
            for data in asks {
                let section = CustomSection {
                    name: ask::SECTION.into(),
                    data: (*data).into(),
                };
                bytes.push(section.id());
                section.encode(&mut bytes);
            }
            Artifact::from_bytes(bytes).is_ok()
        };
        let fine: &[u8] = br#"{"version":1}"#;
        let enormous = vec![b' '; 4 << 20];
        let asks: [(&str, &[&[u8]]); 7] = [
            ("two asks", &[fine, fine]),
            ("no JSON", &[b"{"]),
            ("nothing", &[b""]),
            ("an unknown key", &[br#"{"version":1,"hosts":["*"]}"#]),
            (
                "a path with `..`",
                &[br#"{"version":1,"dirs":[{"path":"/work/../etc","access":"rw"}]}"#],
            ),
            ("another version", &[br#"{"version":99}"#]),
            ("four megabytes", &[&enormous]),
        ];
        let mut wrong: Vec<String> = asks
            .iter()
            .filter(|(_, asks)| with(asks))
            .map(|(what, _)| format!("taken: {what}"))
            .collect();
        if !with(&[fine]) {
            wrong.push("a plain ask was refused".to_owned());
        }
        Verdict::of(wrong, "each was refused")
    })
}

fn pinned(stage: &Stage) -> Trying<'_> {
    Box::pin(async { other_than_pinned(stage).await.into() })
}

async fn other_than_pinned(stage: &Stage) -> Result<String, String> {
    const SETUP: Setup = Setup::new(Dirs::Nothing);
    let world = stage.world(&SETUP).await;
    let world = world.map_err(|verdict| format!("{verdict:?}"))?;
    let start = |pin: Digest| {
        let request = stage::request(&world, &stage.escape, &SETUP, "escape-pin", "none");
        let mut request = request?;
        request.grants.component = Some(pin);
        Ok::<_, String>(stage.host.start(request))
    };
    let own = stage.escape.artifact().digest();
    let run = start(own)?.map_err(|error| format!("with its own digest: {error}"))?;
    let _ = run.outcome().await;
    match start(Digest::of(b"another one"))? {
        Err(error) => Ok(error.to_string()),
        Ok(run) => {
            let _ = run.outcome().await;
            Err("it was started".to_owned())
        }
    }
}
