//! Where the node listens and which addresses it gives to clients.
//!
//! Three notations lead here: `--listen HOST:PORT` (and `--advertise HOST:PORT`, the Nth to the Nth), Kafka's
//! `listeners=NAME://HOST:PORT,...` with `advertised.listeners`, and the default `localhost:9092`.

use std::fmt;

use super::definition::list;
use super::error::{ConfigError, Origin, Warning};
use super::settings::Settings;

/// The most listeners one node can have.
pub const LISTENERS_MAX: usize = 64;

/// The property with the address of the admin endpoint.
pub(super) const ADMIN_LISTENER: &str = "skein.admin.listener";

/// One listener: a name, the addresses to bind, and the address told to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, unique on the node; `PLAINTEXT` unless another was given.
    pub name: String,
    /// The addresses to bind, the required ones first. With port 0 the first bound decides and the others use its port.
    pub bind: Vec<Bind>,
    /// The address told to clients; without one each client is told the address it connected to.
    pub advertised: Option<Endpoint>,
}

/// A host (name or address, an IPv6 address without brackets) and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One address to bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The address; a name stands for all addresses it resolves to.
    pub endpoint: Endpoint,
    /// Whether it may be missing on this machine (the IPv6 half of `localhost` and of "every address").
    pub optional: bool,
}

/// What the command line says about listeners.
pub(super) struct Flags<'a> {
    pub(super) listen: &'a [String],
    pub(super) advertise: &'a [String],
}

/// The listeners that flags and settings ask for, and warnings about those left out.
pub(super) fn resolve(flags: &Flags<'_>, settings: &Settings) -> Result<(Vec<Listener>, Vec<Warning>), ConfigError> {
    let (mut listeners, warnings) = if flags.listen.is_empty() {
        from_settings(settings)?
    } else {
        (from_flags(flags.listen, settings)?, Vec::new())
    };
    if flags.advertise.is_empty() {
        advertise_settings(&mut listeners, settings)?;
    } else {
        advertise_flags(&mut listeners, flags.advertise)?;
    }
    check_distinct(&listeners)?;
    Ok((listeners, warnings))
}

fn from_flags(listen: &[String], settings: &Settings) -> Result<Vec<Listener>, ConfigError> {
    let origin = Origin::Flag("--listen");
    let mut listeners = Vec::with_capacity(listen.len());
    for (index, text) in listen.iter().enumerate() {
        let (name, address) = match text.split_once("://") {
            Some((name, address)) => {
                check_protocol(name, text, settings)?;
                (name.to_owned(), address)
            }
            None if index == 0 => ("PLAINTEXT".to_owned(), text.as_str()),
            None => (format!("PLAINTEXT_{}", index + 1), text.as_str()),
        };
        let endpoint = endpoint(address).map_err(|why| ConfigError::new(&origin, format!("\"{text}\": {why}")))?;
        listeners.push(Listener { name, bind: binds(endpoint), advertised: None });
    }
    Ok(listeners)
}

fn from_settings(settings: &Settings) -> Result<(Vec<Listener>, Vec<Warning>), ConfigError> {
    let controllers: Vec<&str> =
        settings.effective("controller.listener.names").map(list).into_iter().flatten().collect();
    let value = settings.effective("listeners").unwrap_or_default();
    let (mut listeners, mut warnings) = (Vec::new(), Vec::new());
    for item in list(value) {
        let (name, endpoint) = named(item).map_err(|why| wrong("listeners", item, &why))?;
        if controllers.iter().any(|c| c.eq_ignore_ascii_case(name)) {
            warnings.push(Warning::ControllerListener(item.to_owned()));
            continue;
        }
        check_protocol(name, item, settings)?;
        listeners.push(Listener { name: name.to_owned(), bind: binds(endpoint), advertised: None });
    }
    if listeners.is_empty() {
        return Err(wrong(
            "listeners",
            value,
            "no listener is left for clients; name one like PLAINTEXT://localhost:9092",
        ));
    }
    Ok((listeners, warnings))
}

/// Only plain connections are served so far, and a listener that expects more must not quietly become one.
fn check_protocol(name: &str, item: &str, settings: &Settings) -> Result<(), ConfigError> {
    let map = settings.effective("listener.security.protocol.map").unwrap_or_default();
    let protocol = list(map)
        .filter_map(|pair| pair.split_once(':'))
        .find(|(listener, _)| listener.trim().eq_ignore_ascii_case(name))
        .map(|(_, protocol)| protocol.trim().to_ascii_uppercase());
    match protocol.as_deref() {
        Some("PLAINTEXT") => Ok(()),
        Some(other) => Err(wrong(
            "listeners",
            item,
            &format!(
                "it asks for {other}, and only PLAINTEXT is served so far; remove it or map its name to PLAINTEXT in listener.security.protocol.map"
            ),
        )),
        None => Err(wrong(
            "listeners",
            item,
            &format!("listener.security.protocol.map does not say what {name} speaks; add {name}:PLAINTEXT to it"),
        )),
    }
}

