//! Which addresses clients may have: the entries of the lists `--allow` and `--deny`.

use std::net::IpAddr;

use super::Peer;

/// An entry of a list of addresses: an address, a network, or `any`.
///
/// It is parsed from a text such as `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32` or `any`. IPv4-mapped IPv6 addresses and
/// networks are those of IPv4. `any` stands for every address, and names none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressRule(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Any,
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

/// The two lists of a server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressLists {
    /// Addresses that may connect; if empty, all may.
    pub allow: Vec<AddressRule>,
    /// Addresses that may not.
    pub deny: Vec<AddressRule>,
}

impl AddressRule {
    /// Parses an entry; the error says what is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<AddressRule, String> {
        if text == "any" {
            return Ok(AddressRule(Kind::Any));
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let not_allowed = || format!("must be {}", AddressRule::ALLOWED);
        let address: IpAddr = address.parse().map_err(|_| not_allowed())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(text) => parse_prefix(text).filter(|prefix| *prefix <= bits).ok_or_else(not_allowed)?,
            None => bits,
        };
        match (address.to_canonical(), address) {
            // A mapped network is one of IPv4 if it has no other addresses.
            (IpAddr::V4(v4), IpAddr::V6(_)) if prefix >= MAPPED_BITS => {
                network_of(v4.into(), prefix - MAPPED_BITS)
            }
            _ => network_of(address, prefix),
        }
    }

    /// The allowed texts, for messages.
    pub const ALLOWED: &str =
        "an address such as 192.0.2.7, a network such as 10.0.0.0/8 or 2001:db8::/32, or any";

    /// Whether it is `address`, or a network with it. `address` is not IPv4-mapped.
    fn names(self, address: IpAddr) -> bool {
        match (self.0, address) {
            (Kind::V4 { network, mask }, IpAddr::V4(v4)) => v4.to_bits() & mask == network,
            (Kind::V6 { network, mask }, IpAddr::V6(v6)) => v6.to_bits() & mask == network,
            _ => false,
        }
    }

    fn is_any(self) -> bool {
        self.0 == Kind::Any
    }
}

impl AddressLists {
    /// Whether a client may connect. Those of unix sockets and of this process have no address: they may.
    pub fn admit(&self, peer: Peer) -> bool {
        let Peer::Tcp(address, _) = peer else { return true };
        let names = |list: &[AddressRule]| list.iter().any(|rule| rule.names(address));
        let has_any = |list: &[AddressRule]| list.iter().any(|rule| rule.is_any());
        if names(&self.deny) {
            return false;
        }
        names(&self.allow) || !has_any(&self.deny) && (self.allow.is_empty() || has_any(&self.allow))
    }
}

/// The network of `address`, which must have no bits after the prefix: they would mean that another one is meant.
fn network_of(address: IpAddr, prefix: u32) -> Result<AddressRule, String> {
    let (kind, first) = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let network = v4.to_bits() & mask;
            (Kind::V4 { network, mask }, IpAddr::V4(network.into()))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            let network = v6.to_bits() & mask;
            (Kind::V6 { network, mask }, IpAddr::V6(network.into()))
        }
    };
    match first == address {
        true => Ok(AddressRule(kind)),
        false => Err(format!("is an address with the length of a network; that network is {first}/{prefix}")),
    }
}

fn parse_prefix(text: &str) -> Option<u32> {
    // `parse` alone would take a plus sign, and zeros before the number.
    let is_plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    text.parse().ok().filter(|_| is_plain)
}

