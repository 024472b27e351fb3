//! A line that is longer than an event may be is skipped, not collected; the next one counts.

use std::io::Write;

fn main() {
    let mut stdout = std::io::stdout();
    let piece = [b'x'; 64 << 10];
    for _ in 0..(256 << 20) / piece.len() {
        stdout
            .write_all(&piece)
            .expect("standard output takes everything");
    }
    println!();
    println!(
        "{{\"type\":\"avp.agent_stopped\",\"data\":{{\"avp.reason\":\"converged\",\"avp.output\":\"after it\"}}}}"
    );
}
