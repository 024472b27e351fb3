//! Calls of every kind in any order, as a seed says, holding on to what it is given: none of it may become the
//! memory of the host.

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::random::random::get_random_bytes;
use wasm_agent_sdk::trajectory::{self, SubagentCall, ToolCall, ToolResult, Turn};
use wasm_agent_sdk::{Commission, ErrorCode, Result, agent, granted, model, session};

agent!(run);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % max
    }

    /// Mostly small, sometimes as large as `max`.
    fn size(&mut self, max: u64) -> usize {
        let max = if self.below(8) == 0 {
            max
        } else {
            max / 64 + 1
        };
        self.below(max) as usize
    }

    /// One of a few names, some of them long, some with many parts.
    fn name(&mut self) -> String {
        let number = self.below(40);
        match self.below(4) {
            0 => format!("{number}"),
            1 => format!("{number}{}", "n".repeat(240)),
            2 => format!("dir{}/{number}", self.below(4)),
            _ => format!("dir{}/{number}{}", self.below(4), "n".repeat(200)),
        }
    }

    /// Takes one out.
    fn pick<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let length = from.len() as u64;
        (length > 0).then(|| from.swap_remove(self.below(length) as usize))
    }
}

/// Everything the guest holds on to.
#[derive(Default)]
struct Held {
    files: Vec<Descriptor>,
    listings: Vec<DirectoryEntryStream>,
    inputs: Vec<InputStream>,
    outputs: Vec<OutputStream>,
    pollables: Vec<Pollable>,
}

impl Held {
    fn count(&self) -> usize {
        self.files.len()
            + self.listings.len()
            + self.inputs.len()
            + self.outputs.len()
            + self.pollables.len()
    }
}

fn run(commission: Commission) -> Result<String> {
    let mut words = commission.prompt().split(' ');
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let (seed, times): (u64, u64) = (number(), number());
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let work = get_directories().remove(0).0;
    for dir in 0..4 {
        let _ = work.create_directory_at(&format!("dir{dir}"));
    }
    // A listing of them takes a megabyte.
    for file in 0..3000 {
        let name = format!("listed{file}{}", "n".repeat(240));
        let write = DescriptorFlags::WRITE;
        let _ = work.open_at(PathFlags::empty(), &name, OpenFlags::CREATE, write);
    }
    let mut held = Held::default();
    for time in 0..times {
        // Beyond its handles a guest traps, which is another test.
        if held.count() > 900 {
            random.pick(&mut held.listings);
            random.pick(&mut held.outputs);
            random.pick(&mut held.inputs);
            random.pick(&mut held.pollables);
            random.pick(&mut held.files);
        }
        call(&mut random, time, &work, &mut held);
    }
    // Whoever measures wants to see the most of it.
    subscribe_duration(200_000_000).block();
    Ok(format!("{times} calls"))
}

fn call(random: &mut Random, time: u64, work: &Descriptor, held: &mut Held) {
    let keep = PathFlags::empty();
    match random.below(28) {
        0..=3 => {
            let (create, name) = (OpenFlags::CREATE, random.name());
            let write = DescriptorFlags::READ | DescriptorFlags::WRITE;
            held.files.extend(work.open_at(keep, &name, create, write));
        }
        4..=6 => held.listings.extend(work.read_directory()),
        7 => {
            let (from, to) = (random.name(), random.name());
            let _ = work.rename_at(&from, work, &to);
        }
        8 => {
            let (from, to) = (random.name(), random.name());
            let _ = work.link_at(keep, &from, work, &to);
        }
        9 => {
            let name = random.name();
            let _ = work.unlink_file_at(&name);
        }
        10 => {
            let name = random.name();
            let _ = work.set_times_at(keep, &name, NewTimestamp::Now, NewTimestamp::Now);
        }
        // Out of the directory, in many words.
        11 | 12 => {
            let path = format!(
                "../{time}/{}",
                vec!["q".repeat(200); random.size(18)].join("/")
            );
            let _ = work.open_at(keep, &path, OpenFlags::empty(), DescriptorFlags::READ);
            let _ = work.stat_at(keep, &path);
        }
        13..=15 => {
            if let Some(file) = random.pick(&mut held.files) {
                file_call(random, &file, held);
                held.files.push(file);
            }
        }
        16 => {
            if let Some(stream) = random.pick(&mut held.outputs) {
                // A write without room ends the guest.
                let room = stream.check_write().unwrap_or(0);
                if room > 0 {
                    let block = vec![7; random.size(room).max(1)];
                    let _ = stream.write(&block);
                }
                held.outputs.push(stream);
            }
        }
        17 => {
            if let Some(stream) = random.pick(&mut held.inputs) {
                let _ = stream.read(random.size(4 << 20) as u64);
                held.inputs.push(stream);
            }
        }
        18 => held
            .pollables
            .push(subscribe_duration(random.below(1 << 40))),
        19 => drop(get_random_bytes(random.size(60_000) as u64)),
        20 => {
            let text = "t".repeat(random.size(300_000));
            let _ = trajectory::assistant(Turn::new().text(text));
            let _ = trajectory::progress(&time.to_string(), None);
        }
        21 => {
            let id = format!("c{time}{}", "i".repeat(random.size(20_000)));
            let call = ToolCall::new(id.clone(), "none", "{}");
            let _ = trajectory::assistant(Turn::new().tool_use(call));
            let _ = trajectory::tool_result(ToolResult::text(id, "x"));
            let _ = trajectory::tool_result(ToolResult::text("i".repeat(random.size(90_000)), "x"));
        }
        22 => {
            let frame = SubagentCall::new(format!("s{time}"), "helper");
            let _ = trajectory::subagent(frame).map(std::mem::forget);
        }
        23 => {
            let _ = trajectory::error(ErrorCode::Unknown, &"e".repeat(random.size(100_000)));
        }
        24 => {
            let _ = session::save(&vec![1; random.size(100_000)]);
            let data = vec![1; random.size(10_000)];
            let name = format!("a{}{}", time, "/".repeat(random.below(2) as usize));
            let _ = session::submit_artifact(&name, "text/plain", data);
        }
        25 => {
            let asked = format!("nobody/{time}{}", "m".repeat(random.size(10_000)));
            let _ = model::complete(model::Request::ask("x").model(asked));
            let _ = model::complete(model::Request::ask("y".repeat(random.size(10_000))));
            let call = ToolCall::new(format!("t{time}"), "n".repeat(random.size(5_000)), "{}");
            let _ = granted::call(&call);
        }
        26 => println!("{}", "o".repeat(random.size(50_000))),
        _ => match random.below(5) {
            0 => drop(random.pick(&mut held.files)),
            1 => drop(random.pick(&mut held.listings)),
            2 => drop(random.pick(&mut held.outputs)),
            3 => drop(random.pick(&mut held.inputs)),
            _ => drop(random.pick(&mut held.pollables)),
        },
    }
}

fn file_call(random: &mut Random, file: &Descriptor, held: &mut Held) {
    let at = random.below(1 << 20);
    match random.below(7) {
        0 => held.inputs.extend(file.read_via_stream(at)),
        1 => held.outputs.extend(file.write_via_stream(at)),
        2 => held.outputs.extend(file.append_via_stream()),
        3 => {
            let _ = file.set_size(random.size(32 << 20) as u64);
        }
        4 => {
            let _ = file.write(&vec![7; random.size(2 << 20)], at);
        }
        5 => {
            let _ = file.read(random.size(8 << 20) as u64, at);
        }
        _ => {
            let _ = file.set_times(NewTimestamp::Now, NewTimestamp::Now);
        }
    }
}
