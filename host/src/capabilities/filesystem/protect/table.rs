//! What is protected: the names, the program that runs or obeys each, and where its maker says so.

/// What of a protected path is kept from changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It, and everything below it.
    Tree,
    /// It, as long as it is not a directory.
    File,
}

/// A protected path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Names separated by `/`; `*` stands for any characters of one name.
    pub pattern: &'static str,
    /// What is kept from changing.
    pub scope: Scope,
    /// Why.
    pub reason: &'static str,
    /// The program that runs or obeys it.
    pub program: &'static str,
    /// Where that is documented.
    pub documented: &'static str,
}

/// A program, and where it says that it obeys a file.
type Source = (&'static str, &'static str);

const fn tree(pattern: &'static str, reason: &'static str, source: Source) -> Protected {
    Protected {
        pattern,
        scope: Scope::Tree,
        reason,
        program: source.0,
        documented: source.1,
    }
}

const fn file(pattern: &'static str, reason: &'static str, source: Source) -> Protected {
    Protected {
        scope: Scope::File,
        ..tree(pattern, reason, source)
    }
}

const GIT: &str = "git runs programs it names";
const REBASE: &str = "git runs commands it lists when a rebase goes on";
const REPLACES: &str = "git shows other objects in the place of those that were reviewed";
const VCS: &str = "a version control system runs programs it names";
const SHELL: &str = "a shell runs it when it starts or enters the directory";
const EDITOR: &str = "an editor runs what it says when the folder is opened";
const AGENT: &str = "it configures other agents and the programs they start";
const CI: &str = "it runs with the secrets of the repository once it is pushed";
const HOOK: &str = "it names programs that run when something is committed";
const TOOL: &str = "it tells a package manager where to get code from, or with which credentials";
const KEYS: &str = "it holds keys, or says which ones are trusted";
const LOGIN: &str = "it is started at login";
const PROGRAM: &str = "it lies on the path of programs, before those of the system";
const STARTUP: &str = "a program runs it, or what it names, whenever it starts";

