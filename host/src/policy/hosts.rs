//! From the requests a run has made to the rules that allow them.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use crate::egress::HostRule;
use crate::egress::target::Target;

/// Paths of one host that get rules of their own, at most.
const PATHS: usize = 4;

/// One request as evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) run: usize,
    pub(super) count: u64,
}

/// A rule, and what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) text: String,
    pub(super) runs: BTreeSet<usize>,
    pub(super) requests: u64,
}

/// Something that was asked of one path.
#[derive(Default)]
struct Asked {
    methods: BTreeSet<String>,
    runs: BTreeSet<usize>,
    requests: u64,
}

/// The rules that allow these requests, by host: of one host each path, or what all have in common when there
/// are many.
pub(super) fn rules<'a>(made: impl Iterator<Item = Made<'a>>) -> Vec<Rule> {
    let mut hosts: BTreeMap<String, BTreeMap<String, Asked>> = BTreeMap::new();
    for request in made {
        let (origin, path) = split(request.url);
        let path = known(path);
        let paths = hosts.entry(origin.to_owned()).or_default();
        let asked = paths.entry(path.to_owned()).or_default();
        asked.methods.insert(request.method.to_owned());
        asked.runs.insert(request.run);
        asked.requests = asked.requests.saturating_add(request.count);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (origin, paths) in hosts {
        let paths = if paths.len() > PATHS || paths.contains_key("") {
            let mut all = Asked::default();
            let common = common(paths.keys().map(String::as_str));
            for asked in paths.into_values() {
                all.methods.extend(asked.methods);
                all.runs.extend(asked.runs);
                all.requests = all.requests.saturating_add(asked.requests);
            }
            BTreeMap::from([(common, all)])
        } else {
            paths
        };
        for (path, asked) in paths {
            let Some(text) = rule(&origin, &path, &asked.methods) else {
                continue;
            };
            match rules.iter_mut().find(|rule| rule.text == text) {
                // Paths no rule can tell apart.
                Some(rule) => {
                    rule.runs.extend(asked.runs);
                    rule.requests = rule.requests.saturating_add(asked.requests);
                }
                None => rules.push(Rule {
                    text,
                    runs: asked.runs,
                    requests: asked.requests,
                }),
            }
        }
    }
    rules
}

/// `scheme://host:port` and the path of a URL.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/'));
    match end {
        Some(end) => url.split_at(host + end),
        None => (url, ""),
    }
}

/// A path as far as its record has it: before what was cut off of a long one, and before a name that a secret is
/// part of. A rule that had the mark of either in it would match nothing.
fn known(path: &str) -> &str {
    let cut = path.ends_with('…').then_some(path.len());
    let mark = path.find("[secret:");
    let Some(end) = mark.or(cut) else {
        return path;
    };
    let names = path.get(..end).unwrap_or_default();
    names.rsplit_once('/').map_or("", |(known, _)| known)
}

/// The names all paths begin with.
fn common<'a>(mut paths: impl Iterator<Item = &'a str>) -> String {
    let mut common: Vec<&str> = paths.next().unwrap_or_default().split('/').collect();
    for path in paths {
        let same = common.iter().zip(path.split('/'));
        let same = same.take_while(|(a, b)| *a == b).count();
        common.truncate(same);
    }
    common.join("/")
}

/// The narrowest rule that allows `methods` of this path: the path, or the next above that a rule can say. A star
/// that the guest has written stands for itself.
fn rule(origin: &str, path: &str, methods: &BTreeSet<String>) -> Option<String> {
    let names: Vec<Method> = methods
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let shown = methods
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    let url = format!("{origin}{path}");
    let literal = path.replace('*', "%2A");
    let mut path = literal.as_str();
    let target = |url: &str| Target::of(&url.parse().ok()?).ok();
    // A record does not have all of a very long URL.
    let wanted = target(&url).or_else(|| target(origin));
    loop {
        let rule: Option<HostRule> = format!("{shown} {origin}{path}").parse().ok();
        if let Some(rule) = rule
            && let Some(wanted) = &wanted
            && names.iter().all(|method| rule.matches(method, wanted))
        {
            return Some(rule.to_string());
        }
        match path.rsplit_once('/') {
            Some((above, _)) => path = above,
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(made: &[(&str, &str)]) -> Vec<String> {
        let made = made.iter().map(|(method, url)| Made {
            method,
            url,
            run: 0,
            count: 1,
        });
        rules(made).into_iter().map(|rule| rule.text).collect()
    }

    #[test]
    fn a_rule_says_method_host_port_and_path() {
        assert_eq!(
            texts(&[
                ("GET", "https://api.example.com/v1/items"),
                ("POST", "https://api.example.com/v1/items"),
                ("GET", "http://127.0.0.1:8080/a/"),
                ("GET", "https://example.org/"),
            ]),
            [
                "GET http://127.0.0.1:8080/a/",
                "GET,POST api.example.com/v1/items",
                "GET example.org",
            ]
        );
    }

    #[test]
    fn many_paths_become_what_they_have_in_common() {
        let urls: Vec<String> = (0..9).map(|n| format!("https://x.org/api/{n}/a")).collect();
        let mut made: Vec<_> = urls.iter().map(|url| ("GET", url.as_str())).collect();
        assert_eq!(texts(&made), ["GET x.org/api"]);
        made.push(("PUT", "https://x.org"));
        assert_eq!(texts(&made), ["GET,PUT x.org"]);
    }

    #[test]
    fn what_a_record_does_not_have_is_in_no_rule() {
        assert_eq!(
            texts(&[
                ("GET", "https://x.org/a/b/loooong…"),
                ("GET", "https://y.org/v1/[secret:key]/items/1"),
                ("GET", "https://z.org/v1/x-[secret:key]"),
            ]),
            ["GET x.org/a/b", "GET y.org/v1", "GET z.org/v1"]
        );
        assert_eq!(texts(&[("GET", "https://x.org/looo…")]), ["GET x.org"]);
        let rule: HostRule = "GET y.org/v1".parse().unwrap();
        let target = Target::of(&"https://y.org/v1/value/items/1".parse().unwrap()).unwrap();
        assert!(rule.matches(&Method::GET, &target));
    }

    #[test]
    fn a_star_of_the_guests_is_no_pattern() {
        let rules = texts(&[("GET", "https://x.org/a/*"), ("GET", "https://x.org/*")]);
        assert_eq!(rules, ["GET x.org/%2A", "GET x.org/a/%2A"]);
        let rule: HostRule = rules[1].parse().unwrap();
        for (url, allowed) in [("https://x.org/a/*", true), ("https://x.org/a/b", false)] {
            let target = Target::of(&url.parse().unwrap()).unwrap();
            assert_eq!(rule.matches(&Method::GET, &target), allowed, "{url}");
        }
    }

    proptest! {
        #[test]
        fn every_request_is_allowed(
            made in prop::collection::vec(
                ("GET|POST|X-Y", "https?://(a\\.b|localhost|\\[::1\\])(:81)?(/[a-z%;*.]{0,3}){0,4}"), 1..9),
        ) {
            let made: Vec<(&str, &str)> = made.iter().map(|(m, u)| (m.as_str(), u.as_str())).collect();
            for (method, url) in made {
                // What cannot be a request was none.
                let Some(target) = url.parse().ok().and_then(|uri| Target::of(&uri).ok()) else {
                    continue;
                };
                // As a record has it.
                let rules = texts(&[(method, &target.shown())]);
                let rule: HostRule = rules[0].parse().unwrap();
                prop_assert!(rule.matches(&method.parse().unwrap(), &target), "{method} {url}");
            }
        }
    }
}
