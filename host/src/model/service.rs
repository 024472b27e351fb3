//! Asking models: which one may be asked, within what limits, and what goes into the account.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::Request;
use super::arrival::Arrival;
use super::completion::{Completion, Cost, Spending};
use super::error::{AskError, Failed, ModelError};
use super::exchange;
use super::price::Prices;
use super::provider::{self, Key, Reachable, SCRIPTED, Target};
use super::refused;
use super::scripted::Scripted;
use super::spent::{self, ModelsLeft, Spent};
use super::taped::Access;
use super::validate;
use super::wire::Class;
use crate::capabilities::activity::Activity;
use crate::capabilities::meters::{LimitHit, Meters};
use crate::commission::{self, Commission};
use crate::egress::secrets::{Gathering, SecretError, Vault};
use crate::egress::{Caller, Egress, Way};
use crate::error::Hint;
use crate::grants::{Grants, Limits, ModelsGrant, pattern};
use crate::json::printable;
use crate::preflight::Refusal;
use crate::recording::Tape;
use crate::recording::format::Redirect;
use crate::recording::tape::Pace;
use crate::trajectory::ledger::LedgerError;
use crate::trajectory::{Audit, ErrorCode, Ledger, Rejected, Use};

/// What the audit records of a model are filed under.
const CAPABILITY: &str = "wasm-agent:agent/model";

/// The model of a commission for an agent that uses none.
const NO_MODEL: &str = "none/none";

/// The models of one run, before it starts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    inner: Arc<Configured>,
}

#[derive(Clone, Debug, Default)]
struct Configured {
    grants: ModelsGrant,
    limits: Limits,
    /// The commission's model and provider.
    model: String,
    provider: Option<commission::Provider>,
    /// Granted scripts, by the path they are granted under.
    scripts: BTreeMap<String, Scripted>,
    prices: Prices,
    /// Providers that may be asked, by id.
    providers: BTreeMap<String, Reachable>,
    /// Models that are asked instead of the commission's from a call on.
    redirects: Vec<Redirect>,
}

/// One inference a guest wants made.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The model, as `provider/model`; the commission's if left out.
    pub model: Option<String>,
    /// The open frame of the sub-agent whose turn this is.
    pub frame: Option<String>,
    /// The rest.
    pub request: Request,
}

/// The models of one run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Models {
    pub(super) run: Arc<Run>,
}

/// What all completions of a run share.
pub(super) struct Run {
    setup: Arc<Configured>,
    /// The way out to the providers that may be asked, and to nobody else.
    way: Way,
    /// Requests sent so far.
    inferences: AtomicU64,
    /// Members of requests that are left out because they were refused, by model.
    refused: Mutex<BTreeMap<String, BTreeSet<String>>>,
    spent: Spent,
    pub(super) ledger: Ledger,
    pub(super) activity: Arc<Activity>,
    meters: Arc<Meters>,
    /// What is asked and answered goes through it.
    pub(super) tape: Tape,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

/// Who answers.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A script.
    Scripted(Scripted),
    /// A provider.
    Provider(Reachable),
    /// The tape.
    Recorded,
}

impl Setup {
    /// Reads what is needed to ask models, and checks that the commission's own may be asked.
    ///
    /// # Errors
    ///
    /// The agent cannot do its work: its provider is unknown, its model not granted, or its script unusable.
    pub fn of(grants: &Grants, commission: &Commission) -> Result<Setup, Refusal> {
        let body = commission.body();
        if body.model == NO_MODEL {
            return Err(Refusal {
                code: ErrorCode::UnsupportedModel,
                message: "the agent asks a model, and none is named; `--model PROVIDER/MODEL` names and grants one"
                    .to_owned(),
                remedy: Some("--model PROVIDER/MODEL".to_owned()),
            });
        }
        let mut scripts = BTreeMap::new();
        for path in grants.models.scripts() {
            let script = Scripted::open(Path::new(path)).map_err(|error| unusable(&error))?;
            scripts.insert(path.to_owned(), script);
        }
        let prices = match &grants.models.prices {
            Some(path) => Prices::read(path).map_err(|error| unusable(&error))?,
            None => Prices::default(),
        };
        let mut configured = Configured {
            grants: grants.models.clone(),
            limits: grants.limits.clone(),
            model: body.model.clone(),
            provider: body.provider.clone(),
            scripts,
            prices,
            providers: BTreeMap::new(),
            redirects: Vec::new(),
        };
        let target = configured.target(None).map_err(|reason| Refusal {
            code: ErrorCode::UnsupportedModel,
            message: format!("model `{}`: {reason}", printable(&body.model)),
            remedy: None,
        })?;
        configured.providers = provider::reachable(grants, body.provider.as_ref())?;
        if target.provider != SCRIPTED && !provider::is_known(&target.provider, &grants.models) {
            return Err(provider::unknown(&target.provider));
        }
        if !configured.grants(&target) {
            return Err(provider::not_granted(&target));
        }
        Ok(Setup {
            inner: Arc::new(configured),
        })
    }

