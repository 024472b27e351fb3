//! Two runs side by side.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::directory::RunDir;
use super::history::{HistoryError, PastBody, PastRun, State};
use super::outcome::Outcome;
use crate::digest::Digest;
use crate::recording::request::{FirstDifference, first_difference};
use crate::trajectory::Totals;

/// Calls of a run that are compared: what a long run makes, ten times over.
const CALLS: usize = 10_000;

/// Pairs of calls that are looked at to line two runs up; beyond it they are taken one by one.
const PAIRS: usize = 4_000_000;

/// How two runs differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Facts about each, in the order a person asks for them.
    pub facts: Vec<Fact>,
    /// Tool calls, lined up.
    pub calls: Vec<Pair>,
    /// Calls beyond those that are compared, of the one and of the other.
    pub more_calls: (u64, u64),
    /// Files that one changed and the other did not, or differently.
    pub files: Vec<Side>,
    /// Artifacts that one handed over and the other did not, or with another content.
    pub artifacts: Vec<Side>,
    /// The first difference of their answers.
    pub output: Option<FirstDifference>,
}

/// One fact about both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fact {
    /// What it is about.
    pub name: &'static str,
    /// Of the one; nothing where it has none.
    pub one: Option<Value>,
    /// Of the other.
    pub other: Option<Value>,
    /// Whether it counts: no two runs take the same time.
    pub counts: Counts,
}

/// Whether a fact that is not the same makes two runs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// It does.
    Yes,
    /// It depends on the machine and the day.
    No,
}

/// Something of the one, and what it is in the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Path or name.
    pub name: String,
    /// What it is in the one: what happened to a file, the digest of an artifact.
    pub one: Option<String>,
    /// The same in the other.
    pub other: Option<String>,
}

/// Two calls that belong together, or one that only one run has made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The tool.
    pub tool: String,
    /// Its place among the calls of the one, from 1.
    pub one: Option<u64>,
    /// Its place among the calls of the other.
    pub other: Option<u64>,
    /// Where the arguments differ first.
    pub arguments: Option<FirstDifference>,
    /// Where the results differ first.
    pub result: Option<FirstDifference>,
}

impl Pair {
    /// Whether both have made the same call and got the same.
    #[must_use]
    pub fn same(&self) -> bool {
        self.one.is_some()
            && self.other.is_some()
            && self.arguments.is_none()
            && self.result.is_none()
    }
}

impl Fact {
    /// Whether both say the same.
    #[must_use]
    pub fn same(&self) -> bool {
        self.one == self.other
    }
}

impl Comparison {
    /// Whether nothing that counts differs.
    #[must_use]
    pub fn same(&self) -> bool {
        self.facts
            .iter()
            .all(|fact| fact.counts == Counts::No || fact.same())
            && self.calls.iter().all(Pair::same)
            && self.more_calls.0 == self.more_calls.1
            && self.files.is_empty()
            && self.artifacts.is_empty()
            && self.output.is_none()
    }
}

/// One run, as far as it is compared.
struct Run {
    past: PastRun,
    calls: Vec<Call>,
    more: u64,
}

/// A call and what came of it.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    tool: String,
    arguments: Value,
    /// Nothing when it was never answered.
    result: Value,
}

/// Compares two runs.
///
/// # Errors
///
/// One of them cannot be read.
pub fn compare(one: &RunDir, other: &RunDir) -> Result<Comparison, HistoryError> {
    let (one, other) = (Run::read(one)?, Run::read(other)?);
    let (a, b) = (one.outcome(), other.outcome());
    Ok(Comparison {
        facts: facts(&one, &other),
        calls: lined_up(&one.calls, &other.calls),
        more_calls: (one.more, other.more),
        files: sides(
            a.map_or_else(BTreeMap::new, files),
            b.map_or_else(BTreeMap::new, files),
        ),
        artifacts: sides(
            a.map_or_else(BTreeMap::new, artifacts),
            b.map_or_else(BTreeMap::new, artifacts),
        ),
        output: first_difference(&output(a), &output(b)),
    })
}

