//! What clients use of one shard, held against their quotas.
//!
//! ```text
//!  own connections ─ record ─► rate of (key, who) ◄─ heard ─ other shards
//!                                   │        └────── report ─► other shards, every 100 ms while there is use
//!                                   ▼
//!                              throttle time
//! ```
//!
//! Each shard counts what passes its own connections and tells the others what it has counted; so each holds the sum, late by
//! what was not told yet. Only what has a limit is counted. Nothing here reads a clock.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::entity::Key;
use super::rate::{Rate, TokenBucket, Windows};
use super::table::{Quotas, Scope};
use crate::config::NodeConfig;

/// Rates and buckets kept at the most; further names share one. Idle ones make room.
const COUNTED_MAX: usize = 10_000;

/// Looking for idle ones again pays only after this time.
const SWEEP_NS: u64 = 1_000_000_000;

/// Uses told in one report at the most; the others are in the next.
pub const REPORT_MAX: usize = 256;

/// Time between two reports.
pub const REPORT_NS: u64 = 100_000_000;

/// A shard that spends all its time on a client's requests spends 100 percent.
const PERCENT_PER_NS: f64 = 100.0 / 1e9;

/// Who uses something.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The user.
    pub user: &'a str,
    /// The client id.
    pub client_id: &'a str,
}

/// A use that another shard is told of.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    key: Key,
    name: Arc<str>,
    amount: f64,
}

/// The windows of each kind of quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `quota.window.num` and `quota.window.size.seconds`.
    pub windows: Windows,
    /// `controller.quota.window.num` and `controller.quota.window.size.seconds`.
    pub mutation_windows: Windows,
}

/// Where a rate stands, until the next look-up.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: Key,
    index: usize,
}

#[derive(Debug)]
struct Counted {
    name: Arc<str>,
    rate: Rate,
    /// Not yet told to the other shards.
    untold: f64,
}

/// The rates of one key.
#[derive(Debug, Default)]
struct Rates {
    entries: Vec<Counted>,
    index: FxHashMap<Arc<str>, usize>,
    swept_ns: u64,
    /// Entries with something to tell.
    untold: Vec<usize>,
}

/// The quotas of one shard and what counts against them.
#[derive(Debug)]
pub struct Meter {
    settings: Settings,
    /// Whether there are other shards to tell.
    tells: bool,
    quotas: Arc<Quotas>,
    /// Whether a limit of each key exists, by [`Key`].
    limited: [bool; Key::ALL.len()],
    /// Whether any limit exists.
    is_active: bool,
    rates: [Rates; Key::ALL.len()],
    buckets: FxHashMap<Box<str>, TokenBucket>,
    buckets_swept_ns: u64,
    /// Scratch space for a name.
    name: String,
}

impl Settings {
    /// Those of a node.
    pub fn of(config: &NodeConfig) -> Self {
        let number = |name| config.settings.effective(name).and_then(|value| value.parse().ok()).unwrap_or(1);
        let windows = |count, seconds| Windows::of_seconds(number(count), number(seconds));
        Self {
            windows: windows("quota.window.num", "quota.window.size.seconds"),
            mutation_windows: windows("controller.quota.window.num", "controller.quota.window.size.seconds"),
        }
    }
}

impl Meter {
    /// Of one of so many shards. Nothing is limited yet.
    pub fn new(settings: Settings, shards: usize) -> Self {
        Self {
            settings,
            tells: shards > 1,
            quotas: Arc::default(),
            limited: [false; Key::ALL.len()],
            is_active: false,
            rates: Default::default(),
            buckets: FxHashMap::default(),
            buckets_swept_ns: 0,
            name: String::new(),
        }
    }

    /// Goes by these quotas from now on.
    pub fn follow(&mut self, quotas: &Arc<Quotas>) {
        if Arc::ptr_eq(&self.quotas, quotas) {
            return;
        }
        self.quotas = Arc::clone(quotas);
        self.limited = Key::ALL.map(|key| quotas.has(key));
        self.is_active = self.limited.contains(&true);
        for (rates, limited) in self.rates.iter_mut().zip(self.limited) {
            if !limited {
                *rates = Rates::default();
            }
        }
        // A new limit begins with a full burst.
        self.buckets.clear();
    }

