//! The error codes of `wasi:http` as they stand on the tape: their names, in lower case, with their fields.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmtime_wasi_http::p2::bindings::http::types::{
    DnsErrorPayload, ErrorCode, FieldSizePayload, TlsAlertReceivedPayload,
};

/// An error code that can be written and read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(in super::super) struct Code(#[serde(with = "Named")] pub(super) ErrorCode);

#[derive(Serialize, Deserialize)]
#[serde(remote = "ErrorCode", rename_all = "kebab-case")]
enum Named {
    DnsTimeout,
    DnsError(#[serde(with = "Dns")] DnsErrorPayload),
    DestinationNotFound,
    DestinationUnavailable,
    DestinationIpProhibited,
    DestinationIpUnroutable,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionWriteTimeout,
    ConnectionLimitReached,
    TlsProtocolError,
    TlsCertificateError,
    TlsAlertReceived(#[serde(with = "Alert")] TlsAlertReceivedPayload),
    HttpRequestDenied,
    HttpRequestLengthRequired,
    HttpRequestBodySize(Option<u64>),
    HttpRequestMethodInvalid,
    HttpRequestUriInvalid,
    HttpRequestUriTooLong,
    HttpRequestHeaderSectionSize(Option<u32>),
    HttpRequestHeaderSize(#[serde(with = "optional")] Option<FieldSizePayload>),
    HttpRequestTrailerSectionSize(Option<u32>),
    HttpRequestTrailerSize(#[serde(with = "Field")] FieldSizePayload),
    HttpResponseIncomplete,
    HttpResponseHeaderSectionSize(Option<u32>),
    HttpResponseHeaderSize(#[serde(with = "Field")] FieldSizePayload),
    HttpResponseBodySize(Option<u64>),
    HttpResponseTrailerSectionSize(Option<u32>),
    HttpResponseTrailerSize(#[serde(with = "Field")] FieldSizePayload),
    HttpResponseTransferCoding(Option<String>),
    HttpResponseContentCoding(Option<String>),
    HttpResponseTimeout,
    HttpUpgradeFailed,
    HttpProtocolError,
    LoopDetected,
    ConfigurationError,
    InternalError(Option<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(
    remote = "DnsErrorPayload",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
struct Dns {
    rcode: Option<String>,
    info_code: Option<u16>,
}

#[derive(Serialize, Deserialize)]
#[serde(
    remote = "TlsAlertReceivedPayload",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
struct Alert {
    alert_id: Option<u8>,
    alert_message: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(
    remote = "FieldSizePayload",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
struct Field {
    field_name: Option<String>,
    field_size: Option<u32>,
}

/// A field that may be missing; a remote type cannot be optional by itself.
mod optional {
    use super::{Deserialize, Deserializer, Field, FieldSizePayload, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Whole(#[serde(with = "Field")] FieldSizePayload);

    pub(super) fn serialize<S: Serializer>(
        field: &Option<FieldSizePayload>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        field.clone().map(Whole).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<FieldSizePayload>, D::Error> {
        let field = Option::<Whole>::deserialize(deserializer)?;
        Ok(field.map(|Whole(field)| field))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn field() -> impl Strategy<Value = FieldSizePayload> {
        (option::of(".*"), option::of(any::<u32>())).prop_map(|(field_name, field_size)| {
            FieldSizePayload {
                field_name,
                field_size,
            }
        })
    }

    /// Any of them.
    pub(in super::super) fn codes() -> impl Strategy<Value = Code> {
        use ErrorCode::*;
        let plain = proptest::sample::select(vec![
            DnsTimeout,
            DestinationNotFound,
            DestinationUnavailable,
            DestinationIpProhibited,
            DestinationIpUnroutable,
            ConnectionRefused,
            ConnectionTerminated,
            ConnectionTimeout,
            ConnectionReadTimeout,
            ConnectionWriteTimeout,
            ConnectionLimitReached,
            TlsProtocolError,
            TlsCertificateError,
            HttpRequestDenied,
            HttpRequestLengthRequired,
            HttpRequestMethodInvalid,
            HttpRequestUriInvalid,
            HttpRequestUriTooLong,
            HttpResponseIncomplete,
            HttpResponseTimeout,
            HttpUpgradeFailed,
            HttpProtocolError,
            LoopDetected,
            ConfigurationError,
        ]);
        let texts = (
            option::of(".*"),
            proptest::sample::select(vec![
                HttpResponseTransferCoding as fn(_) -> ErrorCode,
                HttpResponseContentCoding,
                InternalError,
            ]),
        );
        let sizes = (
            option::of(any::<u32>()),
            proptest::sample::select(vec![
                HttpRequestHeaderSectionSize as fn(_) -> ErrorCode,
                HttpRequestTrailerSectionSize,
                HttpResponseHeaderSectionSize,
                HttpResponseTrailerSectionSize,
            ]),
        );
        let large = (
            option::of(any::<u64>()),
            proptest::sample::select(vec![
                HttpRequestBodySize as fn(_) -> ErrorCode,
                HttpResponseBodySize,
            ]),
        );
        let fields = (
            field(),
            proptest::sample::select(vec![
                HttpRequestTrailerSize as fn(_) -> ErrorCode,
                HttpResponseHeaderSize,
                HttpResponseTrailerSize,
            ]),
        );
        let dns = (option::of(".*"), option::of(any::<u16>()))
            .prop_map(|(rcode, info_code)| DnsError(DnsErrorPayload { rcode, info_code }));
        let alert =
            (option::of(any::<u8>()), option::of(".*")).prop_map(|(alert_id, alert_message)| {
                TlsAlertReceived(TlsAlertReceivedPayload {
                    alert_id,
                    alert_message,
                })
            });
        prop_oneof![
            plain,
            texts.prop_map(|(value, code)| code(value)),
            sizes.prop_map(|(value, code)| code(value)),
            large.prop_map(|(value, code)| code(value)),
            fields.prop_map(|(value, code)| code(value)),
            option::of(field()).prop_map(HttpRequestHeaderSize),
            dns,
            alert,
        ]
        .prop_map(Code)
    }

    proptest! {
        #[test]
        fn a_code_is_read_as_it_was_written(code in codes()) {
            let text = serde_json::to_string(&code).unwrap();
            let Code(read) = serde_json::from_str(&text).unwrap();
            // They have no equality; this shows every field.
            prop_assert_eq!(format!("{read:?}"), format!("{:?}", code.0));
        }

        #[test]
        fn no_text_makes_reading_one_fail_otherwise_than_as_an_error(text in ".*") {
            let _ = serde_json::from_str::<Code>(&text);
            let _ = serde_json::from_value::<Code>(text.into());
        }
    }

    #[test]
    fn codes_have_the_names_of_the_interface_in_lower_case() {
        let shown = |code| serde_json::to_string(&Code(code)).unwrap();
        assert_eq!(shown(ErrorCode::DnsTimeout), r#""dns-timeout""#);
        assert_eq!(
            shown(ErrorCode::HttpRequestUriTooLong),
            r#""http-request-uri-too-long""#
        );
        assert_eq!(
            shown(ErrorCode::HttpRequestHeaderSize(None)),
            r#"{"http-request-header-size":null}"#
        );
        let error = ErrorCode::DnsError(DnsErrorPayload {
            rcode: Some("no such host".to_owned()),
            info_code: None,
        });
        assert_eq!(
            shown(error),
            r#"{"dns-error":{"rcode":"no such host","info-code":null}}"#
        );
    }
}
