//! Bindings: where one secret goes, and nowhere else.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::super::{Caller, HostRule, Refused, Target};
use super::value::{Secret, SecretName};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Everything but what RFC 3986 calls unreserved.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where in a request a secret is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this header.
    Header(HeaderName),
    /// In this parameter of the query.
    Query(String),
}

impl Place {
    /// What stands before a secret there, unless said otherwise: `Bearer ` in `authorization`.
    #[must_use]
    pub fn usual_prefix(&self) -> &'static str {
        match self {
            Place::Header(name) if *name == http::header::AUTHORIZATION => "Bearer ",
            Place::Header(_) | Place::Query(_) => "",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => f.write_str(name.as_str()),
            Place::Query(name) => write!(f, "?{name}"),
        }
    }
}

/// A binding without the value of its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Whose requests it is for.
    pub caller: Caller,
    /// The secret.
    pub name: SecretName,
    /// Which of those requests it is for.
    pub rule: HostRule,
    /// Where it is put.
    pub place: Place,
    /// What stands before it.
    pub prefix: String,
}

impl Bound {
    /// A secret in `authorization: Bearer`, as OpenAI's and most other interfaces take it, and MCP servers.
    #[must_use]
    pub fn bearer(caller: Caller, name: SecretName, rule: HostRule) -> Bound {
        let place = Place::Header(http::header::AUTHORIZATION);
        Bound {
            caller,
            name,
            rule,
            prefix: place.usual_prefix().to_owned(),
            place,
        }
    }

    /// A secret alone in a header, such as `x-api-key` (Anthropic) or `x-goog-api-key` (Gemini).
    #[must_use]
    pub fn header(caller: Caller, name: SecretName, rule: HostRule, header: HeaderName) -> Bound {
        Bound {
            caller,
            name,
            rule,
            place: Place::Header(header),
            prefix: String::new(),
        }
    }

    /// Whether both could be put into one place of one request.
    #[must_use]
    pub fn collides(&self, other: &Bound) -> bool {
        self.caller == other.caller
            && self.place == other.place
            && self.rule.may_overlap(&other.rule)
    }
}

/// A binding with the value of its secret.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) bound: Bound,
    pub(super) secret: Secret,
    /// Keyed digest of the value.
    pub(super) digest: String,
}

impl Binding {
    pub(super) fn matches(&self, caller: Caller, method: &http::Method, target: &Target) -> bool {
        self.bound.caller == caller && self.bound.rule.matches(method, target)
    }

    /// Takes out whatever the caller has put there. True when there was something.
    pub(super) fn clear(&self, headers: &mut HeaderMap, query: &mut Option<String>) -> bool {
        if down(Wall::SecretPlace) {
            return false;
        }
        match &self.bound.place {
            Place::Header(name) => headers.remove(name).is_some(),
            Place::Query(name) => {
                let Some(given) = query else { return false };
                let is_other = |pair: &&str| !is_parameter(pair, name);
                let rest = given.split('&').filter(is_other).collect::<Vec<_>>();
                let rest = rest.join("&");
                let replaced = rest.len() != given.len();
                *query = (!rest.is_empty()).then_some(rest);
                replaced
            }
        }
    }

    /// Puts the secret in.
    pub(super) fn put(
        &self,
        headers: &mut HeaderMap,
        query: &mut Option<String>,
    ) -> Result<(), Refused> {
        let Bound {
            name,
            place,
            prefix,
            ..
        } = &self.bound;
        let value = zeroize::Zeroizing::new(format!("{prefix}{}", self.secret.expose()));
        match place {
            Place::Header(header) => {
                let mut value = HeaderValue::from_str(&value).map_err(|_| Refused::Secret {
                    name: name.to_string(),
                    reason: "its value has characters that no header may have",
                })?;
                value.set_sensitive(true);
                headers.append(header, value);
            }
            Place::Query(parameter) => {
                let parameter = utf8_percent_encode(parameter, QUERY);
                let pair = format!("{parameter}={}", utf8_percent_encode(&value, QUERY));
                *query = Some(match query.take() {
                    Some(given) => format!("{given}&{pair}"),
                    None => pair,
                });
            }
        }
        Ok(())
    }
}

