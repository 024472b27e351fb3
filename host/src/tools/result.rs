//! What a tool gave, bounded.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mcp::cut;

/// The result of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// What the model gets to read.
    pub content: Vec<Piece>,
    /// A JSON object for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// The tool says that it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// A part of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    /// Text.
    Text(String),
    /// An image.
    Image {
        /// For example `image/png`.
        media_type: String,
        /// Its bytes.
        #[serde(with = "crate::recording::bytes")]
        data: Vec<u8>,
    },
    /// Anything else.
    Document {
        /// For example `audio/wav`.
        media_type: String,
        /// Its bytes.
        #[serde(with = "crate::recording::bytes")]
        data: Vec<u8>,
        /// Where it is from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
}

impl Output {
    /// A failure, in words for the model.
    #[must_use]
    pub fn error(text: String) -> Output {
        Output {
            content: vec![Piece::Text(text)],
            structured: None,
            is_error: true,
        }
    }

    /// The result with at most `max` bytes in all, and a note where something is left out.
    #[must_use]
    pub fn within(self, max: u64) -> Output {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut left = max;
        let mut content = Vec::with_capacity(self.content.len().min(64));
        let mut left_out = 0_usize;
        for piece in self.content {
            let bytes = piece.bytes();
            if bytes <= left {
                left -= bytes;
                content.push(piece);
                continue;
            }
            match piece {
                Piece::Text(text) if left > 0 => {
                    let shown = cut(&text, left);
                    left_out += text.len() - shown.len();
                    content.push(Piece::Text(shown));
                }
                _ => left_out += bytes,
            }
            // What comes after it would stand in a place it does not have.
            left = 0;
        }
        let mut structured = self.structured;
        if let Some(value) = &structured {
            let bytes = value.to_string().len();
            if bytes > left {
                left_out += bytes;
                structured = None;
            }
        }
        if left_out > 0 {
            content.push(Piece::Text(format!(
                "[the result is cut: {left_out} bytes are left out, {max} are the most]"
            )));
        }
        Output {
            content,
            structured,
            is_error: self.is_error,
        }
    }
}

impl Piece {
    /// Bytes it takes on record, where bytes are base64.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // An empty piece takes something, too: nobody gets a million of them.
        const FRAME: usize = 16;
        FRAME
            + match self {
                Piece::Text(text) => text.len(),
                Piece::Image { media_type, data } => media_type.len() + data.len().div_ceil(3) * 4,
                Piece::Document {
                    media_type,
                    data,
                    title,
                } => {
                    media_type.len()
                        + data.len().div_ceil(3) * 4
                        + title.as_ref().map_or(0, String::len)
                }
            }
    }
}

impl From<CallToolResult> for Output {
    fn from(result: CallToolResult) -> Output {
        let mut content: Vec<_> = result.content.into_iter().map(Piece::from).collect();
        let is_empty = |piece: &Piece| matches!(piece, Piece::Text(text) if text.trim().is_empty());
        if let Some(structured) = &result.structured_content
            && content.iter().all(is_empty)
        {
            // What a server should have said in text, too: a model reads nothing else.
            content = vec![Piece::Text(structured.to_string())];
        }
        Output {
            content,
            // Anything else has no place in an event.
            structured: result.structured_content.filter(Value::is_object),
            is_error: result.is_error.unwrap_or(false),
        }
    }
}

impl From<ContentBlock> for Piece {
    fn from(block: ContentBlock) -> Piece {
        match block {
            ContentBlock::Text(text) => Piece::Text(text.text),
            ContentBlock::Image(image) => media(image.mime_type, &image.data, None),
            ContentBlock::Audio(audio) => media(audio.mime_type, &audio.data, None),
            ContentBlock::Resource(resource) => match resource.resource {
                ResourceContents::TextResourceContents { text, .. } => Piece::Text(text),
                ResourceContents::BlobResourceContents {
                    uri,
                    mime_type,
                    blob,
                    ..
                } => {
                    let kind = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
                    media(kind, &blob, Some(uri))
                }
                _ => Piece::Text("[a kind of resource this host does not know]".to_owned()),
            },
            ContentBlock::ResourceLink(link) => {
                let description = link.description.map(|it| format!(" ({it})"));
                Piece::Text(format!(
                    "{}: {}{}",
                    link.name,
                    link.uri,
                    description.unwrap_or_default()
                ))
            }
            _ => Piece::Text("[a kind of content this host does not know]".to_owned()),
        }
    }
}

