//! Files that other programs of the operator's run, obey or trust.

use crate::Case;
use crate::disk::{FOLLOW, KEEP, NewTimestamp, create, dir, read, write};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("protected-git", git),
    ("protected-families", families),
    ("protected-programs", programs),
    ("protected-git-config", git_config),
    ("protected-link", link),
    ("protected-rename", rename),
    ("protected-case", case),
    ("protected-hardlink", hardlink),
    ("protected-removal", removal),
    ("protected-repository", repository),
    ("protected-extra", extra),
    ("operator-inputs", inputs),
    ("operator-inputs-file", input_file),
    ("unprotected", unprotected),
];

fn git(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        ".git/hooks/pre-commit",
        ".git/hooks/post-checkout",
        ".git/config",
        ".git/config.worktree",
        ".git/commondir",
        ".git/modules/x/config",
        "sub/../.git/config",
        "./.git//hooks/new",
        ".gitmodules",
    ] {
        trial.refused(path, create(&work, path));
    }
    trial.refused("a new `.git` file", create(&work, "sub/.git"));
    trial.works(
        "what is not protected",
        write(&work, ".git/HEAD", "ref: refs/heads/other\n"),
    );
    trial.works("reading is fine", read(&work, ".git/config"));
}

/// One path of each family of the table.
fn families(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        ".bashrc",
        ".zshenv",
        ".profile",
        ".envrc",
        ".vimrc",
        ".mcp.json",
        ".npmrc",
        ".netrc",
        ".gitlab-ci.yml",
        ".pre-commit-config.yaml",
        ".claude.json",
        "project.code-workspace",
        "sub/inner/.bashrc",
    ] {
        trial.refused(path, create(&work, path));
    }
    for path in [
        ".vscode",
        ".idea",
        ".devcontainer",
        ".claude",
        ".cursor",
        ".husky",
        ".ssh",
        ".aws",
        ".kube",
        ".docker",
        ".circleci",
        "sub/.vscode",
        ".wasm-agent-apply",
        "sub/.wasm-agent-apply-0123456789abcdef",
    ] {
        trial.refused(path, work.create_directory_at(path));
    }
    for (parent, path) in [
        (".github", ".github/workflows"),
        (".config", ".config/autostart"),
        (".cargo", ".cargo/config.toml"),
        ("Library", "Library/LaunchAgents"),
    ] {
        let _ = work.create_directory_at(parent);
        trial.refused(path, work.create_directory_at(path));
        trial.refused(path, create(&work, path));
    }
}

/// Names that programs run by themselves, in the spellings they take.
fn programs(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        ".git/rebase-merge",
        ".git/rebase-apply",
        ".git/sequencer",
        ".githooks",
        ".oh-my-zsh",
        ".helix",
        ".jupyter",
        ".opencode",
        ".kiro",
        ".agents",
        ".clinerules",
        ".buildkite",
        ".forgejo",
        ".woodpecker",
        ".lefthook",
        ".vs",
    ] {
        trial.refused(path, work.create_directory_at(path));
    }
    for path in [
        ".direnvrc",
        ".mise.toml",
        "mise.local.toml",
        ".inputrc",
        ".tmux.conf",
        ".gdbinit",
        ".pdbrc.py",
        ".Rprofile",
        ".curlrc",
        ".lvimrc",
        "mcp.json",
        "opencode.json",
        "Jenkinsfile",
        ".travis.yml",
        "azure-pipelines.yml",
        "lefthook.yaml",
        ".pre-commit-config.yml",
        "prek.toml",
        "uv.toml",
        "bunfig.toml",
        ".xprofile",
        ".pam_environment",
    ] {
        trial.refused(path, create(&work, path));
    }
    for (parents, path) in [
        (&[".git/info"][..], ".git/info/attributes"),
        (&[".git/refs"], ".git/refs/replace"),
        (&[".git/objects"], ".git/objects/info"),
        (&[".hg"], ".hg/hgrc"),
        (&[".jj"], ".jj/repo"),
        (&[".local"], ".local/bin"),
        (&[".local", ".local/share"], ".local/share/applications"),
        (&[".config"], ".config/environment.d"),
        (&[".github"], ".github/hooks"),
    ] {
        for parent in parents {
            let _ = work.create_directory_at(parent);
        }
        trial.refused(path, create(&work, path));
    }
    // What a coding agent has to change is marked, and not in its way.
    for path in ["package.json", "Makefile", "AGENTS.md", ".git/index"] {
        trial.works(path, write(&work, path, "changed"));
        trial.works(path, work.unlink_file_at(path));
    }
}

