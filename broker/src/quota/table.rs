//! All quotas there are: stored in the metadata, looked up by requests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::entity::{Entity, Key, Limits, Name, address};

/// Every quota of the cluster. Looking one up allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    users: Named<User>,
    /// Of client ids, whoever uses them.
    clients: Named<Limits>,
    ips: Named<Limits>,
    /// The limits of `ips` by address; of two spellings of one address, those of the first in order.
    addresses: BTreeMap<IpAddr, Limits>,
}

/// Values for names, and for all other names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Named<T> {
    named: BTreeMap<String, T>,
    default: T,
}

impl<T: Default> Named<T> {
    fn at(&mut self, name: &Name) -> &mut T {
        match name {
            Name::Default => &mut self.default,
            Name::Named(name) => self.named.entry(name.clone()).or_default(),
        }
    }

    fn get(&self, name: &Name) -> Option<&T> {
        match name {
            Name::Default => Some(&self.default),
            Name::Named(name) => self.named.get(name),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Name, &T)> {
        let named = self.named.iter().map(|(name, value)| (Name::Named(name.clone()), value));
        std::iter::once((Name::Default, &self.default)).chain(named)
    }
}

impl Named<Limits> {
    fn set(&mut self, name: &Name, limits: Limits) {
        *self.at(name) = limits;
        self.named.retain(|_, limits| !limits.is_empty());
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.default.is_empty()
    }
}

/// What is limited for one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct User {
    own: Limits,
    clients: Named<Limits>,
}

impl User {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.clients.is_empty()
    }
}

/// What a limit is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// By user and client id.
    UserClient,
    /// By user, all client ids together.
    User,
    /// By client id, all users together.
    Client,
}

impl Quotas {
    /// What is limited for an entity.
    pub fn get(&self, entity: &Entity) -> Limits {
        let found = match entity {
            Entity::User(user) => self.users.get(user).map(|user| &user.own),
            Entity::UserClient(user, client) => self.users.get(user).and_then(|user| user.clients.get(client)),
            Entity::Client(client) => self.clients.get(client),
            Entity::Ip(ip) => self.ips.get(ip),
        };
        found.copied().unwrap_or_default()
    }

