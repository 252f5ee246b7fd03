//! Simulated clients: they speak the real protocol over simulated sockets and tell the model what they learn.
//!
//! A client does one thing when it is polled: it takes what has arrived, then perhaps asks for more. It never waits.

mod admin;
mod auditor;
mod committer;
mod consumer;
mod keeper;
mod lane;
mod limiter;
mod link;
mod member;
mod producer;

use broker::driver::simulated::Network;

use super::model::Model;
use super::totals::Totals;
use super::trace::Trace;

pub(super) use admin::Admin;
pub(super) use auditor::Auditor;
pub(super) use committer::Committer;
pub(super) use consumer::Consumer;
pub(super) use keeper::Keeper;
pub(super) use limiter::Limiter;
pub(super) use member::Member;
pub(super) use producer::{Producer, Style};

/// What a client sees of the world while it is polled.
pub(super) struct Env<'a> {
    pub(super) now_ns: u64,
    pub(super) wall_ms: i64,
    pub(super) network: &'a mut Network,
    pub(super) model: &'a mut Model,
    pub(super) totals: &'a mut Totals,
    pub(super) trace: &'a mut Trace,
    /// The life comes to its end: finish what is under way and begin nothing.
    pub(super) is_draining: bool,
}

/// Something that uses the node.
pub(super) trait Client {
    /// Takes what has arrived, and does what it does next.
    fn poll(&mut self, env: &mut Env<'_>);

    /// When it has something to do next, by itself or because something arrives.
    fn next_at_ns(&self, network: &Network) -> Option<u64>;

    /// Whether nothing of it is under way.
    fn is_idle(&self) -> bool;
}
