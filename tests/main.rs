//! Black-box tests: the real program, real components, and what is left on the disk afterwards.
//!
//! `guests/src` has one small program a claim; the test of a claim has the name of its guest.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect by panicking when it is not so"
)]

mod assistant;
mod attest;
mod avp;
mod commission;
mod components;
mod cow;
mod crashes;
mod crowd;
mod describe;
mod evidence;
mod examples;
mod grants;
mod harness;
mod http;
mod inputs;
mod limits;
mod loading;
mod model;
mod one_way_out;
mod onward;
mod policy;
mod project;
mod providers;
mod recording;
mod refusals;
mod replay;
mod replay_http;
mod run;
mod running;
mod secrets;
mod selftest;
mod signals;
mod stdio;
mod streams;
mod tools;

/// Guests whose tests are elsewhere would go unnoticed: without a test of its name, a guest does not
/// compile.
mod every_guest_has_a_test {
    #[expect(
        unused_imports,
        reason = "not every module has a test named after a guest"
    )]
    use super::{
        attest::*, avp::*, commission::*, components::*, describe::*, evidence::*, grants::*,
    };
    use super::{http::*, limits::*, model::*, onward::*, policy::*, replay::*, replay_http::*};
    use super::{run::*, secrets::*};
    use super::{signals::*, stdio::*, tools::*};

    macro_rules! assert_test_exists {
        ($name:ident) => {
            const _: fn() = $name;
        };
    }

    wasm_agent_test_artifacts::foreach_guest!(assert_test_exists);
}
