//! The smallest grants that would have allowed what runs have done, as a file a person reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::evidence::{Evidence, Hosts, Outside};
use super::hosts::{Made, rules};
use super::limits::limits;
use super::servers::server;
use super::toml::{inline, key, plural, quoted, said};
use crate::digest::Digest;
use crate::grants::limits as table;
use crate::grants::pattern::covers;
use crate::tools::component::name_of;

/// A grants file that would have allowed some runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The file.
    pub text: String,
    /// What a person has to add or decide, in words.
    pub notes: Vec<String>,
}

/// Suggests the smallest grants that would have allowed these runs, as far as a person still reads them. What
/// was denied is told of and not granted.
#[must_use]
pub fn suggest(runs: &[Evidence]) -> Suggestion {
    let mut runs: Vec<&Evidence> = runs.iter().collect();
    runs.sort_by(|a, b| a.run.cmp(&b.run));
    runs.dedup_by(|a, b| a.run == b.run);
    let mut page = Page {
        runs,
        text: String::new(),
        tables: String::new(),
        notes: Vec::new(),
    };
    page.head();
    page.directories();
    page.protection();
    page.arguments();
    page.network();
    page.models();
    page.tools();
    page.secrets();
    page.require();
    page.environment();
    page.limits();
    page.denied();
    page.text.push_str(&page.tables);
    Suggestion {
        text: page.text,
        notes: page.notes,
    }
}

/// The file, as it is written: keys first, tables after them, as TOML wants it.
pub(super) struct Page<'a> {
    /// By their session ids: the newest last.
    pub(super) runs: Vec<&'a Evidence>,
    pub(super) text: String,
    pub(super) tables: String,
    pub(super) notes: Vec<String>,
}

/// One line of a list, and what it stands on.
pub(super) struct Item {
    pub(super) value: String,
    pub(super) why: String,
}