/// Whether a pair of a query is about this parameter, however its name is written.
fn is_parameter(pair: &str, name: &str) -> bool {
    let written = pair.split_once('=').map_or(pair, |(written, _)| written);
    // Servers disagree on `+`, and on whether `;` separates pairs: both readings count.
    let read = |written: &str| {
        let plain = percent_decode_str(written).decode_utf8_lossy() == name;
        plain || percent_decode_str(&written.replace('+', " ")).decode_utf8_lossy() == name
    };
    read(written)
        || pair
            .split(';')
            .any(|pair| read(pair.split_once('=').map_or(pair, |(written, _)| written)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(place: Place, prefix: &str) -> Binding {
        let name: SecretName = "github".parse().unwrap();
        Binding {
            secret: Secret::new(&name, "hunter 22+&/ä".to_owned()).unwrap(),
            bound: Bound {
                caller: Caller::Guest,
                name,
                rule: "api.example.org/v1".parse().unwrap(),
                place,
                prefix: prefix.to_owned(),
            },
            digest: String::new(),
        }
    }

    #[test]
    fn whatever_is_in_the_place_is_replaced() {
        let header = binding(Place::Header("x-key".parse().unwrap()), "Key ");
        let mut headers = HeaderMap::new();
        headers.append("x-key", HeaderValue::from_static("a"));
        headers.append("X-Key", HeaderValue::from_static("b"));
        headers.append("other", HeaderValue::from_static("c"));
        assert!(header.clear(&mut headers, &mut None));
        header.put(&mut headers, &mut None).unwrap();
        let values: Vec<_> = headers.get_all("x-key").iter().collect();
        assert_eq!(values, ["Key hunter 22+&/ä"]);
        assert!(values[0].is_sensitive());
        assert_eq!(headers.len(), 2);

        let query = binding(Place::Query("key".to_owned()), "");
        for (given, left) in [
            ("", ""),
            ("key=1", ""),
            ("a=1&key=1&b=2&key=3", "a=1&b=2&"),
            ("%6Bey=1&ke%79&keys=1&KEY=2", "keys=1&KEY=2&"),
            ("a=1;key=2&b", "b&"),
        ] {
            let mut query_text = (!given.is_empty()).then(|| given.to_owned());
            query.clear(&mut HeaderMap::new(), &mut query_text);
            query.put(&mut HeaderMap::new(), &mut query_text).unwrap();
            let expected = format!("{left}key=hunter%2022%2B%26%2F%C3%A4");
            assert_eq!(query_text.unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn bindings_collide_where_one_request_could_have_both() {
        let bound = |rule: &str, place: Place, caller| Bound {
            caller,
            rule: rule.parse().unwrap(),
            ..binding(place, "").bound
        };
        let header = || Place::Header("x-key".parse().unwrap());
        let one = bound("api.example.org/v1", header(), Caller::Guest);
        for (rule, collides) in [
            ("api.example.org", true),
            ("*.example.org", true),
            ("*.org.example", false),
            ("api.example.org/v2", false),
            ("api.example.org/v1/x", true),
            ("api.example.org/*/x", true),
            ("http://api.example.org", false),
            ("api.example.org:8443", false),
            ("other.example.org", false),
        ] {
            let other = bound(rule, header(), Caller::Guest);
            assert_eq!(one.collides(&other), collides, "{rule}");
            assert_eq!(other.collides(&one), collides, "{rule}");
        }
        assert!(!one.collides(&bound(
            "api.example.org",
            Place::Query("k".into()),
            Caller::Guest
        )));
        assert!(!one.collides(&bound("api.example.org", header(), Caller::Model)));
        let (get, post) = ("GET api.example.org", "POST api.example.org");
        let (get, post) = (
            bound(get, header(), Caller::Guest),
            bound(post, header(), Caller::Guest),
        );
        assert!(!get.collides(&post));
    }
}
