//! What a recording costs: the same run live, recorded and replayed, in this process, in turns.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints what it measured, or fails"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasm_agent::commission::Commission;
use wasm_agent::engine::{Cache, Profile};
use wasm_agent::grants::Grants;
use wasm_agent::recording::Recording;
use wasm_agent::run::{Agent, Ended, Host, HostOptions, Mode, Places, RecordTo, RunRequest};
use wasm_agent_test_artifacts as guests;

const ROUNDS: usize = 40;

/// Effects of one run: the cheapest there are, so that what the tape adds shows.
const EFFECTS: usize = 2000;

struct Bench {
    host: Host,
    agent: Agent,
    task: String,
    model: String,
}

impl Bench {
    async fn new(profile: Profile, lab: &Path) -> Bench {
        let script = lab.join("script.toml");
        std::fs::write(
            &script,
            "version = 1\n[[rules]]\nreply = { text = \"x\" }\n",
        )
        .unwrap();
        let host = Host::new(HostOptions {
            cache: Cache::open(lab.join("cache")).unwrap(),
            profile,
            ..HostOptions::default()
        })
        .unwrap();
        let agent = host.load(Path::new(guests::FOLLOWS_A_PROGRAM)).await;
        let steps = [
            "[\"time\"]",
            "[\"elapsed\"]",
            "[\"budget\"]",
            "[\"ask\",\"x\"]",
        ];
        let steps: Vec<&str> = steps.into_iter().cycle().take(EFFECTS).collect();
        Bench {
            agent: agent.unwrap(),
            host,
            task: format!("[{}]", steps.join(",")),
            model: format!("scripted/{}", script.display()),
        }
    }

    fn request(&self) -> RunRequest {
        let mut grants = Grants::default();
        grants.models.allow.push(self.model.clone());
        grants.limits.model_calls = EFFECTS as u64;
        RunRequest {
            agent: self.agent.clone(),
            commission: Commission::for_task("run-1", &self.model, Some(&self.task)).unwrap(),
            grants,
            runs: None,
        }
    }

    async fn run(&self, mode: Mode) -> Duration {
        let begin = Instant::now();
        let run = self.host.start_in(mode, self.request()).unwrap();
        let outcome = run.outcome().await;
        assert_eq!(outcome.ended, Ended::Converged);
        begin.elapsed()
    }

    async fn replay(&self, recording: &Arc<Recording>) -> Duration {
        let begin = Instant::now();
        let (agent, places) = (self.agent.clone(), Places::default());
        let run = self.host.replay(agent, recording.clone(), &places, None);
        let outcome = run.unwrap().outcome().await;
        assert_eq!(outcome.ended, Ended::Converged);
        begin.elapsed()
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let lab = tempfile::TempDir::new().unwrap();
        let live = Bench::new(Profile::Live, lab.path()).await;
        let taped = Bench::new(Profile::Hermetic, lab.path()).await;
        let file = lab.path().join("a.rec");
        let record = || Mode::Record(RecordTo::File(file.clone()));
        taped.run(record()).await;
        let recording = Arc::new(Recording::read(&file).unwrap());
        let mut took = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            took[0].push(live.run(Mode::Live).await);
            took[1].push(taped.run(Mode::Live).await);
            took[2].push(taped.run(record()).await);
            took[3].push(taped.replay(&recording).await);
        }
        let names = ["live", "live, in fuel", "recorded", "replayed"];
        let medians = took.map(|mut took| {
            took.sort_unstable();
            took.get(took.len() / 2).copied().unwrap()
        });
        println!("{:<14} {:>10} {:>10}", "run", "median", "to live");
        for (name, median) in names.into_iter().zip(medians) {
            let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
            println!("{name:<14} {:>10} {ratio:>10.2}", format!("{median:.2?}"));
        }
        let bytes = std::fs::metadata(&file).unwrap().len();
        println!(
            "{} calls, {} bytes each",
            recording.calls(),
            bytes / recording.calls()
        );
    });
}
