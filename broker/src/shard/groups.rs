//! The group coordinators of the `__consumer_offsets` partitions placed on a shard: loading, timers, appends, answers.

use std::collections::BTreeMap;

use net::{ApiKey, DecodeError, Frame};

use super::Shard;
use super::connections::Responder;
use super::control::Origin;
use super::mail::{AppendAnswer, Client};
use crate::config::NodeConfig;
use crate::error_code::ErrorCode;

/// The coordinators of one shard.
#[derive(Debug)]
pub(crate) struct Groups {
    x: BTreeMap<i32, i32>,
}

impl Groups {
    pub(crate) fn new(_config: &NodeConfig) -> Self {
        Self { x: BTreeMap::new() }
    }
    pub(crate) fn has_work(&self) -> bool {
        false
    }
}

impl Shard {
    pub(super) fn groups_due(&mut self) {}
    pub(super) fn step_groups(&mut self) {}
    pub(super) fn groups_follow_image(&mut self) {}
    pub(super) fn offsets_committed(&mut self, _partition: i32, _token: u64) {}
    pub(super) fn offsets_not_committed(&mut self, _partition: i32, _token: u64, _error: ErrorCode) {}
    pub(super) fn group_request(&mut self, responder: Responder, _key: ApiKey, _version: i16, _client_id: Option<&str>, _frame: &Frame<'_>, _body_start: usize) -> Result<(), DecodeError> {
        self.close_for(responder, "no");
        Ok(())
    }
    pub(super) fn coordinate(&mut self, _origin: Origin, _key: ApiKey, _version: i16, _body: &[u8], _client: &Client) -> Result<(), DecodeError> {
        Ok(())
    }
}
