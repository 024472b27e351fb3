//! What a case with a guest needs, and what has to come of it.

use super::evidence::Evidence;

/// A tool server of a case.
#[derive(Clone, Copy)]
pub(super) enum Server {
    /// The operator grants it: patterns of its tools, and the JSON Schema of the arguments of `echo`.
    Granted {
        tools: Option<&'static [&'static str]>,
        echo: Option<&'static str>,
    },
    /// The commission asks for it, and the operator has granted another command.
    NotGranted,
}

/// Directories a guest gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dirs {
    /// None.
    Nothing,
    /// `/work`, for writing.
    Work,
    /// `/read`, for reading.
    Read,
    /// `/work` and `/data` for writing, `/read` for reading.
    All,
    /// `/work`, copy-on-write.
    Copy,
    /// Of `work` the file `hello.txt` alone, at `/one/hello.txt`, for writing.
    File,
}

/// Which paths stay as they are.
#[derive(Clone, Copy)]
pub(super) enum Protect {
    /// Those that do anyway.
    Standard,
    /// These as well.
    Also(&'static [&'static str]),
    /// None.
    Off,
}

/// What the guest is told beside the name of the case.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    /// Nothing.
    Nothing,
    /// The host's path of the bait.
    Outside,
    /// This.
    Text(&'static str),
}

/// How a run has to end.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// The guest comes back and says that the wall held.
    Answered,
    /// The guest traps or exits, and the host records it.
    Crashed,
    /// The guest comes back, and has not shown what it had to.
    Incomplete,
    /// One of these limits ends it.
    Limit(&'static [&'static str]),
    /// The guest comes back, or does not: the host may choose.
    Either,
}

/// What has to be on record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trace {
    /// A denial.
    Denied,
    /// A fact that was refused.
    Rejected,
    /// This limit was hit.
    Limit(&'static str),
    /// Something was left out of the grants because the component does not ask for it.
    Narrowed,
}

/// What else has to be so; the error says what is not.
pub(super) type Check = fn(&Evidence<'_>) -> Result<(), String>;

/// A case that is one run of the hostile guest.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) dirs: Dirs,
    pub(super) limits: &'static [(&'static str, &'static str)],
    pub(super) env: &'static [(&'static str, &'static str)],
    pub(super) protect: Protect,
    /// Of `work`, what the host reads, builds or runs.
    pub(super) inputs: &'static [&'static str],
    /// The tool server `s`, which this program itself is in another process.
    pub(super) server: Option<Server>,
    /// In the words of `--require`; schemas are files of the world.
    pub(super) require: &'static [&'static str],
    /// Rules of requests, in which `{port}` stands for the first thing the guest is told.
    pub(super) hosts: &'static [&'static str],
    pub(super) arg: Arg,
    pub(super) ending: Ending,
    pub(super) traces: &'static [Trace],
    pub(super) race: bool,
    pub(super) device: bool,
    pub(super) check: Option<Check>,
}

impl Setup {
    /// A guest with these directories that comes back and says that the wall held.
    pub(super) const fn new(dirs: Dirs) -> Setup {
        Setup {
            dirs,
            limits: &[],
            env: &[],
            protect: Protect::Standard,
            inputs: &[],
            server: None,
            require: &[],
            hosts: &[],
            arg: Arg::Nothing,
            ending: Ending::Answered,
            traces: &[],
            race: false,
            device: false,
            check: None,
        }
    }

    pub(super) const fn limits(self, limits: &'static [(&'static str, &'static str)]) -> Setup {
        Setup { limits, ..self }
    }

    pub(super) const fn env(self, env: &'static [(&'static str, &'static str)]) -> Setup {
        Setup { env, ..self }
    }

    pub(super) const fn protect(self, protect: Protect) -> Setup {
        Setup { protect, ..self }
    }

    pub(super) const fn reads(self, inputs: &'static [&'static str]) -> Setup {
        Setup { inputs, ..self }
    }

    pub(super) const fn served(self, server: Server) -> Setup {
        Setup {
            server: Some(server),
            ..self
        }
    }

    pub(super) const fn requires(self, require: &'static [&'static str]) -> Setup {
        Setup { require, ..self }
    }

    pub(super) const fn hosts(self, hosts: &'static [&'static str]) -> Setup {
        Setup { hosts, ..self }
    }

    pub(super) const fn text(self, text: &'static str) -> Setup {
        Setup {
            arg: Arg::Text(text),
            ..self
        }
    }

    pub(super) const fn told_outside(self) -> Setup {
        Setup {
            arg: Arg::Outside,
            ..self
        }
    }

    pub(super) const fn ends(self, ending: Ending) -> Setup {
        Setup { ending, ..self }
    }

    pub(super) const fn leaves(self, traces: &'static [Trace]) -> Setup {
        Setup { traces, ..self }
    }

    pub(super) const fn raced(self) -> Setup {
        Setup { race: true, ..self }
    }

    pub(super) const fn with_device(self) -> Setup {
        Setup {
            device: true,
            ..self
        }
    }

    pub(super) const fn check(self, check: Check) -> Setup {
        Setup {
            check: Some(check),
            ..self
        }
    }
}