fn advertise_flags(listeners: &mut [Listener], advertise: &[String]) -> Result<(), ConfigError> {
    let origin = Origin::Flag("--advertise");
    if advertise.len() > listeners.len() {
        return Err(ConfigError::new(
            &origin,
            format!(
                "there are {} of them and only {} listeners; the Nth belongs to the Nth --listen",
                advertise.len(),
                listeners.len()
            ),
        ));
    }
    for (listener, text) in listeners.iter_mut().zip(advertise) {
        let endpoint = endpoint(text)
            .and_then(advertisable)
            .map_err(|why| ConfigError::new(&origin, format!("\"{text}\": {why}")))?;
        listener.advertised = Some(endpoint);
    }
    Ok(())
}

fn advertise_settings(listeners: &mut [Listener], settings: &Settings) -> Result<(), ConfigError> {
    let controllers: Vec<&str> =
        settings.effective("controller.listener.names").map(list).into_iter().flatten().collect();
    for item in settings.effective("advertised.listeners").map(list).into_iter().flatten() {
        let (name, endpoint) = named(item).map_err(|why| wrong("advertised.listeners", item, &why))?;
        if controllers.iter().any(|c| c.eq_ignore_ascii_case(name)) {
            continue;
        }
        let endpoint = advertisable(endpoint).map_err(|why| wrong("advertised.listeners", item, &why))?;
        let listener = listeners
            .iter_mut()
            .find(|l| l.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| wrong("advertised.listeners", item, &format!("there is no listener named {name}")))?;
        listener.advertised = Some(endpoint);
    }
    Ok(())
}

/// The addresses of the admin endpoint, none unless it is asked for.
pub(super) fn admin(settings: &Settings) -> Result<Vec<Bind>, ConfigError> {
    let text = settings.effective(ADMIN_LISTENER).map(str::trim).filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(Vec::new()) };
    endpoint(text).map(binds).map_err(|why| wrong(ADMIN_LISTENER, text, &why))
}

/// Clients cannot connect to "every address" nor to port 0.
fn advertisable(endpoint: Endpoint) -> Result<Endpoint, String> {
    if matches!(endpoint.host.as_str(), "" | "0.0.0.0" | "::") {
        return Err("clients need the name or address of this machine, not every address".to_owned());
    }
    if endpoint.port == 0 {
        return Err("clients need a port other than 0".to_owned());
    }
    Ok(endpoint)
}

fn check_distinct(listeners: &[Listener]) -> Result<(), ConfigError> {
    if listeners.len() > LISTENERS_MAX {
        return Err(ConfigError::new(&Origin::Together, format!("a node has at most {LISTENERS_MAX} listeners")));
    }
    for (index, listener) in listeners.iter().enumerate() {
        for other in &listeners[..index] {
            if other.name.eq_ignore_ascii_case(&listener.name) {
                return Err(wrong("listeners", &listener.name, "two listeners have that name"));
            }
            let same = |a: &Bind, b: &Bind| a.endpoint == b.endpoint && a.endpoint.port != 0;
            if let Some(twice) = listener.bind.iter().find(|a| other.bind.iter().any(|b| same(a, b))) {
                return Err(wrong("listeners", &twice.endpoint.to_string(), "two listeners have that address"));
            }
        }
    }
    Ok(())
}

fn wrong(property: &str, item: &str, why: &str) -> ConfigError {
    ConfigError::new(&Origin::Together, format!("{property}: \"{item}\": {why}"))
}

/// Splits `NAME://HOST:PORT`.
fn named(item: &str) -> Result<(&str, Endpoint), String> {
    let (name, address) = item.split_once("://").ok_or_else(|| "a listener is written NAME://HOST:PORT".to_owned())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    if name.is_empty() || !name.chars().all(plain) {
        return Err("the name before :// may have letters, digits, _, - and . only".to_owned());
    }
    Ok((name, endpoint(address)?))
}

/// Splits `HOST:PORT`; an IPv6 address stands in brackets, an empty host is every address.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wanted = || "an address is written HOST:PORT, for example localhost:9092 or [::1]:9092".to_owned();
    let (host, port) = text.trim().rsplit_once(':').ok_or_else(wanted)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wanted)?,
        None if host.contains(':') => return Err(wanted()),
        None => host,
    };
    if host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(wanted());
    }
    let port = port.parse().map_err(|_| format!("\"{port}\" is no port; ports lie between 0 and 65535"))?;
    Ok(Endpoint { host: host.to_owned(), port })
}

/// The addresses that a host stands for: `localhost` and "every address" have an IPv4 and an IPv6 half.
fn binds(endpoint: Endpoint) -> Vec<Bind> {
    let port = endpoint.port;
    let bind = |host: &str, optional| Bind { endpoint: Endpoint { host: host.to_owned(), port }, optional };
    match endpoint.host.as_str() {
        "localhost" => vec![bind("127.0.0.1", false), bind("::1", true)],
        "" => vec![bind("0.0.0.0", false), bind("::", true)],
        _ => vec![Bind { endpoint, optional: false }],
    }
}