const OURS: Source = ("wasm-agent", "SECURITY.md, Directories");
const GIT_CONFIG: Source = ("git", "https://git-scm.com/docs/git-config");
const GIT_HOOKS: Source = ("git", "https://git-scm.com/docs/githooks");
const GIT_LAYOUT: Source = ("git", "https://git-scm.com/docs/gitrepository-layout");
const GIT_REBASE: Source = ("git", "https://git-scm.com/docs/git-rebase");
const GIT_MODULES: Source = ("git", "https://git-scm.com/docs/gitmodules");
const GIT_ATTRIBUTES: Source = ("git", "https://git-scm.com/docs/gitattributes");
const GIT_REPLACE: Source = ("git", "https://git-scm.com/docs/git-replace");
const MERCURIAL: Source = (
    "Mercurial",
    "https://www.mercurial-scm.org/help/topics/config",
);
const SAPLING: Source = ("Sapling", "https://sapling-scm.com/docs/internals/config/");
const JUJUTSU: Source = ("Jujutsu", "https://docs.jj-vcs.dev/latest/config/");
const BASH: Source = (
    "bash",
    "https://www.gnu.org/software/bash/manual/html_node/Bash-Startup-Files.html",
);
const COMPLETION: Source = (
    "bash-completion",
    "https://github.com/scop/bash-completion#readme",
);
const READLINE: Source = (
    "GNU Readline",
    "https://www.gnu.org/software/bash/manual/html_node/Readline-Init-File.html",
);
const ZSH: Source = ("zsh", "https://zsh.sourceforge.io/Doc/Release/Files.html");
const OH_MY_ZSH: Source = (
    "Oh My Zsh",
    "https://github.com/ohmyzsh/ohmyzsh/wiki/Customization",
);
const KSH: Source = ("ksh", "https://man.openbsd.org/ksh.1");
const CSH: Source = ("tcsh", "https://man.freebsd.org/cgi/man.cgi?query=tcsh");
const FISH: Source = (
    "fish",
    "https://fishshell.com/docs/current/language.html#configuration",
);
const NUSHELL: Source = ("Nushell", "https://www.nushell.sh/book/configuration.html");
const DIRENV: Source = ("direnv", "https://direnv.net/man/direnv.1.html");
const MISE: Source = ("mise", "https://mise.jdx.dev/configuration.html");
const TMUX: Source = ("tmux", "https://man.openbsd.org/tmux.1");
const SCREEN: Source = (
    "GNU Screen",
    "https://www.gnu.org/software/screen/manual/html_node/Startup-Files.html",
);
const VSCODE: Source = (
    "Visual Studio Code",
    "https://code.visualstudio.com/docs/debugtest/tasks",
);
const VISUAL_STUDIO: Source = (
    "Visual Studio",
    "https://learn.microsoft.com/en-us/visualstudio/ide/customize-build-and-debug-tasks-in-visual-studio",
);
const THEIA: Source = ("Theia", "https://theia-ide.org/docs/user_getting_started/");
const JETBRAINS: Source = (
    "JetBrains IDEs",
    "https://www.jetbrains.com/help/idea/project-security.html",
);
const FLEET: Source = (
    "Fleet",
    "https://www.jetbrains.com/help/fleet/run-configurations.html",
);
const ZED: Source = ("Zed", "https://zed.dev/docs/tasks");
const DEVCONTAINER: Source = (
    "Dev Containers",
    "https://containers.dev/implementors/json_reference/",
);
const VIM: Source = ("Vim", "https://vimhelp.org/starting.txt.html");
const NEOVIM: Source = ("Neovim", "https://neovim.io/doc/user/starting.html");
const LOCALVIMRC: Source = (
    "vim-localvimrc",
    "https://github.com/embear/vim-localvimrc#readme",
);
const YCM: Source = (
    "YouCompleteMe",
    "https://github.com/ycm-core/YouCompleteMe#readme",
);
const EMACS: Source = (
    "Emacs",
    "https://www.gnu.org/software/emacs/manual/html_node/emacs/Init-File.html",
);
const DIR_LOCALS: Source = (
    "Emacs",
    "https://www.gnu.org/software/emacs/manual/html_node/emacs/Directory-Variables.html",
);
const HELIX: Source = ("Helix", "https://docs.helix-editor.com/languages.html");
const KAKOUNE: Source = ("Kakoune", "https://github.com/mawww/kakoune#readme");
const GDB: Source = (
    "GDB",
    "https://sourceware.org/gdb/current/onlinedocs/gdb.html/Startup.html",
);
const LLDB: Source = ("LLDB", "https://lldb.llvm.org/man/lldb.html");
const IRB: Source = ("IRB", "https://ruby.github.io/irb/");
const PRY: Source = ("Pry", "https://github.com/pry/pry/wiki/Pry-rc");
const PDB: Source = ("pdb", "https://docs.python.org/3/library/pdb.html");
const IPYTHON: Source = (
    "IPython",
    "https://ipython.readthedocs.io/en/stable/config/intro.html",
);
const JUPYTER: Source = (
    "Jupyter",
    "https://jupyter.readthedocs.io/en/latest/use/jupyter-directories.html",
);
const R: Source = (
    "R",
    "https://stat.ethz.ch/R-manual/R-devel/library/base/html/Startup.html",
);
const SQLITE: Source = ("sqlite3", "https://sqlite.org/cli.html");
const PSQL: Source = (
    "psql",
    "https://www.postgresql.org/docs/current/app-psql.html",
);
const CURL: Source = ("curl", "https://curl.se/docs/manpage.html");
const WGET: Source = (
    "GNU Wget",
    "https://www.gnu.org/software/wget/manual/html_node/Startup-File.html",
);
const MCP: Source = (
    "MCP clients",
    "https://modelcontextprotocol.io/docs/develop/connect-local-servers",
);
const CLAUDE: Source = ("Claude Code", "https://code.claude.com/docs/en/settings");
const CURSOR: Source = ("Cursor", "https://cursor.com/docs/context/mcp");
const CODEX: Source = (
    "Codex",
    "https://developers.openai.com/codex/config-reference",
);
const GEMINI: Source = (
    "Gemini CLI",
    "https://github.com/google-gemini/gemini-cli/blob/main/docs/reference/configuration.md",
);
const WINDSURF: Source = (
    "Windsurf",
    "https://docs.windsurf.com/windsurf/cascade/memories",
);
const CONTINUE: Source = ("Continue", "https://docs.continue.dev/reference");
const ROO: Source = (
    "Roo Code",
    "https://docs.roocode.com/features/mcp/using-mcp-in-roo",
);
const CLINE: Source = ("Cline", "https://docs.cline.bot/features/cline-rules");
const AIDER: Source = ("aider", "https://aider.chat/docs/config/aider_conf.html");
const OPENCODE: Source = ("opencode", "https://opencode.ai/docs/config/");
const KIRO: Source = ("Kiro", "https://kiro.dev/docs/mcp/configuration/");
const AMAZON_Q: Source = (
    "Amazon Q Developer",
    "https://docs.aws.amazon.com/amazonq/latest/qdeveloper-ug/command-line-mcp.html",
);
const QWEN: Source = (
    "Qwen Code",
    "https://qwenlm.github.io/qwen-code-docs/en/users/configuration/settings/",
);
const FACTORY: Source = ("Factory", "https://docs.factory.ai/cli/configuration/mcp");
const JUNIE: Source = (
    "Junie",
    "https://www.jetbrains.com/help/junie/model-context-protocol-mcp.html",
);
const AUGMENT: Source = ("Augment", "https://docs.augmentcode.com/cli/integrations");
const TRAE: Source = ("Trae", "https://docs.trae.ai/ide/model-context-protocol");
const CRUSH: Source = ("Crush", "https://github.com/charmbracelet/crush#readme");
const SKILLS: Source = ("agents with skills", "https://agentskills.io/");
const COPILOT: Source = (
    "GitHub Copilot",
    "https://docs.github.com/en/copilot/concepts/agents/coding-agent/about-hooks",
);
const ACTIONS: Source = (
    "GitHub Actions",
    "https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax",
);
const GITLAB: Source = ("GitLab CI", "https://docs.gitlab.com/ci/yaml/");
const CIRCLECI: Source = (
    "CircleCI",
    "https://circleci.com/docs/configuration-reference/",
);
const FORGEJO: Source = (
    "Forgejo Actions",
    "https://forgejo.org/docs/latest/user/actions/",
);
const GITEA: Source = (
    "Gitea Actions",
    "https://docs.gitea.com/usage/actions/overview",
);
const WOODPECKER: Source = (
    "Woodpecker",
    "https://woodpecker-ci.org/docs/usage/workflow-syntax",
);
const DRONE: Source = ("Drone", "https://docs.drone.io/pipeline/overview/");
const TRAVIS: Source = ("Travis CI", "https://docs.travis-ci.com/user/tutorial/");
const JENKINS: Source = (
    "Jenkins",
    "https://www.jenkins.io/doc/book/pipeline/jenkinsfile/",
);
const AZURE: Source = (
    "Azure Pipelines",
    "https://learn.microsoft.com/en-us/azure/devops/pipelines/yaml-schema/",
);
const BITBUCKET: Source = (
    "Bitbucket Pipelines",
    "https://support.atlassian.com/bitbucket-cloud/docs/bitbucket-pipelines-configuration-reference/",
);
const BUILDKITE: Source = (
    "Buildkite",
    "https://buildkite.com/docs/pipelines/configure/defining-steps",
);
const SOURCEHUT: Source = ("builds.sr.ht", "https://man.sr.ht/builds.sr.ht/");
const TEKTON: Source = (
    "Pipelines as Code",
    "https://pipelinesascode.com/docs/guide/authoringprs/",
);
const CIRRUS: Source = ("Cirrus CI", "https://cirrus-ci.org/guide/writing-tasks/");
const CLOUD_BUILD: Source = (
    "Google Cloud Build",
    "https://cloud.google.com/build/docs/build-config-file-schema",
);
const CODEBUILD: Source = (
    "AWS CodeBuild",
    "https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html",
);
const SEMAPHORE: Source = (
    "Semaphore",
    "https://docs.semaphore.io/reference/pipeline-yaml",
);
const APPVEYOR: Source = (
    "AppVeyor",
    "https://www.appveyor.com/docs/build-configuration/",
);
const HUSKY: Source = ("husky", "https://typicode.github.io/husky/");
const PRE_COMMIT: Source = ("pre-commit", "https://pre-commit.com/");
const PREK: Source = ("prek", "https://prek.j178.dev/configuration/");
const LEFTHOOK: Source = ("lefthook", "https://lefthook.dev/configuration/");
const OVERCOMMIT: Source = ("overcommit", "https://github.com/sds/overcommit#readme");
const NPM: Source = ("npm", "https://docs.npmjs.com/cli/configuring-npm/npmrc");
const YARN_1: Source = ("Yarn", "https://classic.yarnpkg.com/en/docs/yarnrc/");
const YARN: Source = ("Yarn", "https://yarnpkg.com/configuration/yarnrc");
const PNPM: Source = ("pnpm", "https://pnpm.io/pnpmfile");
const BUN: Source = ("Bun", "https://bun.com/docs/runtime/bunfig");
const PIP: Source = ("pip", "https://pip.pypa.io/en/stable/topics/configuration/");
const UV: Source = (
    "uv",
    "https://docs.astral.sh/uv/concepts/configuration-files/",
);
const PYPI: Source = (
    "twine",
    "https://packaging.python.org/en/latest/specifications/pypirc/",
);
const CONDA: Source = (
    "conda",
    "https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/use-condarc.html",
);
const CARGO: Source = (
    "Cargo",
    "https://doc.rust-lang.org/cargo/reference/config.html",
);
const GEM: Source = ("RubyGems", "https://guides.rubygems.org/rubygems-org-api/");
const MAVEN: Source = ("Maven", "https://maven.apache.org/settings.html");
const GRADLE: Source = (
    "Gradle",
    "https://docs.gradle.org/current/userguide/init_scripts.html",
);
const NETRC: Source = (
    "curl, git and others",
    "https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html",
);
const SSH: Source = ("OpenSSH", "https://man.openbsd.org/ssh_config.5");
const GNUPG: Source = (
    "GnuPG",
    "https://www.gnupg.org/documentation/manuals/gnupg/GPG-Configuration.html",
);
const AWS: Source = (
    "AWS CLI",
    "https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html",
);
const AZURE_CLI: Source = (
    "Azure CLI",
    "https://learn.microsoft.com/en-us/cli/azure/azure-cli-configuration",
);
const KUBECTL: Source = (
    "kubectl",
    "https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/",
);
const DOCKER: Source = ("Docker", "https://docs.docker.com/reference/cli/docker/");
const GCLOUD: Source = ("gcloud", "https://cloud.google.com/sdk/docs/configurations");
const AUTOSTART: Source = (
    "desktop environments",
    "https://specifications.freedesktop.org/autostart-spec/latest/",
);
const DESKTOP_ENTRY: Source = (
    "desktop environments",
    "https://specifications.freedesktop.org/desktop-entry-spec/latest/",
);
const SYSTEMD: Source = (
    "systemd",
    "https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html",
);
const ENVIRONMENT_D: Source = (
    "systemd",
    "https://www.freedesktop.org/software/systemd/man/latest/environment.d.html",
);
const LAUNCHD: Source = (
    "launchd",
    "https://developer.apple.com/library/archive/documentation/MacOSX/Conceptual/BPSystemStartup/",
);
const PAM: Source = (
    "pam_env",
    "https://man7.org/linux/man-pages/man5/pam_env.conf.5.html",
);
const XINIT: Source = (
    "xinit",
    "https://www.x.org/releases/current/doc/man/man1/xinit.1.xhtml",
);
const XSESSION: Source = (
    "X session scripts",
    "https://manpages.debian.org/stable/x11-common/Xsession.5.en.html",
);
const LOCAL_BIN: Source = (
    "shells",
    "https://specifications.freedesktop.org/basedir-spec/latest/",
);

