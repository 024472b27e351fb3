//! Rules: which requests the operator allows.
//!
//! A rule is `[METHOD[,METHOD] ][SCHEME://]HOST[:PORT][/PATH]`:
//!
//! - without a method, any; without a scheme, `https` and no other; without a port, the scheme's own
//!   and no other.
//! - HOST is a name, an address, or `*.` and a name, which stands for one or more labels before that
//!   name and not for the name itself. Nothing stands for every host.
//! - PATH is a beginning in whole segments: `/repos` allows `/repos` and `/repos/a`, not `/reposx`. With a
//!   slash at its end it allows only what is below. `*` stands for one or more characters of one segment,
//!   so that `/repos/*` allows everything below `/repos/`, and `/repos/*/issues` the issues of each.
//!
//! A rule that names an address or `localhost` is the only way to addresses that are not public.

use std::fmt;
use std::str::FromStr;

use http::Method;
use percent_encoding::percent_decode_str;

use super::address::Class;
use super::target::{Host, Scheme, Target};

/// Longest rule, in bytes. The longest name has 253.
const MAX: usize = 4096;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// Empty for any.
    methods: Vec<Method>,
    scheme: Scheme,
    host: HostPattern,
    port: u16,
    path: PathPattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(Host),
    /// The name without `*.`.
    Below(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PathPattern {
    /// As written, empty for any path.
    written: String,
    /// Decoded; each split at its `*`.
    segments: Vec<Vec<String>>,
    /// Something has to come after the segments.
    below: bool,
}

/// A rule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the host rule `{rule}`: {reason}")]
pub struct RuleError {
    /// As it was written.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

impl HostRule {
    /// Whether it allows such a request.
    #[must_use]
    pub fn matches(&self, method: &Method, target: &Target) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.scheme == target.scheme()
            && self.port == target.port()
            && self.host.matches(target.host())
            && self.path.matches(target.segments())
    }

    /// Whether there may be a request that both allow. Where that takes a closer look at their paths, it is
    /// taken for granted.
    #[must_use]
    pub fn may_overlap(&self, other: &HostRule) -> bool {
        let methods = self.methods.is_empty()
            || other.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|method| other.methods.contains(method));
        methods
            && self.scheme == other.scheme
            && self.port == other.port
            && self.host.may_overlap(&other.host)
            && self.path.may_overlap(&other.path)
    }

    /// The host it is about, as written: a name, an address, or `*.` and a name.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    fn read(text: &str) -> Result<HostRule, String> {
        let fail = |reason: &str| Err(reason.to_owned());
        if text.len() > MAX {
            return fail("it is too long");
        }
        let (methods, rest) = match text.trim().split_once(char::is_whitespace) {
            None => (Vec::new(), text.trim()),
            Some((methods, rest)) => (read_methods(methods)?, rest.trim()),
        };
        if rest.contains(char::is_whitespace) {
            return fail("there is more than methods and a host");
        }
        let (scheme, rest) = match rest.split_once("://") {
            None => (Scheme::Https, rest),
            Some((scheme, rest)) => match Scheme::parse(scheme) {
                Some(scheme) => (scheme, rest),
                None => return fail("the scheme is neither `http` nor `https`"),
            },
        };
        if rest.contains(['?', '#']) {
            return fail("queries and fragments are not part of a rule");
        }
        let (authority, path) = match rest.find('/') {
            None => (rest, ""),
            Some(at) => rest.split_at(at),
        };
        if authority.contains('@') {
            return fail("user information is not part of a rule");
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are within its brackets.
            Some((host, port)) if !port.contains(']') => {
                let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                match port.parse() {
                    Ok(port) if is_number && port != 0 => (host, port),
                    _ => return fail("the port is not a number from 1 to 65535"),
                }
            }
            _ => (authority, scheme.default_port()),
        };
        Ok(HostRule {
            methods,
            scheme,
            host: HostPattern::read(host)?,
            port,
            path: PathPattern::read(path)?,
        })
    }
}

fn read_methods(text: &str) -> Result<Vec<Method>, String> {
    let mut methods = Vec::new();
    for name in text.split(',') {
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        {
            return Err(format!("`{name}` is not a method, in capitals"));
        }
        match Method::from_bytes(name.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => {
                return Err(format!("{name} is never sent"));
            }
            Ok(method) if !methods.contains(&method) => methods.push(method),
            Ok(_) => {}
            Err(_) => return Err(format!("`{name}` is not a method")),
        }
    }
    Ok(methods)
}

