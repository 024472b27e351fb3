//! What a run uses of its grants, collected while it goes on and written as its last record but one.
//!
//! Paths, models and tools are told where the grant is checked; requests, secrets and changes of files are
//! read off the records. Everything is bounded: what comes beyond is told in less detail, and what is
//! left out is said to be (`more`).

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::paths::Paths;
use super::audit::Audit;
use super::journal::Entry;
use crate::egress::Caller;

/// Different requests that are told one by one; of further ones only where they went.
const REQUESTS: usize = 200;

/// Different places of requests that are told, those one by one among them. The rules of the operator allow far fewer hosts.
const HOSTS: usize = 1000;

/// Models, tools, servers and secrets that are told, each.
const NAMES: usize = 1000;

/// What a run has used of its grants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Directories of the guest in which anything was used, in the order of their first use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<DirUse>,
    /// Whether the environment or the arguments were read. Which variable counts, nobody can tell: WASI hands
    /// over all of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub environment: bool,
    /// Requests a rule has allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestUse>,
    /// Models that were asked, as `provider/model`, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, u64>,
    /// Granted tools that were called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolUse>,
    /// Tool servers whose resources or prompts were asked for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub servers: BTreeSet<String>,
    /// Secrets that were put on the wire, by name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// The most that was used of each limit that is measured, in the unit of the table of limits: bytes,
    /// milliseconds, millionths of a dollar or a count. What is not there was not used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub peak: BTreeMap<String, u64>,
    /// Whether more hosts, models, tools, servers or secrets were used than are told here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// What was used of one directory of the guest. Paths are relative to it, `.` is the directory itself. A path
/// that ends in a slash stands for more paths below it than are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirUse {
    /// Where the guest finds it.
    pub guest: String,
    /// Files that were opened for reading.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Files that were opened for writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<String>,
    /// Names that were made, removed, moved or linked, or were meant to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
    /// Directories whose entries were listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<String>,
    /// Directories that were opened or looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// Files that were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
    /// What was looked for and not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Whether symbolic links were read or followed: what is told here is not all that had to be there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub links: bool,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestUse {
    /// Who made it: `guest`, `model` or `tools`.
    pub caller: String,
    /// For example `GET`.
    pub method: String,
    /// Without query; without a path, too, where there were more paths of a host than are told.
    pub url: String,
    /// How often.
    pub count: u64,
}

/// One granted tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The id of its server; nothing of a tool component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The name of its component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Its own name.
    pub tool: String,
    /// How often it was called.
    pub calls: u64,
}

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// A file is opened for reading.
    Read,
    /// A file is opened for writing.
    Written,
    /// A name is made, removed, moved or linked, or is meant to be.
    Made,
    /// The entries of a directory are listed.
    Listed,
    /// A directory is opened or looked at.
    Folder,
    /// A file is looked at.
    Seen,
    /// The identity of something is asked for. Where its directory has been listed that is part of the list:
    /// libraries ask for it with every name.
    Identity,
    /// It is looked for and not there.
    Missing,
    /// Symbolic links are read or followed on the way.
    Link,
}

