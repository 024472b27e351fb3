//! What a request is really for: its URL in one normal form, which is matched, connected to and sent.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Part, Refused};

/// Longest URL in a record, in characters. What comes after says nothing about where it went.
const SHOWN: usize = 1000;

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it is written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port where none is written.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Scheme> {
        [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// The host of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name: lower case, IDN as punycode, without a dot at its end.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl Host {
    /// Reads a host as the WHATWG URL standard does: `0x7f.1` is an address, `EXAMPLE.com.` a name.
    pub(super) fn parse(text: &str) -> Result<Host, &'static str> {
        let host = match url::Host::parse(text) {
            Ok(url::Host::Domain(name)) => Host::Name(name),
            Ok(url::Host::Ipv4(address)) => Host::Ip(address.into()),
            Ok(url::Host::Ipv6(address)) => Host::Ip(address.into()),
            Err(_) => return Err("its host is neither a name nor an address"),
        };
        let Host::Name(name) = host else {
            return Ok(host);
        };
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_label = |label: &str| !label.is_empty() && label.len() <= 63;
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err("its host is no name of the DNS");
        }
        Ok(Host::Name(name.to_owned()))
    }

    /// Whether it is this machine's own name, which no DNS is asked for.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        matches!(self, Host::Name(name) if name == "localhost" || name.ends_with(".localhost"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(address)) => address.fmt(f),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The normal form of a request's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: String,
    query: Option<String>,
    segments: Option<Vec<String>>,
}

impl Target {
    /// Normalises the absolute URL of a request. Dot segments are resolved, written `.` or `%2e`; a
    /// backslash is a slash; a default port is left out.
    ///
    /// # Errors
    ///
    /// [`Refused::Malformed`]: not absolute, neither `http` nor `https`, user information, no host, port 0.
    pub fn of(uri: &http::Uri) -> Result<Target, Refused> {
        Target::read(uri).map_err(|what| Refused::Malformed {
            part: Part::Url,
            what,
        })
    }

    fn read(uri: &http::Uri) -> Result<Target, &'static str> {
        let scheme = uri
            .scheme_str()
            .and_then(Scheme::parse)
            .ok_or("its URL is not `http` or `https`")?;
        let authority = uri.authority().ok_or("its URL has no host")?.as_str();
        if authority.contains('@') {
            return Err("its URL has user information");
        }
        let written = uri.path();
        if !written.starts_with('/') && !written.is_empty() {
            return Err("its path does not begin with `/`");
        }
        let url = Url::parse(&format!("{}://{authority}{written}", scheme.as_str()))
            .map_err(|_| "its URL cannot be read")?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("its path is not one");
        }
        let host = Host::parse(url.host_str().ok_or("its URL has no host")?)?;
        let port = url.port().unwrap_or_else(|| scheme.default_port());
        if port == 0 {
            return Err("its port is 0");
        }
        let path = url.path().to_owned();
        Ok(Target {
            scheme,
            host,
            port,
            segments: segments(&path),
            path,
            query: uri.query().map(str::to_owned),
        })
    }

    /// How the request is made.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it goes.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, the default one included.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path as it is sent: it begins with `/` and has no dot segments.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands after `?`, as it was given.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The decoded segments of the path. Nothing where servers disagree on what they are: an encoded or
    /// doubled slash, a doubly encoded character, `..;`. No rule about paths matches such a path.
    #[must_use]
    pub fn segments(&self) -> Option<&[String]> {
        self.segments.as_deref()
    }

    /// The host, and the port unless it is the default one: the value of `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// `scheme://host[:port]`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority())
    }

    /// The path and the query, as they are sent.
    #[must_use]
    pub fn path_and_query(&self) -> Cow<'_, str> {
        match &self.query {
            None => Cow::Borrowed(&self.path),
            Some(query) => Cow::Owned(format!("{}?{query}", self.path)),
        }
    }

    /// The same with another query.
    pub(super) fn with_query(self, query: Option<&str>) -> Target {
        Target {
            query: query.map(str::to_owned),
            ..self
        }
    }

    /// The URL for a record: of the query only the names.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = format!("{}{}", self.origin(), self.path);
        if let Some(query) = &self.query {
            shown.push('?');
            for (at, pair) in query.split('&').enumerate() {
                if at > 0 {
                    shown.push('&');
                }
                match pair.split_once('=') {
                    Some((name, _)) => {
                        shown.push_str(name);
                        shown.push_str("=…");
                    }
                    // Whether a lone word is a name or a value only the server knows.
                    None if pair.is_empty() => {}
                    None => shown.push('…'),
                }
            }
        }
        clip(&shown)
    }
}