impl HostPattern {
    fn read(text: &str) -> Result<HostPattern, String> {
        let fail = |reason: &str| Err(reason.to_owned());
        if text.is_empty() {
            return fail("the host is missing");
        }
        if let Some(name) = text.strip_prefix("*.") {
            let host = Host::parse(name).map_err(|_| "the name after `*.` is not one")?;
            return match host {
                Host::Name(name) if name.contains('.') && !name.contains('*') => {
                    Ok(HostPattern::Below(name))
                }
                Host::Name(_) => fail("`*.` needs a name of two labels at least after it"),
                Host::Ip(_) => fail("`*.` needs a name after it"),
            };
        }
        if text.contains('*') {
            return fail(
                "`*` stands for labels only at the beginning, as `*.`; no rule allows every host",
            );
        }
        match Host::parse(text).map_err(|reason| reason.replacen("its", "the", 1))? {
            Host::Ip(address) => match Class::of(address) {
                Class::Embedded | Class::Multicast | Class::Unspecified | Class::Broadcast => {
                    fail("no request goes to such an address")
                }
                _ => Ok(HostPattern::Exact(Host::Ip(address))),
            },
            name => Ok(HostPattern::Exact(name)),
        }
    }

    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (HostPattern::Exact(pattern), host) => pattern == host,
            (HostPattern::Below(parent), Host::Name(name)) => name
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (HostPattern::Below(_), Host::Ip(_)) => false,
        }
    }
}

impl HostPattern {
    fn may_overlap(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Exact(host), pattern) | (pattern, HostPattern::Exact(host)) => {
                pattern.matches(host)
            }
            (HostPattern::Below(a), HostPattern::Below(b)) => {
                let below =
                    |a: &str, b: &str| a.strip_suffix(b).is_some_and(|rest| rest.ends_with('.'));
                a == b || below(a, b) || below(b, a)
            }
        }
    }
}

