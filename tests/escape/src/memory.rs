//! Taking more memory, stack or values than were granted.

use std::hint::black_box;

use wasip2::random::random::get_random_bytes;

use crate::Case;
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("memory-grow", grow),
    ("stack-overflow", stack),
    ("random-flood", random_flood),
    ("random-small-flood", random_small_flood),
];

fn grow(trial: &mut Trial, max: &str) {
    let max: usize = max.parse().unwrap_or(0);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut total = 0;
    let mut refused = false;
    while total < max * 4 {
        let mut block = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            refused = true;
            break;
        }
        block.resize(1 << 20, 7);
        total += block.len();
        kept.push(black_box(block));
    }
    trial.holds(
        &format!("{total} bytes were taken, at most {max} allowed"),
        refused && total <= max,
    );
}

fn stack(trial: &mut Trial, _: &str) {
    fn deeper(depth: u64) -> u64 {
        if depth == u64::MAX {
            return 0;
        }
        let frame = black_box([depth; 64]);
        deeper(depth + 1) + frame[7]
    }
    trial.broke(format!("came back: {}", deeper(0)));
}

fn random_flood(trial: &mut Trial, _: &str) {
    let bytes = get_random_bytes(32 << 20);
    trial.broke(format!("got {} bytes at once", bytes.len()));
}

/// Small requests are fine, however many.
fn random_small_flood(trial: &mut Trial, _: &str) {
    let mut total = 0;
    for _ in 0..2000 {
        total += get_random_bytes(4096).len();
    }
    trial.holds(
        &format!("{total} bytes in small pieces"),
        total == 2000 * 4096,
    );
}
