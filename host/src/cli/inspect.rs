//! `wasm-agent inspect`.

use wasm_agent::engine::{AgentKind, Artifact, Inspection, ItemKind, Need};
use wasm_agent::error::Exit;
use wasm_agent::grants::Authority;
use wasm_agent::grants::authority::DirAuthority;

use super::Done;
use super::failure::Failure;
use super::grants::GrantFlags;
use super::load::LookArg;
use super::out::{BOLD, Cell, DIM, GREEN, Out, RED, Table, YELLOW, print_json, put, styled};
use super::text::{printable, size};

const EXAMPLES: &str = "\
Examples:
  wasm-agent inspect audit.wasm
  wasm-agent inspect audit.wasm --dir ./repo:rw --env LEVEL=2 --limit memory=1GiB
  wasm-agent inspect audit.wasm --json

The component is read, never run, and of a project folder what has been built is taken. With grant flags, the table says what a run with them could touch.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    agent: LookArg,

    #[command(flatten)]
    grants: GrantFlags,

    /// Print everything as one JSON document
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub(super) fn inspect(args: &Args) -> Done {
    let grants = args
        .grants
        .any()
        .then(|| args.grants.resolve())
        .transpose()?;
    let artifact = args.agent.artifact()?;
    let inspection = Inspection::of(&artifact);
    let authority = grants.map(|mut grants| {
        grants.read_agent(&artifact);
        Authority::of(&grants, artifact.ask())
    });
    if args.json {
        let mut value =
            serde_json::to_value(&inspection).map_err(|error| Failure::new(error.into()))?;
        if let Some(authority) = &authority {
            put(&mut value, "authority", serde_json::json!(authority));
        }
        print_json(&value)?;
        return Ok(Exit::Success);
    }
    let mut out = Out::new();
    component(&mut out, &artifact, &inspection)?;
    asks(&mut out, &inspection)?;
    imports(&mut out, &inspection)?;
    match &authority {
        Some(authority) => self::authority(&mut out, authority, &inspection)?,
        None => {
            out.line("")?;
            let hint = "Add grant flags (--dir, --env, --limit …) to see what a run with them could touch.";
            out.line(&styled(DIM, hint))?;
        }
    }
    out.finish()?;
    Ok(Exit::Success)
}

fn component(out: &mut Out, artifact: &Artifact, inspection: &Inspection) -> Result<(), Failure> {
    let mut table = Table::default();
    let mut row = |name: &str, value: String| table.row([Cell::styled(BOLD, name), value.into()]);
    if let Some(path) = artifact.path() {
        row("component", path.display().to_string());
    }
    row(
        "kind",
        match inspection.kind {
            AgentKind::Agent => "agent (exports `describe` and `run`)".to_owned(),
            AgentKind::Tool => "tool (exports `tool-provider`; for `--tool`)".to_owned(),
            AgentKind::Command => {
                "command (wasi:cli/run; reads its commission from standard input)".to_owned()
            }
        },
    );
    row("size", size(inspection.size));
    row("digest", inspection.digest.to_string());
    let producers: Vec<_> = inspection
        .producers
        .iter()
        .map(|producer| printable(&format!("{} {}", producer.name, producer.version)))
        .collect();
    if !producers.is_empty() {
        row("made by", producers.join(", "));
    }
    let exports = inspection
        .exports
        .iter()
        .filter(|export| export.kind != ItemKind::Type);
    row(
        "exports",
        exports
            .map(|export| printable(&export.name))
            .collect::<Vec<_>>()
            .join(", "),
    );
    out.table(&table)
}

fn asks(out: &mut Out, inspection: &Inspection) -> Result<(), Failure> {
    out.heading("Asks for")?;
    let Some(ask) = &inspection.ask else {
        return out.line("  nothing in particular: it gets whatever is granted");
    };
    if let Some(description) = ask.description() {
        out.line(&format!("  {}", printable(description)))?;
    }
    let mut table = Table::indented(2);
    for dir in ask.dirs() {
        let why = printable(dir.why.as_deref().unwrap_or_default());
        table.row([
            "dir".into(),
            printable(&dir.path).into(),
            access(dir.access.to_string()),
            Cell::styled(DIM, why),
        ]);
    }
    for env in ask.env() {
        let why = printable(env.why.as_deref().unwrap_or_default());
        table.row([
            "env".into(),
            printable(&env.name).into(),
            "".into(),
            Cell::styled(DIM, why),
        ]);
    }
    if table.is_empty() {
        return out.line("  no directory and no variable: it gets none, whatever is granted");
    }
    out.table(&table)
}