/// Media in base64, as servers send them.
fn media(media_type: String, data: &str, title: Option<String>) -> Piece {
    let Some(data) = decoded(data) else {
        return Piece::Text(format!("[{media_type} that is not valid base64]"));
    };
    if media_type.starts_with("image/") {
        Piece::Image { media_type, data }
    } else {
        Piece::Document {
            media_type,
            data,
            title,
        }
    }
}

/// Bytes in base64: as one line, as lines of a mail, in the alphabet of URLs, or as a `data:` URL.
fn decoded(data: &str) -> Option<Vec<u8>> {
    const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let data = data.trim_start();
    let data = match data.strip_prefix("data:") {
        Some(url) => {
            let (head, data) = url.split_once(',')?;
            head.ends_with(";base64").then_some(data)?
        }
        None => data,
    };
    let plain: Vec<u8> = data
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        })
        .collect();
    ANY_PADDING.decode(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_servers_send_is_text_images_and_documents() {
        let result: CallToolResult = serde_json::from_value(json!({
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "data": "AAEC", "mimeType": "image/png"},
                {"type": "audio", "data": "AAEC", "mimeType": "audio/wav"},
                {"type": "image", "data": "?", "mimeType": "image/png"},
                {"type": "resource", "resource": {"uri": "x://1", "text": "inside"}},
                {"type": "resource_link", "uri": "x://2", "name": "two"},
            ],
            "structuredContent": {"n": 1},
            "isError": true,
        }))
        .unwrap();
        let output = Output::from(result);
        assert!(output.is_error);
        assert_eq!(output.structured, Some(json!({"n": 1})));
        let shown: Vec<String> = output
            .content
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Image { media_type, data } => format!("{media_type} {data:?}"),
                Piece::Document { media_type, .. } => media_type.clone(),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "hi",
                "image/png [0, 1, 2]",
                "audio/wav",
                "[image/png that is not valid base64]",
                "inside",
                "x://2".replace("x", "two: x").as_str(),
            ]
        );
    }

    #[test]
    fn base64_is_read_as_people_write_it() {
        let png = b"\x89PNG\r\n\x1a\n";
        for text in [
            "iVBORw0KGgo=",
            "iVBORw0KGgo",
            "iVBO\r\nRw0K\nGgo=\n",
            "data:image/png;base64,iVBORw0KGgo=",
            " data:;base64,iVBORw0KGgo",
        ] {
            assert_eq!(decoded(text).as_deref(), Some(&png[..]), "{text}");
        }
        assert_eq!(decoded("_-8="), decoded("/+8="));
        for text in ["?", "data:text/plain,hello", "data:", "iVBO=Rw0"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_result_is_cut_to_its_limit_and_says_so(
            texts in prop::collection::vec("[aä€]{0,40}", 0..8),
            blob in 0usize..200,
            max in 0u64..300,
        ) {
            let mut content: Vec<Piece> = texts.into_iter().map(Piece::Text).collect();
            content.push(Piece::Image { media_type: "image/png".to_owned(), data: vec![1; blob] });
            let whole = Output { content, structured: Some(json!({"x": "y"})), is_error: false };
            let cut = whole.clone().within(max);
            let note = matches!(cut.content.last(), Some(Piece::Text(text)) if text.starts_with("[the result is cut"));
            prop_assert_eq!(note, cut.clone() != whole);
            let shown = &cut.content[..cut.content.len() - usize::from(note)];
            // A cut text keeps what fits of it; its frame does not count any more.
            let bytes: usize = shown.iter().map(Piece::bytes).sum();
            prop_assert!(bytes as u64 <= max + 16);
        }
    }
}