    /// Whether anything is limited: the one check that requests pay where there are no quotas.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether somebody has a limit of this key.
    #[inline]
    pub fn limits(&self, key: Key) -> bool {
        self.limited[key as usize]
    }

    /// The most that may be used at once without being more than the limit.
    pub fn burst(&self, key: Key, who: Who<'_>) -> Option<f64> {
        let (_, limit) = self.quotas.limit(key, who.user, who.client_id)?;
        Some(limit * self.settings.windows.full_seconds())
    }

    /// Counts a use, and says how long its user is to wait: 0 within the limit.
    pub fn record(&mut self, key: Key, who: Who<'_>, amount: f64, now_ns: u64) -> u64 {
        let Some((place, limit)) = self.place(key, who, now_ns) else { return 0 };
        self.count(place, amount, now_ns);
        let counted = &mut self.rates[key as usize].entries[place.index];
        counted.rate.throttle_ns(limit, self.settings.windows, now_ns)
    }

    /// How long somebody's next request is to wait, at most one window, and by which name the time it takes is counted.
    /// Nothing if there is no limit for it.
    pub fn request(&mut self, who: Who<'_>, now_ns: u64) -> Option<(Arc<str>, u64)> {
        let (place, limit) = self.place(Key::Request, who, now_ns)?;
        let windows = self.settings.windows;
        let counted = &mut self.rates[Key::Request as usize].entries[place.index];
        let wait_ns = counted.rate.throttle_ns(limit, windows, now_ns).min(windows.length_ns);
        Some((Arc::clone(&counted.name), wait_ns))
    }

    /// Counts the time that requests took: a share of a turn, under the name that [`Self::request`] gave.
    pub fn took(&mut self, name: &str, spent_ns: f64, now_ns: u64) {
        if self.limits(Key::Request) {
            let index = self.rates[Key::Request as usize].find(name, self.settings.windows, now_ns);
            self.count(Place { key: Key::Request, index }, spent_ns * PERCENT_PER_NS, now_ns);
        }
    }

    fn count(&mut self, place: Place, amount: f64, now_ns: u64) {
        let rates = &mut self.rates[place.key as usize];
        let counted = &mut rates.entries[place.index];
        counted.rate.record(amount, self.settings.windows, now_ns);
        if !self.tells {
            return;
        }
        if counted.untold == 0.0 {
            rates.untold.push(place.index);
        }
        counted.untold += amount;
        if counted.untold == 0.0 {
            // Taken back before it was told. It is in the list still; an entry is there once.
            rates.untold.retain(|&index| index != place.index);
        }
    }

    /// Counts an answer, or not if it is to be held back: then it says how long. What alone is more than the windows
    /// take is let through when nothing else counts, since it would never be otherwise.
    pub fn admit(&mut self, key: Key, who: Who<'_>, amount: f64, now_ns: u64) -> Result<u64, u64> {
        let Some((place, limit)) = self.place(key, who, now_ns) else { return Ok(0) };
        let windows = self.settings.windows;
        let before = self.rates[key as usize].entries[place.index].rate.measure(windows, now_ns).0;
        self.count(place, amount, now_ns);
        let wait_ns = self.rates[key as usize].entries[place.index].rate.throttle_ns(limit, windows, now_ns);
        if wait_ns == 0 || (before <= 0.0 && amount > limit * windows.full_seconds()) {
            return Ok(wait_ns);
        }
        self.count(place, -amount, now_ns);
        Err(wait_ns)
    }