impl Run {
    fn read(dir: &RunDir) -> Result<Run, HistoryError> {
        let mut calls: Vec<Call> = Vec::new();
        let mut open: BTreeMap<String, usize> = BTreeMap::new();
        let mut more = 0;
        for record in dir.records()? {
            let PastBody::Avp(event) = record?.body else {
                continue;
            };
            let Ok(event) = serde_json::from_str::<Value>(event.get()) else {
                continue;
            };
            let text = |pointer: &str| {
                let found = event.pointer(pointer).and_then(Value::as_str);
                found.unwrap_or_default().to_owned()
            };
            let id = || text("/data/avp.tool.call_id");
            match event.get("type").and_then(Value::as_str) {
                Some("avp.tool_invoked") if calls.len() >= CALLS => more += 1,
                Some("avp.tool_invoked") => {
                    open.insert(id(), calls.len());
                    calls.push(Call {
                        tool: text("/data/avp.tool.name"),
                        arguments: event
                            .pointer("/data/avp.tool.input")
                            .cloned()
                            .unwrap_or_default(),
                        result: Value::Null,
                    });
                }
                Some("avp.tool_returned") => {
                    if let Some(call) = open.remove(&id()).and_then(|at| calls.get_mut(at))
                        && let Some(result) = event.pointer("/data/avp.tool_result")
                    {
                        call.result = result.clone();
                        if let Some(result) = call.result.as_object_mut() {
                            // What the model calls it is chance.
                            result.remove("tool_use_id");
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Run {
            past: dir.summary()?,
            calls,
            more,
        })
    }

    fn outcome(&self) -> Option<&Outcome> {
        match &self.past.state {
            State::Ended(outcome) => Some(outcome),
            State::Running(_) | State::Died(_) | State::Unfinished(_) => None,
        }
    }

    fn totals(&self) -> &Totals {
        match &self.past.state {
            State::Ended(outcome) => &outcome.totals,
            State::Running(totals) | State::Died(totals) | State::Unfinished(totals) => totals,
        }
    }

    /// What the outcome says of how it ended besides that word: which limit, which trap, what is missing. The
    /// greatest value of a limit is a grant, and those are not compared.
    fn ended_by(&self) -> Option<Value> {
        let Value::Object(mut rest) = serde_json::to_value(&self.outcome()?.ended).ok()? else {
            return None;
        };
        rest.remove("kind");
        rest.remove("max");
        match (rest.len(), rest.values().next()) {
            (0, _) => None,
            (1, Some(Value::String(text))) => Some(json!(text)),
            _ => Some(Value::Object(rest)),
        }
    }

    /// How it ended, in the word of the outcome.
    fn ended(&self) -> Value {
        match &self.past.state {
            State::Ended(outcome) => serde_json::to_value(&outcome.ended)
                .ok()
                .and_then(|ended| ended.get("kind").cloned())
                .unwrap_or_default(),
            State::Running(_) => json!("running"),
            State::Died(_) => json!("died"),
            State::Unfinished(_) => json!("unfinished"),
        }
    }
}

fn facts(one: &Run, other: &Run) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name, counts, of: &dyn Fn(&Run) -> Option<Value>| {
        let (one, other) = (of(one), of(other));
        if one.is_some() || other.is_some() {
            facts.push(Fact {
                name,
                one,
                other,
                counts,
            });
        }
    };
    let asked = |run: &Run, name: &str| {
        let asked = run.past.request.commission.get(name).cloned();
        asked.filter(|value| *value != json!("none/none"))
    };
    let outcome = |run: &Run, of: &dyn Fn(&Outcome) -> Value| run.outcome().map(of);
    fact("agent", Counts::Yes, &|run| {
        Some(json!(run.past.request.agent.name))
    });
    fact("component", Counts::Yes, &|run| {
        Some(json!(run.past.request.agent.digest))
    });
    fact("task", Counts::Yes, &|run| asked(run, "prompt"));
    fact("model", Counts::Yes, &|run| asked(run, "model"));
    fact("ended", Counts::Yes, &|run| Some(run.ended()));
    fact("ended_by", Counts::Yes, &Run::ended_by);
    fact("stop_reason", Counts::Yes, &|run| {
        outcome(run, &|it| json!(it.stop_reason))
    });
    fact("turns", Counts::Yes, &|run| Some(json!(run.totals().turns)));
    fact("tool_calls", Counts::Yes, &|run| {
        Some(json!(run.totals().tool_calls))
    });
    fact("tool_errors", Counts::Yes, &|run| {
        Some(json!(run.totals().tool_errors))
    });
    fact("input_tokens", Counts::Yes, &|run| {
        Some(json!(run.totals().input_tokens))
    });
    fact("output_tokens", Counts::Yes, &|run| {
        Some(json!(run.totals().output_tokens))
    });
    fact("cost_usd", Counts::Yes, &|run| {
        Some(json!(run.totals().cost_usd))
    });
    fact("fuel", Counts::Yes, &|run| {
        run.outcome()
            .and_then(|outcome| outcome.fuel)
            .map(Value::from)
    });
    fact("host_calls", Counts::No, &|run| {
        outcome(run, &|it| json!(it.host_calls))
    });
    fact("memory_peak", Counts::No, &|run| {
        outcome(run, &|it| json!(it.memory_peak))
    });
    fact("wall_us", Counts::No, &|run| {
        outcome(run, &|it| json!(it.wall_us))
    });
    fact("cpu_us", Counts::No, &|run| {
        outcome(run, &|it| json!(it.cpu_us))
    });
    facts
}

fn output(outcome: Option<&Outcome>) -> Value {
    let output = outcome.and_then(|outcome| outcome.output.clone());
    output.unwrap_or_default()
}

fn files(outcome: &Outcome) -> BTreeMap<String, String> {
    let file = outcome.files.iter().map(|file| {
        let what = match &file.after {
            Some(digest) => format!("{} {digest}", file.change),
            None => file.change.clone(),
        };
        (file.path.clone(), what)
    });
    file.collect()
}

fn artifacts(outcome: &Outcome) -> BTreeMap<String, String> {
    let artifact = outcome.artifacts.iter();
    artifact
        .map(|it| (it.name.clone(), it.digest.clone()))
        .collect()
}

/// Where two sets of things differ, by name.
fn sides(one: BTreeMap<String, String>, mut other: BTreeMap<String, String>) -> Vec<Side> {
    let mut sides: Vec<Side> = Vec::new();
    for (name, what) in one {
        let there = other.remove(&name);
        if there.as_ref() != Some(&what) {
            sides.push(Side {
                name,
                one: Some(what),
                other: there,
            });
        }
    }
    sides.extend(other.into_iter().map(|(name, what)| Side {
        name,
        one: None,
        other: Some(what),
    }));
    sides.sort_by(|a, b| a.name.cmp(&b.name));
    sides
}

/// Lines two sequences of calls up: what is the same stays together, and of what is left in between, calls of
/// the same tool belong to each other.
fn lined_up(one: &[Call], other: &[Call]) -> Vec<Pair> {
    // Comparing digests is quick, whatever the arguments are.
    let digests = |calls: &[Call]| -> Vec<Digest> {
        let digest =
            |call: &Call| Digest::of(format!("{} {}", call.tool, call.arguments).as_bytes());
        calls.iter().map(digest).collect()
    };
    let (a, b) = (digests(one), digests(other));
    let mut pairs = Vec::new();
    let (mut at, mut with) = (0, 0);
    for (x, y) in common(&a, &b).into_iter().chain([(a.len(), b.len())]) {
        between(one, other, (at, x), (with, y), &mut pairs);
        if let (Some(left), Some(right)) = (one.get(x), other.get(y)) {
            pairs.push(pair(left, x, right, y));
        }
        (at, with) = (x + 1, y + 1);
    }
    pairs
}

/// Calls between two that are the same.
fn between(
    one: &[Call],
    other: &[Call],
    (from, to): (usize, usize),
    (from_other, to_other): (usize, usize),
    pairs: &mut Vec<Pair>,
) {
    let mut next = from_other;
    for (at, call) in one.iter().enumerate().take(to).skip(from) {
        let same =
            (next..to_other).find(|with| other.get(*with).is_some_and(|it| it.tool == call.tool));
        match same.and_then(|with| Some((with, other.get(with)?))) {
            Some((with, there)) => {
                pairs.extend(alone(other, next..with, Alone::Other));
                pairs.push(pair(call, at, there, with));
                next = with + 1;
            }
            None => pairs.extend(alone(one, at..at + 1, Alone::One)),
        }
    }
    pairs.extend(alone(other, next..to_other, Alone::Other));
}

#[derive(Clone, Copy)]
enum Alone {
    One,
    Other,
}

fn alone(
    calls: &[Call],
    range: std::ops::Range<usize>,
    whose: Alone,
) -> impl Iterator<Item = Pair> {
    let found = range.filter_map(|at| Some((at as u64 + 1, calls.get(at)?)));
    found.map(move |(number, call)| Pair {
        tool: call.tool.clone(),
        one: matches!(whose, Alone::One).then_some(number),
        other: matches!(whose, Alone::Other).then_some(number),
        arguments: None,
        result: None,
    })
}

fn pair(one: &Call, at: usize, other: &Call, with: usize) -> Pair {
    Pair {
        tool: one.tool.clone(),
        one: Some(at as u64 + 1),
        other: Some(with as u64 + 1),
        arguments: first_difference(&one.arguments, &other.arguments),
        result: first_difference(&one.result, &other.result),
    }
}

/// The longest common subsequence, as places in both.
fn common(a: &[Digest], b: &[Digest]) -> Vec<(usize, usize)> {
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let mut found: Vec<(usize, usize)> = (0..start).map(|at| (at, at)).collect();
    let (rest_a, rest_b) = (
        a.get(start..).unwrap_or_default(),
        b.get(start..).unwrap_or_default(),
    );
    let end = rest_a.iter().rev().zip(rest_b.iter().rev());
    let end = end.take_while(|(x, y)| x == y).count();
    let (n, m) = (rest_a.len() - end, rest_b.len() - end);
    if n.saturating_mul(m) <= PAIRS {
        // Lengths of what the ends from (x, y) on have in common.
        let mut length = vec![0u32; (n + 1) * (m + 1)];
        let at = |x: usize, y: usize| x * (m + 1) + y;
        let get = |length: &[u32], x, y| length.get(at(x, y)).copied().unwrap_or(0);
        for x in (0..n).rev() {
            for y in (0..m).rev() {
                let best = if rest_a.get(x) == rest_b.get(y) {
                    get(&length, x + 1, y + 1) + 1
                } else {
                    get(&length, x + 1, y).max(get(&length, x, y + 1))
                };
                if let Some(cell) = length.get_mut(at(x, y)) {
                    *cell = best;
                }
            }
        }
        let (mut x, mut y) = (0, 0);
        while x < n && y < m {
            if rest_a.get(x) == rest_b.get(y) {
                found.push((start + x, start + y));
                (x, y) = (x + 1, y + 1);
            } else if get(&length, x + 1, y) >= get(&length, x, y + 1) {
                x += 1;
            } else {
                y += 1;
            }
        }
    }
    found.extend((0..end).map(|back| (start + n + back, start + m + back)));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calls(text: &str) -> Vec<Call> {
        let call = |c: char| Call {
            tool: c.to_lowercase().to_string(),
            arguments: json!({ "big": c.is_uppercase() }),
            result: json!({ "content": "x" }),
        };
        text.chars().map(call).collect()
    }

    fn shown(one: &str, other: &str) -> String {
        let pairs = lined_up(&calls(one), &calls(other));
        let pair = |pair: &Pair| match (pair.one, pair.other) {
            (Some(_), None) => format!("-{}", pair.tool),
            (None, Some(_)) => format!("+{}", pair.tool),
            _ if pair.same() => pair.tool.clone(),
            _ => format!("~{}", pair.tool),
        };
        pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn calls_are_lined_up() {
        for (one, other, expected) in [
            ("abc", "abc", "a b c"),
            ("abc", "ac", "a -b c"),
            ("ac", "abc", "a +b c"),
            ("abc", "aBc", "a ~b c"),
            ("abc", "axc", "a -b +x c"),
            ("", "ab", "+a +b"),
            ("abcd", "bcda", "-a b c d +a"),
        ] {
            assert_eq!(shown(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_difference_is_named_by_its_field() {
        let pairs = lined_up(&calls("b"), &calls("B"));
        let difference = pairs[0].arguments.as_ref().unwrap();
        assert_eq!(difference.path, "big");
        assert_eq!(pairs[0].result, None);
    }

    #[test]
    fn what_only_one_has_changed_is_a_difference() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            pairs.iter().map(pair).collect()
        };
        let sides = sides(
            map(&[("a", "created"), ("b", "x"), ("c", "x")]),
            map(&[("b", "y"), ("c", "x"), ("d", "z")]),
        );
        let names: Vec<_> = sides.iter().map(|side| side.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "d"]);
    }

    proptest! {
        #[test]
        fn no_call_is_lost_and_their_order_stays(one in "[abAB]{0,12}", other in "[abAB]{0,12}") {
            let pairs = lined_up(&calls(&one), &calls(&other));
            let places = |of: fn(&Pair) -> Option<u64>| pairs.iter().filter_map(of).collect::<Vec<_>>();
            prop_assert_eq!(places(|it| it.one), (1..=one.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(places(|it| it.other), (1..=other.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(pairs.iter().all(Pair::same), one == other);
        }
    }
}