/// Where a granted tool comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToolFrom<'a> {
    /// The server of this id.
    Server(&'a str),
    /// The component of this name.
    Component(&'a str),
}

/// Something of the grants that is used.
#[derive(Clone, Copy, Debug)]
pub enum Use<'a> {
    /// The environment or the arguments.
    Environment,
    /// A model, as `provider/model`.
    Model(&'a str),
    /// What the answer of a model counts against the limits `tokens` and `money`.
    Answer {
        /// Tokens, in and out.
        tokens: u64,
        /// Millionths of a US dollar.
        micro_usd: u64,
    },
    /// A granted tool, by its own name.
    Tool(ToolFrom<'a>, &'a str),
    /// Resources or prompts of the tool server of this id.
    Server(&'a str),
}

/// Collects what a run uses.
#[derive(Debug, Default)]
pub(super) struct Collector {
    dirs: Vec<(Box<str>, Paths)>,
    environment: bool,
    requests: BTreeMap<(&'static str, String, String), u64>,
    models: BTreeMap<String, u64>,
    /// Server or component, whether it is a server, and the tool.
    tools: BTreeMap<(bool, String, String), u64>,
    servers: BTreeSet<String>,
    secrets: BTreeSet<String>,
    peak: BTreeMap<&'static str, u64>,
    more: bool,
}

impl Collector {
    /// Notes the use of a path beneath the directory `guest`; whether that is news.
    pub(super) fn touch(&mut self, guest: &str, path: &str, touch: Touch) -> bool {
        let at = self.dirs.iter().position(|(dir, _)| **dir == *guest);
        let at = at.unwrap_or_else(|| {
            // There are as many as the operator has granted.
            self.dirs.push((guest.into(), Paths::default()));
            self.dirs.len() - 1
        });
        self.dirs
            .get_mut(at)
            .is_some_and(|(_, paths)| paths.note(path, touch))
    }

    pub(super) fn used(&mut self, what: Use<'_>) {
        match what {
            Use::Environment => self.environment = true,
            Use::Model(name) => {
                self.add("model-calls", 1);
                self.more |= !count(&mut self.models, name.to_owned(), NAMES);
            }
            Use::Answer { tokens, micro_usd } => {
                self.add("tokens", tokens);
                self.add("money", micro_usd);
            }
            Use::Tool(from, tool) => {
                self.add("tool-calls", 1);
                let key = match from {
                    ToolFrom::Server(id) => (true, id.to_owned(), tool.to_owned()),
                    ToolFrom::Component(name) => (false, name.to_owned(), tool.to_owned()),
                };
                self.more |= !count(&mut self.tools, key, NAMES);
            }
            Use::Server(id) => self.more |= !keep(&mut self.servers, id, NAMES),
        }
    }

    /// Reads off a record what it says of the use of grants.
    pub(super) fn note(&mut self, entry: &Entry) {
        let Entry::Audit(audit) = entry else { return };
        match audit {
            Audit::Request {
                caller,
                method,
                url,
                rule,
                bytes_out,
                bytes_in,
                ..
            } => {
                self.add("requests", 1);
                self.most("request-bytes", *bytes_out);
                self.most("response-bytes", *bytes_in);
                if rule.is_some() {
                    self.request(*caller, method, url);
                }
            }
            Audit::SecretUsed { name, .. } => self.more |= !keep(&mut self.secrets, name, NAMES),
            Audit::Checkpoint { bytes, .. } | Audit::Artifact { bytes, .. } => {
                self.add("storage-bytes", *bytes);
            }
            Audit::FileChanged {
                path, change, from, ..
            } => {
                let touch = match *change {
                    "modified" | "times" => Touch::Written,
                    _ => Touch::Made,
                };
                self.touch_guest(path, touch);
                if let Some(from) = from {
                    self.touch_guest(from, Touch::Made);
                }
            }
            _ => {}
        }
    }

    /// What was used, and most of each limit.
    pub(super) fn finish(&self) -> Used {
        let requests = self.requests.iter();
        let requests = requests.map(|((caller, method, url), count)| RequestUse {
            caller: (*caller).to_owned(),
            method: method.clone(),
            url: url.clone(),
            count: *count,
        });
        let tools = self.tools.iter().map(|((server, from, tool), calls)| {
            let from = Some(from.clone());
            let (server, component) = if *server { (from, None) } else { (None, from) };
            ToolUse {
                server,
                component,
                tool: tool.clone(),
                calls: *calls,
            }
        });
        let peak = self.peak.iter().filter(|(_, most)| **most > 0);
        Used {
            dirs: self
                .dirs
                .iter()
                .map(|(guest, paths)| paths.told(guest))
                .collect(),
            environment: self.environment,
            requests: requests.collect(),
            models: self.models.clone(),
            tools: tools.collect(),
            servers: self.servers.clone(),
            secrets: self.secrets.clone(),
            peak: peak
                .map(|(name, most)| ((*name).to_owned(), *most))
                .collect(),
            more: self.more,
        }
    }

    /// At least so much of a limit was used.
    pub(super) fn most(&mut self, name: &'static str, value: u64) {
        let most = self.peak.entry(name).or_default();
        *most = value.max(*most);
    }

    fn add(&mut self, name: &'static str, more: u64) {
        let sum = self.peak.entry(name).or_default();
        *sum = sum.saturating_add(more);
    }

    fn request(&mut self, caller: Caller, method: &str, url: &str) {
        let caller = match caller {
            Caller::Guest => "guest",
            Caller::Model => "model",
            Caller::Tools => "tools",
        };
        let url = url.split('?').next().unwrap_or_default();
        let key = (caller, method.to_owned(), url.to_owned());
        if self.requests.len() < REQUESTS || self.requests.contains_key(&key) {
            self.more |= !count(&mut self.requests, key, HOSTS);
            return;
        }
        let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let key = (caller, method.to_owned(), host);
        self.more |= !count(&mut self.requests, key, HOSTS);
    }

    /// A path as the guest writes it.
    fn touch_guest(&mut self, path: &str, touch: Touch) {
        let relative = |guest: &str| -> Option<String> {
            let rest = path.strip_prefix(guest.trim_end_matches('/'))?;
            match rest.strip_prefix('/') {
                Some(rest) => Some(rest.to_owned()),
                None => rest.is_empty().then(String::new),
            }
        };
        let mut dirs = self.dirs.iter_mut();
        if let Some((paths, path)) = dirs.find_map(|(guest, paths)| Some((paths, relative(guest)?)))
        {
            paths.note(&path, touch);
        }
    }
}

/// Counts `key`, unless there are `max` others already. Whether it was counted.
#[must_use]
fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, max: usize) -> bool {
    let fits = counts.len() < max || counts.contains_key(&key);
    if fits {
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }
    fits
}

/// Keeps `name`, unless there are `max` others already. Whether it is kept.
#[must_use]
fn keep(names: &mut BTreeSet<String>, name: &str, max: usize) -> bool {
    let fits = names.len() < max || names.contains(name);
    if fits {
        names.insert(name.to_owned());
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> Entry {
        Entry::Audit(Audit::SecretUsed {
            name: name.to_owned(),
            digest: String::new(),
            place: "authorization".to_owned(),
            host: "https://example.com".to_owned(),
            replaced: false,
        })
    }

    fn request(url: &str) -> Entry {
        Entry::Audit(Audit::Request {
            caller: Caller::Guest,
            method: "GET".to_owned(),
            url: url.to_owned(),
            rule: Some("example.com".to_owned()),
            address: None,
            status: None,
            bytes_out: 3,
            bytes_in: 7,
            milliseconds: 1,
            error: None,
        })
    }

    #[test]
    fn what_is_used_is_told_once_and_counted() {
        let mut collector = Collector::default();
        assert!(collector.touch("/work", "a", Touch::Read));
        assert!(!collector.touch("/work", "a", Touch::Read), "it is no news");
        assert!(collector.touch("/work", "a", Touch::Written));
        collector.used(Use::Environment);
        for _ in 0..2 {
            collector.used(Use::Model("scripted/x"));
            collector.used(Use::Tool(ToolFrom::Server("s"), "t"));
            collector.note(&request("https://example.com/a?b"));
        }
        collector.most("memory", 5);
        collector.most("memory", 3);
        collector.most("handles", 0);
        let used = collector.finish();
        assert_eq!(used.dirs.len(), 1);
        assert_eq!(used.dirs[0].read, ["a"]);
        assert_eq!(used.dirs[0].written, ["a"]);
        assert!(used.environment);
        assert_eq!(used.models["scripted/x"], 2);
        assert_eq!(used.tools[0].calls, 2);
        assert_eq!(used.requests.len(), 1, "values of the query are no matter");
        assert_eq!(used.requests[0].count, 2);
        assert_eq!(used.peak["memory"], 5);
        assert_eq!(used.peak["requests"], 2);
        assert_eq!(used.peak["response-bytes"], 7);
        assert!(!used.peak.contains_key("handles"), "none was used");
        let json = serde_json::to_value(&used).unwrap();
        assert_eq!(serde_json::from_value::<Used>(json).unwrap(), used);
    }

    #[test]
    fn requests_are_bounded_and_still_say_where_they_went() {
        let mut collector = Collector::default();
        for n in 0..1000 {
            collector.note(&request(&format!("https://example.com/{n}/x")));
        }
        let used = collector.finish();
        assert_eq!(used.requests.len(), REQUESTS + 1);
        let rest = used
            .requests
            .iter()
            .find(|it| it.url == "https://example.com");
        let rest = rest.unwrap();
        assert_eq!(rest.count, 1000 - REQUESTS as u64);
    }

    #[test]
    fn what_is_not_told_is_said_to_be_missing() {
        let full = || {
            let mut collector = Collector::default();
            for n in 0..NAMES {
                collector.used(Use::Model(&format!("x/{n}")));
                collector.used(Use::Tool(ToolFrom::Server("s"), &n.to_string()));
                collector.used(Use::Server(&n.to_string()));
                collector.note(&secret(&n.to_string()));
            }
            for n in 0..HOSTS {
                collector.note(&request(&format!("https://{n}.example.com")));
            }
            collector.used(Use::Model("x/0"));
            collector.note(&secret("0"));
            assert!(!collector.finish().more, "each of them is told");
            collector
        };
        let more: [fn(&mut Collector); 5] = [
            |it| it.used(Use::Model("y/new")),
            |it| it.used(Use::Tool(ToolFrom::Server("s"), "new")),
            |it| it.used(Use::Server("new")),
            |it| it.note(&secret("new")),
            |it| it.note(&request("https://new.example.com/a")),
        ];
        for use_more in more {
            let mut collector = full();
            use_more(&mut collector);
            let used = collector.finish();
            assert!(used.more);
            let json = serde_json::to_value(&used).unwrap();
            assert_eq!(json["more"], true);
        }
    }

    #[test]
    fn changes_belong_to_the_directory_they_are_in() {
        let mut collector = Collector::default();
        collector.touch("/work", "x", Touch::Read);
        collector.touch("/workshop", "x", Touch::Read);
        collector.note(&Entry::Audit(Audit::FileChanged {
            path: "/workshop/new/a".to_owned(),
            change: "renamed",
            from: Some("/workshop/b".to_owned()),
            bytes_written: 0,
            before: None,
            after: None,
        }));
        let used = collector.finish();
        assert!(used.dirs[0].made.is_empty());
        assert_eq!(used.dirs[1].made, ["b", "new/a"]);
    }
}