impl PathPattern {
    fn may_overlap(&self, other: &PathPattern) -> bool {
        // One piece is a segment without `*`.
        let differ = |(a, b): (&Vec<String>, &Vec<String>)| a.len() == 1 && b.len() == 1 && a != b;
        !self.segments.iter().zip(&other.segments).any(differ)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(host) => host.fmt(f),
            HostPattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl PathPattern {
    fn read(text: &str) -> Result<PathPattern, String> {
        let Some(rest) = text.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
            return Ok(PathPattern::default());
        };
        let (rest, below) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let segments = rest.split('/').map(|segment| {
            let parts = segment.split('*').map(|part| {
                let decoded = percent_decode_str(part)
                    .decode_utf8()
                    .map_err(|_| "the path is not UTF-8".to_owned())?;
                let strange = |c: char| matches!(c, '/' | '\\' | '%' | ';') || c.is_control();
                match decoded.contains(strange) {
                    true => Err("the path has characters servers disagree on".to_owned()),
                    false => Ok(decoded.into_owned()),
                }
            });
            match segment {
                "" => Err("the path has an empty segment".to_owned()),
                _ => parts.collect::<Result<Vec<_>, _>>(),
            }
        });
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        let dots = |segment: &Vec<String>| matches!(segment.concat().as_str(), "." | "..");
        if segments.iter().any(dots) {
            return Err("the path has a dot segment".to_owned());
        }
        Ok(PathPattern {
            written: text.to_owned(),
            segments,
            below,
        })
    }

    fn matches(&self, path: Option<&[String]>) -> bool {
        if self.written.is_empty() {
            return true;
        }
        let Some(path) = path else {
            return false;
        };
        path.len() >= self.segments.len() + usize::from(self.below)
            && self
                .segments
                .iter()
                .zip(path)
                .all(|(pattern, segment)| segment_matches(pattern, segment))
    }
}

/// Whether `parts`, with one or more characters between each two, make up `segment`.
fn segment_matches(parts: &[String], segment: &str) -> bool {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return false;
    };
    if parts.len() == 1 {
        return first == segment;
    }
    let Some(mut rest) = segment.strip_prefix(first.as_str()) else {
        return false;
    };
    let middle = parts.get(1..parts.len() - 1).unwrap_or_default();
    for part in middle {
        // The leftmost place leaves most for what follows; one character goes to the `*`.
        let Some(begin) = rest.chars().next().map(char::len_utf8) else {
            return false;
        };
        let tail = rest.get(begin..).unwrap_or_default();
        match tail.find(part.as_str()) {
            Some(at) => rest = tail.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.strip_suffix(last.as_str())
        .is_some_and(|star| !star.is_empty())
}

impl FromStr for HostRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<HostRule, RuleError> {
        HostRule::read(text).map_err(|reason| RuleError {
            rule: text.to_owned(),
            reason,
        })
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, method) in self.methods.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{method}")?;
        }
        if !self.methods.is_empty() {
            f.write_str(" ")?;
        }
        if self.scheme == Scheme::Http {
            f.write_str("http://")?;
        }
        self.host.fmt(f)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> HostRule {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn allows(rule_text: &str, request: &str) -> bool {
        let (method, url) = request.split_once(' ').unwrap();
        let target = Target::of(&url.parse().unwrap()).unwrap();
        rule(rule_text).matches(&Method::from_bytes(method.as_bytes()).unwrap(), &target)
    }

    #[test]
    fn a_rule_allows_what_it_says_and_nothing_beside() {
        for (rule, yes, no) in [
            (
                "example.com",
                &[
                    "GET https://example.com",
                    "POST https://EXAMPLE.com.:443/a/b?c",
                    "GET https://example.com/a%2fb",
                ][..],
                &[
                    "GET http://example.com/",
                    "GET https://example.com:8443/",
                    "GET https://www.example.com/",
                    "GET https://example.com.evil.net/",
                    "GET https://evilexample.com/",
                    "GET https://example.co/",
                ][..],
            ),
            (
                "*.example.com",
                &["GET https://a.example.com/", "GET https://a.b.example.com/"],
                &["GET https://example.com/", "GET https://aexample.com/"],
            ),
            (
                "GET,HEAD http://localhost:8080/api",
                &[
                    "GET http://localhost:8080/api",
                    "HEAD http://localhost:8080/api/x",
                ],
                &[
                    "POST http://localhost:8080/api",
                    "GET http://localhost:8080/apix",
                    "GET http://localhost:8080/",
                    "GET http://localhost:8080/api/../x",
                    "GET http://localhost:8080/%61pi/%2e%2e/x",
                    "GET http://localhost:8080//api",
                    "GET http://localhost:8080/api/..;/x",
                    "GET http://localhost:8080/api%2f..%2fx",
                    "GET http://127.0.0.1:8080/api",
                ],
            ),
            (
                "api.example.com/repos/*/issues/",
                &[
                    "GET https://api.example.com/repos/a/issues/1",
                    "GET https://api.example.com/x/../repos/a/issues/",
                ],
                &[
                    "GET https://api.example.com/repos/a/issues",
                    "GET https://api.example.com/repos//issues/1",
                    "GET https://api.example.com/repos/a/b/issues/1",
                ],
            ),
            (
                "example.com/v*/a*b*c",
                &[
                    "GET https://example.com/v1/axbxc/d",
                    "GET https://example.com/v1/aabbbcc",
                ],
                &[
                    "GET https://example.com/v/axbxc",
                    "GET https://example.com/v1/abxc",
                    "GET https://example.com/v1/axbc",
                ],
            ),
            (
                "http://127.0.0.1:80",
                &["GET http://127.0.0.1/", "GET http://0x7f.0.0.1/"],
                &[
                    "GET http://localhost/",
                    "GET http://[::ffff:127.0.0.1]/",
                    "GET http://127.0.0.2/",
                ],
            ),
            (
                "[::1]:8443",
                &["GET https://[::1]:8443/"],
                &["GET https://[::2]:8443/"],
            ),
            (
                "bücher.example",
                &["GET https://xn--bcher-kva.example/"],
                &[],
            ),
            (
                "example.com/a%20b",
                &["GET https://example.com/a%20b"],
                &["GET https://example.com/a"],
            ),
        ] {
            for request in yes {
                assert!(allows(rule, request), "{rule} | {request}");
            }
            for request in no {
                assert!(!allows(rule, request), "{rule} | {request}");
            }
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            " ",
            "*",
            "*.",
            "*.com",
            "https://*",
            "*:443",
            "a.*.com",
            "exam*.com",
            "*.1.2.3.4",
            "ftp://example.com",
            "://example.com",
            "get example.com",
            "GET,, example.com",
            "CONNECT example.com",
            "GET POST example.com",
            "example.com:",
            "example.com:0",
            "example.com:70000",
            "example.com:+1",
            "user@example.com",
            "example.com?x",
            "example.com/a#b",
            "example.com/a/../b",
            "example.com/a//b",
            "example.com/a%2fb",
            "example.com/a;b",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::1]",
            "224.0.0.1",
            "[::1",
            "exa mple.com",
            "a..b",
        ] {
            assert!(text.parse::<HostRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_goes_without_saying_is_not_shown() {
        for (written, shown) in [
            ("https://Example.com:443/", "example.com"),
            ("http://example.com:80/a/", "http://example.com/a/"),
            ("GET,GET,POST  http://x.y:443", "GET,POST http://x.y:443"),
            ("[0:0::1]:1", "[::1]:1"),
        ] {
            assert_eq!(rule(written).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_rule(
            text in "((GET|PUT)(,POST)? )?(https?://)?(\\*\\.)?[a-zA-Z0-9-]{1,6}\\.[a-z]{2,3}(:[0-9]{1,5})?(/[a-z0-9*%.]{0,5}){0,3}",
        ) {
            if let Ok(rule) = text.parse::<HostRule>() {
                prop_assert_eq!(rule.to_string().parse::<HostRule>(), Ok(rule));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_none_allows_every_host(text in "\\PC{0,60}") {
            if let Ok(rule) = text.parse::<HostRule>() {
                let both = ["https://a.example/", "https://b.test/"].map(|url| {
                    rule.matches(&Method::GET, &Target::of(&url.parse().unwrap()).unwrap())
                });
                prop_assert!(!(both[0] && both[1]));
            }
        }

        #[test]
        fn stars_match_as_a_regular_expression_would(
            pattern in "[ab*]{1,6}", segment in "[ab]{0,8}",
        ) {
            let parts: Vec<String> = pattern.split('*').map(str::to_owned).collect();
            // The simplest matcher there is: every way to fill the stars.
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (1..=text.len()).any(|taken| slow(rest, &text[taken..])),
                    Some((byte, rest)) => text.first() == Some(byte) && slow(rest, &text[1..]),
                }
            }
            prop_assert_eq!(segment_matches(&parts, &segment), slow(pattern.as_bytes(), segment.as_bytes()));
        }
    }
}