    /// Has other models asked instead of the commission's, each from a call on.
    #[must_use]
    pub fn redirected(mut self, redirects: &[Redirect]) -> Setup {
        Arc::make_mut(&mut self.inner).redirects = redirects.to_vec();
        self
    }

    /// Has the keys of providers that are set put into the requests that are made to them.
    ///
    /// # Errors
    ///
    /// A key cannot be read or used.
    pub fn bind_keys(
        &mut self,
        vault: &Vault,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), SecretError> {
        let configured = Arc::make_mut(&mut self.inner);
        for reachable in configured.providers.values_mut() {
            reachable.bind(vault, gathering)?;
        }
        Ok(())
    }
}

impl Setup {
    /// The models of a recorded run: what may be asked, and what came of it, is on its tape.
    #[must_use]
    pub fn recorded(grants: &Grants, commission: &Commission) -> Setup {
        let body = commission.body();
        Setup {
            inner: Arc::new(Configured {
                limits: grants.limits.clone(),
                model: body.model.clone(),
                provider: body.provider.clone(),
                ..Configured::default()
            }),
        }
    }
}

/// A file of the operator's that cannot be used.
fn unusable<E: std::error::Error + Hint>(error: &E) -> Refusal {
    Refusal {
        code: ErrorCode::UnsupportedModel,
        message: error.to_string(),
        remedy: Some(error.hint().unwrap_or_else(|| "another file".to_owned())),
    }
}

impl Configured {
    fn target(&self, asked: Option<&str>) -> Result<Target, String> {
        provider::target(asked.unwrap_or(&self.model), self.provider.as_ref())
    }

    fn grants(&self, target: &Target) -> bool {
        if target.provider == SCRIPTED {
            // A script is a file of the host's: only one that is named is read.
            return self.scripts.contains_key(&target.model);
        }
        let name = target.to_string();
        let mut allowed = self.grants.allow.iter();
        allowed.any(|allowed| pattern::covers(allowed, &name))
    }
}

impl Models {
    /// The models of a run that has started.
    #[must_use]
    pub fn new(
        setup: &Setup,
        egress: &Egress,
        ledger: Ledger,
        activity: Arc<Activity>,
        meters: Arc<Meters>,
        tape: Tape,
    ) -> Models {
        let rules = setup.inner.providers.values();
        let rules = rules.map(|reachable| reachable.rule.clone()).collect();
        Models {
            run: Arc::new(Run {
                setup: setup.inner.clone(),
                way: egress.way(Caller::Model, rules),
                inferences: AtomicU64::new(0),
                refused: Mutex::default(),
                spent: Spent::default(),
                ledger,
                activity,
                meters,
                tape,
            }),
        }
    }

    /// What is left of the limits on models.
    #[must_use]
    pub fn left(&self, limits: &Limits) -> ModelsLeft {
        self.run.spent.left(limits)
    }

    /// Checks a request and begins to ask. Nothing is sent before the first piece is waited for.
    ///
    /// # Errors
    ///
    /// The request is malformed, not granted, beyond a limit, or the account cannot be kept.
    pub fn ask(&self, asked: Asked) -> Result<Completion, AskError> {
        let run = &self.run;
        let Asked {
            model,
            frame,
            mut request,
        } = asked;
        let invalid = |reason: String| -> AskError {
            let audit = Audit::Rejected {
                fact: "model",
                reason: reason.clone(),
            };
            match run.ledger.audit(audit) {
                Ok(()) => ModelError::Invalid(reason).into(),
                Err(error) => error.into(),
            }
        };
        validate::check(&request).map_err(invalid)?;
        let names = request.tools.iter().map(|tool| tool.name.as_str());
        if let Some(name) = run.ledger.unknown_tools(names).first() {
            let reason = format!(
                "tools: `{}` is not among the tools of this run",
                printable(name)
            );
            return Err(invalid(reason));
        }
        if let Some(frame) = &frame
            && !run.ledger.has_frame(frame)
        {
            let reason = format!(
                "frame: no sub-agent invocation `{}` is open",
                printable(frame)
            );
            return Err(invalid(reason));
        }
        let target = run
            .setup
            .target(model.as_deref())
            .map_err(|reason| invalid(format!("model: {reason}")))?;
        let target = run.redirected(target);
        let access = run.tape.observe(
            "model.ask",
            || Value::String(target.to_string()),
            || Ok(run.access(&target)),
        )?;
        let priced = run.granted(&target, access)?;
        run.begin(&target, priced)?;
        run.ledger.used(Use::Model(&target.to_string()));
        run.source(&target)?;
        run.bound_output(&mut request);
        Ok(Completion::new(run.clone(), target, request, frame))
    }
}

