//! What can be learnt of the host, and reached beside the disk.

use wasip2::cli::environment::{get_arguments, get_environment, initial_cwd};
use wasip2::cli::terminal_stdin::get_terminal_stdin;
use wasip2::cli::terminal_stdout::get_terminal_stdout;
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens::get_directories;
use wasip2::random::{insecure, insecure_seed, random};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;
use wasm_agent_sdk::session;

use crate::Case;
use crate::disk::{create, dir, read};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("environment-empty", empty),
    ("environment-granted", granted),
    ("network-tcp", tcp),
    ("network-listen", listen),
    ("network-udp", udp),
    ("network-names", names),
    ("random-differs", random_differs),
    ("clock-monotone", clock),
    ("session-facts", session_facts),
    ("ask-ceiling", ask_ceiling),
];

/// What there is while describing, in one word a thing.
pub fn seen_while_describing() -> String {
    format!(
        "saw:dirs={},env={},args={},cwd={},socket={}",
        get_directories().len(),
        get_environment().len(),
        get_arguments().len(),
        u8::from(initial_cwd().is_some()),
        u8::from(create_tcp_socket(IpAddressFamily::Ipv4).is_ok()),
    )
}

fn empty(trial: &mut Trial, _: &str) {
    let environment = get_environment();
    trial.holds(
        &format!("no variables: {environment:?}"),
        environment.is_empty(),
    );
    let arguments = get_arguments();
    trial.holds(
        &format!("its own name is its only argument: {arguments:?}"),
        arguments == ["escape"],
    );
    trial.holds("no working directory", initial_cwd().is_none());
    trial.holds(
        "no terminal",
        get_terminal_stdin().is_none() && get_terminal_stdout().is_none(),
    );
}

fn granted(trial: &mut Trial, _: &str) {
    let environment = get_environment();
    let expected = [("GRANTED".to_owned(), "yes".to_owned())];
    trial.holds(
        &format!("the granted variable and no other: {environment:?}"),
        environment == expected,
    );
}

fn address(text: &str) -> IpSocketAddress {
    let port = text.parse().unwrap_or(9);
    IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port,
        address: (127, 0, 0, 1),
    })
}

/// The host has opened the port and sees whether anybody comes.
fn tcp(trial: &mut Trial, port: &str) {
    trial.refused("connect", connect(port));
    trial.refused(
        "std",
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")),
    );
}

fn connect(port: &str) -> Result<(), wasip2::sockets::network::ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&instance_network(), address(port))?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn listen(trial: &mut Trial, _: &str) {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4);
    let bound = socket.and_then(|socket| {
        socket.start_bind(&instance_network(), address("0"))?;
        socket.finish_bind()?;
        socket.start_listen()?;
        socket.finish_listen()
    });
    trial.refused("listen", bound);
    trial.refused("std", std::net::TcpListener::bind("127.0.0.1:0"));
}

fn udp(trial: &mut Trial, port: &str) {
    let sent = create_udp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        socket.start_bind(&instance_network(), address("0"))?;
        socket.finish_bind()?;
        let (_, outgoing) = socket.stream(Some(address(port)))?;
        outgoing.check_send()?;
        let datagram = wasip2::sockets::udp::OutgoingDatagram {
            data: b"out".to_vec(),
            remote_address: None,
        };
        outgoing.send(&[datagram])
    });
    trial.refused("send", sent);
    // Connecting is a second way to name an address (GHSA-hmmr-87qq-258j).
    let connected = create_udp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        let (_, outgoing) = socket.stream(Some(address(port)))?;
        outgoing.check_send()?;
        let datagram = wasip2::sockets::udp::OutgoingDatagram {
            data: b"out".to_vec(),
            remote_address: None,
        };
        outgoing.send(&[datagram])
    });
    trial.refused("send without binding", connected);
    trial.refused("std", std::net::UdpSocket::bind("127.0.0.1:0"));
}

fn names(trial: &mut Trial, _: &str) {
    for name in [
        "localhost",
        "example.com",
        "127.0.0.1",
        "metadata.google.internal",
    ] {
        let found = resolve_addresses(&instance_network(), name).and_then(|stream| {
            stream.subscribe().block();
            stream.resolve_next_address()
        });
        match found {
            Ok(None) => trial.holds(&format!("{name}: nothing"), true),
            other => trial.refused(name, other),
        }
    }
}

/// The host runs it twice and compares.
fn random_differs(trial: &mut Trial, _: &str) {
    let (low, high) = insecure_seed::insecure_seed();
    let secure = [random::get_random_u64(), random::get_random_u64()];
    trial.holds("two numbers differ", secure[0] != secure[1]);
    let bytes = random::get_random_bytes(32);
    trial.holds(
        "bytes are not all the same",
        bytes.windows(2).any(|pair| pair[0] != pair[1]),
    );
    let insecure = insecure::get_insecure_random_u64();
    trial.saw(format!(
        "random {secure:x?} {bytes:x?} insecure {insecure:x} seed {low:x} {high:x}"
    ));
}

fn clock(trial: &mut Trial, _: &str) {
    let (mut last, mut last_wall) = (0, (0, 0));
    let mut backwards = 0;
    for _ in 0..20_000 {
        let now = monotonic_clock::now();
        let wall = wall_clock::now();
        let wall = (wall.seconds, wall.nanoseconds);
        backwards += u32::from(now < last) + u32::from(wall < last_wall);
        (last, last_wall) = (now, wall);
    }
    trial.holds("no clock went backwards", backwards == 0);
    trial.holds(
        "nanoseconds are less than a second",
        last_wall.1 < 1_000_000_000,
    );
    trial.holds("resolutions are told", monotonic_clock::resolution() > 0);
    let before = monotonic_clock::now();
    monotonic_clock::subscribe_duration(0).block();
    monotonic_clock::subscribe_instant(0).block();
    trial.holds(
        "a time that is over is not waited for",
        monotonic_clock::now() - before < 5_000_000_000,
    );
}

/// What the host says of the run is about this run.
fn session_facts(trial: &mut Trial, _: &str) {
    let info = session::info();
    trial.holds(
        &format!("its own run: {}", info.run_id),
        info.run_id == "escape-session-facts",
    );
    let granted: Vec<String> = get_directories()
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    let told: Vec<String> = info
        .directories
        .into_iter()
        .map(|directory| directory.path)
        .collect();
    trial.holds(
        &format!("{told:?} are what is there: {granted:?}"),
        told == granted,
    );
    let first = session::budget();
    let _ = wasm_agent_sdk::trajectory::progress("x", None);
    let second = session::budget();
    trial.holds(
        "budgets do not grow",
        second.events < first.events && second.wall_ms <= first.wall_ms,
    );
}

/// The component asks for less than was granted; the host puts the lesser of both in place.
fn ask_ceiling(trial: &mut Trial, _: &str) {
    let directories: Vec<String> = get_directories()
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    trial.holds(
        &format!("only what was asked for: {directories:?}"),
        directories == ["/work"],
    );
    let work = dir("/work");
    trial.refused(
        "writing, which was granted and not asked for",
        create(&work, "new.txt"),
    );
    trial.works("reading", read(&work, "hello.txt"));
    trial.holds("no variable", get_environment().is_empty());
}
