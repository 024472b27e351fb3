//! Runs share a process and nothing else: what one does changes nothing about another.

use std::path::Path;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use wasm_agent::commission::Commission;
use wasm_agent::engine::Cache;
use wasm_agent::grants::{Grants, GrantsFile};
use wasm_agent::run::{Agent, Host, HostOptions, RunHandle, RunRequest, RunsDir};
use wasm_agent::trajectory::verify::{Verdict, verify_path};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Account, warm_cache};

const RUNS: usize = 200;

/// Agents that end by themselves, each in another way.
const HONEST: [&str; 7] = [
    guests::ANSWERS_WITH_TEXT,
    guests::ANSWERS_WITH_JSON,
    guests::STREAMS_A_TURN,
    guests::DELEGATES,
    guests::KEEPS_CHECKPOINTS,
    guests::TELLS_WHAT_IT_HAS,
    guests::REPORTS_IMPOSSIBLE_FACTS,
];

/// Agents that do not, the limit that ends them, and how they end then.
const HOSTILE: [(&str, &str, &str, &str); 8] = [
    (guests::COMPUTES_FOR_EVER, "cpu", "50ms", "limit"),
    (guests::SLEEPS_FOR_EVER, "wall", "1s", "limit"),
    (guests::ALLOCATES_WITHOUT_END, "memory", "16MiB", "limit"),
    (guests::ACKNOWLEDGES_EVERY_EVENT, "events", "100", "stopped"),
    (guests::FLOODS_EVENTS, "events", "100", "converged"),
    (guests::TRAPS, "events", "100", "crashed"),
    (guests::PANICS, "events", "100", "crashed"),
    (guests::RECURSES_WITHOUT_END, "events", "100", "crashed"),
];

/// What is the same each time a run is repeated.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Value,
    events: Vec<(Value, Value)>,
}

/// Waits for a run, whose account has to be whole, and leaves out what differs each time.
async fn seen(run: RunHandle) -> Seen {
    let outcome = run.outcome().await;
    let dir = outcome.directory.clone().unwrap();
    let report = verify_path(&dir).unwrap();
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.violations);
    let mut document = serde_json::to_value(&outcome).unwrap();
    for differs in ["session_id", "wall_us", "cpu_us"] {
        document.as_object_mut().unwrap().remove(differs).unwrap();
    }
    let mut names = vec![outcome.session_id.clone()];
    let account = Account::read(dir);
    let events = account
        .events()
        .map(|event| {
            let mut data = event["data"].clone();
            rename(&mut data, &mut names);
            (event["type"].clone(), data)
        })
        .collect();
    Seen {
        outcome: document,
        events,
    }
}

/// Leaves out how long things took, and numbers random ids in the order they come, so that what refers
/// to what stays comparable.
fn rename(value: &mut Value, names: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names)),
        Value::Object(members) => {
            members.retain(|name, _| !name.ends_with("duration_ms"));
            members.values_mut().for_each(|value| rename(value, names));
        }
        Value::String(text) => {
            let is_span = text.len() == 16 || text.len() == 32;
            if is_span && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && !names.contains(text)
            {
                names.push(text.clone());
            }
            if let Some(number) = names.iter().position(|name| name == text) {
                *text = format!("id {number}");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

struct Crowd {
    host: Host,
    runs: tempfile::TempDir,
    honest: Vec<Agent>,
    hostile: Vec<Agent>,
}

impl Crowd {
    async fn load() -> Crowd {
        let cache = Cache::open(warm_cache()).unwrap();
        let host = Host::new(HostOptions {
            cache,
            ..HostOptions::default()
        })
        .unwrap();
        let mut honest = Vec::new();
        for guest in HONEST {
            honest.push(host.load(Path::new(guest)).await.unwrap());
        }
        let mut hostile = Vec::new();
        for (guest, ..) in HOSTILE {
            hostile.push(host.load(Path::new(guest)).await.unwrap());
        }
        Crowd {
            host,
            runs: tempfile::TempDir::new().unwrap(),
            honest,
            hostile,
        }
    }

    /// Starts run `number`. Its task and its variable are its own: in another run they would be seen.
    fn start(&self, number: usize, agent: &Agent, (name, value): (&str, &str)) -> RunHandle {
        let number_text = number.to_string();
        let file = GrantsFile {
            env: [("NUMBER".to_owned(), number_text)].into(),
            limits: vec![(name.to_owned(), value.to_owned())],
            ..GrantsFile::default()
        };
        let task = format!("task {number}");
        let id = format!("run-{number}");
        self.host
            .start(RunRequest {
                agent: agent.clone(),
                commission: Commission::for_task(&id, "none/none", Some(&task)).unwrap(),
                grants: Grants::resolve(file, GrantsFile::default()).unwrap(),
                runs: Some(RunsDir::at(self.runs.path())),
            })
            .unwrap()
    }

    fn honest(&self, number: usize) -> RunHandle {
        // One of them tries how much it may store.
        let limit = ("storage-bytes", "1000");
        self.start(number, &self.honest[number % HONEST.len()], limit)
    }

    fn hostile(&self, number: usize) -> RunHandle {
        let which = number / 3 % HOSTILE.len();
        let (_, name, value, _) = HOSTILE[which];
        self.start(number, &self.hostile[which], (name, value))
    }
}

fn is_hostile(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// On one thread, all are started before any of them runs; on several, they run while others start.
fn two_hundred_at_once(runtime: &Runtime) {
    runtime.block_on(async {
        let crowd = Crowd::load().await;
        let mut alone = Vec::new();
        for number in 0..RUNS {
            alone.push(if is_hostile(number) {
                None
            } else {
                Some(seen(crowd.honest(number)).await)
            });
        }
        let together: Vec<RunHandle> = (0..RUNS)
            .map(|number| {
                if is_hostile(number) {
                    crowd.hostile(number)
                } else {
                    crowd.honest(number)
                }
            })
            .collect();
        for (number, run) in together.into_iter().enumerate() {
            let seen = seen(run).await;
            if let Some(alone) = &alone[number] {
                assert_eq!(&seen, alone, "run {number}");
            } else {
                let (guest, .., ended) = HOSTILE[number / 3 % HOSTILE.len()];
                let kind = &seen.outcome["ended"]["kind"];
                assert_eq!(kind, ended, "run {number}, {guest}: {}", seen.outcome);
            }
        }
    });
}

#[test]
fn two_hundred_runs_on_one_thread_leave_each_other_alone() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    two_hundred_at_once(&runtime);
}

#[test]
fn two_hundred_runs_on_several_threads_leave_each_other_alone() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    two_hundred_at_once(&runtime);
}
