//! What the models of a run have used, and the limits that refuse more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::capabilities::meters::LimitHit;
use crate::grants::Limits;
use crate::trajectory::fact::Usage;

/// What the models of a run have used. Readable while it runs.
#[derive(Debug, Default)]
pub struct Spent {
    calls: AtomicU64,
    tokens: AtomicU64,
    micro_usd: AtomicU64,
    unpriced: AtomicBool,
    noted: [AtomicBool; 3],
}

/// What is left of the limits on models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelsLeft {
    /// Requests.
    pub calls: u64,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
}

impl Spent {
    /// Counts a request, unless a limit is reached already.
    ///
    /// # Errors
    ///
    /// The limit, and whether it is the first time that it refuses something.
    pub(super) fn begin(&self, limits: &Limits) -> Result<(), (LimitHit, bool)> {
        let checks = [
            ("model-calls", &self.calls, limits.model_calls),
            ("tokens", &self.tokens, limits.tokens),
            ("money", &self.micro_usd, limits.money),
        ];
        for ((name, used, max), noted) in checks.into_iter().zip(&self.noted) {
            if used.load(Ordering::Relaxed) >= max {
                let first = !noted.swap(true, Ordering::Relaxed);
                return Err((LimitHit { name, max }, first));
            }
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Adds what an answer used.
    pub(super) fn add(&self, usage: Option<&Usage>, cost_usd: Option<f64>) {
        if let Some(usage) = usage {
            add(&self.tokens, tokens(usage));
        }
        match cost_usd {
            Some(cost) => add(&self.micro_usd, micro_usd(cost)),
            None => self.unpriced.store(true, Ordering::Relaxed),
        }
    }

    /// True once something was used whose price nobody knows.
    pub(super) fn unpriced(&self) -> bool {
        self.unpriced.load(Ordering::Relaxed)
    }

    /// What is left of `limits`.
    #[must_use]
    pub fn left(&self, limits: &Limits) -> ModelsLeft {
        let left = |max: u64, used: &AtomicU64| max.saturating_sub(used.load(Ordering::Relaxed));
        ModelsLeft {
            calls: left(limits.model_calls, &self.calls),
            tokens: left(limits.tokens, &self.tokens),
            micro_usd: left(limits.money, &self.micro_usd),
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    // Never wraps: the closure always gives a value.
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        Some(used.saturating_add(more))
    });
}

/// What counts against the limit on tokens.
pub(super) fn tokens(usage: &Usage) -> u64 {
    usage.input_tokens.saturating_add(usage.output_tokens)
}

/// Millionths of a dollar, rounded up, so that many small amounts do not count as nothing.
pub(super) fn micro_usd(cost: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and a cost is never negative"
    )]
    let micro = (cost * 1e6).ceil() as u64;
    micro
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_by_its_name_and_says_so_once() {
        let limits = Limits {
            model_calls: 2,
            tokens: 100,
            money: 1_000_000,
            ..Limits::default()
        };
        let usage = |tokens| Usage {
            input_tokens: tokens - 1,
            output_tokens: 1,
            ..Usage::default()
        };
        let spent = Spent::default();
        spent.begin(&limits).unwrap();
        spent.add(Some(&usage(99)), Some(0.999_999));
        assert_eq!(
            spent.left(&limits),
            ModelsLeft {
                calls: 1,
                tokens: 1,
                micro_usd: 1
            }
        );
        spent.begin(&limits).unwrap();
        let hit = |spent: &Spent| {
            let (hit, first) = spent.begin(&limits).unwrap_err();
            (hit.name, hit.max, first)
        };
        assert_eq!(hit(&spent), ("model-calls", 2, true));
        assert_eq!(hit(&spent), ("model-calls", 2, false));

        let spent = Spent::default();
        spent.add(Some(&usage(100)), None);
        assert!(spent.unpriced());
        assert_eq!(hit(&spent), ("tokens", 100, true));

        let spent = Spent::default();
        spent.add(None, Some(0.999_999_1));
        assert_eq!(hit(&spent), ("money", 1_000_000, true));
        spent.add(Some(&usage(u64::MAX)), Some(f64::MAX));
        assert_eq!(spent.left(&limits).tokens, 0);
    }
}
