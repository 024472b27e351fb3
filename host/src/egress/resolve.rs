//! Names to addresses: looked up once, and every one of them checked.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use super::Refused;
use super::address::Class;
use super::target::Host;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Most addresses of one name that are looked at. A name with more is not connected to.
const MAX_ADDRESSES: usize = 64;

/// A look-up under way.
pub type Looking<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Looks names up.
pub trait Resolver: Send + Sync {
    /// Every address of a name.
    ///
    /// # Errors
    ///
    /// It has none, or nobody can tell.
    fn look_up<'a>(&'a self, name: &'a str) -> Looking<'a>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolver for System {
    fn look_up<'a>(&'a self, name: &'a str) -> Looking<'a> {
        Box::pin(async move {
            // With a dot at its end no search domain of this machine is tried.
            let absolute = if name.contains('.') {
                format!("{name}.")
            } else {
                name.to_owned()
            };
            let found = tokio::net::lookup_host((absolute, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The addresses of `host` that may be connected to: all of them, or the request is refused. That a rule
/// names an address is what allows it, whatever it is; `localhost` is this machine.
pub(crate) async fn checked(resolver: &dyn Resolver, host: &Host) -> Result<Vec<IpAddr>, Refused> {
    let name = match host {
        Host::Ip(address) => return Ok(vec![*address]),
        Host::Name(_) if host.is_localhost() => {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        Host::Name(name) => name,
    };
    let found = addresses(resolver, name).await?;
    for address in &found {
        let class = Class::of(*address);
        if class != Class::Public && !down(Wall::Addresses) {
            return Err(Refused::Address {
                host: name.clone(),
                address: *address,
                class,
            });
        }
    }
    if down(Wall::Pinned) {
        return addresses(resolver, name).await;
    }
    Ok(found)
}

/// Every address of a name, without a check: for the operator's own proxy.
pub(super) async fn addresses(resolver: &dyn Resolver, name: &str) -> Result<Vec<IpAddr>, Refused> {
    let failed = |reason: String| Refused::Resolve {
        host: name.to_owned(),
        reason,
    };
    let mut found = resolver
        .look_up(name)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if found.len() > MAX_ADDRESSES {
        return Err(failed(format!(
            "it has more than {MAX_ADDRESSES} addresses"
        )));
    }
    if found.is_empty() {
        return Err(failed("it has no address".to_owned()));
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|address| seen.insert(*address));
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Gives one answer after the other, the last one for ever.
    pub(crate) struct Scripted(Mutex<Vec<Vec<IpAddr>>>);

    impl Scripted {
        pub(crate) fn new(answers: &[&[&str]]) -> Scripted {
            let parse =
                |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
            Scripted(Mutex::new(answers.iter().rev().map(parse).collect()))
        }
    }

    impl Resolver for Scripted {
        fn look_up<'a>(&'a self, _: &'a str) -> Looking<'a> {
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 {
                answers.pop()
            } else {
                answers.last().cloned()
            };
            Box::pin(async move { Ok(answer.unwrap_or_default()) })
        }
    }

    async fn check(answer: &[&str]) -> Result<Vec<IpAddr>, Refused> {
        checked(
            &Scripted::new(&[answer]),
            &Host::Name("a.example".to_owned()),
        )
        .await
    }

    #[tokio::test]
    async fn one_address_that_is_not_public_spoils_them_all() {
        assert_eq!(
            check(&["1.1.1.1", "2606:4700::1", "1.1.1.1"])
                .await
                .unwrap()
                .len(),
            2
        );
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::ffff:1.1.1.1",
            "fd00::1",
        ] {
            for answer in [&["1.1.1.1", private][..], &[private, "1.1.1.1"], &[private]] {
                let refused = check(answer).await.unwrap_err();
                let Refused::Address { address, .. } = refused else {
                    panic!("{refused}")
                };
                assert_eq!(address.to_string(), private);
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_changes_later_changes_nothing() {
        let resolver = Scripted::new(&[&["1.1.1.1"], &["127.0.0.1"]]);
        let found = checked(&resolver, &Host::Name("a.example".to_owned())).await;
        assert_eq!(found.unwrap(), ["1.1.1.1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_with_no_or_far_too_many_addresses_is_not_connected_to() {
        assert!(matches!(check(&[]).await, Err(Refused::Resolve { .. })));
        let many: Vec<String> = (0..=MAX_ADDRESSES)
            .map(|at| format!("1.1.1.{at}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(check(&many).await, Err(Refused::Resolve { .. })));
    }

    #[tokio::test]
    async fn localhost_is_this_machine_whatever_a_resolver_says() {
        let liar = Scripted::new(&[&["1.1.1.1"]]);
        for name in ["localhost", "a.localhost"] {
            let found = checked(&liar, &Host::Name(name.to_owned())).await.unwrap();
            assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        }
    }
}
