//! How many connections clients may have: `max.connections`, and by address `max.connections.per.ip` with its overrides.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::definition::list;
use super::settings::Settings;

/// Limits of connections, of the whole node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub total_max: usize,
    /// `max.connections.per.ip`.
    pub per_ip_max: usize,
    /// `max.connections.per.ip.overrides`.
    pub overrides: BTreeMap<IpAddr, usize>,
}

impl ConnectionLimits {
    /// What is set.
    pub(super) fn of(settings: &Settings) -> Self {
        let count = |name| usize::try_from(settings.count(name)).unwrap_or(usize::MAX);
        let overrides = settings.effective("max.connections.per.ip.overrides").unwrap_or_default();
        Self {
            total_max: count("max.connections"),
            per_ip_max: count("max.connections.per.ip"),
            overrides: parse_overrides(overrides).unwrap_or_default(),
        }
    }

    /// The most connections from an address.
    #[must_use]
    pub fn of_ip(&self, ip: IpAddr) -> usize {
        self.overrides.get(&ip).copied().unwrap_or(self.per_ip_max)
    }
}

/// `ADDRESS:COUNT` pairs, separated by commas; `localhost` is both of its addresses. None if one is something else: names
/// are not looked up.
pub(super) fn parse_overrides(value: &str) -> Option<BTreeMap<IpAddr, usize>> {
    let mut overrides = BTreeMap::new();
    for item in list(value) {
        let (address, count) = item.rsplit_once(':')?;
        let count: u32 = count.trim().parse().ok().filter(|&count| i32::try_from(count).is_ok())?;
        let address = address.trim();
        if address == "localhost" {
            overrides.insert(IpAddr::V4(Ipv4Addr::LOCALHOST), count as usize);
            overrides.insert(IpAddr::V6(Ipv6Addr::LOCALHOST), count as usize);
            continue;
        }
        let bare = address.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(address);
        let ip: IpAddr = bare.parse().ok()?;
        overrides.insert(ip.to_canonical(), count as usize);
    }
    Some(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_name_addresses_and_counts() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let overrides = parse_overrides("10.0.0.1:5, [fe80::1]:6,localhost:7,::ffff:10.0.0.2:8").expect("good");
        let expected = [("10.0.0.1", 5), ("10.0.0.2", 8), ("127.0.0.1", 7), ("::1", 7), ("fe80::1", 6)];
        assert_eq!(overrides.into_iter().collect::<Vec<_>>(), expected.map(|(text, count)| (ip(text), count)));
        assert_eq!(parse_overrides(""), Some(BTreeMap::new()));
        for wrong in ["10.0.0.1", "10.0.0.1:-1", "example.org:5", "10.0.0.1:4294967295", ":5"] {
            assert_eq!(parse_overrides(wrong), None, "{wrong}");
        }
    }
}
