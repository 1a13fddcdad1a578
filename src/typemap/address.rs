//! Network addresses as text: how PostgreSQL and MariaDB print them, and the way between their types.
//!
//! Owns: both engines' spelling of IPv6, which differs where the last four bytes look like an IPv4 address.
//! Refuses: masks and the wrong family, where a type has no place for them.

use super::literal::whole;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses a type of MariaDB takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// MariaDB's INET4 and INET6.
    pub(super) fn of(name: &str) -> Option<Family> {
        match name {
            "inet4" => Some(Family::V4),
            "inet6" => Some(Family::V6),
            _ => None,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Family::V4 => "IPv4 addresses without a mask",
            Family::V6 => "IPv6 addresses without a mask",
        }
    }

    fn holds(self, address: IpAddr) -> bool {
        match self {
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// As MariaDB prints it: an IPv4 address in the last four bytes of an otherwise empty one keeps its dots.
pub fn mariadb_inet6(address: Ipv6Addr) -> String {
    let bytes = address.octets();
    let is_compatible = bytes[..12] == [0; 12] && bytes[12..14] != [0, 0];
    match is_compatible {
        true => format!("::{}", last_four(address)),
        false => address.to_string(),
    }
}

/// As PostgreSQL prints it: an address that is empty but for its last four bytes keeps their dots, but for `::` and `::1`.
fn postgres_inet6(address: Ipv6Addr) -> String {
    let words = address.segments();
    let is_compatible = words[..6] == [0; 6] && words[6..] != [0, 0] && words[6..] != [0, 1];
    match is_compatible {
        true => format!("::{}", last_four(address)),
        false => address.to_string(),
    }
}

fn last_four(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

fn mariadb(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => mariadb_inet6(address),
    }
}

fn postgres(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => postgres_inet6(address),
    }
}

/// PostgreSQL's inet as one of MariaDB's addresses.
pub(super) fn to_mariadb(text: &str, family: Family) -> Option<String> {
    let address: IpAddr = text.parse().ok()?;
    family.holds(address).then(|| mariadb(address))
}

/// MariaDB's address as PostgreSQL's inet.
pub(super) fn to_postgres(text: &str) -> Option<String> {
    text.parse().ok().map(postgres)
}

/// Would MariaDB print the address so?
pub(super) fn is_of_mariadb(text: &str, family: Family) -> bool {
    to_mariadb(text, family).is_some_and(|printed| printed == text)
}

/// Would PostgreSQL print the inet so? A mask that covers the whole address is not printed.
pub(super) fn is_inet(text: &str) -> bool {
    let Some((address, mask)) = split(text) else {
        return false;
    };
    let all = bits(address);
    let mask_is_told = mask.is_none_or(|mask| mask < all);
    mask_is_told && text.starts_with(&postgres(address)) && rest_is(text, address, mask)
}

/// Would PostgreSQL print the cidr so? Its mask is always printed, and no bit behind it is set.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, Some(mask))) = split(text) else {
        return false;
    };
    mask <= bits(address) && is_network(address, mask) && rest_is(text, address, Some(mask))
}

fn rest_is(text: &str, address: IpAddr, mask: Option<u32>) -> bool {
    let printed = postgres(address);
    match mask {
        Some(mask) => text == format!("{printed}/{mask}"),
        None => text == printed,
    }
}

fn split(text: &str) -> Option<(IpAddr, Option<u32>)> {
    match text.split_once('/') {
        Some((address, mask)) => {
            let mask = whole(mask).and_then(|mask| u32::try_from(mask).ok())?;
            Some((address.parse().ok()?, Some(mask)))
        }
        None => Some((text.parse().ok()?, None)),
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_network(address: IpAddr, mask: u32) -> bool {
    let (value, all) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let host = all - mask;
    host == 0 || value.trailing_zeros() >= host || value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_each_engine_prints_them() {
        for (postgres, mariadb) in [
            ("::", "::"),
            ("::1", "::1"),
            ("::0.0.0.5", "::5"),
            ("::0.1.0.0", "::0.1.0.0"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("2001:db8::ff", "2001:db8::ff"),
        ] {
            assert_eq!(to_mariadb(postgres, Family::V6).as_deref(), Some(mariadb));
            assert_eq!(to_postgres(mariadb).as_deref(), Some(postgres));
            assert!(is_inet(postgres) && is_of_mariadb(mariadb, Family::V6));
        }
        assert_eq!(to_mariadb("10.0.0.1", Family::V6), None);
        assert_eq!(to_mariadb("10.0.0.1/8", Family::V4), None);
    }

    #[test]
    fn masks_stand_where_postgresql_prints_them() {
        for good in ["10.0.0.1", "10.0.0.1/8", "0.0.0.0/0", "::/0", "fe80::1/64"] {
            assert!(is_inet(good), "{good}");
        }
        for bad in [
            "10.0.0.1/32",
            "10.0.0.1/08",
            "10.0.0.1/33",
            "010.0.0.1",
            "FE80::1",
            "fe80:0::1",
            "::1/128",
            "1.2",
            "",
        ] {
            assert!(!is_inet(bad), "{bad}");
        }
        for good in ["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "::/0", "2001:db8::/32"] {
            assert!(is_cidr(good), "{good}");
        }
        for bad in ["10.0.0.1/8", "10.0.0.1", "10.0.0.0/33", "2001:db8::1/32"] {
            assert!(!is_cidr(bad), "{bad}");
        }
    }
}
