//! What runs have used that other grants would not allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Method;
use serde::Serialize;

use super::evidence::Evidence;
use super::files::{guest_of, guest_of_file};
use super::paths::{beneath, join, parent};
use super::toml::quoted;
use crate::egress::HostRule;
use crate::egress::target::Target;
use crate::grants::pattern;
use crate::grants::secrets::SecretSpec;
use crate::grants::{Access, GrantError, Grants, GrantsFile, ServerSpec, dir, limits};
use crate::tools::component::name_of;
use crate::trajectory::used::DirUse;

/// Something a run has used and would not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Session id of the run.
    pub run: String,
    /// The key of the grants file it is about.
    pub key: &'static str,
    /// What the run has used.
    pub used: String,
    /// The rule that is missing, in the words of the file.
    pub needs: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {}: {}", self.used, self.key, self.needs)
    }
}

/// Lists what `runs` have used that `grants` would not allow, in the order of the runs. Where the guest finds
/// something counts, not which directory of this host it is: nothing is looked for on the disk.
///
/// # Errors
///
/// The grants cannot be given by anybody: a rule, a limit or a guest path is wrong.
pub fn check(grants: &GrantsFile, runs: &[Evidence]) -> Result<Vec<Missing>, GrantError> {
    let allowed = Allowed::of(grants)?;
    let mut missing = Vec::new();
    for run in runs {
        let mut found = Found {
            run: &run.run,
            missing: &mut missing,
        };
        allowed.paths(run, &mut found);
        allowed.requests(run, &mut found);
        allowed.models(run, &mut found);
        allowed.tools(run, &mut found);
        allowed.rest(run, &mut found);
    }
    Ok(missing)
}

/// A server without a directory of this host.
fn anywhere(server: &ServerSpec) -> ServerSpec {
    ServerSpec {
        cwd: None,
        writable_cwd: false,
        ..server.clone()
    }
}

struct Found<'a> {
    run: &'a str,
    missing: &'a mut Vec<Missing>,
}

impl Found<'_> {
    fn push(&mut self, key: &'static str, used: String, needs: String) {
        self.missing.push(Missing {
            run: self.run.to_owned(),
            key,
            used,
            needs,
        });
    }
}

/// Grants as far as they say what is allowed.
struct Allowed {
    dirs: BTreeMap<String, Access>,
    files: BTreeMap<String, Access>,
    /// Names of tool components.
    components: BTreeSet<String>,
    rest: Grants,
}

impl Allowed {
    fn of(file: &GrantsFile) -> Result<Allowed, GrantError> {
        let rest = GrantsFile {
            dirs: Vec::new(),
            files: Vec::new(),
            tools: Vec::new(),
            ca_files: Vec::new(),
            require: crate::grants::Require::default(),
            mcp_servers: file.mcp_servers.iter().map(anywhere).collect(),
            ..file.clone()
        };
        for spec in &file.dirs {
            dir::guest_path(&guest_of(spec))?;
        }
        let dirs = file.dirs.iter();
        let files = file.files.iter();
        Ok(Allowed {
            dirs: dirs.map(|spec| (guest_of(spec), spec.access)).collect(),
            files: files
                .map(|spec| (guest_of_file(spec), spec.access))
                .collect(),
            components: file.tools.iter().map(|path| name_of(path)).collect(),
            rest: Grants::resolve(rest, GrantsFile::default())?,
        })
    }

    /// The access that is granted at a path of the guest.
    fn access(&self, path: &str, whole: Whole) -> Option<Access> {
        let dir = self
            .dirs
            .iter()
            .find(|(dir, _)| beneath(dir, path).is_some());
        let file = match whole {
            Whole::Directory | Whole::Name => None,
            Whole::File => self.files.get(path),
        };
        dir.map(|(_, access)| *access).or(file.copied())
    }

