//! Network addresses as text: how PostgreSQL and MariaDB print them, and the way between their types.
//!
//! Owns: the one spelling that both have of an address. Refuses: masks and the wrong family, where a type has no place
//! for them.

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

/// As PostgreSQL and MariaDB print it: an IPv4 address in the last four bytes of an otherwise empty one keeps its dots.
pub fn inet6(address: Ipv6Addr) -> String {
    let [.., a, b, c, d] = address.octets();
    let words = address.segments();
    match words[..6] == [0; 6] && words[6] != 0 {
        true => format!("::{}", Ipv4Addr::new(a, b, c, d)),
        false => address.to_string(),
    }
}

fn printed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => inet6(address),
    }
}

/// Is it an address that this type of MariaDB takes, as it prints it?
pub(super) fn is_of_mariadb(text: &str, family: Family) -> bool {
    let address = text.parse().ok();
    address.is_some_and(|address| family.holds(address) && printed(address) == text)
}

/// Would PostgreSQL print the inet so? A mask that covers the whole address is not printed.
pub(super) fn is_inet(text: &str) -> bool {
    let Some((address, mask)) = split(text) else {
        return false;
    };
    mask.is_none_or(|mask| mask < bits(address)) && is_written(text, address, mask)
}

/// Would PostgreSQL print the cidr so? Its mask is always printed, and no bit behind it is set.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, Some(mask))) = split(text) else {
        return false;
    };
    mask <= bits(address) && is_network(address, mask) && is_written(text, address, Some(mask))
}

fn is_written(text: &str, address: IpAddr, mask: Option<u32>) -> bool {
    let printed = printed(address);
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
    fn addresses_are_told_as_the_engines_print_them() {
        for text in [
            "::",
            "::1",
            "::5",
            "::0.1.0.2",
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "2001:db8::ff",
        ] {
            assert!(is_inet(text) && is_of_mariadb(text, Family::V6), "{text}");
        }
        for text in ["::1:2", "::0.0.0.5", "2001:DB8::ff"] {
            assert!(!is_inet(text) && !is_of_mariadb(text, Family::V6), "{text}");
        }
        assert!(!is_of_mariadb("10.0.0.1", Family::V6) && !is_of_mariadb("10.0.0.1/8", Family::V4));
        assert!(is_of_mariadb("10.0.0.1", Family::V4) && !is_of_mariadb("::1", Family::V4));
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
