//! DescribeGroups and ListGroups.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{Group, State};
use super::message::{DescribedGroup, DescribedMember, GroupOffset, ListReply, ListRequest, ListedGroup};
use super::{Coordinator, Outcome};

/// The type of every group here, as clients name it.
const CLASSIC: &str = "classic";

impl Coordinator {
    pub(super) fn describe(&self, id: Arc<str>) -> DescribedGroup {
        match self.groups.get(&id) {
            Some(group) => group.describe(),
            None => DescribedGroup { state: State::Dead.name(), ..DescribedGroup::refused(id, Outcome::GroupNotFound) },
        }
    }

    pub(super) fn list(&self, request: &ListRequest) -> ListReply {
        let passes = |filter: &[Arc<str>], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let groups = self
            .groups
            .values()
            .filter(|group| passes(&request.states, group.state.name()) && passes(&request.types, CLASSIC));
        let groups = groups.map(|group| ListedGroup {
            group: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            state: group.state.name(),
            group_type: CLASSIC,
        });
        ListReply { outcome: Outcome::Done, groups: groups.collect() }
    }
}

impl Coordinator {
    /// The committed offsets of the groups after `after`, in order: of whole groups, until there are `count_min` of them.
    /// Says after which group to go on; nothing if that was the last.
    pub fn committed_after(&self, after: Option<&str>, count_min: usize) -> (Vec<GroupOffset>, Option<Arc<str>>) {
        let mut found = Vec::new();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (id, group) in self.groups.range::<str, _>((start, Bound::Unbounded)) {
            found.extend(group.offsets.iter().map(|(topic, entry)| GroupOffset {
                group: id.clone(),
                topic: topic.clone(),
                partition: entry.partition,
                offset: entry.offset,
            }));
            if found.len() >= count_min {
                return (found, Some(id.clone()));
            }
        }
        (found, None)
    }
}

impl Group {
    fn describe(&self) -> DescribedGroup {
        // Only a stable group has a protocol that all members agree on.
        let protocol = self.protocol_name.as_ref().filter(|_| self.state == State::Stable);
        let members = self.members.values().map(|member| DescribedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
            assignment: member.assignment.clone(),
        });
        DescribedGroup {
            outcome: Outcome::Done,
            group: self.id.clone(),
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            protocol_name: protocol.cloned().unwrap_or_else(|| Arc::from("")),
            members: members.collect(),
        }
    }
}