    /// A connection comes from an address: how long it is to be kept out, 0 if it may come in. At most one window.
    pub fn connect(&mut self, ip: IpAddr, now_ns: u64) -> u64 {
        let Some(limit) = self.quotas.connection_rate(ip) else { return 0 };
        let windows = self.settings.windows;
        self.name.clear();
        std::fmt::Write::write_fmt(&mut self.name, format_args!("{}", ip.to_canonical())).expect("a string grows");
        let index = self.rates[Key::Connection as usize].find(&self.name, windows, now_ns);
        let rate = &mut self.rates[Key::Connection as usize].entries[index].rate;
        rate.record(1.0, windows, now_ns);
        let wait_ns = rate.throttle_ns(limit, windows, now_ns).min(windows.length_ns);
        if wait_ns > 0 {
            rate.record(-1.0, windows, now_ns);
        }
        wait_ns
    }

    /// Takes tokens for mutations of the metadata, there or not.
    pub fn mutate(&mut self, who: Who<'_>, partitions: f64, now_ns: u64) {
        if let Some((bucket, limit, windows)) = self.bucket(who, now_ns) {
            bucket.take(partitions, limit, windows, now_ns);
        }
    }

    /// How long somebody has to wait for the next mutation; 0 if it may be now.
    pub fn mutation_wait(&mut self, who: Who<'_>, now_ns: u64) -> u64 {
        self.bucket(who, now_ns).map_or(0, |(bucket, limit, windows)| bucket.throttle_ns(limit, windows, now_ns))
    }

    /// What was counted here and not told yet, a part of it if it is much.
    pub fn report(&mut self) -> Vec<Used> {
        let mut report = Vec::new();
        for key in [Key::Producer, Key::Consumer, Key::Request] {
            let rates = &mut self.rates[key as usize];
            while report.len() < REPORT_MAX
                && let Some(index) = rates.untold.pop()
            {
                let counted = &mut rates.entries[index];
                let amount = std::mem::take(&mut counted.untold);
                report.push(Used { key, name: Arc::clone(&counted.name), amount });
            }
        }
        report
    }

    /// Whether there are other shards to tell.
    pub fn tells(&self) -> bool {
        self.tells
    }

    /// Whether there is something to report.
    pub fn has_report(&self) -> bool {
        self.rates.iter().any(|rates| !rates.untold.is_empty())
    }

    /// Counts what another shard has reported.
    pub fn heard(&mut self, report: &[Used], now_ns: u64) {
        let windows = self.settings.windows;
        for used in report.iter().filter(|used| self.limited[used.key as usize]) {
            let rates = &mut self.rates[used.key as usize];
            let index = rates.find(&used.name, windows, now_ns);
            rates.entries[index].rate.record(used.amount, windows, now_ns);
        }
    }

    fn place(&mut self, key: Key, who: Who<'_>, now_ns: u64) -> Option<(Place, f64)> {
        let (scope, limit) = self.quotas.limit(key, who.user, who.client_id)?;
        write_name(&mut self.name, scope, who);
        let index = self.rates[key as usize].find(&self.name, self.settings.windows, now_ns);
        Some((Place { key, index }, limit))
    }

    fn bucket(&mut self, who: Who<'_>, now_ns: u64) -> Option<(&mut TokenBucket, f64, Windows)> {
        let (scope, limit) = self.quotas.limit(Key::Mutation, who.user, who.client_id)?;
        let windows = self.settings.mutation_windows;
        write_name(&mut self.name, scope, who);
        if self.buckets.len() >= COUNTED_MAX && now_ns >= self.buckets_swept_ns + SWEEP_NS {
            self.buckets_swept_ns = now_ns;
            self.buckets.retain(|_, bucket| !bucket.is_full(limit, windows, now_ns));
        }
        if !self.buckets.contains_key(self.name.as_str()) {
            if self.buckets.len() >= COUNTED_MAX {
                self.name.clear();
            }
            let bucket = TokenBucket::full(limit, windows, now_ns);
            self.buckets.entry(self.name.as_str().into()).or_insert(bucket);
        }
        Some((self.buckets.get_mut(self.name.as_str()).expect("it is there now"), limit, windows))
    }
}

