//! The walls: what stands between a guest and what it was not granted.

use serde::Serialize;

macro_rules! walls {
    ($($name:ident, $id:literal, $stands:literal;)*) => {
        /// A guard that at least one case watches.
        ///
        /// Each is one decision at one place of the host, so that switching it off (see [`super::sabotage`])
        /// shows that its cases notice.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Wall {
            $(#[doc = $stands] $name,)*
        }

        impl Wall {
            /// Every wall.
            pub const ALL: &[Wall] = &[$(Wall::$name),*];

            /// Its stable name.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Wall::$name => $id,)*
                }
            }

            /// What it does, in one sentence.
            #[must_use]
            pub const fn stands(self) -> &'static str {
                match self {
                    $(Wall::$name => $stands,)*
                }
            }
        }
    };
}

walls! {
    // The disk.
    Beneath, "beneath", "Paths are resolved beneath the granted directory, whatever links on the way say.";
    ReadOnly, "read-only", "Nothing is changed in a directory that was granted for reading.";
    Separate, "separate", "Nothing is renamed or linked from one granted directory into another.";
    LinkTargets, "link-targets", "Symbolic links that lead out are neither made nor moved into place.";
    HardLinks, "hard-links", "A file with names the run did not give it is not written in place.";
    Regular, "regular", "Only regular files and directories are opened.";
    Protected, "protected", "Protected paths are not changed, whatever they are reached through.";
    ProtectedExtra, "protected-extra", "Nor are the paths the operator protects besides.";
    GitConfig, "git-config", "Nor is what the configuration of a git repository names: hooks, files it includes, programs.";
    SingleFiles, "single-files", "A granted file shows nothing else of its directory.";
    CopyOnWrite, "copy-on-write", "What is granted copy-on-write is not written to by a run.";
    BaseMoved, "base-moved", "What somebody else changed since the run began is not overwritten.";
    ApplyPlan, "apply-plan", "What is applied is moved by the host's own plan, never by one found where agents write.";
    ApplyPlace, "apply-place", "What is applied goes to the directory that was granted, not where a link in its place leads.";
    ApplyUnseen, "apply-unseen", "Applying deletes no directory with something in it that the run did not see.";
    ApplyBytes, "apply-bytes", "Applying makes a directory grow by no more than the run was allowed.";
    ApplyModes, "apply-modes", "What is applied can be read by nobody who could not read it before.";
    HostPlaces, "host-places", "Where the host keeps its own data, no guest finds or makes anything, whatever is granted.";
    OperatorInputs, "operator-inputs", "What the host reads, builds or runs is not changed where an agent may write.";
    PseudoDirs, "pseudo-dirs", "Directories that show the host itself cannot be granted.";
    DiskBytes, "disk-bytes", "Bytes written to disk are counted before they are written.";
    FileBytes, "file-bytes", "A file does not grow beyond its limit.";
    Promised, "promised", "Bytes on their way into a file stay counted, whatever is done to the file meanwhile.";
    ListingBytes, "listing-bytes", "Listings of directories that are open at once are bounded in their sum.";
    Files, "files", "Files, directories and links created are counted.";
    Handles, "handles", "Open files and streams on them are counted.";
    Ending, "ending", "What is done once a guest is gone is bounded in bytes and in time.";
    Depth, "depth", "No tree is made that is too deep to be compared or removed.";
    Observed, "observed", "Every change of a granted directory is on record.";
    // The machine.
    Memory, "memory", "All linear memories together stay within their limit.";
    Tables, "tables", "All tables together stay within their limit.";
    Instances, "instances", "A component has a bounded number of instances.";
    Resources, "resources", "Timers and other values the host keeps for a guest are counted.";
    HostcallBytes, "hostcall-bytes", "One host call copies a bounded number of bytes.";
    RandomBytes, "random-bytes", "One host call gives a bounded number of random bytes.";
    Cpu, "cpu", "Computing ends at its budget, wherever it happens.";
    PoolCpu, "pool-cpu", "Computing the host does for a guest on other threads counts.";
    WallClock, "wall-clock", "Waiting ends at its budget, whatever is waited for.";
    Idle, "idle", "A guest that does nothing is ended before its time is over.";
    HostCalls, "host-calls", "Calls of the host are bounded in number.";
    HostCallRate, "host-call-rate", "A guest that calls too often is held back.";
    Repetition, "repetition", "A run that goes round in circles is ended.";
    // The account.
    EventBytes, "event-bytes", "A reported fact is bounded in size.";
    EventCount, "event-count", "Reported facts are bounded in number.";
    EventTotal, "event-total", "Reported facts are bounded in their sum.";
    AuditBytes, "audit-bytes", "What the host tells of a guest is bounded in its sum.";
    Folded, "folded", "Refusals of one kind are counted when there are many, and in bounded words.";
    BackPressure, "back-pressure", "A guest does not go on while nobody takes what is told of it.";
    OutputBytes, "output-bytes", "Standard output and error are kept up to a limit, and never kill the guest.";
    Facts, "facts", "A fact that is impossible is refused and changes nothing.";
    ToolBag, "tool-bag", "A tool that is not among the run's is answered by the host.";
    OpenEnd, "open-end", "A run that leaves calls or frames open has not converged.";
    Required, "required", "Returning is not success where the operator requires evidence.";
    Stdio, "stdio", "What a stdio agent writes is its claim: none of the host's events, and nothing after its end.";
    Chain, "chain", "An account that was changed afterwards does not verify.";
    ArtifactNames, "artifact-names", "Names of artifacts stay in the run's own folder.";
    StorageBytes, "storage-bytes", "Artifacts and checkpoints are bounded in their sum.";
    // The surroundings.
    Environment, "environment", "Nothing of the host's environment is inherited.";
    Network, "network", "Sockets and name look-ups are refused.";
    Ask, "ask", "What a component asks for is a ceiling of what it gets, and never a grant.";
    Entropy, "entropy", "Randomness differs from run to run.";
    // Secrets.
    SecretRaw, "secret-raw", "A known secret is found where it does not belong, as it is.";
    SecretBase64, "secret-base64", "A known secret is found where it does not belong, in base64.";
    SecretHex, "secret-hex", "A known secret is found where it does not belong, in hexadecimal.";
    SecretEscapes, "secret-escapes", "A known secret is found where it does not belong, behind escapes.";
    SecretGzip, "secret-gzip", "A known secret is found where it does not belong, compressed.";
    SecretNested, "secret-nested", "A known secret is found where it does not belong, compressed twice; what is declared to be compressed more often is refused.";
    SecretRecord, "secret-record", "No record of a run has a secret in it.";
    SecretPlace, "secret-place", "What a guest puts where a secret belongs is replaced.";
    Placeholder, "placeholder", "A placeholder goes nowhere but where its secret belongs.";
    // The network.
    HostRules, "host-rules", "A request goes where a rule allows it, and nowhere else.";
    Addresses, "addresses", "A name that leads to an address that is not public is not connected to.";
    Pinned, "pinned", "A name is looked up once: what was checked is what is connected to.";
    RequestForm, "request-form", "A request that two servers could read in two ways is not sent.";
    Requests, "requests", "Requests are bounded in number.";
    Connections, "connections", "Requests under way at once are bounded in number.";
    RequestSize, "request-size", "URLs, headers and bodies of requests are bounded.";
    ResponseSize, "response-size", "Bodies of responses are bounded.";
    Recorded, "recorded", "A recording from elsewhere sets no limit above the operator's, and has nothing read unasked.";
    ReplayNetwork, "replay-network", "A replay reaches no network, whatever it was granted.";
    HttpGranted, "http-granted", "An agent that makes requests is not started when it may make none.";
    // Tools.
    Commands, "commands", "A commission starts no program but one the operator granted, word by word.";
    ServerEnvironment, "server-environment", "A tool server gets nothing of the host's environment but the path.";
    ServerDirectory, "server-directory", "A tool server is not started in a directory that an agent may write to.";
    ToolAsked, "tool-asked", "A tool is called when a model has asked for it, with these arguments, and never else.";
    ToolAllow, "tool-allow", "A tool of a server that is not granted is neither shown nor called.";
    ToolArguments, "tool-arguments", "Arguments of a tool stay within what the operator says.";
    ToolCalls, "tool-calls", "Calls of tools are bounded in number.";
    ReplayTools, "replay-tools", "A replay starts no tool server and loads no tool component.";
    ToolResult, "tool-result", "The result of a tool is bounded in size.";
    // The artifact.
    Pin, "pin", "Grants that are for one component start no other.";
    Imports, "imports", "A component that imports what the host does not offer is not started.";
    Nesting, "nesting", "Types nested too deeply for the host's stack are not read.";
    LoadTime, "load-time", "Nobody waits longer for a component to be compiled than its budget.";
    Artifact, "artifact", "What is not a component, or not a whole entry of the cache, is refused with an error.";
    CacheMac, "cache-mac", "Compiled code that this host did not write is never loaded.";
    CachePrivate, "cache-private", "A cache that others can write to, or links in it, are not used.";
    // Defects that have no guard of their own.
    Sound, "sound", "An argument of a guest is taken for what it is, and none makes the host fail.";
    // wasmtime itself.
    Wasmtime, "wasmtime", "WebAssembly's own rules: handles, strings, stacks and traps of a component.";
}

impl Wall {
    /// The wall of this name.
    #[must_use]
    pub fn find(id: &str) -> Option<Wall> {
        Wall::ALL.iter().copied().find(|wall| wall.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_what_is_serialized() {
        for wall in Wall::ALL {
            assert_eq!(Wall::find(wall.id()), Some(*wall));
            assert_eq!(serde_json::to_value(wall).unwrap(), wall.id());
        }
    }
}
