//! What a guest gets of an exchange, as it stands on the tape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wasmtime_wasi::p2::{StreamError, StreamResult};
use wasmtime_wasi_http::FieldMap;

use super::code::Code;
use crate::digest::Digest;
use crate::recording::bytes::Octets;
use crate::recording::request::TEXT_MAX;

/// Bytes as a part of what is asked: whole where they are few, and otherwise their length and digest.
pub(in super::super) fn sent(bytes: &[u8]) -> Value {
    if bytes.len() > TEXT_MAX {
        return json!({ "bytes": bytes.len(), "digest": Digest::of(bytes).to_string() });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// Headers or trailers, in the order in which the guest sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(Vec<(String, Octets)>);

impl Fields {
    pub(super) fn of(fields: &FieldMap) -> Fields {
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), Octets(value.as_bytes().to_vec()))
        };
        Fields(fields.iter().map(pair).collect())
    }

    /// As a map that keeps their order.
    pub(super) fn map(&self) -> wasmtime::Result<HeaderMap> {
        let mut map = HeaderMap::new();
        for (name, Octets(value)) in &self.0 {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            map.try_append(name, HeaderValue::from_bytes(value)?)?;
        }
        Ok(map)
    }
}

/// What came of sending a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sent {
    /// It is on its way.
    Sent,
    /// It is not one that can be sent.
    Refused(Code),
}

/// What there is of a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Response {
    /// Nothing yet.
    Pending,
    /// Its head.
    Head { status: u16, headers: Fields },
    /// There is none.
    Failed(Code),
    /// The guest has it already.
    Taken,
}

/// What there is of the trailers of a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Trailers {
    /// Nothing yet.
    Pending,
    /// They are these; or there are none.
    Fields(Option<Fields>),
    /// The response has no end.
    Failed(Code),
    /// The guest has them already.
    Taken,
}

/// What came of ending the body of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Finished {
    /// It is whole.
    Ok,
    /// It is not.
    Failed(Code),
}

/// What came of reading from a stream, or writing to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Streamed<T> {
    /// This.
    Ok(T),
    /// The stream has ended.
    Closed,
    /// It has failed.
    Failed(Code),
}

impl<T> Streamed<T> {
    /// As the interface has it.
    pub(in super::super) fn result(self) -> StreamResult<T> {
        match self {
            Streamed::Ok(value) => Ok(value),
            Streamed::Closed => Err(StreamError::Closed),
            Streamed::Failed(Code(code)) => {
                Err(StreamError::LastOperationFailed(wasmtime::Error::new(code)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;

    use super::super::code::tests::codes;
    use super::*;

    /// What is read when this has been written.
    fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
        serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn bytes_are_read_as_they_were_written(bytes in vec(any::<u8>(), 0..600), text in ".*") {
            for bytes in [bytes, text.into_bytes()] {
                let octets = Octets(bytes);
                prop_assert_eq!(&again(&octets), &octets);
                let read = Streamed::Ok(octets.clone());
                prop_assert_eq!(again(&read).result().unwrap(), octets);
            }
        }

        #[test]
        fn headers_keep_their_order(
            names in vec("[a-c]{1,2}", 0..20),
            value in vec(0x20..=0xff_u8, 0..9),
        ) {
            prop_assume!(!value.contains(&0x7f));
            let mut map = HeaderMap::new();
            for name in names {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            let fields = Fields(
                map.iter()
                    .map(|(name, value)| {
                        (name.as_str().to_owned(), Octets(value.as_bytes().to_vec()))
                    })
                    .collect(),
            );
            let back = again(&fields).map().unwrap();
            prop_assert!(back.iter().eq(map.iter()), "{:?} {:?}", back, map);
        }

        #[test]
        fn answers_are_read_as_they_were_written(code in codes(), status: u16) {
            let shown = |value: &dyn std::fmt::Debug| format!("{value:?}");
            let fields = Fields(vec![("a".to_owned(), Octets(vec![0xff]))]);
            for response in [
                Response::Pending,
                Response::Head { status, headers: fields.clone() },
                Response::Failed(code.clone()),
                Response::Taken,
            ] {
                prop_assert_eq!(shown(&again(&response)), shown(&response));
            }
            for trailers in [
                Trailers::Pending,
                Trailers::Fields(None),
                Trailers::Fields(Some(fields)),
                Trailers::Failed(code.clone()),
                Trailers::Taken,
            ] {
                prop_assert_eq!(shown(&again(&trailers)), shown(&trailers));
            }
            for streamed in [Streamed::Ok(()), Streamed::Closed, Streamed::Failed(code)] {
                prop_assert_eq!(shown(&again(&streamed)), shown(&streamed));
            }
        }

        /// A recording is a file like any other.
        #[test]
        fn nothing_in_a_recording_makes_reading_it_fail_otherwise_than_as_an_error(
            text in ".*", name in ".*", value in vec(any::<u8>(), 0..9),
        ) {
            let base64 = json!({ "base64": text });
            let _ = serde_json::from_value::<Octets>(base64);
            let _ = serde_json::from_str::<Streamed<Octets>>(&text);
            let _ = Fields(vec![(name, Octets(value))]).map();
        }
    }

    #[test]
    fn bytes_stand_as_they_are_documented() {
        let written = |bytes: &[u8]| serde_json::to_value(Octets(bytes.to_vec())).unwrap();
        assert_eq!(written(b"hi"), json!("hi"));
        assert_eq!(written(b"\xff"), json!({ "base64": "/w==" }));
        assert_eq!(sent(b"hi"), json!("hi"));
        assert_eq!(sent(b"\xff"), json!({ "base64": "/w==" }));
        assert_eq!(sent(&[b'x'; 300])["bytes"], 300);
        let read = serde_json::to_value(Streamed::Ok(Octets(b"hi".to_vec()))).unwrap();
        assert_eq!(read, json!({ "ok": "hi" }));
        let closed = serde_json::to_value(Streamed::<()>::Closed).unwrap();
        assert_eq!(closed, json!("closed"));
    }
}
