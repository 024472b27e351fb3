//! Symbolic links, hard links, renames, and what trailing slashes do to them.

use super::super::case::{Case, guest};
use super::super::setup::{Dirs, Setup, Trace};
use super::super::wall::Wall;

const WORK: Setup = Setup::new(Dirs::Work).leaves(&[Trace::Denied]);
const ALL: Setup = Setup::new(Dirs::All);

pub(super) const CASES: &[Case] = &[
    guest(
        "link-relative",
        Wall::Beneath,
        "CWE-61",
        "A relative link that leads out is not followed, for reading or writing.",
        WORK,
    ),
    guest(
        "link-absolute",
        Wall::Beneath,
        "CWE-61",
        "An absolute link is not followed.",
        WORK,
    ),
    guest(
        "link-chain",
        Wall::Beneath,
        "CWE-61",
        "A chain of links is judged by its end.",
        WORK,
    ),
    guest(
        "link-directory",
        Wall::Beneath,
        "CWE-61",
        "Nothing is reached, made or removed through a link to a directory outside.",
        WORK,
    ),
    guest(
        "link-loop",
        Wall::Sound,
        "CWE-835",
        "Links that lead to themselves end in an error.",
        Setup::new(Dirs::Work),
    ),
    guest(
        "link-dangling",
        Wall::Beneath,
        "CWE-61",
        "Creating through a link to nothing creates nothing outside.",
        WORK,
    ),
    guest(
        "link-proc",
        Wall::Beneath,
        "CVE-2019-5736",
        "Links into `/proc` and `/dev` are not followed.",
        WORK,
    ),
    guest(
        "link-made",
        Wall::LinkTargets,
        "CWE-59",
        "A guest cannot make a link that leads out.",
        WORK.told_outside(),
    ),
    guest(
        "link-moved",
        Wall::LinkTargets,
        "CWE-59",
        "A link that stays inside cannot be moved to where it leads out.",
        WORK,
    ),
    guest(
        "link-tree-moved",
        Wall::LinkTargets,
        "CWE-59",
        "Nor can a directory with such a link in it.",
        WORK,
    ),
    guest(
        "link-walked",
        Wall::LinkTargets,
        "CWE-61",
        "A tool of the host that follows links in the directory afterwards stays in it.",
        WORK.told_outside(),
    ),
    guest(
        "link-race-read",
        Wall::Beneath,
        "CWE-367",
        "A directory that becomes a link during the run is not followed for reading.",
        Setup::new(Dirs::Work).raced(),
    ),
    guest(
        "link-race-write",
        Wall::Beneath,
        "CWE-367",
        "Nor for writing, truncating, making or setting times.",
        Setup::new(Dirs::Work).raced(),
    ),
    guest(
        "link-race-remove",
        Wall::Beneath,
        "CWE-367",
        "Nor for removing, renaming or linking.",
        Setup::new(Dirs::Work).raced(),
    ),
    guest(
        "slash-open",
        Wall::Beneath,
        "GHSA-vqjp-4c8c-hfgg",
        "A trailing slash does not make a link be followed on open.",
        WORK,
    ),
    guest(
        "slash-rename",
        Wall::Beneath,
        "GHSA-m9f7-9w4p-gv38",
        "Nor on rename.",
        WORK,
    ),
    guest(
        "slash-remove",
        Wall::Beneath,
        "GHSA-vqjp-4c8c-hfgg",
        "Nor on removal.",
        WORK,
    ),
    guest(
        "rename-across",
        Wall::Separate,
        "GHSA-4ch3-9j33-3pmj",
        "A rename does not carry a file from one grant into another.",
        ALL,
    ),
    guest(
        "hardlink-across",
        Wall::Separate,
        "GHSA-4ch3-9j33-3pmj",
        "A hard link does not give a read-only file a writable name.",
        ALL,
    ),
    guest(
        "hardlink-write",
        Wall::HardLinks,
        "CWE-62",
        "A file whose other name may lie outside is not written in place.",
        WORK,
    ),
    guest(
        "hardlink-follow",
        Wall::Beneath,
        "GHSA-4ch3-9j33-3pmj",
        "A hard link is not made of what a symbolic link leads to.",
        WORK,
    ),
];