fn imports(out: &mut Out, inspection: &Inspection) -> Result<(), Failure> {
    out.heading("Imports")?;
    let mut table = Table::indented(2);
    for import in &inspection.imports {
        // Types have nothing behind them; what they are for is said by the interfaces that use them.
        if import.item.kind == ItemKind::Type {
            continue;
        }
        let needs = match import.need {
            Need::Nothing => Cell::styled(DIM, "always there"),
            Need::Dir | Need::Env | Need::Model | Need::Tools => {
                format!("needs {}", import.need.grant()).into()
            }
            Need::Denied => Cell::styled(DIM, "always refused"),
            Need::Network | Need::Unknown => {
                Cell::styled(RED, format!("cannot start: {}", import.need.grant()))
            }
        };
        table.row([
            printable(&import.item.name).into(),
            needs,
            Cell::styled(DIM, import.meaning.unwrap_or_default()),
        ]);
    }
    if table.is_empty() {
        return out.line("  nothing");
    }
    out.table(&table)
}

/// The table a person could sign.
fn authority(out: &mut Out, authority: &Authority, inspection: &Inspection) -> Result<(), Failure> {
    out.heading("A run with these grants can touch")?;
    let mut table = Table::indented(2);
    if let Some(component) = &authority.component {
        let note = if *component == inspection.digest.to_string() {
            Cell::styled(GREEN, "this one")
        } else {
            Cell::styled(RED, "this is another one: a run of it is refused")
        };
        table.row(["component".into(), component.as_str().into(), note]);
    }
    let mut head = "directories";
    for dir in &authority.dirs {
        table.row([
            std::mem::take(&mut head).into(),
            dir_text(dir),
            access(dir.effective.unwrap_or("none")),
            dir_note(dir),
        ]);
    }
    if authority.dirs.is_empty() {
        table.row([head.into(), none()]);
    }
    let mut head = "files";
    for file in &authority.files {
        table.row([
            std::mem::take(&mut head).into(),
            dir_text(file),
            access(file.effective.unwrap_or("none")),
            dir_note(file),
        ]);
    }
    protection(&mut table, authority);
    inputs(&mut table, authority);
    network(&mut table, authority);
    tools(&mut table, authority);
    let mut head = "variables";
    for env in &authority.env {
        let note = if env.effective {
            ""
        } else {
            "left out: the agent does not ask for it"
        };
        let name = Cell::from(printable(&env.name));
        let given = access(if env.effective { "set" } else { "none" });
        table.row([
            std::mem::take(&mut head).into(),
            name,
            given,
            Cell::styled(YELLOW, note),
        ]);
    }
    if authority.env.is_empty() {
        table.row([head.into(), none()]);
    }
    let mut head = "secrets";
    for secret in &authority.secrets {
        table.row([std::mem::take(&mut head).into(), printable(secret).into()]);
    }
    let args = authority
        .args
        .iter()
        .map(|arg| format!("{:?}", printable(arg)))
        .collect::<Vec<_>>();
    table.row([
        "arguments".into(),
        if args.is_empty() {
            none()
        } else {
            args.join(" ").into()
        },
    ]);
    let fixed = &authority.fixed;
    for (name, value) in [
        ("sockets", fixed.sockets),
        ("processes", fixed.processes),
        ("clocks", fixed.clocks),
        ("random", fixed.random),
    ] {
        table.row([
            name.into(),
            if value == "none" {
                none()
            } else {
                value.into()
            },
        ]);
    }
    out.table(&table)?;
    for missing in &authority.missing {
        let text = format!(
            "  not granted, though the agent asks for it: {}",
            printable(missing)
        );
        out.line(&styled(YELLOW, text))?;
    }

    out.heading("and use up")?;
    let mut table = Table::indented(2);
    for limit in &authority.limits {
        let note = if limit.is_default {
            Cell::styled(DIM, "default")
        } else {
            "set".into()
        };
        table.row([limit.name.into(), Cell::right(&*limit.value), note]);
    }
    out.table(&table)?;

    if !authority.require.is_empty() {
        out.heading("and has to show")?;
        for evidence in &authority.require {
            out.line(&format!("  {}", printable(evidence)))?;
        }
    }
    Ok(())
}

