//! Sockets are there to link against and refuse everything with ordinary errors.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let address = commission.prompt().to_owned();
    let attempts = [
        ("connect", TcpStream::connect(&*address).map(drop)),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        (
            "udp",
            UdpSocket::bind("127.0.0.1:0")
                .and_then(|socket| socket.send_to(b"x", &*address))
                .map(drop),
        ),
        ("resolve", "localhost:80".to_socket_addrs().map(drop)),
    ];
    let answers = attempts.map(|(what, answer)| match answer {
        Ok(()) => format!("{what}: done"),
        Err(_) => format!("{what}: refused"),
    });
    Ok(answers.join(", "))
}
