//! Protected paths, tried from every side.

use super::*;

fn setup() -> Setup {
    Setup::new()
        .file(".git/hooks/pre-commit", "old")
        .file(".git/config", "old")
        .file(".git/HEAD", "ref: x")
        .file(".github/workflows/ci.yml", "old")
        .file("src/main.rs", "fn")
}

const ACCESS: Result<(), ErrorCode> = Err(ErrorCode::Access);

#[tokio::test]
async fn nothing_changes_what_is_protected() {
    let mut guest = setup().start();
    for path in [
        ".git/hooks/pre-commit",
        ".git/hooks/new",
        ".git//hooks/./new",
        "src/../.git/hooks/new",
        ".git/config",
        ".GIT/hooks/new",
        ".bashrc",
        "src/.envrc",
        ".Mcp.json",
        ".gitmodules",
        ".github/workflows/ci.yml",
    ] {
        let got = guest.write(path, "new").await;
        assert!(
            got == ACCESS || got == Err(ErrorCode::NoEntry),
            "{path}: {got:?}"
        );
    }
    assert_eq!(
        guest.denials().len(),
        10,
        "all but the one in a directory that is not there"
    );
    assert_eq!(guest.open(".git/config", none(), W).await.map(drop), ACCESS);
    assert_eq!(
        guest
            .open(".git/config", OpenFlags::TRUNCATE, R)
            .await
            .map(drop),
        ACCESS
    );
    assert_eq!(guest.unlink(".git/config").await, ACCESS);
    assert_eq!(guest.touch(".git/config", FOLLOW).await, ACCESS);
    assert_eq!(guest.mkdir(".vscode").await, ACCESS);
    assert_eq!(guest.mkdir("src/.claude").await, ACCESS);
    assert_eq!(guest.rmdir(".git/hooks").await, ACCESS);
    assert_eq!(guest.symlink("src", ".idea").await, ACCESS);
    assert_eq!(guest.read(".git/config").await.unwrap(), "old");
    assert_eq!(guest.read_host(".git/hooks/pre-commit"), "old");
    assert!(guest.changes().is_empty(), "{:?}", guest.changes());
    // What is beside it is free.
    assert_eq!(guest.write(".git/HEAD", "ref: y").await, Ok(()));
    assert_eq!(guest.write(".gitignore", "x").await, Ok(()));
    assert_eq!(guest.write(".github/CODEOWNERS", "x").await, Ok(()));
}

#[tokio::test]
async fn not_through_links() {
    let mut guest = setup().start();
    guest.symlink(".git/hooks", "innocent").await.unwrap();
    guest.symlink(".git", "g").await.unwrap();
    guest.symlink(".git/config", "c").await.unwrap();
    assert_eq!(guest.write("innocent/new", "x").await, ACCESS);
    assert_eq!(guest.write("g/hooks/pre-commit", "x").await, ACCESS);
    assert_eq!(guest.write("c", "x").await, ACCESS);
    assert_eq!(guest.touch("c", FOLLOW).await, ACCESS);
    assert_eq!(guest.unlink("innocent/pre-commit").await, ACCESS);
    assert_eq!(guest.rename("src/main.rs", "g/hooks/x").await, ACCESS);
    assert_eq!(
        guest.link("c", "d").await,
        Err(ErrorCode::NotPermitted),
        "no second name for a link"
    );
    assert_eq!(guest.link(".git/config", "d").await, ACCESS);
    assert_eq!(guest.link("src/main.rs", ".git/hooks/d").await, ACCESS);
    assert_eq!(guest.read_host(".git/config"), "old");
    // Nor through a directory opened before.
    let hooks = guest
        .open("innocent", OpenFlags::DIRECTORY, R)
        .await
        .unwrap();
    assert_eq!(
        guest.open_in(&hooks, "new", CREATE, W).await.map(drop),
        ACCESS
    );
    let fd = guest.open(".git/config", none(), R).await.unwrap();
    use wasmtime_wasi::p2::bindings::filesystem::types::NewTimestamp::Now;
    assert_eq!(
        code(guest.filesystem().set_times(fd, Now, Now).await),
        ACCESS
    );
}

