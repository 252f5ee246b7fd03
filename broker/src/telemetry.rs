//! What clients say of themselves: the receiver of their metrics (KIP-714).
//!
//! ```text
//!   GetTelemetrySubscriptions ─► which subscriptions mean this client? ─► its id, how often, which metrics
//!   PushTelemetry ─────────────► of that subscription, not too early, not too large?
//!                                  └► admin thread: unpacked, read, shown ─► answered: taken, or broken
//! ```
//!
//! The receiver lives on one shard, whichever connection a client uses. A push is an OpenTelemetry document
//! (`MetricsData`, Protocol Buffers), perhaps compressed; it is unpacked and read ([`otlp`]) away from the shards, by the
//! admin thread, and only where there is one. Nothing of it outlives the process.
#![forbid(unsafe_code)]

pub mod otlp;
mod protobuf;

#[cfg(test)]
mod tests;

pub use protobuf::Broken;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use net::Uuid;
use net::api::{get_telemetry_subscriptions as get, push_telemetry as push};
use rand_core::Rng;
use rustc_hash::FxHasher;
use storage::compression::{self, Codec};

use crate::config::{Overrides, Selector, Subscription};
use crate::error_code::ErrorCode;
use crate::metadata::{Image, random_uuid};

/// Clients that are remembered; the one that was silent for longest makes room for a new one.
const INSTANCES_MAX: usize = 10_000;

/// The most bytes that a push may unpack to.
const UNPACKED_BYTES_MAX: u64 = 4 << 20;

/// How often to ask again where no subscription means a client.
const INTERVAL_MS_DEFAULT: u32 = 300_000;

/// A client is forgotten after so many of its intervals without a word.
const SILENT_INTERVALS: u64 = 3;

/// The codecs that clients may compress with, the preferred one first.
const CODECS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];

/// Stands for all metrics.
const ALL_METRICS: &str = "*";

/// What a request's connection and headers say of its client.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The client id.
    pub client_id: &'a str,
    /// The library's name; empty if the client did not say.
    pub software_name: &'a str,
    /// The library's version; empty if the client did not say.
    pub software_version: &'a str,
    /// Its address.
    pub address: &'a str,
    /// Its port.
    pub port: u16,
}

/// What is wanted of one client: all subscriptions that mean it, together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    interval_ms: u32,
    metrics: BTreeSet<String>,
}

/// A client that was told what is wanted of it.
#[derive(Debug)]
struct Instance {
    wanted: Wanted,
    subscription_id: i32,
    asked_ns: Option<u64>,
    pushed_ns: Option<u64>,
    /// It pushed what no subscription wants, and has to ask again.
    is_astray: bool,
    has_ended: bool,
    heard_ns: u64,
}

/// A push as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The id that the client got with its first subscription.
    pub instance_id: Uuid,
    /// Its client id.
    pub client_id: String,
    /// How often it pushes.
    pub interval_ms: u32,
    /// How the document is compressed.
    pub codec: Codec,
    /// The document.
    pub document: Bytes,
}

/// What becomes of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more; the client is told this.
    Told(ErrorCode),
    /// It is as was asked for, as far as that is seen from outside.
    Taken(Push),
}

