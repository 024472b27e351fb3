//! Requests go where the operator allows them, and everything else comes back as an error of `wasi:http`.
//!
//! The task is a JSON list of requests; the answer says for each what came of it.

use serde_json::{Value, json};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme, http_error_code,
};
use wasip2::io::streams::StreamError;
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    let requests: Vec<Value> =
        serde_json::from_str(commission.prompt()).expect("the task is a list of requests");
    let answers = requests.iter().map(|wanted| match send(wanted) {
        Ok(answer) => answer,
        Err(error) => json!({ "error": error }),
    });
    Ok(Value::Array(answers.collect()))
}

fn send(wanted: &Value) -> std::result::Result<Value, String> {
    let text = |name: &str| wanted[name].as_str();
    let fields = Fields::new();
    for (name, value) in wanted["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().as_bytes();
        fields
            .append(name, value)
            .map_err(|error| format!("{error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    let is = |part: &'static str| move |()| format!("{part} is refused");
    let method = match text("method") {
        None => Method::Get,
        Some(name) => Method::Other(name.to_owned()),
    };
    request.set_method(&method).map_err(is("the method"))?;
    let scheme = match text("scheme") {
        Some("http") => Scheme::Http,
        _ => Scheme::Https,
    };
    request
        .set_scheme(Some(&scheme))
        .map_err(is("the scheme"))?;
    request
        .set_authority(text("host"))
        .map_err(is("the host"))?;
    request
        .set_path_with_query(text("path"))
        .map_err(is("the path"))?;
    let body = request.body().map_err(is("a body"))?;
    let future = handle(request, None).map_err(|error| format!("{error:?}"))?;
    if let Some(text) = text("body") {
        let stream = body.write().map_err(is("writing"))?;
        for piece in text.as_bytes().chunks(4096) {
            stream
                .blocking_write_and_flush(piece)
                .map_err(|error| format!("{error:?}"))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|error| format!("{error:?}"))?;
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(error))) => return Err(format!("{error:?}")),
        other => return Err(format!("{other:?}")),
    };
    let location = response.headers().get("location").pop();
    let body = response.consume().map_err(is("its body"))?;
    Ok(json!({
        "status": response.status(),
        "location": location.map(|value| String::from_utf8_lossy(&value).into_owned()),
        "body": read(&body)?,
    }))
}

fn read(body: &IncomingBody) -> std::result::Result<String, String> {
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(format!("{:?}", http_error_code(&error)));
            }
        }
    }
}
