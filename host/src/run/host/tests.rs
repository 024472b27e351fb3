use std::path::Path;

use wasm_agent_test_artifacts as guests;
use wasmtime::component::Val;

use super::*;
use crate::commission::Commission;
use crate::grants::Grants;
use crate::run::Ended;
use crate::run::{Agent, RunRequest, RunsDir};
use crate::trajectory::StopReason;
use crate::trajectory::verify::{Verdict, verify_path};

/// A host in which the guest's call of `interface` `function` panics after it has waited once.
fn faulty(interface: &str, function: &str) -> Host {
    let engine = Engine::new(Profile::Live, Allocation::OnDemand).unwrap();
    let mut linker = Linker::new(engine.wasmtime());
    link(&mut linker).unwrap();
    linker.allow_shadowing(true);
    linker
        .instance(interface)
        .unwrap()
        .func_new_async(function, |_, _, _, _: &mut [Val]| {
            Box::new(async {
                tokio::task::yield_now().await;
                panic!("a defect of the host")
            })
        })
        .unwrap();
    Host {
        inner: Arc::new(Inner {
            places: Vec::new(),
            engine,
            linker,
            cache: Cache::disabled(),
            loading: Loading::new(LOAD_TIME),
            max_component_bytes: MAX_ARTIFACT,
            vault: Vault::default(),
        }),
    }
}

fn request(agent: &Agent, run_id: &str, runs: &Path) -> RunRequest {
    RunRequest {
        agent: agent.clone(),
        commission: Commission::for_task(run_id, "none/none", Some("x")).unwrap(),
        grants: Grants::default(),
        runs: Some(RunsDir::at(runs)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_host_call_ends_its_run_alone_and_the_account_is_closed() {
    let host = faulty("wasm-agent:agent/trajectory@0.1.0", "progress");
    let dir = tempfile::tempdir().unwrap();
    // It reports a call, then its progress.
    let struck = host
        .load(Path::new(guests::COMPUTES_FOR_EVER))
        .await
        .unwrap();
    let spared = host
        .load(Path::new(guests::ANSWERS_WITH_TEXT))
        .await
        .unwrap();
    let runs: Vec<_> = (0..8)
        .map(|number| {
            let agent = if number % 2 == 0 { &struck } else { &spared };
            host.start(request(agent, &format!("run-{number}"), dir.path()))
                .unwrap()
        })
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        let outcome = run.outcome().await;
        let path = outcome.directory.clone().unwrap();
        let report = verify_path(&path).unwrap();
        assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.violations);
        assert_eq!(outcome.run_id, format!("run-{number}"));
        if number % 2 == 1 {
            assert_eq!(outcome.ended, Ended::Converged);
            continue;
        }
        let Ended::HostFault { message } = &outcome.ended else {
            panic!("{:?}", outcome.ended);
        };
        assert!(message.contains("a defect of the host"), "{message}");
        assert_eq!(outcome.stop_reason, StopReason::Error);
        assert_eq!(outcome.totals.tool_calls, 1);
        let log = std::fs::read_to_string(path.join("events.ndjson")).unwrap();
        // Its call is closed for it, the reason is there, and the last record sums it up.
        for expected in ["avp.tool_returned", "avp.error_occurred", "run_ended"] {
            assert_eq!(log.matches(expected).count(), 1, "{expected} in\n{log}");
        }
    }
}

#[tokio::test]
async fn a_panic_while_an_agent_describes_itself_is_an_error_of_loading() {
    let host = faulty("wasm-agent:agent/session@0.1.0", "info");
    let error = host
        .load(Path::new(guests::LOOKS_AROUND_IN_DESCRIBE))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("a defect of the host"),
        "{error}"
    );
}