/// The bits before an IPv4 address in an IPv4-mapped one.
const MAPPED_BITS: u32 = 96;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn rules(texts: &[&str]) -> Vec<AddressRule> {
        texts
            .iter()
            .map(|text| AddressRule::parse(text).unwrap_or_else(|why| panic!("{text} {why}")))
            .collect()
    }

    fn peer(address: &str) -> Peer {
        Peer::from(SocketAddr::new(address.parse().expect("an address"), 1))
    }

    #[test]
    fn an_entry_names_its_addresses() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6", "192.0.2.8", "::192.0.2.7"]),
            ("::ffff:192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6"]),
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
                &["9.255.255.255", "11.0.0.0"],
            ),
            ("10.1.2.128/25", &["10.1.2.128", "10.1.2.255"], &["10.1.2.127", "10.1.3.0"]),
            ("::ffff:10.0.0.0/104", &["10.255.255.255"], &["11.0.0.0", "::a00:0"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "::1"]),
            ("::ffff:0.0.0.0/96", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]),
            ("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.6"]),
            ("2001:db8::1", &["2001:db8::1", "2001:DB8:0::1"], &["2001:db8::2", "2001:db8::"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db7:ffff::", "2001:db9::"]),
            ("2001:db8::8/125", &["2001:db8::8", "2001:db8::f"], &["2001:db8::7", "2001:db8::10"]),
            ("::1/128", &["::1"], &["::2", "127.0.0.1"]),
            ("::/0", &["::", "::1", "ffff::"], &["0.0.0.0", "::ffff:1.2.3.4"]),
            // It has addresses besides the mapped ones, which are IPv4.
            ("::/80", &["::1", "::ffff"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("any", &[], &["192.0.2.7", "::1"]),
        ];
        for (text, inside, outside) in cases {
            let rule = rules(&[text])[0];
            let names = |address: &str| match peer(address) {
                Peer::Tcp(address, _) => rule.names(address),
                Peer::Unix { .. } => unreachable!("it has an address"),
            };
            inside.iter().for_each(|address| assert!(names(address), "{text} names {address}"));
            outside.iter().for_each(|address| assert!(!names(address), "{text} does not name {address}"));
        }
    }

    #[test]
    fn malformed_entries_are_refused() {
        for text in [
            "",
            " ",
            "ANY",
            "all",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.07",
            "192.0.2.7:80",
            "[::1]",
            "::1%1",
            "::g",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "/8",
            "10.0.0.0/255.0.0.0",
            "2001:db8::/129",
            "any/0",
            "10.0.0.1,10.0.0.2",
            "10.0.0.1-10.0.0.9",
            " 10.0.0.1",
        ] {
            let why = AddressRule::parse(text).expect_err(text);
            assert_eq!(why, format!("must be {}", AddressRule::ALLOWED), "{text:?}");
        }
        for (text, network) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("192.0.2.7/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
            ("::1/127", "::/127"),
            ("::ffff:10.0.0.0/90", "::ffc0:0:0/90"),
        ] {
            let why = AddressRule::parse(text).expect_err(text);
            assert!(why.ends_with(&format!("; that network is {network}")), "{text}: {why}");
        }
    }

    #[test]
    fn a_denied_address_is_refused_an_allowed_one_admitted_and_any_decides_about_the_rest() {
        const IN_BOTH: &str = "10.0.0.1";
        const ALLOWED: &str = "192.0.2.7";
        const DENIED: &str = "198.51.100.1";
        const OTHER: &str = "203.0.113.1";
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // The list that allows, the one that denies, and which of the four are admitted.
            (&[], &[], &[IN_BOTH, ALLOWED, DENIED, OTHER]),
            (&[], &[IN_BOTH, DENIED], &[ALLOWED, OTHER]),
            (&[], &["any"], &[]),
            (&[IN_BOTH, ALLOWED], &[], &[IN_BOTH, ALLOWED]),
            (&[IN_BOTH, ALLOWED], &["any"], &[IN_BOTH, ALLOWED]),
            (&[IN_BOTH, ALLOWED], &[IN_BOTH, DENIED], &[ALLOWED]),
            (&[IN_BOTH, ALLOWED], &["any", IN_BOTH, DENIED], &[ALLOWED]),
            (&["10.0.0.0/8", ALLOWED], &[IN_BOTH], &[ALLOWED]),
            (&[IN_BOTH], &["10.0.0.0/8"], &[]),
            (&["any"], &[], &[IN_BOTH, ALLOWED, DENIED, OTHER]),
            (&["any"], &[IN_BOTH, DENIED], &[ALLOWED, OTHER]),
            (&["any"], &["any"], &[]),
            (&["any", ALLOWED], &["any"], &[ALLOWED]),
            (&["any", ALLOWED], &["0.0.0.0/0"], &[]),
            (&["0.0.0.0/0"], &["any"], &[IN_BOTH, ALLOWED, DENIED, OTHER]),
            (&["::/0"], &[], &[]),
        ];
        for (allow, deny, admitted) in cases {
            for reversed in [false, true] {
                let mut lists = AddressLists { allow: rules(allow), deny: rules(deny) };
                if reversed {
                    lists.allow.reverse();
                    lists.deny.reverse();
                }
                let found = [IN_BOTH, ALLOWED, DENIED, OTHER].map(|address| {
                    let mapped = peer(&format!("::ffff:{address}"));
                    assert_eq!(
                        lists.admit(peer(address)),
                        lists.admit(mapped),
                        "{allow:?} {deny:?} {address}"
                    );
                    lists.admit(peer(address)).then_some(address)
                });
                let found: Vec<_> = found.into_iter().flatten().collect();
                assert_eq!(found, *admitted, "allow {allow:?}, deny {deny:?}");
                assert!(lists.admit(Peer::Unix { uid: None }), "it has no address");
            }
        }
    }
}
