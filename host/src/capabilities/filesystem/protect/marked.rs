//! What is marked where a person decides about changes: code of the project that a coding agent may well have to change,
//! and that programs of the operator's run without being asked what is in it.

use std::path::Path;
use std::sync::LazyLock;

use super::table::Scope;
use super::{Act, Rules};

/// A name that tools run or obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Names separated by `/`, as in a [`Protected`](super::Protected).
    pub pattern: &'static str,
    /// Whether what lies below it is meant, too.
    pub scope: Scope,
    /// What runs it, in a few words.
    pub reason: &'static str,
    /// Where that is documented.
    pub documented: &'static str,
}

const fn row(pattern: &'static str, reason: &'static str, documented: &'static str) -> Marked {
    Marked {
        pattern,
        scope: Scope::File,
        reason,
        documented,
    }
}

const fn tree(pattern: &'static str, reason: &'static str, documented: &'static str) -> Marked {
    Marked {
        scope: Scope::Tree,
        ..row(pattern, reason, documented)
    }
}

/// Every marked name.
pub const MARKED: &[Marked] = &[
    // Orders to other agents.
    row("AGENTS*.md", ORDERS, "https://agents.md/"),
    row(
        "CLAUDE*.md",
        ORDERS,
        "https://code.claude.com/docs/en/memory",
    ),
    row(
        "GEMINI.md",
        ORDERS,
        "https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/gemini-md.md",
    ),
    row(
        "QWEN.md",
        ORDERS,
        "https://qwenlm.github.io/qwen-code-docs/en/users/configuration/settings/",
    ),
    row(
        "CRUSH.md",
        ORDERS,
        "https://github.com/charmbracelet/crush#readme",
    ),
    row("SKILL.md", ORDERS, "https://agentskills.io/specification"),
    row(".github/copilot-instructions.md", ORDERS, COPILOT_ORDERS),
    tree(".github/instructions", ORDERS, COPILOT_ORDERS),
    tree(".github/prompts", ORDERS, COPILOT_ORDERS),
    row(
        ".cursorrules",
        ORDERS,
        "https://cursor.com/docs/context/rules",
    ),
    row(
        ".windsurfrules",
        ORDERS,
        "https://docs.windsurf.com/windsurf/cascade/memories",
    ),
    row(".rules", ORDERS, "https://zed.dev/docs/ai/rules"),
    row(
        ".goosehints",
        ORDERS,
        "https://block.github.io/goose/docs/guides/context-engineering/using-goosehints/",
    ),
    tree(
        ".goose",
        ORDERS,
        "https://block.github.io/goose/docs/guides/context-engineering/using-goosehints/",
    ),
    // Version control.
    row(
        ".git/index",
        "git takes from it what it has to compare",
        "https://git-scm.com/docs/git-update-index",
    ),
    row(
        ".gitattributes",
        "git runs filters and merge drivers for what it names",
        "https://git-scm.com/docs/gitattributes",
    ),
    row(
        ".hgsub",
        "Mercurial fetches what it names",
        "https://www.mercurial-scm.org/help/topics/subrepos",
    ),
    row(
        ".lintstagedrc*",
        "lint-staged runs what it names at every commit",
        "https://github.com/lint-staged/lint-staged#configuration",
    ),
    row(
        "lint-staged.config.*",
        "lint-staged runs what it names at every commit",
        "https://github.com/lint-staged/lint-staged#configuration",
    ),
    row(
        ".simple-git-hooks.*",
        "simple-git-hooks makes hooks of it",
        "https://github.com/toplenboren/simple-git-hooks#readme",
    ),
    row(
        "simple-git-hooks.*",
        "simple-git-hooks makes hooks of it",
        "https://github.com/toplenboren/simple-git-hooks#readme",
    ),
    row(
        "CODEOWNERS",
        "it says whose consent a change needs",
        "https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners",
    ),
    row(
        ".github/dependabot.y*ml",
        "Dependabot takes from it where code comes from",
        "https://docs.github.com/en/code-security/reference/supply-chain-security/dependabot-options-reference",
    ),
    row(
        "renovate.json*",
        "Renovate takes from it where code comes from",
        "https://docs.renovatebot.com/configuration-options/",
    ),
    row(
        ".renovaterc*",
        "Renovate takes from it where code comes from",
        "https://docs.renovatebot.com/configuration-options/",
    ),
    // JavaScript.
    row(
        "package.json",
        "a package manager runs its scripts",
        "https://docs.npmjs.com/cli/using-npm/scripts",
    ),
    row(
        "package-lock.json",
        LOCK,
        "https://docs.npmjs.com/cli/configuring-npm/package-lock-json",
    ),
    row(
        "npm-shrinkwrap.json",
        LOCK,
        "https://docs.npmjs.com/cli/configuring-npm/npm-shrinkwrap-json",
    ),
    row("yarn.lock", LOCK, "https://yarnpkg.com/features/security"),
    row("pnpm-lock.yaml", LOCK, "https://pnpm.io/git#lockfiles"),
    row(
        "pnpm-workspace.yaml",
        "pnpm takes from it whose scripts it runs",
        "https://pnpm.io/settings",
    ),
    row("bun.lock*", LOCK, "https://bun.com/docs/pm/lockfile"),
    row(
        "binding.gyp",
        "npm builds it when the package is installed",
        "https://docs.npmjs.com/cli/using-npm/scripts",
    ),
    tree(
        ".yarn",
        "Yarn runs its releases and plugins",
        "https://yarnpkg.com/configuration/yarnrc",
    ),
    row(
        ".pnp.*",
        "node loads it before everything else",
        "https://yarnpkg.com/features/pnp",
    ),
    tree(
        "node_modules",
        "node loads it, and package managers run what is in its `.bin`",
        "https://docs.npmjs.com/cli/configuring-npm/folders",
    ),
    row(
        "deno.json*",
        "deno runs its tasks",
        "https://docs.deno.com/runtime/fundamentals/configuration/",
    ),
    row("*.config.js", CONFIG, ESLINT),
    row("*.config.cjs", CONFIG, ESLINT),
    row("*.config.mjs", CONFIG, ESLINT),
    row("*.config.jsx", CONFIG, ESLINT),
    row("*.config.ts", CONFIG, ESLINT),
    row("*.config.cts", CONFIG, ESLINT),
    row("*.config.mts", CONFIG, ESLINT),
    row(".*rc.js", CONFIG, ESLINT),
    row(".*rc.cjs", CONFIG, ESLINT),
    row(".*rc.mjs", CONFIG, ESLINT),
    row(".*rc.ts", CONFIG, ESLINT),
    row(
        ".eslintrc*",
        "ESLint loads the plugins it names",
        "https://eslint.org/docs/latest/use/configure/configuration-files-deprecated",
    ),
    row(
        ".prettierrc*",
        "Prettier loads the plugins it names",
        "https://prettier.io/docs/configuration",
    ),
    row(
        ".stylelintrc*",
        "Stylelint loads the plugins it names",
        "https://stylelint.io/user-guide/configure",
    ),
    row(
        ".babelrc*",
        "Babel loads the plugins it names",
        "https://babeljs.io/docs/config-files",
    ),
    row(
        ".mocharc*",
        "Mocha loads what it names",
        "https://mochajs.org/next/running/configuring/",
    ),
    row("Gruntfile*", TASKS, "https://gruntjs.com/sample-gruntfile"),
    row(
        "gulpfile*",
        TASKS,
        "https://gulpjs.com/docs/en/getting-started/javascript-and-gulpfiles/",
    ),
    row(
        "turbo.json*",
        TASKS,
        "https://turborepo.com/docs/reference/configuration",
    ),
    row("nx.json", TASKS, "https://nx.dev/docs/reference/nx-json"),
    // Python.
    row(
        "pyproject.toml",
        "build tools and linters run what it names",
        "https://packaging.python.org/en/latest/specifications/pyproject-toml/",
    ),
    row(
        "setup.py",
        "pip runs it",
        "https://setuptools.pypa.io/en/latest/userguide/quickstart.html",
    ),
    row(
        "setup.cfg",
        "build tools run what it names",
        "https://setuptools.pypa.io/en/latest/userguide/declarative_config.html",
    ),
    row(
        "conftest.py",
        "pytest runs it",
        "https://docs.pytest.org/en/stable/reference/fixtures.html",
    ),
    row("pytest.ini", "pytest loads the plugins it names", PYTEST),
    row(".pytest.ini", "pytest loads the plugins it names", PYTEST),
    row("tox.ini", TASKS, "https://tox.wiki/en/stable/config.html"),
    row("tox.toml", TASKS, "https://tox.wiki/en/stable/config.html"),
    row(
        "noxfile.py",
        TASKS,
        "https://nox.thea.codes/en/stable/config.html",
    ),
    row("fabfile*", TASKS, "https://docs.fabfile.org/en/latest/"),
    row("dodo.py", TASKS, "https://pydoit.org/contents.html"),
    row(
        "tasks.py",
        TASKS,
        "https://docs.pyinvoke.org/en/stable/concepts/loading.html",
    ),
    row(
        "manage.py",
        "Django's commands run it",
        "https://docs.djangoproject.com/en/stable/ref/django-admin/",
    ),
    row(
        "sitecustomize.py",
        "python runs it whenever it starts",
        PYTHON_SITE,
    ),
    row(
        "usercustomize.py",
        "python runs it whenever it starts",
        PYTHON_SITE,
    ),
    row("*.pth", "python runs it whenever it starts", PYTHON_SITE),
    row(
        "*.pyc",
        "python runs it in the place of its source",
        "https://docs.python.org/3/reference/import.html",
    ),
    tree(".venv", VENV, "https://docs.python.org/3/library/venv.html"),
    tree("venv", VENV, "https://docs.python.org/3/library/venv.html"),
    row(
        "requirements*.txt",
        "pip runs what it installs from it",
        "https://pip.pypa.io/en/stable/reference/requirements-file-format/",
    ),
    row(
        "constraints*.txt",
        LOCK,
        "https://pip.pypa.io/en/stable/user_guide/",
    ),
    row(
        "uv.lock",
        LOCK,
        "https://docs.astral.sh/uv/concepts/projects/layout/",
    ),
    row(
        "poetry.lock",
        LOCK,
        "https://python-poetry.org/docs/basic-usage/",
    ),
    row(
        "Pipfile*",
        LOCK,
        "https://pipenv.pypa.io/en/stable/pipfile.html",
    ),
    row("mypy.ini", "mypy loads the plugins it names", MYPY),
    row(".mypy.ini", "mypy loads the plugins it names", MYPY),
    row(".pylintrc*", "pylint runs the code it names", PYLINT),
    row("pylintrc", "pylint runs the code it names", PYLINT),
    tree(
        ".matplotlib",
        "matplotlib obeys it",
        "https://matplotlib.org/stable/users/explain/customizing.html",
    ),
    row(
        ".python-version",
        VERSION,
        "https://github.com/pyenv/pyenv#readme",
    ),
    // Rust, C, Go, Java, Swift, .NET.
    row(
        "build.rs",
        "cargo runs it before it compiles",
        "https://doc.rust-lang.org/cargo/reference/build-scripts.html",
    ),
    row(
        "Cargo.toml",
        "cargo runs build scripts and macros of what it names",
        "https://doc.rust-lang.org/cargo/reference/manifest.html",
    ),
    row(
        "Cargo.lock",
        LOCK,
        "https://doc.rust-lang.org/cargo/guide/cargo-toml-vs-cargo-lock.html",
    ),
    row(
        "rust-toolchain",
        "rustup runs the compiler it names",
        "https://rust-lang.github.io/rustup/overrides.html",
    ),
    row(
        "rust-toolchain.toml",
        "rustup runs the compiler it names",
        "https://rust-lang.github.io/rustup/overrides.html",
    ),
    row("Makefile*", "make runs its commands", MAKE),
    row("GNUmakefile", "make runs its commands", MAKE),
    row("*.mk", "make runs its commands", MAKE),
    row("configure", "a build runs it", AUTOCONF),
    row("configure.ac", "a build makes `configure` of it", AUTOCONF),
    row(
        "CMakeLists.txt",
        "CMake runs it",
        "https://cmake.org/cmake/help/latest/manual/cmake-language.7.html",
    ),
    row(
        "*.cmake",
        "CMake runs it",
        "https://cmake.org/cmake/help/latest/manual/cmake-language.7.html",
    ),
    row("CMakePresets.json", "CMake obeys it", CMAKE_PRESETS),
    row("CMakeUserPresets.json", "CMake obeys it", CMAKE_PRESETS),
    row(
        "meson.build",
        "Meson runs what it names",
        "https://mesonbuild.com/Reference-manual_functions.html",
    ),
    row("SConstruct", "SCons runs it", SCONS),
    row("SConscript", "SCons runs it", SCONS),
    row(
        ".clangd",
        "clangd runs the compiler it names",
        "https://clangd.llvm.org/config",
    ),
    row(
        "compile_commands.json",
        "clangd runs the compiler it names",
        "https://clangd.llvm.org/installation.html#compile_commandsjson",
    ),
    row(
        "compile_flags.txt",
        "clangd obeys it",
        "https://clangd.llvm.org/installation.html#compile_flagstxt",
    ),
    row(
        ".ccls",
        "ccls obeys it",
        "https://github.com/MaskRay/ccls/wiki/Project-Setup",
    ),
    row(
        "go.mod",
        "go builds what it names",
        "https://go.dev/ref/mod",
    ),
    row("go.sum", LOCK, "https://go.dev/ref/mod#go-sum-files"),
    row(
        "go.work*",
        "go builds what it names",
        "https://go.dev/ref/mod#workspaces",
    ),
    row("gradlew*", "a build runs it", GRADLE),
    tree(
        "gradle/wrapper",
        "Gradle's wrapper downloads and runs what it names",
        GRADLE,
    ),
    row(
        "gradle.properties",
        "Gradle obeys it",
        "https://docs.gradle.org/current/userguide/build_environment.html",
    ),
    row(
        "*.gradle",
        "Gradle runs it",
        "https://docs.gradle.org/current/userguide/writing_build_scripts.html",
    ),
    row(
        "*.gradle.kts",
        "Gradle runs it",
        "https://docs.gradle.org/current/userguide/writing_build_scripts.html",
    ),
    tree(
        "buildSrc",
        "Gradle runs it",
        "https://docs.gradle.org/current/userguide/sharing_build_logic_between_subprojects.html",
    ),
    row("mvnw*", "a build runs it", MAVEN),
    tree(
        ".mvn",
        "Maven loads its extensions and obeys its options",
        MAVEN,
    ),
    row(
        "pom.xml",
        "Maven runs the plugins it names",
        "https://maven.apache.org/pom.html",
    ),
    row(
        "build.xml",
        TASKS,
        "https://ant.apache.org/manual/using.html",
    ),
    row("build.sbt", "sbt runs it", SBT),
    row("project/*.sbt", "sbt runs it", SBT),
    row("project/*.scala", "sbt runs it", SBT),
    row(".sbtopts", "sbt obeys it", SBT),
    row(".jvmopts", "Java loads the agents it names", SBT),
    row(
        "Package.swift",
        "Swift runs it",
        "https://docs.swift.org/swiftpm/documentation/packagemanagerdocs/",
    ),
    row("*.csproj", MSBUILD, MSBUILD_DOCS),
    row("*.fsproj", MSBUILD, MSBUILD_DOCS),
    row("*.vbproj", MSBUILD, MSBUILD_DOCS),
    row("Directory.Build.*", MSBUILD, MSBUILD_DOCS),
    row("Directory.Packages.props", MSBUILD, MSBUILD_DOCS),
    row(
        "nuget.config",
        "NuGet takes from it where code comes from",
        "https://learn.microsoft.com/en-us/nuget/reference/nuget-config-file",
    ),
    // Ruby, PHP, Elixir, Lua, Dart.
    row(
        "Gemfile*",
        "Bundler runs it",
        "https://bundler.io/man/gemfile.5.html",
    ),
    row(
        "*.gemspec",
        "Bundler runs it",
        "https://guides.rubygems.org/specification-reference/",
    ),
    row("Rakefile*", TASKS, "https://ruby.github.io/rake/"),
    row(
        "Podfile*",
        "CocoaPods runs it",
        "https://guides.cocoapods.org/syntax/podfile.html",
    ),
    row(
        ".rspec",
        "RSpec loads what it names",
        "https://rspec.info/features/3-13/rspec-core/configuration/read-options-from-file/",
    ),
    row(
        ".rubocop*",
        "RuboCop loads what it names",
        "https://docs.rubocop.org/rubocop/extensions.html",
    ),
    tree(
        ".bundle",
        "Bundler obeys it",
        "https://bundler.io/man/bundle-config.1.html",
    ),
    row(
        ".ruby-version",
        VERSION,
        "https://github.com/rbenv/rbenv#readme",
    ),
    row(
        "composer.json",
        "Composer runs its scripts",
        "https://getcomposer.org/doc/articles/scripts.md",
    ),
    row(
        "composer.lock",
        LOCK,
        "https://getcomposer.org/doc/01-basic-usage.md",
    ),
    row(
        ".user.ini",
        "PHP loads the code it names",
        "https://www.php.net/manual/en/configuration.file.per-user.php",
    ),
    row(
        ".htaccess",
        "Apache obeys it",
        "https://httpd.apache.org/docs/current/howto/htaccess.html",
    ),
    row("mix.exs", "Mix runs it", "https://hexdocs.pm/mix/Mix.html"),
    row(
        "pubspec.yaml",
        "Dart's tools run what it names",
        "https://dart.dev/tools/pub/pubspec",
    ),
    row(
        ".luarc.json",
        "a Lua language server loads the plugins it names",
        "https://luals.github.io/wiki/configuration/",
    ),
    row(
        ".neoconf.json",
        "Neovim takes settings of language servers from it",
        "https://github.com/folke/neoconf.nvim#readme",
    ),
    row(
        ".projections.json",
        "vim-projectionist obeys it",
        "https://github.com/tpope/vim-projectionist#readme",
    ),
    row(
        "*.sublime-project",
        "Sublime Text runs its build systems",
        "https://www.sublimetext.com/docs/projects.html",
    ),
    tree(
        ".nova",
        "Nova runs its tasks",
        "https://help.nova.app/extensions/",
    ),
    tree(
        ".ctags.d",
        "ctags obeys it",
        "https://docs.ctags.io/en/latest/option-file.html",
    ),
    // Task runners, environments, containers, infrastructure.
    row("justfile", TASKS, "https://just.systems/man/en/"),
    row(".justfile", TASKS, "https://just.systems/man/en/"),
    row(
        "Taskfile*",
        TASKS,
        "https://taskfile.dev/docs/reference/schema",
    ),
    row(
        "Earthfile",
        TASKS,
        "https://docs.earthly.dev/docs/earthfile",
    ),
    row("WORKSPACE", BAZEL, BAZEL_DOCS),
    row("MODULE.bazel*", BAZEL, BAZEL_DOCS),
    row("BUILD", BAZEL, BAZEL_DOCS),
    row("BUILD.bazel", BAZEL, BAZEL_DOCS),
    row("*.bzl", BAZEL, BAZEL_DOCS),
    row(
        ".bazelrc",
        "Bazel obeys it",
        "https://bazel.build/run/bazelrc",
    ),
    row(
        ".bazelversion",
        VERSION,
        "https://github.com/bazelbuild/bazelisk#readme",
    ),
    row(
        "tools/bazel",
        "Bazelisk runs it in the place of Bazel",
        "https://github.com/bazelbuild/bazelisk#readme",
    ),
    row(
        ".buckconfig*",
        "Buck runs what it names",
        "https://buck2.build/docs/concepts/buckconfig/",
    ),
    row(
        ".env",
        ENV,
        "https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/",
    ),
    row(
        ".env.*",
        ENV,
        "https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/",
    ),
    row(
        ".envrc.*",
        "direnv's `.envrc` often runs it",
        "https://direnv.net/man/direnv-stdlib.1.html",
    ),
    row(
        ".tool-versions",
        VERSION,
        "https://asdf-vm.com/manage/configuration.html",
    ),
    row(
        ".asdfrc",
        "asdf runs the hooks it names",
        "https://asdf-vm.com/manage/configuration.html",
    ),
    row(".nvmrc", VERSION, "https://github.com/nvm-sh/nvm#readme"),
    row(
        ".node-version",
        VERSION,
        "https://github.com/nodenv/nodenv#readme",
    ),
    row(".sdkmanrc", VERSION, "https://sdkman.io/usage/#env-command"),
    row(
        "devbox.json",
        "Devbox runs its hooks",
        "https://www.jetify.com/docs/devbox/configuration/",
    ),
    row("devenv.nix", NIX, "https://devenv.sh/basics/"),
    tree(".devenv", NIX, "https://devenv.sh/basics/"),
    row("flake.nix", NIX, NIX_DOCS),
    row("flake.lock", LOCK, NIX_DOCS),
    row("shell.nix", NIX, NIX_DOCS),
    row("default.nix", NIX, NIX_DOCS),
    row(
        "Dockerfile*",
        "Docker runs its commands",
        "https://docs.docker.com/reference/dockerfile/",
    ),
    row(
        "Containerfile*",
        "Podman runs its commands",
        "https://docs.podman.io/en/latest/markdown/podman-build.1.html",
    ),
    row("docker-compose*", COMPOSE, COMPOSE_DOCS),
    row("compose*.y*ml", COMPOSE, COMPOSE_DOCS),
    row(
        "Vagrantfile",
        "Vagrant runs it",
        "https://developer.hashicorp.com/vagrant/docs/vagrantfile",
    ),
    tree(
        ".terraform",
        "Terraform runs the providers in it",
        "https://developer.hashicorp.com/terraform/cli/init",
    ),
    row(
        ".terraformrc",
        "Terraform runs the providers it names",
        "https://developer.hashicorp.com/terraform/cli/config/config-file",
    ),
    row(
        "*.tf",
        "Terraform runs what it names",
        "https://developer.hashicorp.com/terraform/language",
    ),
    row(
        "*.tf.json",
        "Terraform runs what it names",
        "https://developer.hashicorp.com/terraform/language/syntax/json",
    ),
    row(
        ".gitpod.yml",
        "Gitpod runs its tasks",
        "https://www.gitpod.io/docs/classic/user/references/gitpod-yml",
    ),
    row(
        ".replit",
        "Replit runs what it names",
        "https://docs.replit.com/replit-app/configuration",
    ),
    row(
        ".zuul.yaml",
        "Zuul runs its jobs",
        "https://zuul-ci.org/docs/zuul/latest/project-config.html",
    ),
    row(
        ".crontab",
        "whoever loads it into cron runs it",
        "https://man7.org/linux/man-pages/man5/crontab.5.html",
    ),
    row(
        "*.desktop",
        "a desktop starts what it names",
        "https://specifications.freedesktop.org/desktop-entry-spec/latest/",
    ),
    row(
        "*.service",
        "systemd starts what it names",
        "https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html",
    ),
];

