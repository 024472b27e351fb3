//! Everything a guest may import, interface by interface.
//!
//! WASI is linked whole and denied by context: language runtimes import all of it whether they use it or
//! not. Each interface notes that it is entered, and what that says about the guest.

use wasmtime::component::{HasData, HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, random, sockets};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};
use wasmtime_wasi_io::bindings::wasi::io;

use super::activity::Nature::{Acts, Looks};
use super::bindings::wasm_agent::agent;
use super::state::RunState;
use super::{filesystem, http};

/// Links one interface: its path, the type that has its data, its name, its nature, and how to get from
/// the state to the data.
macro_rules! link {
    ($linker:ident, $($interface:ident)::+, $data:ty, $name:literal, $nature:ident, $view:expr) => {
        $($interface)::+::add_to_linker::<RunState, $data>($linker, |state| {
            let view: fn(&mut RunState) -> <$data as HasData>::Data<'_> = $view;
            view(state.enter($name, $nature))
        })?
    };
}

/// Links every interface there is.
///
/// # Errors
///
/// Two interfaces have one name: a defect of the host.
pub(crate) fn link(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    type Own = HasSelf<RunState>;
    link!(
        linker,
        agent::types,
        Own,
        "wasm-agent:agent/types",
        Looks,
        |state| state
    );
    link!(
        linker,
        agent::trajectory,
        Own,
        "wasm-agent:agent/trajectory",
        Acts,
        |state| state
    );
    link!(
        linker,
        agent::session,
        Own,
        "wasm-agent:agent/session",
        Acts,
        |state| state
    );
    link!(
        linker,
        agent::model,
        Own,
        "wasm-agent:agent/model",
        Acts,
        |state| state
    );
    link!(
        linker,
        agent::tools,
        Own,
        "wasm-agent:agent/tools",
        Acts,
        |state| state
    );

    link!(linker, io::error, Own, "wasi:io/error", Looks, |state| {
        state
    });
    link!(linker, io::poll, Own, "wasi:io/poll", Looks, |state| state);
    link!(linker, io::streams, Own, "wasi:io/streams", Acts, |state| {
        state
    });

    link!(
        linker,
        clocks::wall_clock,
        Own,
        "wasi:clocks/wall-clock",
        Looks,
        |state| state
    );
    link!(
        linker,
        clocks::monotonic_clock,
        Own,
        "wasi:clocks/monotonic-clock",
        Looks,
        |state| state
    );
    link!(
        linker,
        random::random,
        Own,
        "wasi:random/random",
        Looks,
        |state| state
    );
    link!(
        linker,
        random::insecure,
        Own,
        "wasi:random/insecure",
        Looks,
        |state| state
    );
    link!(
        linker,
        random::insecure_seed,
        Own,
        "wasi:random/insecure-seed",
        Looks,
        |state| state
    );

    link!(linker, cli::exit, WasiCli, "wasi:cli/exit", Acts, |s| s
        .cli());
    link!(
        linker,
        cli::environment,
        WasiCli,
        "wasi:cli/environment",
        Looks,
        |s| s.cli()
    );
    link!(linker, cli::stdin, WasiCli, "wasi:cli/stdin", Looks, |s| s
        .cli());
    link!(
        linker,
        cli::stdout,
        WasiCli,
        "wasi:cli/stdout",
        Looks,
        |s| s.cli()
    );
    link!(
        linker,
        cli::stderr,
        WasiCli,
        "wasi:cli/stderr",
        Looks,
        |s| s.cli()
    );
    link!(
        linker,
        cli::terminal_input,
        WasiCli,
        "wasi:cli/terminal-input",
        Looks,
        |s| s.cli()
    );
    link!(
        linker,
        cli::terminal_output,
        WasiCli,
        "wasi:cli/terminal-output",
        Looks,
        |s| s.cli()
    );
    link!(
        linker,
        cli::terminal_stdin,
        WasiCli,
        "wasi:cli/terminal-stdin",
        Looks,
        |s| s.cli()
    );
    link!(
        linker,
        cli::terminal_stdout,
        WasiCli,
        "wasi:cli/terminal-stdout",
        Looks,
        |s| s.cli()
    );
    link!(
        linker,
        cli::terminal_stderr,
        WasiCli,
        "wasi:cli/terminal-stderr",
        Looks,
        |s| s.cli()
    );

    // Ours, which notes what is entered by itself; wasmtime-wasi's is not linked.
    filesystem::add_to_linker(linker)?;
    http::add_to_linker(linker)?;

    // Refused by the context; asking for it is nothing done.
    link!(
        linker,
        sockets::tcp,
        WasiSockets,
        "wasi:sockets/tcp",
        Looks,
        |s| s.sockets()
    );
    link!(
        linker,
        sockets::tcp_create_socket,
        WasiSockets,
        "wasi:sockets/tcp-create-socket",
        Looks,
        |s| s.sockets()
    );
    link!(
        linker,
        sockets::udp,
        WasiSockets,
        "wasi:sockets/udp",
        Looks,
        |s| s.sockets()
    );
    link!(
        linker,
        sockets::udp_create_socket,
        WasiSockets,
        "wasi:sockets/udp-create-socket",
        Looks,
        |s| s.sockets()
    );
    link!(
        linker,
        sockets::instance_network,
        WasiSockets,
        "wasi:sockets/instance-network",
        Looks,
        |s| s.sockets()
    );
    link!(
        linker,
        sockets::ip_name_lookup,
        WasiSockets,
        "wasi:sockets/ip-name-lookup",
        Looks,
        |s| s.sockets()
    );
    sockets::network::add_to_linker::<RunState, WasiSockets>(
        linker,
        &sockets::network::LinkOptions::default(),
        |state| state.enter("wasi:sockets/network", Looks).sockets(),
    )
}
