//! The agent itself: the trait and the macro that exports it.

use crate::{Commission, Descriptor, Output, Result};

/// An agent: says what it is, and does what a commission asks.
///
/// Implement it on a type without fields and hand that to [`agent!`](crate::agent!). The host calls
/// `describe` and `run` in instances of their own, so nothing is shared between the two, and a `run` is
/// the only one its instance ever does.
pub trait Agent {
    /// Says what the agent is. Has to give the same answer every time: no environment, no files, no
    /// random names. Nothing is granted while it runs.
    fn describe() -> Descriptor;

    /// Does what the commission asks.
    ///
    /// # Errors
    /// An error ends the run with the reason it carries: see [`Error`](crate::Error).
    fn run(commission: Commission) -> Result<Output>;
}

/// Makes the component's exports out of an [`Agent`] or of a function.
///
/// With a type, the type describes itself:
///
/// ```
/// use wasm_agent_sdk::{agent, Agent, Commission, Descriptor, Output, Result, Tool};
///
/// struct Counter;
///
/// impl Agent for Counter {
///     fn describe() -> Descriptor {
///         Descriptor::new("counter", "0.1.0").tool(Tool::new("count").describe("Counts words."))
///     }
///
///     fn run(commission: Commission) -> Result<Output> {
///         let words = commission.prompt().split_whitespace().count();
///         Ok(Output::text(words.to_string()))
///     }
/// }
///
/// agent!(Counter);
/// # fn main() {}
/// ```
///
/// With a function from [`Commission`] to a [`Result`] of anything that is
/// [`Into`]`<`[`Output`]`>`, name and version are those of the Cargo package:
///
/// ```
/// use wasm_agent_sdk::{agent, Commission, Result};
///
/// fn run(commission: Commission) -> Result<String> {
///     Ok(commission.prompt().to_uppercase())
/// }
///
/// agent!(run);
/// # fn main() {}
/// ```
///
/// Use it once in a crate of type `cdylib`. Outside of WebAssembly it exports nothing, so that the same
/// crate builds for its unit tests.
#[macro_export]
macro_rules! agent {
    ($agent:path) => {
        // Public, so that outside of WebAssembly the agent does not count as dead code.
        #[doc(hidden)]
        #[allow(missing_docs, unreachable_pub, missing_debug_implementations)]
        pub struct __WasmAgentExport;

        impl $crate::bindings::Guest for __WasmAgentExport {
            fn describe() -> $crate::Descriptor {
                $crate::__private::describe(
                    &$agent,
                    ::core::env!("CARGO_PKG_NAME"),
                    ::core::env!("CARGO_PKG_VERSION"),
                )
            }

            fn run(
                commission: $crate::Commission,
            ) -> ::core::result::Result<$crate::Output, $crate::Failure> {
                $crate::__private::run(&$agent, commission)
            }
        }

        #[cfg(target_family = "wasm")]
        $crate::bindings::export_agent!(__WasmAgentExport with_types_in $crate::bindings);
    };
}

/// How [`agent!`](crate::agent!) tells a type from a function: each has its own `Kind`, of which the
/// compiler finds the only one that fits.
pub trait Runnable<Kind> {
    /// As in [`Agent`]; the package's name and version for those who do not say.
    fn describe(&self, name: &str, version: &str) -> Descriptor;

    /// As in [`Agent`].
    ///
    /// # Errors
    /// As in [`Agent`].
    fn run(&self, commission: Commission) -> Result<Output>;
}

/// A type that implements [`Agent`].
#[derive(Debug)]
pub struct ByType;

/// A function with this kind of answer.
#[derive(Debug)]
pub struct ByFunction<O>(core::marker::PhantomData<O>);

impl<A: Agent> Runnable<ByType> for A {
    fn describe(&self, _name: &str, _version: &str) -> Descriptor {
        A::describe()
    }

    fn run(&self, commission: Commission) -> Result<Output> {
        A::run(commission)
    }
}

impl<F, O> Runnable<ByFunction<O>> for F
where
    F: Fn(Commission) -> Result<O>,
    O: Into<Output>,
{
    fn describe(&self, name: &str, version: &str) -> Descriptor {
        Descriptor::new(name, version)
    }

    fn run(&self, commission: Commission) -> Result<Output> {
        self(commission).map(Into::into)
    }
}

/// What the expansion of [`agent!`](crate::agent!) calls; not part of the API.
#[doc(hidden)]
pub mod __private {
    use super::Runnable;
    use crate::{Commission, Descriptor, Failure, Output};

    pub fn describe<K>(agent: &impl Runnable<K>, name: &str, version: &str) -> Descriptor {
        agent.describe(name, version)
    }

    pub fn run<K>(agent: &impl Runnable<K>, commission: Commission) -> Result<Output, Failure> {
        agent.run(commission).map_err(Failure::from)
    }
}
