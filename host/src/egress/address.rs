//! Classes of addresses: which are nobody's business but the operator's.
//!
//! The registries are IANA's for special-purpose addresses. What is in none of them, and not in a block the
//! registries leave to the future, is public.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The internet.
    Public,
    /// `0.0.0.0/8`, `::`: this host, or none.
    Unspecified,
    /// `127.0.0.0/8`, `::1`: this machine.
    Loopback,
    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `fc00::/7`, `fec0::/10`: a private network.
    Private,
    /// `169.254.0.0/16`, `fe80::/10`: the link.
    LinkLocal,
    /// Where clouds tell machines who they are, credentials included.
    Metadata,
    /// `100.64.0.0/10`: a carrier's network.
    Shared,
    /// `224.0.0.0/4`, `ff00::/8`: many hosts.
    Multicast,
    /// `255.255.255.255`: every host.
    Broadcast,
    /// `198.18.0.0/15`, `2001:2::/48`: tests of network devices.
    Benchmarking,
    /// `192.0.2.0/24`, `2001:db8::/32` and their like: examples in texts.
    Documentation,
    /// An IPv6 address that means an IPv4 one: mapped, compatible, NAT64, 6to4, Teredo, ISATAP.
    Embedded,
    /// Protocol assignments and what is left to the future.
    Reserved,
}

impl Class {
    /// The class of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Class {
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => v6(address),
        }
    }

    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Public => "public",
            Class::Unspecified => "unspecified",
            Class::Loopback => "loopback",
            Class::Private => "private",
            Class::LinkLocal => "link-local",
            Class::Metadata => "metadata",
            Class::Shared => "shared",
            Class::Multicast => "multicast",
            Class::Broadcast => "broadcast",
            Class::Benchmarking => "benchmarking",
            Class::Documentation => "documentation",
            Class::Embedded => "IPv4 in IPv6",
            Class::Reserved => "reserved",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        // Amazon, Google, Azure and most others; Alibaba; Azure's wire server; Oracle.
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [168, 63, 129, 16]
        | [192, 0, 0, 192] => Class::Metadata,
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [169, 254, ..] => Class::LinkLocal,
        [100, 64..=127, ..] => Class::Shared,
        [224..=239, ..] => Class::Multicast,
        [255, 255, 255, 255] => Class::Broadcast,
        [198, 18 | 19, ..] => Class::Benchmarking,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Documentation,
        // Protocol assignments, AS112, AMT, the 6to4 relay, and everything after multicast.
        [192, 0, 0, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 175, 48, _]
        | [192, 88, 99, _]
        | [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn v6(address: Ipv6Addr) -> Class {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        // Mapped, translated and compatible; NAT64 and its local-use prefix; 6to4; Teredo.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0, 0, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..]
        // ISATAP puts the IPv4 address into the interface's part of any prefix.
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Class::Embedded,
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => Class::Metadata,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0x2001, 2, 0, ..] => Class::Benchmarking,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Documentation,
        // Protocol assignments (2001::/23), AS112, and what is not global unicast (2000::/3).
        [0x2001, 0..=0x1ff, ..] | [0x2620, 0x4f, 0x8000, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_class_has_its_addresses() {
        for (class, addresses) in [
            (
                Class::Public,
                &[
                    "1.1.1.1",
                    "8.8.8.8",
                    "172.15.0.1",
                    "172.32.0.1",
                    "100.63.0.1",
                    "192.0.1.1",
                    "2606:4700::1111",
                    "2a00:1450::1",
                    "2001:4860::1",
                ][..],
            ),
            (Class::Unspecified, &["0.0.0.0", "0.1.2.3", "::"]),
            (Class::Loopback, &["127.0.0.1", "127.255.255.254", "::1"]),
            (
                Class::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "fc00::1",
                    "fdff::1",
                    "fec0::1",
                ],
            ),
            (Class::LinkLocal, &["169.254.1.1", "fe80::1", "febf::1"]),
            (
                Class::Metadata,
                &[
                    "169.254.169.254",
                    "169.254.170.2",
                    "100.100.100.200",
                    "168.63.129.16",
                    "192.0.0.192",
                    "fd00:ec2::254",
                    "fd20:ce::254",
                ],
            ),
            (Class::Shared, &["100.64.0.1", "100.127.255.255"]),
            (
                Class::Multicast,
                &["224.0.0.1", "239.255.255.255", "ff02::1"],
            ),
            (Class::Broadcast, &["255.255.255.255"]),
            (
                Class::Benchmarking,
                &["198.18.0.1", "198.19.255.255", "2001:2::1"],
            ),
            (
                Class::Documentation,
                &[
                    "192.0.2.1",
                    "198.51.100.1",
                    "203.0.113.1",
                    "2001:db8::1",
                    "3fff::1",
                ],
            ),
            (
                Class::Embedded,
                &[
                    "::ffff:127.0.0.1",
                    "::ffff:8.8.8.8",
                    "::127.0.0.1",
                    "::2",
                    "64:ff9b::7f00:1",
                    "64:ff9b:1::1",
                    "2002:7f00:1::",
                    "2001:0:4136:e378::1",
                    "::ffff:0:1.2.3.4",
                    "2600::5efe:7f00:1",
                ],
            ),
            (
                Class::Reserved,
                &[
                    "192.0.0.1",
                    "240.0.0.1",
                    "192.88.99.1",
                    "2001:10::1",
                    "100::1",
                    "4000::1",
                    "5f00::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Class::of(address.parse().unwrap()), class, "{address}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_ipv6_form_of_a_private_address_is_public(octets in any::<[u8; 4]>()) {
            let v4 = Ipv4Addr::from(octets);
            let [a, b, c, d] = octets.map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for address in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            ] {
                prop_assert!(Class::of(address.into()) != Class::Public, "{}", address);
            }
        }
    }
}
