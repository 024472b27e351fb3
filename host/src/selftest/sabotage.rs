//! Switching off one wall, to see whether a case notices.
//!
//! Only with the cargo feature `sabotage`, which no default build has: without it `down` is `false` at
//! compile time and leaves nothing behind. With it, the environment variable `VARIABLE` names the one wall
//! that is down for the whole process.

use std::time::Duration;

use super::wall::Wall;

/// Names the wall that is down.
#[cfg(feature = "sabotage")]
pub const VARIABLE: &str = "WASM_AGENT_SABOTAGE";

/// Whether `wall` has been switched off.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub(crate) const fn down(_: Wall) -> bool {
    false
}

/// Whether `wall` has been switched off.
#[cfg(feature = "sabotage")]
pub(crate) fn down(wall: Wall) -> bool {
    static DOWN: std::sync::LazyLock<Option<Wall>> = std::sync::LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let wall = Wall::find(&name);
        tracing::warn!(
            "sabotage: {name} is {}",
            if wall.is_some() { "down" } else { "not a wall" }
        );
        wall
    });
    *DOWN == Some(wall)
}

/// `limit`, or none at all when `wall` has been switched off.
pub(crate) fn limit(wall: Wall, limit: u64) -> u64 {
    if down(wall) { u64::MAX } else { limit }
}

/// `time`, or more than any run takes when `wall` has been switched off.
pub(crate) fn time(wall: Wall, time: Duration) -> Duration {
    const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
    if down(wall) { time.max(A_DAY) } else { time }
}

/// Walls that cannot be switched off by themselves, and why: nobody has seen their cases fail.
pub const NOT_SABOTAGED: &[(Wall, &str)] = &[
    (Wall::Wasmtime, "it is wasmtime's own code"),
    (Wall::Sound, "it is the absence of a defect"),
    (
        Wall::Artifact,
        "it is a parser: there is no one decision to leave out",
    ),
    (
        Wall::Promised,
        "it closes a race, which a quick machine seldom loses: its case is tried, and the counting has unit tests",
    ),
];
