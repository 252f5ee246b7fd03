//! Every property a group has in Apache Kafka 4.3 (KIP-848, KIP-932, KIP-1071).

use super::definition::{
    Check::{self, Any, AtLeast, OffsetReset, OneOf},
    Definition,
    Importance::Medium,
    Kind::{self, Boolean, Int, String},
    Reason::{self, ConsumerGroups, ShareGroups, StreamsGroups},
    Synonym,
};

const fn group(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    reason: Reason,
    broker: &'static [Synonym],
    documentation: &'static str,
) -> Definition {
    Definition::new(name, kind, Some(default), check, Medium).from(broker).doc(documentation).without_meaning(reason)
}

macro_rules! broker {
    ($name:literal) => {
        &[Synonym { name: $name, factor: 1 }]
    };
}

/// The group properties, sorted by name: one a line, so that they read as the table they are.
#[rustfmt::skip]
pub(super) static GROUP: &[Definition] = &[
    group("consumer.assignment.interval.ms", Int, "1000", AtLeast(0), ConsumerGroups, broker!("group.consumer.assignment.interval.ms"), "Shortest time between two assignments of a consumer group."),
    group("consumer.heartbeat.interval.ms", Int, "5000", AtLeast(1), ConsumerGroups, broker!("group.consumer.heartbeat.interval.ms"), "How often members of a consumer group are told to send heartbeats."),
    group("consumer.session.timeout.ms", Int, "45000", AtLeast(1), ConsumerGroups, broker!("group.consumer.session.timeout.ms"), "How long a member of a consumer group may be silent."),
    group("share.assignment.interval.ms", Int, "1000", AtLeast(0), ShareGroups, broker!("group.share.assignment.interval.ms"), "Shortest time between two assignments of a share group."),
    group("share.auto.offset.reset", String, "latest", OffsetReset, ShareGroups, &[], "Where a share group begins in a partition that it has not read yet: earliest, latest, or by_duration:PnDTnHnMn.nS, that long ago."),
    group("share.delivery.count.limit", Int, "5", AtLeast(2), ShareGroups, broker!("group.share.delivery.count.limit"), "How often a record is delivered to a share group at the most."),
    group("share.heartbeat.interval.ms", Int, "5000", AtLeast(1), ShareGroups, broker!("group.share.heartbeat.interval.ms"), "How often members of a share group are told to send heartbeats."),
    group("share.isolation.level", String, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), ShareGroups, &[], "Whether a share group sees records of transactions that are not committed."),
    group("share.partition.max.record.locks", Int, "2000", AtLeast(100), ShareGroups, broker!("group.share.partition.max.record.locks"), "Records of a partition that a share group may have under way at the most."),
    group("share.record.lock.duration.ms", Int, "30000", AtLeast(1000), ShareGroups, broker!("group.share.record.lock.duration.ms"), "How long a member of a share group has a record for itself."),
    group("share.renew.acknowledge.enable", Boolean, "true", Any, ShareGroups, &[], "Whether members of a share group may ask for more time for a record."),
    group("share.session.timeout.ms", Int, "45000", AtLeast(1), ShareGroups, broker!("group.share.session.timeout.ms"), "How long a member of a share group may be silent."),
    group("streams.assignment.interval.ms", Int, "1000", AtLeast(0), StreamsGroups, broker!("group.streams.assignment.interval.ms"), "Shortest time between two assignments of a streams group."),
    group("streams.heartbeat.interval.ms", Int, "5000", AtLeast(1), StreamsGroups, broker!("group.streams.heartbeat.interval.ms"), "How often members of a streams group are told to send heartbeats."),
    group("streams.initial.rebalance.delay.ms", Int, "3000", AtLeast(0), StreamsGroups, broker!("group.streams.initial.rebalance.delay.ms"), "How long a new streams group waits for more members before its first assignment."),
    group("streams.num.standby.replicas", Int, "0", AtLeast(0), StreamsGroups, broker!("group.streams.num.standby.replicas"), "Standby copies of each task of a streams group."),
    group("streams.session.timeout.ms", Int, "45000", AtLeast(1), StreamsGroups, broker!("group.streams.session.timeout.ms"), "How long a member of a streams group may be silent."),
];

/// The broker properties that bound a group property, the lower bound first.
pub(super) fn bounds(name: &str) -> (Option<&'static str>, Option<&'static str>) {
    match name {
        "consumer.assignment.interval.ms" => {
            (Some("group.consumer.min.assignment.interval.ms"), Some("group.consumer.max.assignment.interval.ms"))
        }
        "consumer.heartbeat.interval.ms" => {
            (Some("group.consumer.min.heartbeat.interval.ms"), Some("group.consumer.max.heartbeat.interval.ms"))
        }
        "consumer.session.timeout.ms" => {
            (Some("group.consumer.min.session.timeout.ms"), Some("group.consumer.max.session.timeout.ms"))
        }
        "share.assignment.interval.ms" => {
            (Some("group.share.min.assignment.interval.ms"), Some("group.share.max.assignment.interval.ms"))
        }
        "share.delivery.count.limit" => {
            (Some("group.share.min.delivery.count.limit"), Some("group.share.max.delivery.count.limit"))
        }
        "share.heartbeat.interval.ms" => {
            (Some("group.share.min.heartbeat.interval.ms"), Some("group.share.max.heartbeat.interval.ms"))
        }
        "share.partition.max.record.locks" => {
            (Some("group.share.min.partition.max.record.locks"), Some("group.share.max.partition.max.record.locks"))
        }
        "share.record.lock.duration.ms" => {
            (Some("group.share.min.record.lock.duration.ms"), Some("group.share.max.record.lock.duration.ms"))
        }
        "share.session.timeout.ms" => {
            (Some("group.share.min.session.timeout.ms"), Some("group.share.max.session.timeout.ms"))
        }
        "streams.assignment.interval.ms" => {
            (Some("group.streams.min.assignment.interval.ms"), Some("group.streams.max.assignment.interval.ms"))
        }
        "streams.heartbeat.interval.ms" => {
            (Some("group.streams.min.heartbeat.interval.ms"), Some("group.streams.max.heartbeat.interval.ms"))
        }
        "streams.num.standby.replicas" => (None, Some("group.streams.max.standby.replicas")),
        "streams.session.timeout.ms" => {
            (Some("group.streams.min.session.timeout.ms"), Some("group.streams.max.session.timeout.ms"))
        }
        _ => (None, None),
    }
}
