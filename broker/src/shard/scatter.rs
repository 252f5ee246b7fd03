//! Group requests on their way to the shards of their coordinators, and back.
//!
//! Most name one group and go to one shard as they are. Those that name several (DescribeGroups, OffsetFetch from version 8
//! on), or none (ListGroups), are split into requests of the same kind for each shard, and the responses are merged.

use bytes::Bytes;
use net::{ApiKey, DecodeError, Frame};

use super::connections::Responder;
use super::control::Origin;
use super::mail::{Ask, Forwarded};
use super::pending::Key;
use super::{Request, Shard};
use crate::group::api;
use crate::group::partition_for;
use crate::metadata::names::CONSUMER_OFFSETS;

/// A request that several shards handle a part of.
#[derive(Debug)]
pub(crate) struct Scatter {
    responder: Responder,
    /// The request, for the order of the answer.
    body: Bytes,
    missing: usize,
    bodies: Vec<Vec<u8>>,
}

impl Shard {
    /// Hands a group request to the shard, or shards, of its coordinators.
    pub(super) fn group_request(
        &mut self,
        responder: Responder,
        key: ApiKey,
        version: i16,
        client_id: Option<&str>,
        frame: &Frame<'_>,
        body_start: usize,
    ) -> Result<(), DecodeError> {
        let body = &frame[body_start..];
        let shards = self.peers.len();
        let parts = api::by_shard(key, version, body, shards, |group| self.shard_of_group(group))?;
        if let [(shard, _)] = parts.as_slice() {
            return self.handle_at(*shard, responder, key, version, client_id, frame, body_start);
        }
        let client = self.client(responder.connection, client_id);
        let scatter =
            Scatter { responder, body: Bytes::copy_from_slice(body), missing: parts.len(), bodies: Vec::new() };
        let request = self.requests.insert(Request::Scatter(Box::new(scatter)));
        for (shard, part) in parts {
            let forwarded = Forwarded { key, version, body: part.into(), client: client.clone() };
            if shard == self.id {
                self.handle_part(request, &forwarded)?;
            } else {
                self.ask(shard, request, Ask::Handle(forwarded));
            }
        }
        Ok(())
    }

    fn handle_part(&mut self, request: Key, forwarded: &Forwarded) -> Result<(), DecodeError> {
        let Forwarded { key, version, body, client } = forwarded;
        self.coordinate(Origin::Part(request), *key, *version, body, client)
    }

    /// A shard has handled its part.
    pub(super) fn part_handled(&mut self, request: Key, body: Vec<u8>) {
        let Some(Request::Scatter(scatter)) = self.requests.get_mut(request) else { return };
        scatter.bodies.push(body);
        scatter.missing -= 1;
        if scatter.missing > 0 {
            return;
        }
        let Some(Request::Scatter(scatter)) = self.requests.remove(request) else { return };
        let Responder { key, version, .. } = scatter.responder;
        match api::gather(key, version, &scatter.body, &scatter.bodies) {
            Ok(body) => self.respond_body(scatter.responder, &body),
            Err(error) => self.close_for(scatter.responder, &format!("its parts cannot be put together: {error}")),
        }
    }

    fn shard_of_group(&self, group: &str) -> usize {
        let Some(topic) = self.image.topic(CONSUMER_OFFSETS) else { return self.id };
        let partition = partition_for(group, topic.partitions.len() as i32);
        topic.partition(partition).map_or(self.id, |placed| placed.shard.into())
    }
}