    /// Replaces what is limited for an entity.
    pub fn set(&mut self, entity: &Entity, limits: Limits) {
        match entity {
            Entity::User(user) => {
                self.users.at(user).own = limits;
                self.users.named.retain(|_, user| !user.is_empty());
            }
            Entity::UserClient(user, client) => {
                self.users.at(user).clients.set(client, limits);
                self.users.named.retain(|_, user| !user.is_empty());
            }
            Entity::Client(client) => self.clients.set(client, limits),
            Entity::Ip(ip) => {
                self.ips.set(ip, limits);
                let addressed = self.ips.named.iter().rev();
                self.addresses = addressed.filter_map(|(name, limits)| Some((address(name)?, *limits))).collect();
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.named.is_empty() && self.users.default.is_empty() && self.clients.is_empty() && self.ips.is_empty()
    }

    /// Whether some entity has a limit of this key.
    pub fn has(&self, key: Key) -> bool {
        self.iter().any(|(_, limits)| limits.get(key).is_some())
    }

    /// Every entity that has a limit, with its limits, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Entity, Limits)> {
        let users = self.users.iter().flat_map(|(name, user)| {
            let clients = user.clients.iter().map({
                let name = name.clone();
                move |(client, limits)| (Entity::UserClient(name.clone(), client), *limits)
            });
            std::iter::once((Entity::User(name), user.own)).chain(clients)
        });
        let clients = self.clients.iter().map(|(client, limits)| (Entity::Client(client), *limits));
        let ips = self.ips.iter().map(|(ip, limits)| (Entity::Ip(ip), *limits));
        users.chain(clients).chain(ips).filter(|(_, limits)| !limits.is_empty())
    }

    /// The limit that holds for a request, and what it is counted by: the first that is set, in Kafka's order.
    ///
    /// ```text
    /// user + client id > user + any client > user > any user + client id > any user + any client > any user
    ///      > client id > any client
    /// ```
    pub fn limit(&self, key: Key, user: &str, client_id: &str) -> Option<(Scope, f64)> {
        let of_user = |user: &User| {
            let clients = [user.clients.named.get(client_id), Some(&user.clients.default)];
            let of_client = clients.into_iter().flatten().find_map(|limits| limits.get(key));
            let of_client = of_client.map(|limit| (Scope::UserClient, limit));
            of_client.or_else(|| Some((Scope::User, user.own.get(key)?)))
        };
        let users = [self.users.named.get(user), Some(&self.users.default)];
        let by_user = users.into_iter().flatten().find_map(of_user);
        by_user.or_else(|| {
            let clients = [self.clients.named.get(client_id), Some(&self.clients.default)];
            Some((Scope::Client, clients.into_iter().flatten().find_map(|limits| limits.get(key))?))
        })
    }

    /// The connections per second that an address may make.
    pub fn connection_rate(&self, ip: IpAddr) -> Option<f64> {
        let named = self.addresses.get(&ip.to_canonical());
        named.and_then(|limits| limits.get(Key::Connection)).or_else(|| self.ips.default.get(Key::Connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Name {
        Name::Named(name.to_owned())
    }

    fn limits(value: f64) -> Limits {
        let mut limits = Limits::default();
        limits.set(Key::Producer, Some(value));
        limits
    }

    #[test]
    fn the_most_specific_limit_holds_and_says_what_it_is_counted_by() {
        // Kafka's order, the weakest first: each that is added takes over.
        let order = [
            (Entity::Client(Name::Default), Scope::Client),
            (Entity::Client(named("c")), Scope::Client),
            (Entity::User(Name::Default), Scope::User),
            (Entity::UserClient(Name::Default, Name::Default), Scope::UserClient),
            (Entity::UserClient(Name::Default, named("c")), Scope::UserClient),
            (Entity::User(named("u")), Scope::User),
            (Entity::UserClient(named("u"), Name::Default), Scope::UserClient),
            (Entity::UserClient(named("u"), named("c")), Scope::UserClient),
        ];
        let mut quotas = Quotas::default();
        assert_eq!(quotas.limit(Key::Producer, "u", "c"), None);
        for (rank, (entity, scope)) in order.iter().enumerate() {
            let value = rank as f64 + 1.0;
            quotas.set(entity, limits(value));
            assert_eq!(quotas.limit(Key::Producer, "u", "c"), Some((*scope, value)));
            assert_eq!(quotas.limit(Key::Consumer, "u", "c"), None, "a limit of one key is none of another");
        }
        assert_eq!(quotas.iter().count(), order.len());
        for (entity, _) in &order {
            quotas.set(entity, Limits::default());
        }
        assert!(quotas.is_empty());
        assert_eq!(quotas, Quotas::default());
    }

    #[test]
    fn an_address_has_its_own_limit_or_that_of_all() {
        let mut limits = Limits::default();
        limits.set(Key::Connection, Some(5.0));
        let mut quotas = Quotas::default();
        quotas.set(&Entity::Ip(named("0:0:0:0:0:0:0:1")), limits);
        let (v6, v4): (IpAddr, IpAddr) = ([0, 0, 0, 0, 0, 0, 0, 1].into(), [10, 0, 0, 1].into());
        assert_eq!(quotas.connection_rate(v6), Some(5.0));
        assert_eq!(quotas.connection_rate(v4), None);
        limits.set(Key::Connection, Some(7.0));
        quotas.set(&Entity::Ip(Name::Default), limits);
        assert_eq!(quotas.connection_rate(v4), Some(7.0));
        quotas.set(&Entity::Ip(named("0:0:0:0:0:0:0:1")), Limits::default());
        assert_eq!(quotas.connection_rate(v6), Some(7.0));
        assert!(quotas.has(Key::Connection) && !quotas.has(Key::Producer));
    }
}