/// A URL that could not be normalised, for a record: without user information and query.
pub(super) fn shown_anyway(uri: &http::Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("?");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    clip(&format!("{scheme}://{host}{}", uri.path()))
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The decoded segments of a normalised path, unless servers disagree on what they are.
fn segments(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix('/')?;
    let count = rest.split('/').count();
    let decode = |(at, segment): (usize, &str)| {
        if segment.is_empty() && at + 1 < count {
            return None;
        }
        let decoded = percent_decode_str(segment).decode_utf8().ok()?;
        is_plain(&decoded).then(|| decoded.into_owned())
    };
    rest.split('/').enumerate().map(decode).collect()
}

/// Whether every server reads a decoded segment in the same way.
fn is_plain(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let encoded_twice = segment.match_indices('%').any(|(at, _)| {
        let digits = segment.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    !matches!(name, "." | "..")
        && !encoded_twice
        && !segment.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(uri: &str) -> Result<Target, String> {
        let uri: http::Uri = uri.parse().map_err(|_| "no URI".to_owned())?;
        Target::of(&uri).map_err(|refused| refused.to_string())
    }

    #[test]
    fn one_place_has_one_form() {
        for (written, origin, path) in [
            ("https://Example.COM", "https://example.com", "/"),
            ("HTTPS://example.com./a", "https://example.com", "/a"),
            (
                "https://example.com:443/a/./b",
                "https://example.com",
                "/a/b",
            ),
            ("http://example.com:80/a/../b", "http://example.com", "/b"),
            ("https://example.com:80/", "https://example.com:80", "/"),
            (
                "https://example.com/a/%2e%2E/b",
                "https://example.com",
                "/b",
            ),
            ("https://example.com/a\\..\\b", "https://example.com", "/b"),
            ("https://example.com/../../x", "https://example.com", "/x"),
            ("http://0x7f.1/", "http://127.0.0.1", "/"),
            ("http://2130706433/", "http://127.0.0.1", "/"),
            ("http://017700000001/", "http://127.0.0.1", "/"),
            ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]", "/"),
            (
                "https://xn--bcher-kva.example/",
                "https://xn--bcher-kva.example",
                "/",
            ),
        ] {
            let target = target(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(
                (&*target.origin(), target.path()),
                (origin, path),
                "{written}"
            );
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for written in [
            "/path",
            "example.com:443",
            "ftp://example.com/",
            "https://user@example.com/",
            "https://@example.com/",
            "https://a:b@example.com/",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://exa..mple.com/",
            "https://example.com../",
            "https://[::1%25eth0]/",
            "https://1.2.3.4.5/",
            "*",
        ] {
            assert!(target(written).is_err(), "{written}");
        }
    }

    #[test]
    fn paths_servers_disagree_on_have_no_segments() {
        for path in [
            "/a%2fb",
            "/a%5cb",
            "//a",
            "/a//b",
            "/%252e%252e/a",
            "/..;/a",
            "/.;x/a",
            "/a%00",
            "/a%ff",
            "/a%0ab",
        ] {
            let target = target(&format!("https://example.com{path}")).unwrap();
            assert_eq!(target.segments(), None, "{path}");
        }
        let target = target("https://example.com/a%20b/c%C3%A9/").unwrap();
        assert_eq!(target.segments().unwrap(), ["a b", "cé", ""]);
    }

    #[test]
    fn records_show_no_value_of_a_query_and_no_user() {
        let shown = target("https://example.com/a?key=s3cret&s3cret&b=").unwrap();
        assert_eq!(shown.shown(), "https://example.com/a?key=…&…&b=…");
        let uri: http::Uri = "https://me:s3cret@example.com/a?s3cret".parse().unwrap();
        assert_eq!(shown_anyway(&uri), "https://example.com/a");
    }

    proptest! {
        #[test]
        fn normal_forms_are_fixed_points(
            host in "[a-zA-Z0-9.%-]{1,30}", path in "(/[a-z.%0-9A-F;\\\\]{0,8}){0,4}",
        ) {
            if let Ok(first) = target(&format!("https://{host}{path}")) {
                let again = target(&format!("{}{}", first.origin(), first.path_and_query())).unwrap();
                prop_assert_eq!(first, again);
            }
        }

        #[test]
        fn no_url_makes_it_panic_and_none_leads_up(text in "\\PC{0,80}") {
            if let Ok(target) = target(&text) {
                let up = |segment: &String| segment == "..";
                prop_assert!(!target.segments().unwrap_or_default().iter().any(up));
                let _ = target.shown();
            }
        }
    }
}