impl Rates {
    /// The place of a name, which is made if there is room, else the place that all share for whom there is none.
    fn find(&mut self, name: &str, windows: Windows, now_ns: u64) -> usize {
        if let Some(&index) = self.index.get(name) {
            return index;
        }
        if self.entries.len() >= COUNTED_MAX && now_ns >= self.swept_ns + SWEEP_NS {
            self.swept_ns = now_ns;
            self.sweep(windows, now_ns);
        }
        let name = if self.entries.len() >= COUNTED_MAX { "" } else { name };
        if let Some(&index) = self.index.get(name) {
            return index;
        }
        let name: Arc<str> = name.into();
        self.index.insert(Arc::clone(&name), self.entries.len());
        self.entries.push(Counted { name, rate: Rate::default(), untold: 0.0 });
        self.entries.len() - 1
    }

    fn sweep(&mut self, windows: Windows, now_ns: u64) {
        self.entries.retain(|counted| counted.untold != 0.0 || !counted.rate.is_idle(windows, now_ns));
        self.index = self.entries.iter().enumerate().map(|(index, it)| (Arc::clone(&it.name), index)).collect();
        let is_untold = |(index, counted): (usize, &Counted)| (counted.untold != 0.0).then_some(index);
        self.untold = self.entries.iter().enumerate().filter_map(is_untold).collect();
    }
}