impl Push {
    /// The document itself, an OpenTelemetry `MetricsData`; up to 4 MiB. Not for a shard's turn.
    ///
    /// # Errors
    /// If the bytes are not what the codec makes, or unpack to more.
    pub fn unpacked(&self) -> Result<Vec<u8>, compression::Error> {
        compression::decompress_all(self.codec, &self.document, UNPACKED_BYTES_MAX)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Receiver {
    instances: BTreeMap<Uuid, Instance>,
    /// The instances by when they were heard last.
    by_silence: BTreeSet<(u64, Uuid)>,
    /// The image's subscriptions, their expressions compiled.
    compiled: Vec<(Arc<Overrides>, Subscription)>,
}

impl Receiver {
    /// Answers a GetTelemetrySubscriptions request.
    pub fn subscriptions(
        &mut self,
        request: &get::Request,
        about: &About<'_>,
        image: &Image,
        push_bytes_max: u32,
        now_ns: u64,
        random: &mut impl Rng,
    ) -> get::Response<'static> {
        let is_new = request.client_instance_id.is_zero();
        let id = if is_new { random_uuid(random) } else { request.client_instance_id };
        let wanted = self.wanted(id, about, image);
        let known = self.instances.get(&id).filter(|known| known.wanted == wanted);
        if known.is_some_and(|known| known.asks_too_early(now_ns)) {
            let error_code = ErrorCode::ThrottlingQuotaExceeded.code();
            return get::Response { error_code, client_instance_id: id, ..get::Response::default() };
        }
        let instance = self.remember(id, wanted, now_ns);
        // Directly after it asked it may push: it may have been away.
        (instance.asked_ns, instance.pushed_ns) = (Some(now_ns), None);
        instance.is_astray = false;
        get::Response {
            client_instance_id: id,
            subscription_id: instance.subscription_id,
            accepted_compression_types: CODECS.iter().map(|codec| codec.id() as i8).collect(),
            push_interval_ms: i32::try_from(instance.wanted.interval_ms).unwrap_or(i32::MAX),
            telemetry_max_bytes: i32::try_from(push_bytes_max).unwrap_or(i32::MAX),
            // What counts from the client's start on survives a push that is lost.
            delta_temporality: false,
            requested_metrics: instance.wanted.metrics.iter().map(|name| name.clone().into()).collect(),
            ..get::Response::default()
        }
    }

    /// Judges a PushTelemetry request by all but its document.
    pub fn push(
        &mut self,
        request: &push::Request<'_>,
        about: &About<'_>,
        image: &Image,
        push_bytes_max: u32,
        now_ns: u64,
    ) -> Verdict {
        match self.try_push(request, about, image, push_bytes_max, now_ns) {
            Ok(Some(push)) => Verdict::Taken(push),
            Ok(None) => Verdict::Told(ErrorCode::None),
            Err(code) => Verdict::Told(code),
        }
    }

    fn try_push(
        &mut self,
        request: &push::Request<'_>,
        about: &About<'_>,
        image: &Image,
        push_bytes_max: u32,
        now_ns: u64,
    ) -> Result<Option<Push>, ErrorCode> {
        let id = request.client_instance_id;
        if id.is_zero() {
            return Err(ErrorCode::InvalidRequest);
        }
        let wanted = self.wanted(id, about, image);
        let instance = self.remember(id, wanted, now_ns);
        if instance.has_ended {
            return Err(ErrorCode::InvalidRequest);
        }
        if instance.pushes_too_early(now_ns) && !request.terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        instance.pushed_ns = Some(now_ns);
        if request.subscription_id != instance.subscription_id {
            instance.is_astray = true;
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        let codec = u8::try_from(request.compression_type).ok().and_then(Codec::from_id);
        let Some(codec) = codec else {
            instance.is_astray = true;
            return Err(ErrorCode::UnsupportedCompressionType);
        };
        if request.metrics.len() > push_bytes_max as usize {
            return Err(ErrorCode::TelemetryTooLarge);
        }
        instance.has_ended = request.terminating;
        Ok((!request.metrics.is_empty()).then(|| Push {
            instance_id: id,
            client_id: about.client_id.to_owned(),
            interval_ms: instance.wanted.interval_ms,
            codec,
            document: Bytes::copy_from_slice(&request.metrics),
        }))
    }

    /// What all subscriptions that mean a client want of it together.
    fn wanted(&mut self, id: Uuid, about: &About<'_>, image: &Image) -> Wanted {
        self.compile(image);
        let (instance_id, port) = (id.to_string(), about.port.to_string());
        let said = |selector| match selector {
            Selector::InstanceId => instance_id.as_str(),
            Selector::ClientId => about.client_id,
            Selector::SoftwareName => about.software_name,
            Selector::SoftwareVersion => about.software_version,
            Selector::SourceAddress => about.address,
            Selector::SourcePort => port.as_str(),
        };
        let mut wanted = Wanted { interval_ms: INTERVAL_MS_DEFAULT, metrics: BTreeSet::new() };
        for (_, subscription) in self.compiled.iter().filter(|(_, subscription)| subscription.matches(said)) {
            wanted.interval_ms = wanted.interval_ms.min(subscription.interval_ms);
            wanted.metrics.extend(subscription.metrics.iter().cloned());
        }
        if wanted.metrics.contains(ALL_METRICS) {
            wanted.metrics.retain(|name| name == ALL_METRICS);
        }
        wanted
    }

    /// Compiles the subscriptions that are new in the image.
    fn compile(&mut self, image: &Image) {
        let is_same = self.compiled.len() == image.client_metrics_count()
            && image.client_metrics().zip(&self.compiled).all(|((_, now), (then, _))| Arc::ptr_eq(now, then));
        if !is_same {
            let compiled = |overrides: &Arc<Overrides>| (Arc::clone(overrides), Subscription::of(overrides));
            self.compiled = image.client_metrics().map(|(_, overrides)| compiled(overrides)).collect();
        }
    }

    /// The instance of that id, which begins anew where something else is wanted of it than before.
    fn remember(&mut self, id: Uuid, wanted: Wanted, now_ns: u64) -> &mut Instance {
        self.forget_silent(now_ns);
        match self.instances.get_mut(&id) {
            Some(known) => {
                self.by_silence.remove(&(known.heard_ns, id));
                if known.wanted != wanted {
                    known.subscription_id = subscription_id(id, &wanted);
                    known.wanted = wanted;
                    (known.asked_ns, known.pushed_ns) = (None, None);
                }
                known.heard_ns = now_ns;
            }
            None => {
                if self.instances.len() >= INSTANCES_MAX {
                    self.forget_one();
                }
                let instance = Instance {
                    subscription_id: subscription_id(id, &wanted),
                    wanted,
                    asked_ns: None,
                    pushed_ns: None,
                    is_astray: false,
                    has_ended: false,
                    heard_ns: now_ns,
                };
                self.instances.insert(id, instance);
            }
        }
        self.by_silence.insert((now_ns, id));
        self.instances.get_mut(&id).expect("it is there now")
    }

    fn forget_silent(&mut self, now_ns: u64) {
        while let Some(&(heard_ns, id)) = self.by_silence.first() {
            let interval_ms = self.instances.get(&id).map_or(0, |instance| u64::from(instance.wanted.interval_ms));
            let silent_ms = now_ns.saturating_sub(heard_ns) / 1_000_000;
            if silent_ms < (SILENT_INTERVALS * interval_ms).max(u64::from(INTERVAL_MS_DEFAULT)) {
                return;
            }
            self.forget_one();
        }
    }

    /// Forgets who was silent for longest.
    fn forget_one(&mut self) {
        let Some((_, id)) = self.by_silence.pop_first() else { return };
        self.instances.remove(&id).expect("both know the same instances");
    }
}

impl Instance {
    /// Whether the client asks again before it has pushed or its interval is over.
    fn asks_too_early(&self, now_ns: u64) -> bool {
        self.asked_ns.is_some() && !self.is_astray && !self.interval_is_over(now_ns)
    }

    /// Whether the client pushes again within its interval.
    fn pushes_too_early(&self, now_ns: u64) -> bool {
        self.pushed_ns.is_some() && !self.interval_is_over(now_ns)
    }

    fn interval_is_over(&self, now_ns: u64) -> bool {
        let last_ns = self.asked_ns.max(self.pushed_ns).unwrap_or(0);
        now_ns.saturating_sub(last_ns) >= u64::from(self.wanted.interval_ms) * 1_000_000
    }
}

/// Another one for each instance and whatever is wanted of it.
fn subscription_id(id: Uuid, wanted: &Wanted) -> i32 {
    let mut hasher = FxHasher::default();
    (id.0, wanted.interval_ms, &wanted.metrics).hash(&mut hasher);
    let hash = hasher.finish();
    (hash ^ hash >> 32) as i32
}
