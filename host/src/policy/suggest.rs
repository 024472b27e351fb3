//! The smallest grants that would have allowed what runs have done, as a file a person reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::evidence::{Evidence, Hosts, Outside};
use super::hosts::{Made, rules};
use super::limits::limits;
use super::narrow::{Place, Writing, narrow};
use super::paths::{beneath, join, look, parent};
use super::servers::server;
use super::toml::{inline, key, plural, quoted, said};
use crate::grants::dir::DEFAULT_GUEST;
use crate::grants::pattern::covers;
use crate::grants::{Access, DirSpec, FileSpec, limits as table};
use crate::tools::component::name_of;
use crate::trajectory::used::DirUse;

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
struct Page<'a> {
    /// By their session ids: the newest last.
    runs: Vec<&'a Evidence>,
    text: String,
    tables: String,
    notes: Vec<String>,
}

/// One line of a list, and what it stands on.
struct Item {
    value: String,
    why: String,
}

/// A directory or file that is to be granted.
struct Granting {
    host: PathBuf,
    guest: String,
    access: Access,
    why: String,
}

impl Granting {
    fn spec(&self) -> String {
        format!("{}::{}:{}", self.host.display(), self.guest, self.access)
    }
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
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A list of texts, each with its evidence above it.
    fn list(&mut self, name: &str, items: &[Item], left_out: &[String]) {
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
    fn by(&self, runs: &BTreeSet<usize>) -> String {
        plural(runs.len(), "run")
    }

    fn directories(&mut self) {
        let mut dirs: Vec<Granting> = Vec::new();
        let mut files: Vec<Granting> = Vec::new();
        let mut unused = Vec::new();
        let guests: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.dirs.iter().map(guest_of))
            .collect();
        for guest in guests {
            let granted = self.runs.iter().enumerate().filter_map(|(at, run)| {
                let spec = run.granted.dirs.iter().find(|it| guest_of(it) == guest)?;
                Some((at, spec))
            });
            let granted: Vec<(usize, &DirSpec)> = granted.collect();
            let uses: Vec<(usize, &DirUse)> = self.uses(&guest);
            let wrote = |at: &usize| {
                let of = uses.iter().filter(|(used, _)| used == at);
                of.into_iter()
                    .any(|(_, used)| !used.written.is_empty() || !used.made.is_empty())
            };
            let writing = granted.iter().filter(|(at, _)| wrote(at));
            let writing = writing.map(|(_, spec)| spec.access).max_by_key(reach);
            let writing = writing.unwrap_or(Access::ReadOnly);
            // Access somebody had to one directory of the host is none to another.
            let newest = granted.iter().rfind(|(at, spec)| {
                uses.iter().any(|(used, _)| used == at) && reach(&spec.access) >= reach(&writing)
            });
            let Some((_, spec)) = newest else {
                unused.extend(granted.last().map(|(_, spec)| {
                    format!("not used: {}::{guest}:{}", spec.host.display(), spec.access)
                }));
                continue;
            };
            let others: BTreeSet<_> = granted.iter().map(|(_, it)| &it.host).collect();
            for host in others.into_iter().filter(|host| **host != spec.host) {
                unused.push(format!("other runs had {} at {guest}", host.display()));
            }
            let mode = match writing {
                Access::CopyOnWrite => Writing::Copied,
                Access::ReadOnly | Access::ReadWrite => Writing::Direct,
            };
            let host = |path: &str| match path {
                "" => spec.host.clone(),
                path => spec.host.join(path),
            };
            let fits = |path: &str| can_write(&host(path), &join(&guest, path));
            let looked = |path: &str| look(&spec.host, path);
            let places = narrow(uses.iter().map(|(_, used)| *used), mode, &looked, &fits);
            for (dir, place) in places {
                let access = if place.writes {
                    writing
                } else {
                    Access::ReadOnly
                };
                match &place.files {
                    None => dirs.push(Granting {
                        host: host(&dir),
                        guest: join(&guest, &dir),
                        access,
                        why: why(&uses, &dir, &place),
                    }),
                    Some(names) => {
                        for name in names {
                            let path = match dir.as_str() {
                                "" => name.clone(),
                                dir => format!("{dir}/{name}"),
                            };
                            let one = Place {
                                files: Some([name.clone()].into()),
                                ..place.clone()
                            };
                            files.push(Granting {
                                host: host(&path),
                                guest: join(&guest, &path),
                                access,
                                why: why(&uses, &dir, &one),
                            });
                        }
                    }
                }
            }
        }
        self.single_files(&mut files, &mut unused);
        let mut files = self.together(files);
        let mut apart: Vec<Granting> = Vec::new();
        dirs.sort_by(|a, b| a.guest.cmp(&b.guest));
        for dir in dirs {
            // Directories of different runs: one may be inside of another.
            let outer = apart
                .iter()
                .find(|it| beneath(&it.guest, &dir.guest).is_some());
            match outer {
                // What of the host is granted there is for a person to say.
                Some(outer) => self.notes.push(format!(
                    "{} is inside of {} and left out: check that one directory of the host will do, and {} is enough",
                    dir.spec(),
                    outer.guest,
                    outer.access
                )),
                None => apart.push(dir),
            }
        }
        files.retain(|file| {
            let at = parent_of(&file.guest);
            let with = apart
                .iter()
                .find(|dir| beneath(&dir.guest, at).is_some() || beneath(at, &dir.guest).is_some());
            if let Some(dir) = with {
                self.notes.push(format!(
                    "{} does not go with {}: grant the directory they are in",
                    file.guest, dir.guest
                ));
            }
            with.is_none()
        });
        let items = |granted: &[Granting]| -> Vec<Item> {
            let item = |it: &Granting| Item {
                value: it.spec(),
                why: it.why.clone(),
            };
            granted.iter().map(item).collect()
        };
        self.list("dirs", &items(&apart), &unused);
        self.list("files", &items(&files), &[]);
    }