/// Every protected path.
///
/// CI definitions are among them although they are only code of the repository: they run elsewhere,
/// unreviewed, with credentials, once somebody pushes the branch. What a coding agent has to change to do its work and
/// other programs run (`package.json`, build scripts) is not: it is [marked](super::MARKED).
pub const PROTECTED: &[Protected] = &[
    tree(
        ".wasm-agent-apply*",
        "what is applied is moved through it",
        OURS,
    ),
    // Version control.
    tree(".git/hooks", GIT, GIT_HOOKS),
    tree(".githooks", GIT, GIT_HOOKS),
    tree(".git/config", GIT, GIT_CONFIG),
    tree(".git/config.worktree", GIT, GIT_CONFIG),
    // Both say where the real configuration is.
    tree(".git/commondir", GIT, GIT_LAYOUT),
    file(
        ".git",
        "git takes the repository from where it points, and runs programs named there",
        GIT_LAYOUT,
    ),
    // Repositories of submodules and worktrees, each with hooks and configuration of its own.
    tree(".git/modules", GIT, GIT_LAYOUT),
    tree(".git/worktrees", GIT, GIT_LAYOUT),
    tree(".git/rebase-merge", REBASE, GIT_REBASE),
    tree(".git/rebase-apply", REBASE, GIT_REBASE),
    tree(".git/sequencer", REBASE, GIT_REBASE),
    tree(".git/info/attributes", GIT, GIT_ATTRIBUTES),
    tree(".git/info/grafts", REPLACES, GIT_LAYOUT),
    tree(".git/refs/replace", REPLACES, GIT_REPLACE),
    tree(".git/objects/info", REPLACES, GIT_LAYOUT),
    tree(".gitmodules", GIT, GIT_MODULES),
    tree(".gitconfig", GIT, GIT_CONFIG),
    tree(".config/git", GIT, GIT_CONFIG),
    tree(".hg/hgrc*", VCS, MERCURIAL),
    tree(".hg/sharedpath", VCS, MERCURIAL),
    tree(".hgrc", VCS, MERCURIAL),
    tree(".config/hg", VCS, MERCURIAL),
    tree(".sl/config", VCS, SAPLING),
    tree(".config/sapling", VCS, SAPLING),
    tree(".jj/repo", VCS, JUJUTSU),
    tree(".jj/workspace-config.toml", VCS, JUJUTSU),
    tree(".config/jj", VCS, JUJUTSU),
    tree(".jjconfig.toml", VCS, JUJUTSU),
    // Shells, and what they run on the way.
    tree(".bashrc", SHELL, BASH),
    tree(".bash_profile", SHELL, BASH),
    tree(".bash_login", SHELL, BASH),
    tree(".bash_logout", SHELL, BASH),
    tree(".bash_aliases", SHELL, BASH),
    tree(".bash_completion", SHELL, COMPLETION),
    tree(".bash_completion.d", SHELL, COMPLETION),
    tree(".local/share/bash-completion", SHELL, COMPLETION),
    tree(".inputrc", SHELL, READLINE),
    tree(".profile", SHELL, BASH),
    tree(".zshrc", SHELL, ZSH),
    tree(".zshenv", SHELL, ZSH),
    tree(".zprofile", SHELL, ZSH),
    tree(".zlogin", SHELL, ZSH),
    tree(".zlogout", SHELL, ZSH),
    tree(".oh-my-zsh", SHELL, OH_MY_ZSH),
    tree(".kshrc", SHELL, KSH),
    tree(".cshrc", SHELL, CSH),
    tree(".tcshrc", SHELL, CSH),
    tree(".login", SHELL, CSH),
    tree(".config/fish", SHELL, FISH),
    tree(".config/nushell", SHELL, NUSHELL),
    tree(".config/bash", SHELL, BASH),
    tree(".config/zsh", SHELL, ZSH),
    tree(".envrc", SHELL, DIRENV),
    tree(".direnv", SHELL, DIRENV),
    tree(".direnvrc", SHELL, DIRENV),
    tree(".config/direnv", SHELL, DIRENV),
    tree("mise.toml", SHELL, MISE),
    tree("mise.*.toml", SHELL, MISE),
    tree(".mise.toml", SHELL, MISE),
    tree(".mise.*.toml", SHELL, MISE),
    tree(".mise", SHELL, MISE),
    tree(".config/mise*", SHELL, MISE),
    tree("mise/config*.toml", SHELL, MISE),
    tree(".rtx.toml", SHELL, MISE),
    tree(".tmux.conf", STARTUP, TMUX),
    tree(".config/tmux", STARTUP, TMUX),
    tree(".screenrc", STARTUP, SCREEN),
    tree(".local/bin", PROGRAM, LOCAL_BIN),
    // Editors.
    tree(".vscode", EDITOR, VSCODE),
    tree("*.code-workspace", EDITOR, VSCODE),
    tree(".config/Code", EDITOR, VSCODE),
    tree(".vs", EDITOR, VISUAL_STUDIO),
    tree(".theia", EDITOR, THEIA),
    tree(".idea", EDITOR, JETBRAINS),
    tree(".zed", EDITOR, ZED),
    tree(".config/zed", EDITOR, ZED),
    tree(".fleet", EDITOR, FLEET),
    tree(".devcontainer", EDITOR, DEVCONTAINER),
    tree(".devcontainer.json", EDITOR, DEVCONTAINER),
    tree(".vimrc", EDITOR, VIM),
    tree(".vim", EDITOR, VIM),
    tree(".exrc", EDITOR, VIM),
    tree(".gvimrc", EDITOR, VIM),
    tree(".lvimrc", EDITOR, LOCALVIMRC),
    tree(".ycm_extra_conf.py", EDITOR, YCM),
    tree(".nvimrc", EDITOR, NEOVIM),
    tree(".nvim.lua", EDITOR, NEOVIM),
    tree(".config/nvim", EDITOR, NEOVIM),
    tree(".emacs", EDITOR, EMACS),
    tree(".emacs.d", EDITOR, EMACS),
    tree(".config/emacs", EDITOR, EMACS),
    tree(".dir-locals.el", EDITOR, DIR_LOCALS),
    tree(".dir-locals-2.el", EDITOR, DIR_LOCALS),
    tree(".helix", EDITOR, HELIX),
    tree(".config/helix", EDITOR, HELIX),
    tree(".kakrc", EDITOR, KAKOUNE),
    tree(".config/kak", EDITOR, KAKOUNE),
    // Debuggers, interpreters and clients that read a file where they start.
    tree(".gdbinit", STARTUP, GDB),
    tree(".gdbearlyinit", STARTUP, GDB),
    tree(".config/gdb", STARTUP, GDB),
    tree(".lldbinit*", STARTUP, LLDB),
    tree(".irbrc", STARTUP, IRB),
    tree(".pryrc", STARTUP, PRY),
    tree(".pdbrc*", STARTUP, PDB),
    tree(".ipython", STARTUP, IPYTHON),
    tree(".jupyter", STARTUP, JUPYTER),
    tree(".Rprofile", STARTUP, R),
    tree(".Renviron", STARTUP, R),
    tree(".sqliterc", STARTUP, SQLITE),
    tree(".psqlrc*", STARTUP, PSQL),
    tree(".curlrc", STARTUP, CURL),
    tree("_curlrc", STARTUP, CURL),
    tree(".config/curlrc", STARTUP, CURL),
    tree(".wgetrc", STARTUP, WGET),
    // Agents: what starts programs. What only gives them orders is marked.
    tree(".mcp.json", AGENT, MCP),
    tree("mcp.json", AGENT, MCP),
    tree(".claude", AGENT, CLAUDE),
    tree(".claude.json", AGENT, CLAUDE),
    tree(".cursor", AGENT, CURSOR),
    tree(".codex", AGENT, CODEX),
    tree(".gemini", AGENT, GEMINI),
    tree(".windsurf", AGENT, WINDSURF),
    tree(".continue", AGENT, CONTINUE),
    tree(".roo", AGENT, ROO),
    tree(".clinerules", AGENT, CLINE),
    tree(".cline", AGENT, CLINE),
    tree(".aider.conf.yml", AGENT, AIDER),
    tree(".aider.conf.yaml", AGENT, AIDER),
    tree(".opencode", AGENT, OPENCODE),
    tree("opencode.json*", AGENT, OPENCODE),
    tree(".kiro", AGENT, KIRO),
    tree(".amazonq", AGENT, AMAZON_Q),
    tree(".qwen", AGENT, QWEN),
    tree(".factory", AGENT, FACTORY),
    tree(".junie", AGENT, JUNIE),
    tree(".augment", AGENT, AUGMENT),
    tree(".trae", AGENT, TRAE),
    tree(".crush.json", AGENT, CRUSH),
    tree("crush.json", AGENT, CRUSH),
    tree(".agents", AGENT, SKILLS),
    tree(".github/hooks", AGENT, COPILOT),
    tree(".github/agents", AGENT, COPILOT),
    // Continuous integration.
    tree(".github/workflows", CI, ACTIONS),
    tree(".github/actions", CI, ACTIONS),
    tree(".gitlab-ci.yml", CI, GITLAB),
    tree(".gitlab-ci.yaml", CI, GITLAB),
    tree(".gitlab", CI, GITLAB),
    tree(".circleci", CI, CIRCLECI),
    tree(".forgejo", CI, FORGEJO),
    tree(".gitea", CI, GITEA),
    tree(".woodpecker*", CI, WOODPECKER),
    tree(".drone.yml", CI, DRONE),
    tree(".drone.yaml", CI, DRONE),
    tree(".drone.jsonnet", CI, DRONE),
    tree(".drone.star", CI, DRONE),
    tree(".travis.yml", CI, TRAVIS),
    tree("Jenkinsfile*", CI, JENKINS),
    tree("azure-pipelines*.yml", CI, AZURE),
    tree("azure-pipelines*.yaml", CI, AZURE),
    tree(".azure-pipelines", CI, AZURE),
    tree("bitbucket-pipelines.yml", CI, BITBUCKET),
    tree(".buildkite", CI, BUILDKITE),
    tree("buildkite.yml", CI, BUILDKITE),
    tree(".build.yml", CI, SOURCEHUT),
    tree(".builds", CI, SOURCEHUT),
    tree(".tekton", CI, TEKTON),
    tree(".cirrus.yml", CI, CIRRUS),
    tree(".cirrus.star", CI, CIRRUS),
    tree("cloudbuild.yaml", CI, CLOUD_BUILD),
    tree("cloudbuild.yml", CI, CLOUD_BUILD),
    tree("cloudbuild.json", CI, CLOUD_BUILD),
    tree("buildspec.yml", CI, CODEBUILD),
    tree("buildspec.yaml", CI, CODEBUILD),
    tree(".semaphore", CI, SEMAPHORE),
    tree("appveyor.yml", CI, APPVEYOR),
    tree(".appveyor.yml", CI, APPVEYOR),
    // Hooks that a manager installs, in every spelling it takes.
    tree(".husky", HOOK, HUSKY),
    tree(".huskyrc*", HOOK, HUSKY),
    tree(".pre-commit-config.yaml", HOOK, PRE_COMMIT),
    tree(".pre-commit-config.yml", HOOK, PRE_COMMIT),
    tree("prek.toml", HOOK, PREK),
    tree("lefthook.*", HOOK, LEFTHOOK),
    tree(".lefthook.*", HOOK, LEFTHOOK),
    tree("lefthook-local.*", HOOK, LEFTHOOK),
    tree(".lefthook-local.*", HOOK, LEFTHOOK),
    tree(".lefthook", HOOK, LEFTHOOK),
    tree(".lefthook-local", HOOK, LEFTHOOK),
    tree(".config/lefthook*", HOOK, LEFTHOOK),
    tree(".overcommit.yml", HOOK, OVERCOMMIT),
    tree(".git-hooks", HOOK, OVERCOMMIT),
    // Package managers.
    tree(".npmrc", TOOL, NPM),
    tree(".yarnrc", TOOL, YARN_1),
    tree(".yarnrc.yml", TOOL, YARN),
    tree(".pnpmfile.cjs", TOOL, PNPM),
    tree(".pnpmfile.mjs", TOOL, PNPM),
    tree("bunfig.toml", TOOL, BUN),
    tree(".bunfig.toml", TOOL, BUN),
    tree(".pypirc", TOOL, PYPI),
    tree(".config/pip", TOOL, PIP),
    tree(".pip", TOOL, PIP),
    tree("pip.conf", TOOL, PIP),
    tree("pip.ini", TOOL, PIP),
    tree("uv.toml", TOOL, UV),
    tree(".config/uv", TOOL, UV),
    tree(".condarc", TOOL, CONDA),
    tree(".cargo/config", TOOL, CARGO),
    tree(".cargo/config.toml", TOOL, CARGO),
    tree(".cargo/credentials*", TOOL, CARGO),
    tree(".gem/credentials", TOOL, GEM),
    tree(".m2/settings*.xml", TOOL, MAVEN),
    tree(".gradle/init*", TOOL, GRADLE),
    // Keys.
    tree(".netrc", KEYS, NETRC),
    tree("_netrc", KEYS, NETRC),
    tree(".ssh", KEYS, SSH),
    tree(".gnupg", KEYS, GNUPG),
    tree(".aws", KEYS, AWS),
    tree(".azure", KEYS, AZURE_CLI),
    tree(".kube", KEYS, KUBECTL),
    tree(".docker", KEYS, DOCKER),
    tree(".config/gcloud", KEYS, GCLOUD),
    // What a session starts.
    tree(".config/autostart", LOGIN, AUTOSTART),
    tree(".config/systemd", LOGIN, SYSTEMD),
    tree(".local/share/systemd", LOGIN, SYSTEMD),
    tree(".config/environment.d", LOGIN, ENVIRONMENT_D),
    tree(".local/share/applications", LOGIN, DESKTOP_ENTRY),
    tree("Library/LaunchAgents", LOGIN, LAUNCHD),
    tree(".pam_environment", LOGIN, PAM),
    tree(".xprofile", LOGIN, XSESSION),
    tree(".xinitrc", LOGIN, XINIT),
    tree(".xserverrc", LOGIN, XINIT),
    tree(".xsession*", LOGIN, XSESSION),
];