/// Which requests it may make.
fn network(table: &mut Table, authority: &Authority) {
    let mut head = "hosts";
    for rule in &authority.hosts {
        table.row([std::mem::take(&mut head).into(), printable(rule).into()]);
    }
    if authority.hosts.is_empty() {
        table.row([head.into(), none()]);
    }
    let mut head = "trusts";
    for path in &authority.ca_files {
        let path = printable(&path.display().to_string());
        table.row([std::mem::take(&mut head).into(), path.into()]);
    }
    if let Some(proxy) = &authority.proxy {
        table.row(["proxy".into(), printable(proxy).into()]);
    }
}

/// Which models it may ask, whose tools it may call, and what the host starts for that.
fn tools(table: &mut Table, authority: &Authority) {
    let outside = || Cell::styled(YELLOW, "runs outside the sandbox");
    if !authority.models.is_empty() {
        let models = authority.models.join(" ");
        table.row(["models".into(), printable(&models).into()]);
    }
    let mut head = "tool servers";
    for server in &authority.servers {
        let mut text = format!("{} = {}", server.id, server.reached);
        match server.tools.as_deref() {
            None => {}
            Some([]) => text.push_str(", no tool of it"),
            Some(tools) => text.push_str(&format!(", only {}", tools.join(" "))),
        }
        if !server.narrowed.is_empty() {
            text.push_str(&format!(
                ", arguments narrowed: {}",
                server.narrowed.join(" ")
            ));
        }
        if let Some(cwd) = &server.cwd {
            text.push_str(&format!(", in {}", cwd.display()));
        }
        let note = if server.outside_the_sandbox {
            outside()
        } else {
            "".into()
        };
        table.row([
            std::mem::take(&mut head).into(),
            printable(&text).into(),
            note,
        ]);
    }
    let mut head = "commands";
    for line in &authority.commands {
        table.row([
            std::mem::take(&mut head).into(),
            printable(line).into(),
            outside(),
        ]);
    }
    let mut head = "tools";
    for path in &authority.tools {
        let path = printable(&path.display().to_string());
        table.row([std::mem::take(&mut head).into(), path.into()]);
    }
}

/// What stays as it is where something can be written, or where the operator has said something about it.
fn protection(table: &mut Table, authority: &Authority) {
    let writable = authority
        .dirs
        .iter()
        .any(|dir| matches!(dir.effective, Some("rw" | "cow")));
    let protection = &authority.protection;
    let text = match (protection.mode, protection.patterns.as_slice()) {
        ("off", _) => Cell::styled(
            YELLOW,
            "nothing: git hooks and shell configuration included",
        ),
        (_, []) if !writable => return,
        (_, []) => "what git, shells, editors and agents obey".into(),
        (_, patterns) => {
            let text = format!(
                "what git, shells, editors and agents obey, and {}",
                patterns.join(" ")
            );
            printable(&text).into()
        }
    };
    table.row(["protected".into(), text]);
}

/// What the host reads, builds or runs that lies where the agent may write.
fn inputs(table: &mut Table, authority: &Authority) {
    let kept = authority.protection.mode != "off";
    let mut head = if kept { "kept as it is" } else { "obeyed" };
    for input in &authority.inputs {
        let note = if kept {
            Cell::styled(DIM, "the host reads, builds or runs it")
        } else {
            Cell::styled(RED, "the agent may change it, and the host obeys it")
        };
        let path = printable(&input.host.display().to_string());
        table.row([std::mem::take(&mut head).into(), path.into(), note]);
    }
}

fn dir_text(dir: &DirAuthority) -> Cell {
    format!("{} → {}", dir.host.display(), dir.guest).into()
}

fn dir_note(dir: &DirAuthority) -> Cell {
    let note = match dir.effective {
        Some("cow") => return Cell::styled(DIM, "what it writes goes into a copy"),
        Some(effective) if effective == dir.granted => String::new(),
        Some(_) => format!("granted {}; the agent asks for less", dir.granted),
        None => format!(
            "granted {}; left out: the agent does not ask for it",
            dir.granted
        ),
    };
    Cell::styled(YELLOW, note)
}

fn access(access: impl Into<String>) -> Cell {
    let access = access.into();
    let style = match access.as_str() {
        "rw" => YELLOW,
        "none" => DIM,
        _ => GREEN,
    };
    Cell::styled(style, access)
}

fn none() -> Cell {
    Cell::styled(DIM, "none")
}