/// One text for whom a limit is counted by. Neither part holds a NUL that could confuse it with another.
fn write_name(name: &mut String, scope: Scope, who: Who<'_>) {
    name.clear();
    match scope {
        Scope::UserClient => {
            name.push('b');
            name.push_str(who.user);
            name.push('\0');
            name.push_str(who.client_id);
        }
        Scope::User => {
            name.push('u');
            name.push_str(who.user);
        }
        Scope::Client => {
            name.push('c');
            name.push_str(who.client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entity::{Entity, Limits, Name};
    use super::*;

    const S: u64 = 1_000_000_000;
    const WHO: Who<'static> = Who { user: "u", client_id: "c" };

    fn meter(key: Key, limit: f64) -> Meter {
        let windows = Windows::of_seconds(11, 1);
        let mut meter = Meter::new(Settings { windows, mutation_windows: windows }, 2);
        let mut limits = Limits::default();
        limits.set(key, Some(limit));
        let entity = if key == Key::Connection { Entity::Ip(Name::Default) } else { Entity::Client(Name::Default) };
        let mut quotas = Quotas::default();
        quotas.set(&entity, limits);
        meter.follow(&Arc::new(quotas));
        meter
    }

    #[test]
    fn without_quotas_nothing_is_counted() {
        let windows = Windows::of_seconds(11, 1);
        let mut meter = Meter::new(Settings { windows, mutation_windows: windows }, 2);
        assert!(!meter.is_active());
        assert_eq!(meter.record(Key::Producer, WHO, 1e12, 0), 0);
        assert!(!meter.has_report());
    }

    #[test]
    fn over_many_windows_the_use_is_held_to_the_limit() {
        let mut meter = meter(Key::Producer, 1000.0);
        let (mut now_ns, mut used) = (0, 0.0);
        while now_ns < 1000 * S {
            used += 3000.0;
            now_ns += meter.record(Key::Producer, WHO, 3000.0, now_ns) + 1_000_000;
        }
        let rate = used / (now_ns as f64 / S as f64);
        assert!((950.0..=1100.0).contains(&rate), "{rate}");
    }

    #[test]
    fn shards_that_tell_each_other_throttle_by_the_sum() {
        let (mut a, mut b) = (meter(Key::Producer, 1000.0), meter(Key::Producer, 1000.0));
        assert_eq!(a.record(Key::Producer, WHO, 8000.0, 0), 0);
        assert_eq!(b.record(Key::Producer, WHO, 8000.0, 0), 0);
        let (from_a, from_b) = (a.report(), b.report());
        assert!(!a.has_report() && !b.has_report());
        a.heard(&from_b, 0);
        b.heard(&from_a, 0);
        assert!(!a.has_report(), "what was heard is not told again");
        assert_eq!(a.record(Key::Producer, WHO, 0.0, 0), 6 * S);
        assert_eq!(b.record(Key::Producer, WHO, 0.0, 0), 6 * S);
    }

    #[test]
    fn an_answer_that_is_held_back_does_not_count() {
        let mut meter = meter(Key::Consumer, 1000.0);
        assert_eq!(meter.admit(Key::Consumer, WHO, 9000.0, 0), Ok(0));
        assert_eq!(meter.admit(Key::Consumer, WHO, 5000.0, 0), Err(4 * S));
        assert_eq!(meter.admit(Key::Consumer, WHO, 1000.0, 0), Ok(0));
        assert_eq!(meter.report().len(), 1);
    }

    #[test]
    fn an_answer_larger_than_all_windows_passes_when_nothing_else_counts() {
        let mut meter = meter(Key::Consumer, 1000.0);
        assert_eq!(meter.admit(Key::Consumer, WHO, 50_000.0, 0), Ok(40 * S));
        assert!(meter.admit(Key::Consumer, WHO, 50_000.0, 5 * S).is_err());
        assert!(meter.admit(Key::Consumer, WHO, 50_000.0, 12 * S).is_ok());
    }

    #[test]
    fn requests_wait_by_the_time_that_earlier_ones_took() {
        let mut meter = meter(Key::Request, 10.0);
        let (name, wait_ns) = meter.request(WHO, 0).expect("limited");
        assert_eq!(wait_ns, 0);
        meter.took(&name, 0.9 * S as f64, 0);
        assert_eq!(meter.request(WHO, 0).expect("limited").1, 0, "9 % over 10 s");
        meter.took(&name, 0.15 * S as f64, 0);
        assert_eq!(meter.request(WHO, 0).expect("limited").1, S / 2);
        meter.took(&name, 5.0 * S as f64, 0);
        assert_eq!(meter.request(WHO, 0).expect("limited").1, S, "at most a window");
    }

    #[test]
    fn names_are_bounded_and_idle_ones_make_room() {
        let mut meter = meter(Key::Producer, 1000.0);
        for client in 0..COUNTED_MAX + 500 {
            let client_id = client.to_string();
            meter.record(Key::Producer, Who { user: "u", client_id: &client_id }, 1.0, 0);
        }
        let rates = &meter.rates[Key::Producer as usize];
        assert_eq!(rates.entries.len(), COUNTED_MAX + 1, "and one that the others share");
        while meter.has_report() {
            assert!(meter.report().len() <= REPORT_MAX);
        }
        meter.record(Key::Producer, Who { user: "u", client_id: "new" }, 1.0, 20 * S);
        assert_eq!(meter.rates[Key::Producer as usize].entries.len(), 1);
    }

    #[test]
    fn a_shard_that_is_alone_keeps_nothing_for_others() {
        let mut meter = meter(Key::Producer, 1000.0);
        meter.tells = false;
        for client in 0..=COUNTED_MAX {
            let client_id = client.to_string();
            meter.record(Key::Producer, Who { user: "u", client_id: &client_id }, 1.0, 0);
        }
        assert!(!meter.has_report());
        meter.record(Key::Producer, Who { user: "u", client_id: "new" }, 1.0, 20 * S);
        assert_eq!(meter.rates[Key::Producer as usize].entries.len(), 1, "idle ones make room");
    }

    #[test]
    fn connections_and_mutations_wait_when_they_are_too_many() {
        let mut meter_of_connections = meter(Key::Connection, 2.0);
        let ip: IpAddr = [127, 0, 0, 1].into();
        let admitted = (0..100).filter(|_| meter_of_connections.connect(ip, 0) == 0).count();
        assert_eq!(admitted, 20);
        assert!(meter_of_connections.connect(ip, 0) <= S);
        assert_eq!(meter_of_connections.connect(ip, 11 * S), 0);

        let mut meter = meter(Key::Mutation, 1.0);
        meter.mutate(WHO, 13.0, 0);
        assert_eq!(meter.mutation_wait(WHO, 0), 2 * S);
        assert_eq!(meter.mutation_wait(WHO, 2 * S), 0);
    }
}
