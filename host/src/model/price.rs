//! What tokens cost.
//!
//! The table is CSV: `model,input,output,cache_read,cache_write`, in US dollars per million tokens; the model
//! is `provider/model`, empty prices are not known. The built-in one is `host/data/model-prices.csv`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::error::Hint;
use crate::trajectory::fact::Usage;

/// A table with a line for every model there is has some thousands.
const MAX_BYTES: u64 = 16 << 20;

/// Prices of models by `provider/model`.
type Table = HashMap<String, Price>;

/// Prices of models. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Prices(Source);

/// Where prices come from.
#[derive(Clone, Debug, Default)]
enum Source {
    /// The table in this program. It is parsed when a price is first looked up: most runs ask no model.
    #[default]
    BuiltIn,
    Read(Arc<Table>),
}

/// Prices of one model, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// A line of the table, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    model: String,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// A price table cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum PriceError {
    #[error("cannot read the price table `{}`: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot read the price table `{}`: it has more than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot read the price table `{}`: line {line}: {reason}", path.display())]
    Line {
        path: PathBuf,
        line: u64,
        reason: String,
    },
}

impl Hint for PriceError {
    fn hint(&self) -> Option<String> {
        match self {
            PriceError::Line { .. } => Some(
                "the first line is `model,input,output,cache_read,cache_write`; prices are US dollars per million tokens"
                    .to_owned(),
            ),
            PriceError::Unreadable { .. } | PriceError::TooLarge { .. } => None,
        }
    }
}

static BUILT_IN: LazyLock<Table> = LazyLock::new(|| {
    let text = include_str!("../../data/model-prices.csv");
    // A test parses it, so that it is never empty.
    parse(text.as_bytes(), Path::new("(built in)")).unwrap_or_default()
});

impl Prices {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// See [`PriceError`].
    pub fn read(path: &Path) -> Result<Prices, PriceError> {
        let unreadable = |source| PriceError::Unreadable {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
            return Err(PriceError::TooLarge {
                path: path.to_owned(),
            });
        }
        Prices::parse(
            &crate::foreign::read(path, MAX_BYTES).map_err(unreadable)?,
            path,
        )
    }

    /// Parses the table at `path`.
    ///
    /// # Errors
    ///
    /// The line that is wrong.
    pub fn parse(text: &[u8], path: &Path) -> Result<Prices, PriceError> {
        Ok(Prices(Source::Read(Arc::new(parse(text, path)?))))
    }

    /// The price of the first of `models` that has one, as `provider` names them.
    #[must_use]
    pub fn of<'a>(
        &self,
        provider: &str,
        models: impl IntoIterator<Item = &'a str>,
    ) -> Option<Price> {
        // One provider under two names.
        let provider = match provider {
            "gemini" => "google",
            other => other,
        };
        models.into_iter().find_map(|model| {
            let undated = undated(model);
            let find = |model: &str| self.table().get(&format!("{provider}/{model}")).copied();
            find(model).or_else(|| undated.and_then(find))
        })
    }

    fn table(&self) -> &Table {
        match &self.0 {
            Source::BuiltIn => &BUILT_IN,
            Source::Read(table) => table,
        }
    }
}

/// The table in `text`, which is that of the file at `path`.
fn parse(text: &[u8], path: &Path) -> Result<Table, PriceError> {
    let wrong = |line: u64, reason: String| PriceError::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    // Blank lines and comments are taken out first, because the reader's own line numbers leave them out.
    let mut lines = Vec::new();
    let mut rows = Vec::with_capacity(text.len());
    for (number, line) in (1_u64..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if !line.is_empty() && !line.starts_with(b"#") {
            lines.push(number);
            rows.extend_from_slice(line);
            rows.push(b'\n');
        }
    }
    // One reader for the whole table: making one builds its parser, which costs more than reading a line.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(rows.as_slice());
    let mut headers: Option<csv::StringRecord> = None;
    let mut record = csv::StringRecord::new();
    let mut table = HashMap::with_capacity(lines.len());
    loop {
        let row = reader.position().line();
        let row = usize::try_from(row.saturating_sub(1)).unwrap_or(usize::MAX);
        let at = lines.get(row).copied().unwrap_or_default();
        let is_there = reader
            .read_record(&mut record)
            .map_err(|error| wrong(at, reason(&error)))?;
        if !is_there {
            return Ok(table);
        }
        let Some(headers) = &headers else {
            headers = Some(record.clone());
            continue;
        };
        let (model, price) = line(&record, headers).map_err(|reason| wrong(at, reason))?;
        if table.contains_key(&model) {
            return Err(wrong(at, format!("`{model}` is there twice")));
        }
        table.insert(model, price);
    }
}

/// The model and its price in one line of a table, or what is wrong with it.
fn line(
    record: &csv::StringRecord,
    headers: &csv::StringRecord,
) -> Result<(String, Price), String> {
    if record.len() != headers.len() {
        let (found, expected) = (record.len(), headers.len());
        return Err(format!("it has {found} values instead of {expected}"));
    }
    let Line {
        model,
        input,
        output,
        cache_read,
        cache_write,
    } = record
        .deserialize(Some(headers))
        .map_err(|error| reason(&error))?;
    let prices = [Some(input), Some(output), cache_read, cache_write];
    if prices
        .iter()
        .flatten()
        .any(|price| !price.is_finite() || *price < 0.0)
    {
        return Err(format!("a price of `{model}` is not zero or more"));
    }
    if !model.contains('/') {
        return Err(format!("`{model}` is not `provider/model`"));
    }
    let price = Price {
        input,
        output,
        cache_read,
        cache_write,
    };
    Ok((model, price))
}

