//! Media in content blocks, as wire formats need them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::wire::Unsupported;

/// Where the bytes of a medium are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// In the block.
    Inline {
        media_type: &'a str,
        /// Base64.
        data: &'a str,
    },
    /// At a URL.
    Url(&'a str),
    /// At the provider.
    File(&'a str),
}

impl<'a> Source<'a> {
    /// The source of a media block.
    pub(super) fn of(block: &'a Value) -> Result<Source<'a>, Unsupported> {
        let text = |key: &str| block.get("source")?.get(key)?.as_str();
        let source = match text("type") {
            Some("base64") => text("media_type")
                .zip(text("data"))
                .map(|(media_type, data)| Source::Inline { media_type, data }),
            Some("url") => text("url").map(Source::Url),
            Some("file") => text("file_id").map(Source::File),
            _ => None,
        };
        source.ok_or_else(|| Unsupported("a medium without a source".to_owned()))
    }

    /// As a URL, which inline media are as well.
    pub(super) fn url(self) -> Option<String> {
        match self {
            Source::Inline { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
            Source::Url(url) => Some(url.to_owned()),
            Source::File(_) => None,
        }
    }

    /// The text of an inline text file; formats without text files take it as words.
    pub(super) fn inline_text(self) -> Option<String> {
        let Source::Inline { media_type, data } = self else {
            return None;
        };
        let is_text = media_type.starts_with("text/") || media_type == "application/json";
        if !is_text {
            return None;
        }
        String::from_utf8(STANDARD.decode(data).ok()?).ok()
    }
}

/// The title of a document, or a name that stands for one.
pub(super) fn title(block: &Value) -> &str {
    super::assembly::text(block, "title").unwrap_or("document")
}

/// A text document as words that say where they come from.
pub(super) fn document_text(block: &Value, text: &str) -> String {
    format!("Document `{}`:\n\n{text}", title(block))
}
