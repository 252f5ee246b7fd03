//! The admin endpoint: metrics and health over HTTP, on a thread of its own.
//!
//! ```text
//! curl, Prometheus ─► http ─► courier ── Inquiry ──► every shard
//!                       ▲        │ ◄──── Told ──────
//!                       └────────┘ answers, or silence after a while
//! ```
//!
//! The thread exchanges mail with the shards and shares nothing else with them: without a request nobody counts, sums or
//! wakes. Without `--admin` there is neither thread nor mailbox.
//!
//! | file | what it is about |
//! |---|---|
//! | [`http`] | the paths, the listeners, bounds of connections |
//! | [`courier`] | asking every shard, once for all who wait |
//! | [`health`] | what `/healthz` and `/readyz` say |
//! | [`metrics`], [`families`], [`topics`], [`groups`] | from the shards' reports to `/metrics` |
//! | [`clients`] | what clients push of themselves, on `/metrics/clients` |
//! | [`exposition`] | Prometheus' text format |
#![forbid(unsafe_code)]

mod clients;
mod courier;
mod exposition;
mod families;
mod groups;
mod health;
mod http;
mod metrics;
mod topics;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use replication::mailbox::Mailboxes;
use replication::wake::{Doorbell, Wake};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::shard::mail::Mail;
use courier::Courier;

/// Requests that wait for shards at a time: more than connections there cannot be.
const REQUESTS_MAX: usize = http::CONNECTIONS_MAX;

/// How far the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Recovery, or waiting for the shards to serve.
    Starting,
    /// Every shard serves.
    Serving,
    /// Told to stop.
    Stopping,
    /// The shards have stopped; the endpoint goes too.
    Stopped,
}

/// The running endpoint, as the thread that runs the node holds it.
#[derive(Debug)]
pub struct Admin {
    addresses: Vec<SocketAddr>,
    doorbell: Arc<Doorbell>,
    mailboxes: Option<oneshot::Sender<Mailboxes<Mail>>>,
    phase: Arc<watch::Sender<Phase>>,
    thread: JoinHandle<()>,
}

/// Tells the endpoint that the node stops, from any thread.
#[derive(Debug, Clone)]
pub struct Farewell {
    phase: Arc<watch::Sender<Phase>>,
}

impl Farewell {
    /// The node has been told to stop.
    pub fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }
}

/// Rings when shards have left mail.
struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl Admin {
    /// Serves on these listeners from now on; until it is told of shards, it says that the node starts.
    ///
    /// # Errors
    /// If the system gives no thread, or no event queue for it.
    pub fn start(listeners: Vec<TcpListener>) -> io::Result<Self> {
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let bell = Arc::new(Notify::new());
        let doorbell = Arc::new(Doorbell::new(Box::new(Bell(Arc::clone(&bell)))));
        let (phase, watched) = watch::channel(Phase::Starting);
        let (mailboxes, delivered) = oneshot::channel();
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let courier = Courier::new(Arc::clone(&doorbell), bell, requested);
        let site = http::Site { phase: watched, requests, started: Instant::now(), started_at: SystemTime::now() };
        let serve = async move {
            tokio::spawn(courier.run(delivered));
            http::serve(listeners, site).await;
        };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Self { addresses, doorbell, mailboxes: Some(mailboxes), phase: Arc::new(phase), thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What shards ring after they have left mail for the endpoint.
    #[must_use]
    pub fn doorbell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.doorbell)
    }

    /// The mailboxes to and from every shard.
    pub fn connect(&mut self, mailboxes: Mailboxes<Mail>) {
        let sender = self.mailboxes.take().expect("shards are started once");
        // The courier waits for it as long as the endpoint runs.
        let _ = sender.send(mailboxes);
    }

    /// Every shard serves.
    pub fn serving(&self) {
        self.phase.send_if_modified(|phase| {
            let is_new = *phase == Phase::Starting;
            if is_new {
                *phase = Phase::Serving;
            }
            is_new
        });
    }

    /// For whoever tells the node to stop.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        Farewell { phase: Arc::clone(&self.phase) }
    }

    /// Ends the endpoint.
    pub fn stop(self) {
        self.phase.send_replace(Phase::Stopped);
        if self.thread.join().is_err() {
            tracing::error!("the admin endpoint had ended by a bug; the node was not affected");
        }
    }
}