/// The repository's configuration names `tools/hooks`, and includes `shared/git.inc`, which names a program.
fn git_config(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in ["tools", "shared", "programs"] {
        let _ = work.create_directory_at(path);
    }
    trial.refused(
        "the folder of hooks",
        work.create_directory_at("tools/hooks"),
    );
    trial.refused(
        "it, in another case",
        work.create_directory_at("tools/Hooks"),
    );
    trial.refused("a hook", create(&work, "tools/hooks"));
    trial.refused("an included file", create(&work, "shared/git.inc"));
    trial.refused("a program that it names", write(&work, "watch.sh", "mine"));
    trial.refused("removing it", work.unlink_file_at("watch.sh"));
    let _ = work.create_directory_at("mine");
    let _ = work.create_directory_at("mine/hooks");
    trial.refused(
        "a folder in its place",
        work.rename_at("mine/hooks", &work, "tools/hooks"),
    );
    trial.refused(
        "its folder, moved away",
        work.rename_at("tools", &work, "old"),
    );
    trial.works("what lies beside it", create(&work, "tools/other"));
}

fn link(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let _ = work.symlink_at(".git", "alias");
    let _ = work.symlink_at("../.git/hooks", "sub/hooks");
    trial.refused("through a link of mine", create(&work, "alias/config"));
    trial.refused("through two", create(&work, "sub/hooks/pre-commit"));
    trial.refused(
        "through the operator's",
        create(&work, "to-git/hooks/pre-commit"),
    );
    trial.refused(
        "a link in its place",
        work.symlink_at("hello.txt", ".git/hooks/post-merge"),
    );
    trial.refused(
        "a link as `.bashrc`",
        work.symlink_at("hello.txt", ".bashrc"),
    );
}

fn rename(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("a file", write(&work, "script", "#!/bin/sh\n"));
    trial.refused("away", work.rename_at(".git/hooks", &work, "hooks"));
    trial.refused("its ancestor", work.rename_at(".git", &work, "git"));
    trial.refused(
        "into",
        work.rename_at("script", &work, ".git/hooks/pre-push"),
    );
    trial.refused("onto", work.rename_at("script", &work, ".git/config"));
    trial.refused("as `.bashrc`", work.rename_at("script", &work, ".bashrc"));
    let _ = work.create_directory_at("made");
    let _ = work.create_directory_at("made/hooks");
    let _ = write(&work, "made/hooks/pre-commit", "#!/bin/sh\n");
    trial.refused(
        "a prepared tree as `.git`",
        work.rename_at("made", &work, "sub/.git"),
    );
    trial.refused(
        "a prepared tree as `.vscode`",
        work.rename_at("made", &work, ".vscode"),
    );
}

fn case(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        ".GIT",
        ".Git",
        ".git.",
        ".git ",
        "GIT~1",
        ".g\u{200c}it",
        ".git::$INDEX_ALLOCATION",
        ".\u{feff}git",
    ] {
        let _ = work.create_directory_at(path);
        let hooks = format!("{path}/hooks");
        trial.refused(&hooks, work.create_directory_at(&hooks));
        trial.refused(&hooks, create(&work, &format!("{path}/config")));
    }
    for path in [
        ".BASHRC",
        ".BashRC",
        ".bashrc.",
        ".bashrc ",
        ".MCP.json",
        ".ba\u{17f}hrc",
        ".VSCODE",
    ] {
        trial.refused(path, create(&work, path));
    }
}