impl Run {
    /// Whether a model may be asked.
    fn access(&self, target: &Target) -> Access {
        if !self.setup.grants(target) {
            let refusal = provider::not_granted(target);
            return Access::Denied {
                rule: refusal.remedy.unwrap_or_default(),
            };
        }
        if self.tape.pace() == Pace::Virtual && target.provider != SCRIPTED {
            return Access::Unsupported(
                "a hermetic run reaches no provider; record it with `--record`, and replay that"
                    .to_owned(),
            );
        }
        match self.source(target) {
            Ok(source) => Access::Granted {
                priced: self.is_priced(target, &source),
            },
            Err(error) => Access::Unsupported(error.to_string()),
        }
    }

    /// What follows from it: a refusal, or whether its price is known.
    fn granted(&self, target: &Target, access: Access) -> Result<bool, AskError> {
        match access {
            Access::Granted { priced } => Ok(priced),
            Access::Unsupported(reason) => Err(ModelError::Unsupported(reason).into()),
            Access::Denied { rule } => {
                self.ledger.audit(Audit::Denied {
                    capability: CAPABILITY,
                    subject: target.to_string(),
                    rule: rule.clone(),
                })?;
                Err(ModelError::Denied {
                    subject: target.to_string(),
                    rule,
                }
                .into())
            }
        }
    }

    /// Who is asked: another model than the commission's, where the run was forked to ask that.
    pub(super) fn redirected(&self, target: Target) -> Target {
        let call = self.tape.next_call();
        let mut redirects = self.setup.redirects.iter();
        let Some(redirect) = redirects.rfind(|redirect| redirect.at <= call) else {
            return target;
        };
        if self.setup.target(None).as_ref() != Ok(&target) {
            return target;
        }
        provider::target(&redirect.model, None).unwrap_or(target)
    }

    /// Between 0 and 255, and in a run that is repeated the same every time.
    pub(super) fn jitter(&self, attempt: u32) -> u8 {
        let byte = match self.tape.seed() {
            Some(seed) => Ok(seed.bytes(&format!("wait {} {attempt}", self.tape.next_call()))),
            None => {
                let mut byte = [0];
                getrandom::fill(&mut byte).map(|()| byte)
            }
        };
        byte.map_or(u8::MAX / 2, |[byte]: [u8; 1]| byte)
    }

    /// Lets a script know that it has answered this already, in the run that is gone on from.
    pub(super) fn rehearse(&self, target: &Target, request: &Request) {
        if let Some(script) = self.setup.scripts.get(&target.model)
            && target.provider == SCRIPTED
            && self.tape.replays()
        {
            // What it says now does not matter: the tape has what it said then.
            let _ = script.ask(request);
        }
    }

    /// Who answers for a granted model, as things are.
    pub(super) fn source(&self, target: &Target) -> Result<Source, ModelError> {
        if self.tape.replays() {
            return Ok(Source::Recorded);
        }
        if let Some(script) = self.setup.scripts.get(&target.model)
            && target.provider == SCRIPTED
        {
            return Ok(Source::Scripted(script.clone()));
        }
        match self.setup.providers.get(&target.provider) {
            Some(reachable) => Ok(Source::Provider(reachable.clone())),
            None => {
                let refusal = provider::unknown(&target.provider);
                Err(ModelError::Unsupported(refusal.message))
            }
        }
    }

    /// Counts a request against the limits.
    fn begin(&self, target: &Target, priced: bool) -> Result<(), AskError> {
        match self.ledger.admit(0) {
            Ok(()) => {}
            Err(LedgerError::Journal(error)) => return Err(error.into()),
            Err(LedgerError::Rejected(Rejected::Limit { name, max })) => {
                return Err(ModelError::Limit(LimitHit { name, max }).into());
            }
            Err(LedgerError::Rejected(rejected)) => {
                return Err(ModelError::Invalid(rejected.to_string()).into());
            }
        }
        let limits = &self.setup.limits;
        let bounded = limits.money != Limits::default().money;
        if bounded && (self.spent.unpriced() || !priced) {
            return Err(ModelError::Unsupported(format!(
                "nobody knows the price of `{target}`, so the limit `money` cannot be kept; `--prices FILE` says what it costs"
            ))
            .into());
        }
        if let Err((hit, first)) = self.spent.begin(limits) {
            if first {
                self.ledger.audit(Audit::Limit {
                    name: hit.name,
                    max: hit.max,
                })?;
            }
            return Err(ModelError::Limit(hit).into());
        }
        Ok(())
    }