    fn paths(&self, run: &Evidence, found: &mut Found<'_>) {
        for used in &run.used.dirs {
            let lists: [(&[String], &str, Whole, Writes); 7] = [
                (&used.read, "reading", Whole::File, Writes::No),
                (&used.seen, "looking at", Whole::File, Writes::No),
                (&used.written, "writing", Whole::File, Writes::Yes),
                (
                    &used.made,
                    "creating, moving or removing",
                    Whole::Name,
                    Writes::Yes,
                ),
                (&used.listed, "listing", Whole::Directory, Writes::No),
                (&used.folders, "looking at", Whole::Directory, Writes::No),
                (&used.missing, "looking for", Whole::Name, Writes::No),
            ];
            for (paths, doing, whole, writes) in lists {
                for path in paths {
                    // A directory that is listed is looked at, too.
                    if doing != "listing" && whole == Whole::Directory && used.listed.contains(path)
                    {
                        continue;
                    }
                    self.path(run, used, path, (doing, whole, writes), found);
                }
            }
        }
    }

    fn path(
        &self,
        run: &Evidence,
        used: &DirUse,
        path: &str,
        (doing, whole, writes): (&str, Whole, Writes),
        found: &mut Found<'_>,
    ) {
        let (name, more) = match path.strip_suffix('/') {
            Some(dir) => (dir, true),
            None => (path, false),
        };
        let at = join(&used.guest, name);
        let whole = if more { Whole::Directory } else { whole };
        // A name is there or not in the directory it is in.
        let in_dir = match whole {
            Whole::Name if name.contains('/') => join(&used.guest, parent(name)),
            Whole::Name => used.guest.clone(),
            Whole::File | Whole::Directory => at.clone(),
        };
        // A directory that shows the granted files can be listed and looked at as before.
        let single = run
            .granted
            .files
            .iter()
            .any(|file| beneath(&used.guest, &guest_of_file(file)).is_some());
        let shows = single
            && (name == "." || whole == Whole::Name)
            && self
                .files
                .keys()
                .any(|file| beneath(&used.guest, file).is_some());
        let access = self.access(&in_dir, whole);
        let ok = match (access, writes) {
            (None, Writes::No) => shows,
            (None, Writes::Yes) | (Some(Access::ReadOnly), Writes::Yes) => false,
            (Some(_), _) => true,
        };
        if ok {
            return;
        }
        let below = if more { " and what is below" } else { "" };
        let access = match writes {
            Writes::No => Access::ReadOnly,
            Writes::Yes => Access::ReadWrite,
        };
        let key = match whole {
            Whole::File => "dirs or files",
            Whole::Directory | Whole::Name => "dirs",
        };
        found.push(
            key,
            format!("{doing} {at}{below}"),
            format!("…::{in_dir}:{access}"),
        );
    }

    fn requests(&self, run: &Evidence, found: &mut Found<'_>) {
        for request in run.used.requests.iter().filter(|it| it.caller == "guest") {
            // Of further paths of a host only their host is known: the rule has to be about all of it.
            let target = request.url.parse().ok();
            let target = target.and_then(|uri| Target::of(&uri).ok());
            let method: Option<Method> = request.method.parse().ok();
            let matches = |rule: &HostRule| match (&method, &target) {
                (Some(method), Some(target)) => rule.matches(method, target),
                _ => false,
            };
            if !self.rest.network.hosts.iter().any(matches) {
                let used = format!("{} {}", request.method, request.url);
                found.push("hosts", used.clone(), used);
            }
        }
    }

    fn models(&self, run: &Evidence, found: &mut Found<'_>) {
        for name in run.used.models.keys() {
            let granted = &self.rest.models;
            let allowed = match name.strip_prefix("scripted/") {
                Some(path) => granted.scripts().any(|script| script == path),
                None => granted.allow.iter().any(|it| pattern::covers(it, name)),
            };
            if !allowed {
                found.push("models", format!("asking {name}"), name.clone());
            }
        }
    }

    fn tools(&self, run: &Evidence, found: &mut Found<'_>) {
        let of_run = |id: &str| {
            let mut servers = run.granted.mcp_servers.iter();
            servers.any(|server| server.get("id").and_then(|it| it.as_str()) == Some(id))
        };
        let server = |id: &str| self.rest.tools.servers.iter().find(|it| it.id == id);
        for tool in &run.used.tools {
            let name = &tool.tool;
            if let Some(id) = &tool.server {
                let allowed = match server(id) {
                    Some(server) => server.allows(name),
                    // It came with the commission.
                    None => !of_run(id) && !self.rest.tools.commands.is_empty(),
                };
                if !allowed {
                    let needs = format!("id = \"{id}\", tools = [\"{name}\"]");
                    found.push("mcp-servers", format!("the tool {name} of {id}"), needs);
                }
            }
            if let Some(component) = &tool.component
                && !self.components.contains(component)
            {
                let used = format!("the tool {name} of the component {component}");
                found.push("tools", used, format!("…/{component}.wasm"));
            }
        }
        for id in &run.used.servers {
            if of_run(id) && server(id).is_none() {
                let used = format!("resources or prompts of {id}");
                found.push("mcp-servers", used, format!("id = \"{id}\""));
            }
        }
    }

