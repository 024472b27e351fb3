//! A server on loopback that answers as the test says, byte for byte, however bad, and remembers what it
//! was asked.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::anthropic::{Received, receive};

/// Answers request number `n`, counted from 0. The connection is closed after it.
type Answer = dyn Fn(usize, &mut TcpStream) + Send + Sync;

/// The server; it goes away with the process of the tests.
pub(crate) struct Provider {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Provider {
    /// A server that answers like that.
    pub(crate) fn serve(
        answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static,
    ) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), received.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || {
                    let Some(request) = receive(&mut BufReader::new(&stream)) else {
                        return;
                    };
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(request);
                        log.len() - 1
                    };
                    answer(number, &mut stream);
                });
            }
        });
        Provider { port, received }
    }

    /// One that gives these bytes to everybody.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Provider {
        let bytes = bytes.into();
        Provider::serve(move |_, stream| {
            // Who has read enough may leave before the end.
            let _ = stream.write_all(&bytes);
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What arrived so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}