#[tokio::test]
async fn not_by_renaming_what_is_above() {
    let mut guest = setup()
        .file("evil/hooks/pre-commit", "evil")
        .file("evil/workflows/x", "")
        .start();
    for (from, to) in [
        (".git", "old"),
        (".git/hooks", "old"),
        ("evil", ".GIT"),
        ("evil/hooks", ".git/hooks"),
        ("evil/hooks/pre-commit", ".git/hooks/pre-commit"),
        ("src/main.rs", ".git"),
        ("src/main.rs", "src/.git"),
        ("evil", "src/.git"),
        ("evil", "src/.github"),
        (".github", "old"),
        ("evil", ".vscode"),
        ("evil", "src/.config"),
    ] {
        assert_eq!(guest.rename(from, to).await, ACCESS, "{from} -> {to}");
    }
    assert_eq!(guest.symlink("../evil", "src/.git").await, ACCESS);
    assert_eq!(guest.symlink("../evil", "src/.github").await, ACCESS);
    assert!(guest.changes().is_empty());
    // An empty one is harmless, and nothing protected gets into it.
    assert_eq!(guest.mkdir("src/.git").await, Ok(()));
    assert_eq!(guest.rename("evil/hooks", "src/.git/hooks").await, ACCESS);
    assert_eq!(guest.write("src/.git/config", "x").await, ACCESS);
    assert_eq!(guest.write("evil/.git", "gitdir: ../evil").await, ACCESS);
}

#[tokio::test]
async fn not_in_repositories_by_another_name() {
    let mut guest = setup()
        .file("mirror/HEAD", "ref: x")
        .file("mirror/objects/x", "")
        .file("mirror/refs/x", "")
        .file("mirror/config", "old")
        .start();
    assert_eq!(guest.write("mirror/config", "x").await, ACCESS);
    assert_eq!(guest.write("mirror/hooks", "x").await, ACCESS);
    assert_eq!(guest.write("mirror/description", "x").await, Ok(()));
    assert_eq!(guest.write("src/config", "x").await, Ok(()));
    // And none is made.
    guest.mkdir("src/refs").await.unwrap();
    guest.mkdir("src/objects").await.unwrap();
    assert_eq!(guest.write("src/HEAD", "ref: x").await, ACCESS);
    assert_eq!(guest.rename("src/main.rs", "src/HEAD").await, ACCESS);
    guest.rmdir("src/refs").await.unwrap();
    assert_eq!(guest.write("src/HEAD", "ref: x").await, Ok(()));
    assert_eq!(guest.mkdir("src/refs").await, ACCESS);
    assert_eq!(guest.symlink("..", "src/refs").await, ACCESS);
    assert_eq!(guest.write("src/commondir", "x").await, ACCESS);
}

#[tokio::test]
async fn granting_git_itself_keeps_its_hooks() {
    let setup = setup();
    let mount = Mount {
        host: setup.work().join(".git"),
        guest: "/git".to_owned(),
        access: Access::ReadWrite,
        extent: Extent::Whole,
    };
    let mut setup = setup;
    setup.mounts.push(mount);
    let mut guest = setup.start();
    let git = guest.dir(1);
    let got = guest
        .open_in(&git, "hooks/pre-commit", none(), W)
        .await
        .map(drop);
    assert_eq!(got, ACCESS);
    assert!(guest.open_in(&git, "HEAD", none(), W).await.is_ok());
}

#[tokio::test]
async fn the_operator_can_add_and_switch_off() {
    let mut guest = {
        let mut setup = setup();
        setup.protection = Protection::Standard(vec!["src/*.rs".to_owned()]);
        setup.start()
    };
    assert_eq!(guest.write("src/main.rs", "x").await, ACCESS);
    assert_eq!(guest.write("src/main.txt", "x").await, Ok(()));
    let mut guest = {
        let mut setup = setup();
        setup.protection = Protection::Off;
        setup.start()
    };
    assert_eq!(guest.write(".git/hooks/pre-commit", "x").await, Ok(()));
    assert_eq!(guest.rename(".git", "x").await, Ok(()));
}

#[tokio::test]
async fn a_denial_says_where_and_why() {
    let mut guest = setup().start();
    guest.symlink(".git/hooks", "h").await.unwrap();
    guest.write("h/pre-commit", "x").await.unwrap_err();
    assert_eq!(
        guest.denials(),
        [Denial {
            operation: Operation::Open,
            path: "/work/.git/hooks/pre-commit".to_owned(),
            rule: "`.git/hooks` is protected: git runs programs it names".to_owned(),
        }]
    );
}
