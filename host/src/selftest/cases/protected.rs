//! Files that other programs of the operator's run, obey or trust.

use super::super::case::{Case, guest};
use super::super::evidence::Evidence;
use super::super::setup::{Dirs, Protect, Setup, Trace};
use super::super::wall::Wall;

const WORK: Setup = Setup::new(Dirs::Work).leaves(&[Trace::Denied]);

pub(super) const CASES: &[Case] = &[
    guest(
        "protected-git",
        Wall::Protected,
        "CVE-2022-24765",
        "Hooks and configuration of a git repository cannot be written.",
        WORK,
    ),
    guest(
        "protected-families",
        Wall::Protected,
        "CWE-829",
        "Neither can files that shells, editors, agents, CI and package managers obey.",
        WORK.check(only_harmless),
    ),
    guest(
        "protected-programs",
        Wall::Protected,
        "CWE-829",
        "Nor what version control, shells, debuggers, CI and their like run by themselves, however it is spelt.",
        WORK.check(no_programs),
    ),
    guest(
        "protected-git-config",
        Wall::GitConfig,
        "CVE-2024-32002",
        "Nor the hooks, files and programs that the configuration of a repository names.",
        WORK.check(no_hooks),
    ),
    guest(
        "protected-link",
        Wall::Protected,
        "CWE-59",
        "Nor through a symbolic link.",
        WORK,
    ),
    guest(
        "protected-rename",
        Wall::Protected,
        "CWE-706",
        "Nor by renaming them, their ancestors, or something into their place.",
        WORK.check(only_harmless),
    ),
    guest(
        "protected-case",
        Wall::Protected,
        "CVE-2021-21300",
        "Nor in another case, or a spelling some file systems take for the same.",
        WORK,
    ),
    guest(
        "protected-hardlink",
        Wall::Protected,
        "CWE-62",
        "Nor through another name.",
        WORK,
    ),
    guest(
        "protected-removal",
        Wall::Protected,
        "CWE-693",
        "Nor can they be removed.",
        WORK,
    ),
    guest(
        "protected-repository",
        Wall::Protected,
        "CVE-2022-24765",
        "A directory cannot be made that git takes for a repository.",
        WORK,
    ),
    guest(
        "protected-extra",
        Wall::ProtectedExtra,
        "CWE-693",
        "What the operator protects besides is not changed, nor what lies beside it moved onto it.",
        WORK.protect(Protect::Also(&["hello.txt", "sub/in*"]))
            .check(extra_is_there),
    ),
    guest(
        "operator-inputs",
        Wall::OperatorInputs,
        "CWE-829",
        "What the host reads, builds or runs is not changed, whatever it is reached through.",
        WORK.reads(&["hello.txt", "sub/inner"])
            .check(extra_is_there),
    ),
    guest(
        "operator-inputs-file",
        Wall::OperatorInputs,
        "CWE-829",
        "Nor where it is granted as a single file.",
        Setup::new(Dirs::File)
            .reads(&["hello.txt"])
            .leaves(&[Trace::Denied])
            .check(extra_is_there),
    ),
    guest(
        "unprotected",
        Wall::LinkTargets,
        "CWE-59",
        "Where nothing is protected, links that lead out are still refused.",
        WORK.protect(Protect::Off).told_outside(),
    ),
];

/// None of the names is there.
fn no_programs(evidence: &Evidence<'_>) -> Result<(), String> {
    absent(
        evidence,
        &[
            ".git/rebase-merge",
            ".git/info/attributes",
            ".git/refs/replace",
            ".githooks",
            ".hg/hgrc",
            ".jj/repo",
            ".mise.toml",
            ".gdbinit",
            ".local/bin",
            "mcp.json",
            "Jenkinsfile",
            "lefthook.yaml",
        ],
    )
}

/// What git's configuration names is as it was.
fn no_hooks(evidence: &Evidence<'_>) -> Result<(), String> {
    absent(
        evidence,
        &["tools/hooks", "tools/Hooks", "shared/git.inc", "old"],
    )?;
    match std::fs::read_to_string(evidence.world.path("work/watch.sh")) {
        Ok(text) if text == "#!/bin/sh\n" => Ok(()),
        other => Err(format!("watch.sh is {other:?} now")),
    }
}

fn absent(evidence: &Evidence<'_>, names: &[&str]) -> Result<(), String> {
    let work = evidence.world.path("work");
    match names
        .iter()
        .find(|name| work.join(name).symlink_metadata().is_ok())
    {
        None => Ok(()),
        Some(name) => Err(format!("on disk: {name}")),
    }
}

/// What was protected besides is as it was.
fn extra_is_there(evidence: &Evidence<'_>) -> Result<(), String> {
    for (name, was) in [("hello.txt", "hello"), ("sub/inner/inner.txt", "inner")] {
        let text = std::fs::read_to_string(evidence.world.path("work").join(name));
        match text {
            Ok(text) if text == was => {}
            other => return Err(format!("{name} is {other:?} now")),
        }
    }
    Ok(())
}

/// Nothing that a program obeys has appeared at the top of the directory.
fn only_harmless(evidence: &Evidence<'_>) -> Result<(), String> {
    let obeyed = [
        ".bashrc",
        ".zshenv",
        ".profile",
        ".envrc",
        ".vimrc",
        ".mcp.json",
        ".npmrc",
        ".netrc",
        ".vscode",
        ".idea",
        ".claude",
        ".husky",
        ".ssh",
        ".github/workflows",
        ".config/autostart",
        ".cargo/config.toml",
        "sub/.git",
        "sub/.vscode",
        "sub/inner/.bashrc",
    ];
    absent(evidence, &obeyed)
}
