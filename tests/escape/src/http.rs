//! The hostile guest that makes requests. It is a component of its own, because one that imports `wasi:http`
//! is not started without a host.
//!
//! The host has opened two ports and tells them: one it may make requests to, below `/allowed`, and a bait.
//! What came over each is for the host to look at.

mod trial;

use trial::Trial;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    http_error_code,
};
use wasip2::io::streams::StreamError;
use wasm_agent_sdk::{Agent, Commission, Descriptor, Error, Output, Result, agent};

/// More than any limit of a case: who reads so much is not held back.
const FAR_TOO_MUCH: u64 = 16 << 20;

type Case = fn(&mut Trial, &str, &str);

const CASES: &[(&str, Case)] = &[
    ("http-elsewhere", elsewhere),
    ("http-redirect", redirect),
    ("http-form", form),
    ("http-count", count),
    ("http-size-out", size_out),
    ("http-size-in", size_in),
    ("http-no-time", no_time),
    ("http-many-open", many_open),
];

struct Http;

impl Agent for Http {
    fn describe() -> Descriptor {
        Descriptor::new("escape", "0.1.0")
    }

    fn run(commission: Commission) -> Result<Output> {
        let mut words = commission.prompt().split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (id, allowed, bait) = (word(), word(), word());
        let (_, case) = CASES
            .iter()
            .find(|(name, _)| *name == id)
            .ok_or_else(|| Error::new(format!("there is no case `{id}` in the guest")))?;
        let mut trial = Trial::default();
        case(
            &mut trial,
            &format!("127.0.0.1:{allowed}"),
            &format!("127.0.0.1:{bait}"),
        );
        Ok(Output::Json(trial.to_json()))
    }
}

agent!(Http);

fn request(
    method: &Method,
    authority: &str,
    path: &str,
    headers: &[(&str, &[u8])],
) -> std::result::Result<OutgoingRequest, String> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields
            .append(name, value)
            .map_err(|error| format!("{name}: {error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    let is = |part: &'static str| move |()| format!("{part} is refused");
    request.set_method(method).map_err(is("the method"))?;
    request
        .set_scheme(Some(&Scheme::Http))
        .map_err(is("the scheme"))?;
    request
        .set_authority(Some(authority))
        .map_err(is("the authority"))?;
    request
        .set_path_with_query(Some(path))
        .map_err(is("the path"))?;
    Ok(request)
}

/// Status, `location` and length of the response.
type Answer = std::result::Result<(u16, String, u64), String>;

fn send(request: OutgoingRequest, options: Option<RequestOptions>) -> Answer {
    let future = handle(request, options).map_err(|error| format!("{error:?}"))?;
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(Ok(response))) => response,
        other => return Err(format!("{other:?}")),
    };
    let location = response.headers().get("location");
    let location = location.first().cloned().unwrap_or_default();
    let body = response.consume().map_err(|()| "no body".to_owned())?;
    let length = read(&body)?;
    Ok((
        response.status(),
        String::from_utf8_lossy(&location).into_owned(),
        length,
    ))
}

fn read(body: &IncomingBody) -> std::result::Result<u64, String> {
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut length = 0;
    while length < FAR_TOO_MUCH {
        match stream.blocking_read(1 << 16) {
            Ok(bytes) => length += bytes.len() as u64,
            Err(StreamError::Closed) => return Ok(length),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(format!(
                    "after {length} bytes: {:?}",
                    http_error_code(&error)
                ));
            }
        }
    }
    Ok(length)
}

fn get(authority: &str, path: &str) -> Answer {
    send(request(&Method::Get, authority, path, &[])?, None)
}

/// Everything a URL can be written as to go elsewhere.
fn elsewhere(trial: &mut Trial, allowed: &str, bait: &str) {
    trial.works("what is allowed", get(allowed, "/allowed/a"));
    let port = bait.rsplit(':').next().unwrap_or_default();
    for authority in [
        bait.to_owned(),
        format!("localhost:{port}"),
        format!("LOCALHOST.:{port}"),
        format!("{allowed}@{bait}"),
        format!("@{bait}"),
        format!("127.1:{port}"),
        format!("0x7f000001:{port}"),
        format!("2130706433:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[64:ff9b::7f00:1]:{port}"),
        "169.254.169.254".to_owned(),
    ] {
        trial.refused(&authority, get(&authority, "/allowed/a"));
    }
    for path in [
        "/",
        "/other",
        "/allowedx",
        "/allowed/../other",
        "/allowed/%2e%2e/other",
        "/allowed/%2E./other",
        "/allowed/..;/other",
        "/allowed/..%2fother",
        "/allowed/..%5cother",
        "/allowed\\..\\other",
        "/allowed/%252e%252e/other",
        "//allowed/../../other",
        "//other/allowed",
        "other",
        "*",
        "",
    ] {
        trial.refused(path, get(allowed, path));
    }
    // Absolute form: the host must not be taken from the path (GHSA-5qpp-g3j2-8frx).
    for path in [
        format!("http://{bait}/allowed/a"),
        format!("//{bait}/allowed/a"),
        format!("@{bait}/allowed/a"),
    ] {
        trial.refused(&path, get(allowed, &path));
    }
    for method in [
        Method::Connect,
        Method::Trace,
        Method::Post,
        Method::Other("GET /other HTTP/1.1\r\nx:".to_owned()),
    ] {
        let sent = request(&method, allowed, "/allowed/a", &[]);
        let sent = sent.and_then(|request| send(request, None));
        trial.refused(&format!("{method:?}"), sent);
    }
}

