use std::fmt;
use std::str::FromStr;

/// Kafka's port where an address names none.
pub const DEFAULT_PORT: u16 = 9092;

/// Host and port of a broker, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// A text that is no address, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidAddress {
    text: String,
    reason: &'static str,
}

impl Address {
    /// Parses addresses separated by commas, as in `bootstrap.servers`.
    ///
    /// # Errors
    /// If one of them is no address, or there is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidAddress> {
        let addresses: Vec<Self> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(InvalidAddress { text: text.to_owned(), reason: "no address in it" });
        }
        Ok(addresses)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// Parses `host`, `host:port`, `[ipv6]` or `[ipv6]:port`, with an optional `PLAINTEXT://` before it.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |reason| InvalidAddress { text: text.to_owned(), reason };
        let rest = match text.split_once("://") {
            Some((protocol, rest)) if protocol.eq_ignore_ascii_case("plaintext") => rest,
            Some(_) => return Err(invalid("only PLAINTEXT is spoken so far")),
            None => text,
        };
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or(invalid("the bracket is not closed"))?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').ok_or(invalid("expected :PORT after the bracket"))?)),
            }
        } else if rest.matches(':').count() > 1 {
            (rest, None)
        } else {
            rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(invalid("the host is missing"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| invalid("the port must be a number between 0 and 65535"))?,
            None => DEFAULT_PORT,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not HOST:PORT: {}", self.text, self.reason)
    }
}

impl std::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn hosts_ports_and_ipv6_are_told_apart() {
        assert_eq!("a".parse(), Ok(address("a", 9092)));
        assert_eq!("a:1".parse(), Ok(address("a", 1)));
        assert_eq!("[::1]:9".parse(), Ok(address("::1", 9)));
        assert_eq!("[::1]".parse(), Ok(address("::1", 9092)));
        assert_eq!("fe80::1".parse(), Ok(address("fe80::1", 9092)));
        assert_eq!("PLAINTEXT://a:1".parse(), Ok(address("a", 1)));
        assert_eq!(address("::1", 9).to_string(), "[::1]:9");
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in ["", ":1", "a:", "a:99999", "[::1", "[::1]9", "SSL://a:1", "a b:1"] {
            let refused = text.parse::<Address>().unwrap_err();
            assert!(refused.to_string().contains(&format!("{text:?}")), "{refused}");
        }
    }

    #[test]
    fn a_list_skips_blanks_and_needs_one_address() {
        assert_eq!(Address::parse_list(" a:1, b:2 ,"), Ok(vec![address("a", 1), address("b", 2)]));
        assert!(Address::parse_list(" , ").is_err());
    }
}