    /// Files that were granted one by one: those that were used, or all that were listed together.
    fn single_files(&self, files: &mut Vec<Granting>, unused: &mut Vec<String>) {
        let guests: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.files.iter().map(guest_of_file))
            .collect();
        for guest in guests {
            let dir = parent_of(&guest);
            let name = guest.rsplit('/').next().unwrap_or_default();
            let uses = self.uses(dir);
            // They have one access, or could not be granted together.
            let writes = uses.iter().any(|(_, used)| !used.written.is_empty());
            let granted = || {
                let runs = self.runs.iter().rev();
                runs.filter_map(|run| {
                    let mut files = run.granted.files.iter();
                    files.find(|it| guest_of_file(it) == guest)
                })
            };
            let enough = granted().find(|it| !writes || it.access != Access::ReadOnly);
            let Some(spec) = enough.or_else(|| granted().next()) else {
                continue;
            };
            let is = |paths: &[String]| paths.iter().any(|path| path == name || path == "./");
            let all = |used: &DirUse| !used.listed.is_empty() || used.links;
            let used = uses.iter().any(|(_, used)| {
                is(&used.read) || is(&used.seen) || is(&used.written) || all(used)
            });
            if used {
                let one = Place {
                    writes,
                    files: Some([name.to_owned()].into()),
                    links: false,
                };
                files.push(Granting {
                    host: spec.host.clone(),
                    guest: guest.clone(),
                    access: if writes {
                        spec.access
                    } else {
                        Access::ReadOnly
                    },
                    why: why(&uses, "", &one),
                });
            } else {
                unused.push(format!(
                    "not used: {}::{guest}:{}",
                    spec.host.display(),
                    spec.access
                ));
            }
        }
    }

    /// Each file once; those of one directory come from one directory of the host, with one access.
    fn together(&mut self, files: Vec<Granting>) -> Vec<Granting> {
        let of_dir = |a: &Granting, b: &Granting| parent_of(&a.guest) == parent_of(&b.guest);
        let mut kept: Vec<Granting> = Vec::new();
        for file in files {
            if kept.iter().any(|it| {
                of_dir(it, &file)
                    && (it.host.parent() != file.host.parent()
                        || (it.guest == file.guest && it.host != file.host))
            }) {
                self.notes.push(format!(
                    "{} was {} in another run: files of one directory come from one directory",
                    file.guest,
                    file.host.display()
                ));
                continue;
            }
            match kept.iter_mut().find(|it| it.guest == file.guest) {
                Some(it) if file.access != Access::ReadOnly => it.access = file.access,
                Some(_) => {}
                None => kept.push(file),
            }
        }
        let writes = |file: &Granting| {
            let mut beside = kept.iter().filter(|it| of_dir(it, file));
            beside.any(|it| it.access != Access::ReadOnly)
        };
        let raised: Vec<bool> = kept.iter().map(writes).collect();
        let mut together = Vec::new();
        for (mut file, writes) in kept.into_iter().zip(raised) {
            if writes {
                if !self.was_writable(&file.host) {
                    self.notes.push(format!(
                        "{} is left out: files of one directory have one access, and no run had it as rw",
                        file.spec()
                    ));
                    continue;
                }
                file.access = Access::ReadWrite;
            }
            together.push(file);
        }
        together
    }

    /// Whether some run could write this file of the host in place.
    fn was_writable(&self, host: &Path) -> bool {
        self.runs.iter().any(|run| {
            let mut dirs = run.granted.dirs.iter();
            let mut files = run.granted.files.iter();
            dirs.any(|it| it.access == Access::ReadWrite && host.starts_with(&it.host))
                || files.any(|it| it.access == Access::ReadWrite && it.host == host)
        })
    }

    /// What each run has used of a directory of the guest.
    fn uses(&self, guest: &str) -> Vec<(usize, &DirUse)> {
        let runs = self.runs.iter().enumerate();
        runs.flat_map(|(at, run)| run.used.dirs.iter().map(move |used| (at, used)))
            .filter(|(_, used)| used.guest == guest)
            .collect()
    }

    fn protection(&mut self) {
        let patterns: BTreeSet<String> = self
            .runs
            .iter()
            .flat_map(|run| run.granted.protect.clone())
            .collect();
        let off = self
            .runs
            .iter()
            .filter(|run| run.granted.no_protect)
            .count();
        if off > 0 {
            self.line("");
            self.line(&format!(
                "# as in {}; whether it was needed is not known",
                plural(off, "run")
            ));
            self.line("no-protect = true");
        } else if !patterns.is_empty() {
            let items = patterns.into_iter().map(|value| Item {
                value,
                why: "as it was".to_owned(),
            });
            self.list("protect", &items.collect::<Vec<_>>(), &[]);
        }
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

/// How far an access goes: the higher, the further.
fn reach(access: &Access) -> u8 {
    match access {
        Access::ReadOnly => 0,
        Access::CopyOnWrite => 1,
        Access::ReadWrite => 2,
    }
}

/// What a place is granted for.
fn why(uses: &[(usize, &DirUse)], dir: &str, place: &Place) -> String {
    let within = |path: &str| match path.trim_end_matches('/') {
        "." => dir.is_empty() && place.files.is_none(),
        path => match (&place.files, dir) {
            (Some(files), "") => files.contains(path),
            (Some(files), dir) => beneath(dir, path).is_some_and(|name| files.contains(name)),
            (None, "") => true,
            (None, dir) => beneath(dir, path).is_some(),
        },
    };
    let mut more = false;
    let mut of = |lists: &[fn(&DirUse) -> &Vec<String>]| {
        let (mut runs, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for (run, used) in uses {
            for path in lists.iter().flat_map(|list| list(used)) {
                if within(path) {
                    more |= path.ends_with('/');
                    runs.insert(*run);
                    paths.insert(path.as_str());
                }
            }
        }
        (plural(runs.len(), "run"), paths.len())
    };
    let mut parts = Vec::new();
    let (runs, read) = of(&[|it| &it.read]);
    if read > 0 {
        parts.push(format!("read by {runs}: {}", plural(read, "file")));
    }
    let (runs, seen) = of(&[|it| &it.seen]);
    if seen > 0 && read == 0 {
        parts.push(format!("looked at by {runs}: {}", plural(seen, "file")));
    }
    let (runs, changed) = of(&[|it| &it.written, |it| &it.made]);
    if changed > 0 {
        parts.push(format!("changed by {runs}: {}", plural(changed, "path")));
    }
    let (runs, listed) = of(&[|it| &it.listed]);
    if listed > 0 {
        parts.push(format!("listed by {runs}"));
    }
    let (runs, folders) = of(&[|it| &it.folders]);
    if folders > 0 && parts.is_empty() {
        parts.push(format!("looked at by {runs}"));
    }
    let (runs, missing) = of(&[|it| &it.missing]);
    if missing > 0 {
        parts.push(format!(
            "searched by {runs} for {} that {} not there",
            plural(missing, "path"),
            if missing == 1 { "is" } else { "are" }
        ));
    }
    if place.links && place.files.is_none() {
        parts.push("symbolic links led through it".to_owned());
    }
    if more {
        parts.push("and more than is told one by one".to_owned());
    }
    if parts.is_empty() {
        parts.push("seen in a list".to_owned());
    }
    parts.join("; ")
}

/// Whether a grants file can say this.
fn can_write(host: &Path, guest: &str) -> bool {
    let text = format!("{}::{guest}:ro", host.display());
    let back: Option<DirSpec> = text.parse().ok();
    !guest.chars().any(char::is_control)
        && host.to_str().is_some()
        && back.is_some_and(|it| it.host == host && it.guest.as_deref() == Some(guest))
}

fn parent_of(guest: &str) -> &str {
    match parent(guest) {
        "" => "/",
        dir => dir,
    }
}

/// Where the guest finds a directory.
pub(super) fn guest_of(spec: &DirSpec) -> String {
    let guest = spec.guest.as_deref().unwrap_or(DEFAULT_GUEST);
    let names = guest.split('/').filter(|name| !name.is_empty());
    format!("/{}", names.collect::<Vec<_>>().join("/"))
}

/// Where the guest finds a file.
pub(super) fn guest_of_file(spec: &FileSpec) -> String {
    match &spec.guest {
        Some(guest) => {
            let names = guest.split('/').filter(|name| !name.is_empty());
            format!("/{}", names.collect::<Vec<_>>().join("/"))
        }
        None => {
            let name = spec.host.file_name().unwrap_or_default().to_string_lossy();
            format!("{DEFAULT_GUEST}/{name}")
        }
    }
}