const ORDERS: &str = "other agents take orders from it";
const LOCK: &str = "it decides which code of others is fetched and run";
const CONFIG: &str = "a tool that is configured by it runs it";
const TASKS: &str = "a task runner runs its commands";
const VENV: &str = "shells, editors and python run it";
const VERSION: &str = "a version manager runs the program it names";
const ENV: &str = "it sets variables of programs, the path and what they load among them";
const NIX: &str = "nix runs it";
const BAZEL: &str = "Bazel runs it";
const COMPOSE: &str = "Docker starts what it names, with directories of the machine";
const MSBUILD: &str = "MSBuild runs the tasks it names";

const COPILOT_ORDERS: &str = "https://docs.github.com/en/copilot/how-tos/configure-custom-instructions/add-repository-instructions";
const ESLINT: &str = "https://eslint.org/docs/latest/use/configure/configuration-files";
const PYTEST: &str = "https://docs.pytest.org/en/stable/reference/customize.html";
const PYTHON_SITE: &str = "https://docs.python.org/3/library/site.html";
const MYPY: &str = "https://mypy.readthedocs.io/en/stable/config_file.html";
const PYLINT: &str = "https://pylint.readthedocs.io/en/stable/user_guide/configuration/index.html";
const MAKE: &str = "https://www.gnu.org/software/make/manual/html_node/Makefile-Names.html";
const AUTOCONF: &str = "https://www.gnu.org/software/autoconf/manual/";
const CMAKE_PRESETS: &str = "https://cmake.org/cmake/help/latest/manual/cmake-presets.7.html";
const SCONS: &str = "https://scons.org/doc/production/HTML/scons-man.html";
const GRADLE: &str = "https://docs.gradle.org/current/userguide/gradle_wrapper.html";
const MAVEN: &str = "https://maven.apache.org/configure.html";
const SBT: &str = "https://www.scala-sbt.org/1.x/docs/Directories.html";
const MSBUILD_DOCS: &str =
    "https://learn.microsoft.com/en-us/visualstudio/msbuild/msbuild-reference";
