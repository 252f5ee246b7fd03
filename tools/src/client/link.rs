use std::thread::{self, JoinHandle};

use crossbeam::channel::Sender;
use net::{ApiKey, Request};

use super::cluster::Cluster;
use super::connection::{Answer, Requester};
use super::error::Result;

/// Names one link of a client; never used again.
pub type LinkId = u64;

/// What came over a link.
#[derive(Debug)]
pub struct Event {
    /// The link.
    pub link: LinkId,
    /// The answer to the oldest request on its way, or why there will be none any more.
    pub answer: Result<Answer>,
}

/// A connection whose answers arrive as events, from a thread that only reads. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Link {
    id: LinkId,
    requester: Requester,
    reader: Option<JoinHandle<()>>,
}

impl Link {
    /// Connects to a broker of the cluster. There are at most as many events as requests sent, and one at the end.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub(super) fn open(cluster: &Cluster, broker: i32, id: LinkId, events: Sender<Event>) -> Result<Self> {
        let (requester, mut responder) = cluster.connect_to(broker)?.split();
        let reader = thread::spawn(move || {
            loop {
                let answer = responder.wait();
                let ended = answer.is_err();
                // Nobody listens any more once the client is gone.
                if events.send(Event { link: id, answer }).is_err() || ended {
                    break;
                }
            }
        });
        Ok(Self { id, requester, reader: Some(reader) })
    }

    /// Its name.
    pub(super) fn id(&self) -> LinkId {
        self.id
    }

    /// Sends a request that will be answered, and gives back its number.
    ///
    /// # Errors
    /// If the connection is broken, or has no common version.
    pub(super) fn send<'q>(&mut self, request: &impl Request<'q>) -> Result<i32> {
        self.requester.send(request)
    }

    /// Sends a request that will not be answered.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn send_unanswered<'q>(&mut self, request: &impl Request<'q>) -> Result<()> {
        self.requester.send_unanswered(request)
    }

    /// The version that requests of an API have.
    ///
    /// # Errors
    /// If there is none in common.
    pub(super) fn version(&self, key: ApiKey) -> Result<i16> {
        self.requester.version(key)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.requester.shut_down();
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has nothing more to say.
            let _ = reader.join();
        }
    }
}