impl Price {
    /// What these tokens cost, in US dollars. What a cache gave or took has its own price, where there is
    /// one.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> f64 {
        let read = usage.cache_read_input_tokens.unwrap_or_default();
        let write = usage.cache_creation_input_tokens.unwrap_or_default();
        let fresh = usage
            .input_tokens
            .saturating_sub(read)
            .saturating_sub(write);
        #[expect(
            clippy::cast_precision_loss,
            reason = "no run has so many tokens that it would matter"
        )]
        let part = |tokens: u64, price: f64| tokens as f64 * price;
        let sum = part(fresh, self.input)
            + part(read, self.cache_read.unwrap_or(self.input))
            + part(write, self.cache_write.unwrap_or(self.input))
            + part(usage.output_tokens, self.output);
        sum / 1e6
    }
}

/// A model's name without the date of its version: `-20251001` or `-2025-10-01`.
fn undated(model: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (name, last) = model.rsplit_once('-')?;
    if last.len() == 8 && digits(last) {
        return Some(name);
    }
    let (name, month) = name.rsplit_once('-')?;
    let (name, year) = name.rsplit_once('-')?;
    let is_date = last.len() == 2 && month.len() == 2 && year.len() == 4;
    (is_date && digits(last) && digits(month) && digits(year)).then_some(name)
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "model,input,output,cache_read,cache_write\n";

    fn parse(lines: &str) -> Result<Prices, String> {
        Prices::parse(format!("{HEAD}{lines}").as_bytes(), Path::new("p.csv"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_built_in_table_has_the_usual_models() {
        assert!(Prices::default().table().len() > 1000);
        for (provider, model) in [
            ("anthropic", "claude-haiku-4-5"),
            ("anthropic", "claude-haiku-4-5-20251001"),
            ("openai", "gpt-5-2025-08-07"),
            ("gemini", "gemini-2.5-pro"),
        ] {
            assert!(
                Prices::default().of(provider, [model]).is_some(),
                "{provider}/{model}"
            );
        }
        assert_eq!(Prices::default().of("nobody", ["gpt-5"]), None);
    }

    #[test]
    fn every_kind_of_token_has_its_price() {
        let prices = parse("a/b,1,10,0.1,2\na/c,1,10,,").unwrap();
        let usage = Usage {
            input_tokens: 1_000_000,
            output_tokens: 100_000,
            cache_read_input_tokens: Some(500_000),
            cache_creation_input_tokens: Some(250_000),
            reasoning_output_tokens: Some(50_000),
        };
        let cost = |model: &str| prices.of("a", [model]).unwrap().cost(&usage);
        assert!((cost("b") - (0.25 + 0.05 + 0.5 + 1.0)).abs() < 1e-9);
        assert!((cost("c") - 2.0).abs() < 1e-9);
        let nonsense = Usage {
            cache_read_input_tokens: Some(u64::MAX),
            ..usage
        };
        assert!(prices.of("a", ["b"]).unwrap().cost(&nonsense).is_finite());
    }

    #[test]
    fn the_model_that_answered_counts_before_the_one_asked_for() {
        let prices = parse("a/new,1,1,,\na/old,2,2,,").unwrap();
        assert_eq!(prices.of("a", ["new-20260101", "old"]).unwrap().input, 1.0);
        assert_eq!(prices.of("a", ["other", "old"]).unwrap().input, 2.0);
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (lines, line, reason) in [
            ("a/b,1,1,,\na/c,x,1,,", "line 3", "invalid float"),
            ("a/b,1,1", "line 2", "3 values instead of 5"),
            ("# comment\n\na/b,1,1,1,1,1", "line 4", "6 values"),
            ("a/b,,1,,", "line 2", "float"),
            (
                "\n# \"\n\na/b,1,1,,\n\n#\na/c,x,1,,",
                "line 8",
                "invalid float",
            ),
            ("a/b,1,1,,\na/c,1,1,\"\na/d,1,1,,", "line 3", "4 values"),
        ] {
            let error = parse(lines).unwrap_err();
            assert!(error.contains(line) && error.contains(reason), "{error}");
        }
        for (lines, reason) in [
            ("a/b,-1,1,,", "zero or more"),
            ("a/b,inf,1,,", "zero or more"),
            ("b,1,1,,", "provider/model"),
            ("a/b,1,1,,\na/b,1,1,,", "twice"),
        ] {
            let error = parse(lines).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let headless = Prices::parse(b"a/b,1,1,,\na/c,1,1,,\n", Path::new("p.csv"));
        assert!(headless.is_err());
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(text in "[a-z/,.0-9\n#\"-]{0,80}") {
            let _ = parse(&text);
            let _ = undated(&text);
        }
    }
}