    fn rest(&self, run: &Evidence, found: &mut Found<'_>) {
        if let Some(component) = &self.rest.component
            && component.to_string() != run.component
        {
            let used = format!("the component {}", run.component);
            found.push("component", used, quoted(&run.component));
        }
        if run.used.environment {
            for name in &run.granted.env {
                if !self.rest.env.contains_key(name) {
                    let used = format!("the variable {name}, perhaps");
                    found.push("env", used, format!("{name} = \"…\""));
                }
            }
            // Their places count: a guest gets all of them, or others.
            let args = &run.granted.args;
            if !args.is_empty() && *args != self.rest.args {
                let needs = format!(
                    "[{}]",
                    args.iter()
                        .map(|it| quoted(it))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                found.push("args", "the arguments, perhaps".to_owned(), needs);
            }
        }
        for name in &run.used.secrets {
            self.secret(run, name, found);
        }
        if run.used.more {
            found.push(
                "hosts, models, tools or secrets",
                "more than is told".to_owned(),
                "…".to_owned(),
            );
        }
        for (name, peak) in &run.used.peak {
            let Ok(limit) = limits::find(name) else {
                continue;
            };
            let max = limit.of(&self.rest.limits);
            if *peak > max {
                let (peak, max) = (limits::show(name, *peak), limits::show(name, max));
                found.push(
                    "limits",
                    format!("{peak} of {name} (allowed is {max})"),
                    format!("{name} = \"{peak}\""),
                );
            }
        }
    }

    /// A secret the agent has sent, for each place it was bound to.
    fn secret(&self, run: &Evidence, name: &str, found: &mut Found<'_>) {
        let mut of_provider = self.rest.models.providers.iter();
        if of_provider.any(|it| it.secret.as_ref().unwrap_or(&it.id) == name) {
            return;
        }
        let bindings = self.rest.secrets.bindings.iter();
        let bindings = bindings.filter(|it| it.bound.name.as_str() == name);
        let rules: Vec<&HostRule> = bindings.map(|it| &it.bound.rule).collect();
        let asked = |spec: &SecretSpec| -> Vec<(Method, Target)> {
            let Ok(rule) = spec.host.parse::<HostRule>() else {
                return Vec::new();
            };
            let requests = run.used.requests.iter().filter(|it| it.caller == "guest");
            let requests = requests.filter_map(|it| {
                let target = Target::of(&it.url.parse().ok()?).ok()?;
                Some((it.method.parse().ok()?, target))
            });
            requests
                .filter(|(method, target)| rule.matches(method, target))
                .collect()
        };
        let specs = run.granted.secrets.iter().filter(|it| it.name == name);
        let specs: Vec<(&SecretSpec, Vec<_>)> = specs.map(|it| (it, asked(it))).collect();
        // The account has its name: where it went is told by the requests, as far as they are.
        let told = specs.iter().any(|(_, asked)| !asked.is_empty());
        for (spec, asked) in specs {
            let same = |rule: &&HostRule| spec.host.parse().is_ok_and(|it: HostRule| it == **rule);
            let sent = |(method, target): &(Method, Target)| {
                rules.iter().any(|rule| rule.matches(method, target))
            };
            let bound = rules.iter().any(same) || (told && asked.iter().all(sent));
            if !bound {
                let used = format!("the secret {name} for {}", spec.host);
                let needs = format!("name = \"{name}\", host = {}", quoted(&spec.host));
                found.push("secrets", used, needs);
            }
        }
    }
}

/// What of a path has to be granted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    File,
    Directory,
    /// Whether it is there is for its directory to say.
    Name,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    No,
    Yes,
}