impl Page<'_> {
    fn head(&mut self) {
        let agents: BTreeSet<_> = self
            .runs
            .iter()
            .map(|run| format!("{} ({})", said(&run.agent), said(&run.component)))
            .collect();
        let count = plural(self.runs.len(), "run");
        self.line(&format!(
            "# What {count} used, and nothing else; every line says by which evidence."
        ));
        for agent in agents {
            self.line(&format!("# Agent: {agent}"));
        }
        let runs = self.runs.clone();
        for run in runs {
            let replayed = match run.outside {
                Outside::Live => "",
                Outside::Recorded => ", answered by a recording",
            };
            self.line(&format!("# Run: {}{replayed}", said(&run.run)));
            if run.used.more {
                self.notes.push(format!(
                    "{} used more than its account tells: hosts, models, tools or secrets are missing here",
                    run.run
                ));
            }
            if run.outside == Outside::Recorded {
                self.notes.push(format!(
                    "{} was answered by a recording: name the recorded run, too, whose account has the requests",
                    run.run
                ));
            }
        }
        self.line("version = 1");
        self.component();
    }

    /// What was looked at is what is run again. Of several components none is pinned.
    fn component(&mut self) {
        let components: BTreeSet<_> = self.runs.iter().map(|run| &run.component).collect();
        match components.into_iter().collect::<Vec<_>>().as_slice() {
            [one] if one.parse::<Digest>().is_ok() => {
                let line = format!("component = {}", quoted(one));
                self.line(&line);
            }
            [] | [_] => {}
            _ => {
                let note = "the runs were of several components: none of them is pinned";
                self.notes.push(note.to_owned());
            }
        }
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A list of texts, each with its evidence above it.
    pub(super) fn list(&mut self, name: &str, items: &[Item], left_out: &[String]) {
        if items.is_empty() && left_out.is_empty() {
            return;
        }
        self.line("");
        if items.is_empty() {
            for text in left_out {
                self.line(&format!("# {name}: {}", said(text)));
            }
            return;
        }
        self.line(&format!("{name} = ["));
        for item in items {
            self.line(&format!("  # {}", said(&item.why)));
            self.line(&format!("  {},", quoted(&item.value)));
        }
        for text in left_out {
            self.line(&format!("  # {}", said(text)));
        }
        self.line("]");
    }

    /// How many runs have used something.
    pub(super) fn by(&self, runs: &BTreeSet<usize>) -> String {
        plural(runs.len(), "run")
    }

    fn arguments(&mut self) {
        let Some(newest) = self
            .runs
            .iter()
            .rev()
            .find(|run| !run.granted.args.is_empty())
        else {
            return;
        };
        let args = newest.granted.args.iter().map(|arg| quoted(arg));
        let args = args.collect::<Vec<_>>().join(", ");
        let id = said(&newest.run);
        self.line("");
        self.line(&format!("# as in run {id}"));
        self.line(&format!("args = [{args}]"));
    }

    fn network(&mut self) {
        let mut made = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            for request in &run.used.requests {
                if request.caller == "guest" {
                    made.push(Made {
                        method: &request.method,
                        url: &request.url,
                        run: at,
                        count: request.count,
                    });
                }
            }
        }
        let items = rules(made.iter().copied()).into_iter().map(|rule| Item {
            why: format!(
                "{}: {}",
                self.by(&rule.runs),
                plural(
                    usize::try_from(rule.requests).unwrap_or(usize::MAX),
                    "request"
                )
            ),
            value: rule.text,
        });
        let mut items: Vec<Item> = items.collect();
        let mut unused = Vec::new();
        if items.is_empty()
            && let Some(run) = self
                .runs
                .iter()
                .rev()
                .find(|it| it.hosts != Hosts::Optional)
            && let Some(rule) = run.granted.hosts.first()
        {
            let why = "not used; an agent that can make requests does not start without a host";
            match run.hosts {
                Hosts::Needed => items.push(Item {
                    value: rule.clone(),
                    why: why.to_owned(),
                }),
                Hosts::Unknown | Hosts::Optional => unused.push(format!("{rule}: {why}")),
            }
        }
        self.list("hosts", &items, &unused);
        if self.runs.iter().all(|run| run.used.requests.is_empty()) {
            return;
        }
        let authorities: BTreeSet<PathBuf> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.ca_files.clone())
            .collect();
        let items = authorities.iter().map(|path| Item {
            value: path.display().to_string(),
            why: "as it was; which authority was needed is not known".to_owned(),
        });
        self.list("ca-files", &items.collect::<Vec<_>>(), &[]);
        if let Some(proxy) = self
            .runs
            .iter()
            .rev()
            .find_map(|run| run.granted.proxy.clone())
        {
            self.line("");
            self.line(&format!("proxy = {}", quoted(&proxy)));
        }
    }

    fn models(&mut self) {
        let mut models: BTreeMap<&str, (BTreeSet<usize>, u64)> = BTreeMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            for (name, count) in &run.used.models {
                if name.contains('*') {
                    // The agent has chosen it: as a pattern it would stand for others.
                    self.notes
                        .push(format!("the model {name} cannot be granted by its name"));
                    continue;
                }
                let (runs, asked) = models.entry(name).or_default();
                runs.insert(at);
                *asked = asked.saturating_add(*count);
            }
        }
        let items = models.iter().map(|(name, (runs, asked))| Item {
            value: (*name).to_owned(),
            why: format!("asked by {}: {asked} times", self.by(runs)),
        });
        let mut items: Vec<Item> = items.collect();
        let mut models: BTreeSet<&str> = models.keys().copied().collect();
        for run in &self.runs {
            // Who can ask models does not start without that of its commission.
            if let Some(model) = &run.model
                && run.granted.models.iter().any(|it| covers(it, model))
                && models.insert(model)
            {
                items.push(Item {
                    value: model.clone(),
                    why: "not asked; the commission names it".to_owned(),
                });
            }
        }
        let mut providers = BTreeMap::new();
        for run in &self.runs {
            for spec in &run.granted.providers {
                if models
                    .iter()
                    .any(|name| name.split('/').next() == Some(spec.id.as_str()))
                {
                    providers.insert(spec.id.clone(), spec.clone());
                }
            }
        }
        let prices = self
            .runs
            .iter()
            .rev()
            .find_map(|run| run.granted.prices.clone());
        let asked = !items.is_empty();
        self.list("models", &items, &[]);
        if let Some(prices) = prices.filter(|_| asked) {
            self.line("");
            self.line(&format!(
                "prices = {}",
                quoted(&prices.display().to_string())
            ));
        }
        for spec in providers.values() {
            let spec = serde_json::to_value(spec).unwrap_or_default();
            self.table("[[providers]]", &spec, &[]);
        }
    }

    /// A table at the end of the file.
    fn table(&mut self, header: &str, members: &Value, comments: &[String]) {
        let mut text = format!("\n{header}\n");
        for comment in comments {
            text.push_str(&format!("# {}\n", said(comment)));
        }
        for (name, value) in members.as_object().into_iter().flatten() {
            if !value.is_null() {
                text.push_str(&format!("{} = {}\n", key(name), inline(value)));
            }
        }
        self.tables.push_str(&text);
    }

    fn tools(&mut self) {
        let mut used: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<usize>)> = BTreeMap::new();
        let mut components: BTreeMap<&str, (BTreeSet<usize>, u64)> = BTreeMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            for id in &run.used.servers {
                used.entry(id).or_default().1.insert(at);
            }
            for tool in &run.used.tools {
                if tool.tool.contains('*') {
                    // The server has chosen it: as a pattern it would stand for others.
                    let tool = &tool.tool;
                    self.notes
                        .push(format!("the tool {tool} cannot be granted by its name"));
                    continue;
                }
                if let Some(id) = &tool.server {
                    let (tools, runs) = used.entry(id).or_default();
                    tools.insert(&tool.tool);
                    runs.insert(at);
                }
                if let Some(name) = &tool.component {
                    let (runs, calls) = components.entry(name).or_default();
                    runs.insert(at);
                    *calls = calls.saturating_add(tool.calls);
                }
            }
        }
        let mut tables = Vec::new();
        let mut foreign = Vec::new();
        for (id, (tools, runs)) in &used {
            let granted = self.runs.iter().rev().find_map(|run| {
                let of_id = |server: &&Value| server.get("id").and_then(Value::as_str) == Some(id);
                run.granted.mcp_servers.iter().find(of_id)
            });
            match granted.and_then(|granted| server(granted, tools)) {
                Some(server) => tables.push((server, self.by(runs))),
                None => foreign.push(*id),
            }
        }
        let mut paths: BTreeMap<&Path, Item> = BTreeMap::new();
        for run in &self.runs {
            for path in &run.granted.tools {
                if let Some((runs, calls)) = components.get(name_of(path).as_str()) {
                    let item = Item {
                        value: path.display().to_string(),
                        why: format!("called by {}: {calls} times", self.by(runs)),
                    };
                    paths.insert(path, item);
                }
            }
        }
        let items: Vec<Item> = paths.into_values().collect();
        let commands: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.commands.clone())
            .filter(|_| !foreign.is_empty())
            .collect();
        let lines = commands.into_iter().map(|value| Item {
            why: format!("for servers of the commission: {}", foreign.join(", ")),
            value,
        });
        let lines: Vec<Item> = lines.collect();
        self.list("tools", &items, &[]);
        self.list("commands", &lines, &[]);
        for (server, runs) in tables {
            let mut comments = vec![format!("used by {runs}")];
            for name in &server.unknown {
                comments.push(format!(
                    "env = {{ {} = \"…\" }}: a run does not keep values",
                    key(name)
                ));
                self.notes.push(format!(
                    "the server {} had the variable {name}: its value is not kept, add it",
                    server.id
                ));
            }
            self.table("[[mcp-servers]]", &Value::Object(server.table), &comments);
        }
    }

    fn secrets(&mut self) {
        let mut specs: BTreeMap<String, (Value, BTreeSet<usize>)> = BTreeMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            for spec in &run.granted.secrets {
                // A program that finds no placeholder may not even try.
                let placeholder = spec.env.is_some() && run.used.environment;
                if run.used.secrets.contains(&spec.name) || placeholder {
                    let value = serde_json::to_value(spec).unwrap_or_default();
                    let entry = specs.entry(value.to_string());
                    entry.or_insert((value, BTreeSet::new())).1.insert(at);
                }
            }
        }
        let any = !specs.is_empty();
        for (spec, runs) in specs.into_values() {
            let why = format!("used by {}", self.by(&runs));
            self.table("[[secrets]]", &spec, &[why]);
        }
        let leaks = self
            .runs
            .iter()
            .rev()
            .find_map(|run| run.granted.leaks.clone());
        if let Some(leaks) = leaks.filter(|leaks| any && leaks != "block") {
            self.line("");
            self.line(&format!("leaks = {}", quoted(&leaks)));
        }
    }

    fn require(&mut self) {
        let Some(mut require) = self
            .runs
            .iter()
            .rev()
            .map(|run| run.granted.require.clone())
            .find(|require| !require.is_null())
        else {
            return;
        };
        // What is read is a path; what is kept is its digest, too.
        let artifacts = require.get_mut("artifacts").and_then(Value::as_array_mut);
        for artifact in artifacts.into_iter().flatten() {
            if let Some(path) = artifact.pointer("/schema/path").cloned() {
                artifact["schema"] = path;
            }
        }
        self.table("[require]", &require, &["as it was".to_owned()]);
    }

    fn environment(&mut self) {
        let mut names: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut runs = BTreeSet::new();
        for (at, run) in self.runs.iter().enumerate() {
            if run.used.environment && !run.granted.env.is_empty() {
                runs.insert(at);
                for name in &run.granted.env {
                    let value = run.env.get(name).map(String::as_str);
                    let known = names.entry(name).or_default();
                    *known = value.or(*known);
                }
            }
        }
        if names.is_empty() {
            return;
        }
        let mut text = format!(
            "\n[env]\n# read by {}; which variable, nobody can tell\n",
            self.by(&runs)
        );
        for (name, value) in names {
            match value {
                Some(value) => text.push_str(&format!("{} = {}\n", key(name), quoted(value))),
                None => {
                    text.push_str(&format!(
                        "# {} = \"…\": a run does not keep values\n",
                        said(&key(name))
                    ));
                    self.notes.push(format!(
                        "the value of {name} is not kept: add it under [env]"
                    ));
                }
            }
        }
        self.tables.push_str(&text);
    }

    fn limits(&mut self) {
        let peak = |name: &str| {
            let peaks = self.runs.iter().filter_map(|run| run.used.peak.get(name));
            let asked: BTreeSet<_> = self
                .runs
                .iter()
                .flat_map(|run| run.used.models.keys())
                .collect();
            match name {
                // Any other value than the default refuses models whose price nobody knows.
                "money" if asked.len() != 1 => 0,
                _ => peaks.copied().max().unwrap_or(0),
            }
        };
        let granted: Vec<_> = self.runs.iter().map(|run| &run.granted.limits).collect();
        let suggested = limits(&peak, &granted);
        if suggested.is_empty() {
            return;
        }
        let mut text = "\n[limits]\n".to_owned();
        for entry in suggested {
            let name = entry.limit.name;
            let why = match entry.peak {
                Some(peak) => format!("at most {} used", table::show(name, peak)),
                None => "as it was: its use is not measured".to_owned(),
            };
            text.push_str(&format!(
                "# {why}\n{name} = {}\n",
                quoted(&table::show(name, entry.value))
            ));
        }
        self.tables.push_str(&text);
    }

    fn denied(&mut self) {
        let runs = self.runs.clone();
        for run in runs {
            if run.denied.is_empty() {
                continue;
            }
            self.line("");
            self.line(&format!(
                "# Denied in {}, and not granted here:",
                said(&run.run)
            ));
            for denied in &run.denied {
                let text = format!(
                    "{}: {} ({})",
                    denied.capability, denied.subject, denied.rule
                );
                self.line(&format!("#   {}", said(&text)));
            }
        }
    }
}