const BAZEL_DOCS: &str = "https://bazel.build/concepts/build-ref";
const NIX_DOCS: &str = "https://nix.dev/manual/nix/latest/";
const COMPOSE_DOCS: &str = "https://docs.docker.com/reference/compose-file/";

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let mut rules = Rules::default();
    for row in MARKED {
        rules.push(row.pattern, row.scope, row.reason.to_owned());
    }
    rules
});

/// What runs or obeys the file at `path`, in a directory whose own last names on the host are `tail`; nothing when no
/// row of the table is about it.
pub(crate) fn runs(tail: &[String], path: &Path) -> Option<&'static str> {
    RULES.find(tail, path, Act::File)
}

#[cfg(test)]
mod tests {
    use super::super::PROTECTED;
    use super::*;

    fn marked(path: &str) -> Option<&'static str> {
        runs(&[], Path::new(path))
    }

    #[test]
    fn what_tools_run_is_marked_in_every_spelling() {
        for path in [
            "package.json",
            "web/Package.JSON",
            "a/node_modules/.bin/tsc",
            "AGENTS.md",
            "docs/CLAUDE.local.md",
            "vite.config.ts",
            ".eslintrc.cjs",
            "build.rs",
            "requirements-dev.txt",
            ".venv/lib/python3/site-packages/x.pth",
            "make\u{200c}file",
            ".git/index",
            "tools/bazel",
            "project/plugins.sbt",
            "BUILD",
        ] {
            assert!(marked(path).is_some(), "{path}");
        }
        for path in [
            "src/main.rs",
            "README.md",
            "a/package.json5",
            "config.js",
            "bazel",
            ".git/HEAD",
            "src/build/mod.rs",
            "docs/agents.rst",
        ] {
            assert_eq!(marked(path), None, "{path}");
        }
    }

    #[test]
    fn every_row_says_why_and_where_and_is_there_once() {
        let mut seen = std::collections::HashSet::new();
        let protected = PROTECTED
            .iter()
            .map(|row| (row.pattern, row.reason, row.documented));
        let marked = MARKED
            .iter()
            .map(|row| (row.pattern, row.reason, row.documented));
        for (pattern, reason, documented) in protected.chain(marked) {
            assert!(seen.insert(super::super::fold(pattern)), "{pattern} twice");
            assert!(!reason.is_empty() && !reason.ends_with('.'), "{pattern}");
            assert!(
                documented.starts_with("https://") || documented.starts_with("SECURITY.md"),
                "{pattern}"
            );
        }
    }
}
