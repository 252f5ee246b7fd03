//! Kafka's range assignor: of each topic, every member gets a run of neighbouring partitions.

use std::collections::BTreeMap;

/// Its name among the group protocols, the one that every client offers.
pub(super) const NAME: &str = "range";

/// A member as the assignor orders it: those with an instance id first, by it, so that a restart changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The member's id.
    pub(super) member_id: String,
    /// Its static name, if it has one (KIP-345).
    pub(super) instance_id: Option<String>,
    /// The topics it wants.
    pub(super) topics: Vec<String>,
}

/// Who gets which partitions, by member id and topic. `partitions` has the number of partitions of each topic; topics
/// that are not in it go to nobody.
pub(super) fn assign(
    mut candidates: Vec<Candidate>,
    partitions: &BTreeMap<String, i32>,
) -> BTreeMap<String, BTreeMap<String, Vec<i32>>> {
    candidates.sort_by(|a, b| {
        let key = |c: &Candidate| (c.instance_id.is_none(), c.instance_id.clone(), c.member_id.clone());
        key(a).cmp(&key(b))
    });
    let mut assignment: BTreeMap<String, BTreeMap<String, Vec<i32>>> =
        candidates.iter().map(|candidate| (candidate.member_id.clone(), BTreeMap::new())).collect();
    for (topic, &count) in partitions {
        let takers: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.topics.contains(topic)).collect();
        let Ok(share) = i32::try_from(takers.len()) else { continue };
        if share == 0 {
            continue;
        }
        let mut next = 0;
        for (nth, taker) in (0..share).zip(takers) {
            let run = count / share + i32::from(nth < count % share);
            if run > 0
                && let Some(topics) = assignment.get_mut(&taker.member_id)
            {
                topics.insert(topic.clone(), (next..next + run).collect());
            }
            next += run;
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(member: &str, instance: Option<&str>, topics: &[&str]) -> Candidate {
        Candidate {
            member_id: member.to_owned(),
            instance_id: instance.map(str::to_owned),
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        }
    }

    /// A member and, by topic, its partitions.
    type Owned = (String, Vec<(String, Vec<i32>)>);

    fn assigned(candidates: Vec<Candidate>, topics: &[(&str, i32)]) -> Vec<Owned> {
        let partitions = topics.iter().map(|&(topic, count)| (topic.to_owned(), count)).collect();
        assign(candidates, &partitions).into_iter().map(|(m, t)| (m, t.into_iter().collect())).collect()
    }

    fn owned(member: &str, topics: &[(&str, &[i32])]) -> Owned {
        (member.to_owned(), topics.iter().map(|&(t, p)| (t.to_owned(), p.to_vec())).collect())
    }

    #[test]
    fn the_first_members_get_the_remainder_of_each_topic() {
        let members = vec![candidate("b", None, &["t", "u"]), candidate("a", None, &["t", "u"])];
        assert_eq!(
            assigned(members, &[("t", 3), ("u", 3)]),
            [owned("a", &[("t", &[0, 1]), ("u", &[0, 1])]), owned("b", &[("t", &[2]), ("u", &[2])])]
        );
    }

    #[test]
    fn only_who_wants_a_topic_gets_it_and_spare_members_get_nothing() {
        let members = vec![candidate("a", None, &["t"]), candidate("b", None, &["u"]), candidate("c", None, &["u"])];
        assert_eq!(
            assigned(members, &[("t", 2), ("u", 1), ("w", 9)]),
            [owned("a", &[("t", &[0, 1])]), owned("b", &[("u", &[0])]), owned("c", &[])]
        );
    }

    #[test]
    fn static_members_come_first_in_the_order_of_their_names() {
        let members =
            vec![candidate("a", None, &["t"]), candidate("z", Some("1"), &["t"]), candidate("y", Some("2"), &["t"])];
        assert_eq!(
            assigned(members, &[("t", 3)]),
            [owned("a", &[("t", &[2])]), owned("y", &[("t", &[1])]), owned("z", &[("t", &[0])])]
        );
    }
}