    fn is_priced(&self, target: &Target, source: &Source) -> bool {
        // A router says itself what an answer has cost.
        target.provider == "openrouter" || self.price(target, source, None).is_some()
    }

    fn price(
        &self,
        target: &Target,
        source: &Source,
        answered: Option<&str>,
    ) -> Option<super::price::Price> {
        let prices = &self.setup.prices;
        match source {
            Source::Scripted(script) => {
                let (provider, model) = script.priced_as()?.split_once('/')?;
                prices.of(provider, [model])
            }
            Source::Provider(_) => {
                let models = answered.into_iter().chain([target.model.as_str()]);
                prices.of(&target.provider, models)
            }
            Source::Recorded => None,
        }
    }

    /// What is left of the run's tokens is the most a reply may have.
    fn bound_output(&self, request: &mut Request) {
        let left = u32::try_from(self.spent.left(&self.setup.limits).tokens).unwrap_or(u32::MAX);
        let max = &mut request.sampling.max_output_tokens;
        // Beyond that no model writes in one turn, and some refuse to be asked for it.
        const PLENTY: u32 = 200_000;
        *max = match *max {
            Some(asked) => Some(asked.min(left)),
            None if left < PLENTY => Some(left),
            None => None,
        };
    }

    /// Has a member of requests to a model left out from now on; false if it is already.
    pub(super) fn leave_out(&self, target: &Target, member: &str) -> bool {
        let mut refused = self.refused();
        let members = refused.entry(target.to_string()).or_default();
        members.insert(member.to_owned())
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the request once.
    pub(super) async fn send(
        &self,
        source: &Source,
        target: &Target,
        request: &Request,
    ) -> Result<Arrival, Failed> {
        match source {
            Source::Scripted(script) => script.ask(request).map(Arrival::Scripted),
            // Nothing is sent: the answer is on the tape.
            Source::Recorded => Err(Failed::new(Class::Network, "a replay asks nobody")),
            Source::Provider(reachable) => {
                let Reachable { provider, key, .. } = reachable;
                if *key == Key::Missing {
                    // Nothing is sent without the key: not even to hear that it is missing.
                    return Err(provider::no_key(provider));
                }
                let without = self.refused().get(&target.to_string()).cloned();
                let without = without.unwrap_or_default();
                if request.output_schema.is_some() && without.contains(refused::SCHEMA) {
                    // The agent has a way without, and asks again.
                    let message = "it has refused to be held to an output schema in this run";
                    return Err(Failed::new(Class::Unsupported, message));
                }
                let inference = self.inferences.fetch_add(1, Ordering::Relaxed);
                let idle = Duration::from_millis(self.setup.limits.model_idle);
                exchange::send(&self.way, provider, request, &without, inference, idle)
                    .await
                    .map(Arrival::Http)
                    .map_err(|failed| provider.explained(failed))
            }
        }
    }

    /// Takes note of what an answer used, and says what it cost.
    pub(super) fn spend(&self, spending: &Spending<'_>) -> Option<Cost> {
        let Spending {
            target,
            source,
            model,
            usage,
            reported,
        } = *spending;
        let computed = || {
            let usd = self.price(target, source, model)?.cost(usage?);
            Some(Cost::computed(usd))
        };
        let cost = || Ok(reported.map(Cost::reported).or_else(computed));
        let cost = match self.tape.observe("model.cost", || Value::Null, cost) {
            Ok(cost) => cost,
            Err(error) => {
                // The tape remembers it, and the run ends with it.
                tracing::debug!("cannot take a cost from the tape: {error:#}");
                None
            }
        };
        let cost_usd = cost.map(|cost| cost.usd);
        self.spent.add(usage, cost_usd);
        self.ledger.used(Use::Answer {
            tokens: usage.map_or(0, spent::tokens),
            micro_usd: cost_usd.map_or(0, spent::micro_usd),
        });
        cost
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.setup.limits
    }

    /// What is left of the run's time.
    pub(super) fn time_left(&self) -> Duration {
        self.setup.limits.wall().saturating_sub(self.meters.wall())
    }
}
