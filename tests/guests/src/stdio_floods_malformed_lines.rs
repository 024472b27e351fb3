//! A flood of malformed lines is bounded by the limit on events.

fn main() {
    for line in 0..100_000 {
        println!("nonsense {line}");
    }
}