fn hardlink(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.refused(
        "another name for it",
        work.link_at(KEEP, ".git/config", &work, "config"),
    );
    trial.works("a file", write(&work, "script", "#!/bin/sh\n"));
    trial.refused(
        "a file under its name",
        work.link_at(KEEP, "script", &work, ".git/hooks/pre-push"),
    );
    trial.refused(
        "a file as `.bashrc`",
        work.link_at(KEEP, "script", &work, ".bashrc"),
    );
}

fn removal(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.refused("unlink", work.unlink_file_at(".git/config"));
    trial.refused(
        "unlink a hook",
        work.unlink_file_at(".git/hooks/pre-commit"),
    );
    trial.refused("rmdir", work.remove_directory_at(".git/modules"));
    trial.refused(
        "times",
        work.set_times_at(FOLLOW, ".git/config", NewTimestamp::Now, NewTimestamp::Now),
    );
}

/// Git takes any directory with these three names for a repository, and runs what its configuration says.
fn repository(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let _ = work.create_directory_at("bare");
    let parts = [
        write(&work, "bare/HEAD", "ref: refs/heads/main\n"),
        work.create_directory_at("bare/objects"),
        work.create_directory_at("bare/refs"),
        write(&work, "bare/config", "[core]\n\tfsmonitor = evil\n"),
    ];
    trial.holds(
        "not all of it can be made",
        parts.iter().any(Result::is_err),
    );
}

/// The host reads `hello.txt` and all of `sub/inner`.
fn inputs(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("reading is fine", read(&work, "hello.txt"));
    trial.works("reading below is fine", read(&work, "sub/inner/inner.txt"));
    trial.works("a file beside it", write(&work, "sub/hello.txt", "x"));
    for path in [
        "hello.txt",
        "Hello.TXT",
        "./sub/../hello.txt",
        "sub/inner/inner.txt",
        "sub/inner/new.txt",
    ] {
        trial.refused(path, create(&work, path));
    }
    trial.refused("unlink", work.unlink_file_at("hello.txt"));
    trial.refused(
        "something into its place",
        work.rename_at("sub/hello.txt", &work, "hello.txt"),
    );
    trial.refused(
        "its folder elsewhere",
        work.rename_at("sub", &work, "other"),
    );
    trial.refused(
        "another name of it",
        work.link_at(KEEP, "hello.txt", &work, "linked"),
    );
    trial.refused(
        "a link in its place",
        work.symlink_at("script", "sub/inner/link"),
    );
}

/// The host reads the single file that is granted.
fn input_file(trial: &mut Trial, _: &str) {
    let one = dir("/one");
    trial.works("reading is fine", read(&one, "hello.txt"));
    trial.refused("writing", write(&one, "hello.txt", "changed"));
    trial.refused("truncating", create(&one, "hello.txt"));
}

/// `hello.txt` and `sub/in*` are protected besides.
fn extra(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("reading is fine", read(&work, "hello.txt"));
    trial.works("a file", write(&work, "script", "x"));
    for path in [
        "hello.txt",
        "Hello.TXT",
        "sub/hello.txt",
        "sub/inner",
        "sub/inner/inner.txt",
        "sub/indeed",
    ] {
        trial.refused(path, create(&work, path));
    }
    trial.refused("unlink", work.unlink_file_at("hello.txt"));
    trial.refused("away", work.rename_at("hello.txt", &work, "moved"));
    trial.refused("onto", work.rename_at("script", &work, "hello.txt"));
    trial.refused("its ancestor", work.rename_at("sub", &work, "moved"));
    trial.refused(
        "another name",
        work.link_at(KEEP, "hello.txt", &work, "linked"),
    );
    trial.refused("mkdir", work.create_directory_at("sub/inner/new"));
    let now = NewTimestamp::Now;
    trial.refused("times", work.set_times_at(FOLLOW, "hello.txt", now, now));
}

fn unprotected(trial: &mut Trial, outside: &str) {
    let work = dir("/work");
    trial.works("`.bashrc`", write(&work, ".bashrc", "alias ls=evil\n"));
    for target in ["..", "../outside", "/etc/passwd", outside] {
        trial.refused(target, work.symlink_at(target, "mine"));
    }
    trial.refused("write", create(&work, "link-file"));
    trial.refused("read", read(&work, "link-absolute"));
}