fn redirect(trial: &mut Trial, allowed: &str, bait: &str) {
    let answer = trial.works("the redirect itself", get(allowed, "/allowed/redirect"));
    let Some((status, location, _)) = answer else {
        return;
    };
    trial.holds("the guest gets the redirect", status == 302);
    trial.holds("it names the bait", location.contains(bait));
    trial.refused("following it", get(bait, "/"));
}

/// Headers that are about the connection or name another host, and values that end their line.
fn form(trial: &mut Trial, allowed: &str, bait: &str) {
    for (name, value) in [
        ("host", bait.as_bytes()),
        ("Host", b"other.example"),
        ("transfer-encoding", b"chunked"),
        ("connection", b"keep-alive, x"),
        ("keep-alive", b"1"),
        ("te", b"trailers"),
        ("upgrade", b"h2c"),
        ("proxy-authorization", b"x"),
        ("expect", b"100-continue"),
        ("x", b"a\r\nhost: other.example"),
        ("x", b"a\ny: z"),
        ("x\r\ny", b"z"),
        ("content-length", b"5"),
        ("content-length", b"+0"),
    ] {
        let sent = request(&Method::Get, allowed, "/allowed/form", &[(name, value)]);
        let sent = sent.and_then(|request| send(request, None));
        trial.refused(&format!("{name}: {}", value.escape_ascii()), sent);
    }
    for path in ["/allowed/a b", "/allowed/a\r\nx: y", "/allowed/\0"] {
        trial.refused(&path.escape_debug().to_string(), get(allowed, path));
    }
    let twice: &[(&str, &[u8])] = &[("content-length", b"0"), ("content-length", b"1")];
    let sent = request(&Method::Get, allowed, "/allowed/form", twice);
    trial.refused("two lengths", sent.and_then(|request| send(request, None)));
}

fn count(trial: &mut Trial, allowed: &str, _: &str) {
    let answers: Vec<Answer> = (0..10).map(|_| get(allowed, "/allowed/count")).collect();
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    trial.holds(&format!("3 of 10 are made, not {made}"), made == 3);
}

/// Writes a body of this many bytes, as far as it is taken.
fn post(allowed: &str, bytes: usize) -> Answer {
    let request = request(&Method::Post, allowed, "/allowed/sink", &[])?;
    let body = request.body().map_err(|()| "no body".to_owned())?;
    let future = handle(request, None).map_err(|error| format!("{error:?}"))?;
    let written = {
        let stream = body.write().map_err(|()| "no stream".to_owned())?;
        let piece = vec![b'x'; 4096];
        (0..bytes / piece.len()).try_for_each(|_| {
            stream
                .blocking_write_and_flush(&piece)
                .map_err(|error| format!("{error:?}"))
        })
    };
    let finished = OutgoingBody::finish(body, None).map_err(|error| format!("{error:?}"));
    written.and(finished)?;
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => Ok((response.status(), String::new(), 0)),
        other => Err(format!("{other:?}")),
    }
}

fn size_out(trial: &mut Trial, allowed: &str, _: &str) {
    let long = format!("/allowed/{}", "a".repeat(1 << 20));
    trial.refused("a URL of 1 MiB", get(allowed, &long));
    let long = format!("/allowed/{}", "a".repeat(20 << 10));
    trial.refused("a URL of 20 KiB", get(allowed, &long));
    let value = vec![b'x'; 1000];
    let headers: Vec<(&str, &[u8])> = vec![("x", &value); 40];
    let sent = request(&Method::Get, allowed, "/allowed/headers", &headers);
    trial.refused(
        "headers of 40 KiB",
        sent.and_then(|request| send(request, None)),
    );
    trial.refused("a body of 4 MiB", post(allowed, 4 << 20));
}

fn size_in(trial: &mut Trial, allowed: &str, _: &str) {
    trial.refused("a body without end", get(allowed, "/allowed/endless"));
}

/// No time at all is a time, and the longest is one, too (GHSA-w4qr).
fn no_time(trial: &mut Trial, allowed: &str, _: &str) {
    for time in [0, 1, u64::MAX] {
        for which in 0..3 {
            let options = RequestOptions::new();
            let set = match which {
                0 => options.set_connect_timeout(Some(time)),
                1 => options.set_first_byte_timeout(Some(time)),
                _ => options.set_between_bytes_timeout(Some(time)),
            };
            trial.works("it can be set", set.map_err(|()| "refused"));
            let sent = request(&Method::Get, allowed, "/allowed/time", &[]);
            let sent = sent.and_then(|request| send(request, Some(options)));
            // Whether it is quick enough is nobody's claim; that it comes back is.
            trial.saw(format!("{time} ns: {sent:?}"));
        }
    }
    trial.works("afterwards", get(allowed, "/allowed/a"));
}

/// Futures and responses that are never looked at.
fn many_open(trial: &mut Trial, allowed: &str, _: &str) {
    let mut open = Vec::new();
    for _ in 0..50 {
        match request(&Method::Get, allowed, "/allowed/open", &[]) {
            Ok(request) => open.push(handle(request, None)),
            Err(error) => trial.broke(error),
        }
    }
    // All of them first: a response that was taken and dropped would make room.
    for future in open.iter().flatten() {
        future.subscribe().block();
    }
    let mut refused = 0;
    for future in open.iter().flatten() {
        refused += u32::from(matches!(future.get(), Some(Ok(Err(_)))));
    }
    trial.holds(
        &format!("{refused} of 50 found no room beside those that are open"),
        refused >= 40,
    );
}
