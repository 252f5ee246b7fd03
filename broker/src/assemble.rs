//! From a data directory to shards: recovery, the replayed metadata, the logs dealt out. The simulator starts its nodes by
//! the same function.

use std::fmt;
use std::sync::Arc;

use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use storage::disk::Disk;
use storage::recovery::{Identity, recover};
use storage::{LogId, Stores, batch, record, store};

use crate::config::NodeConfig;
use crate::metadata::{Controller, Image, METADATA_LOG_ID, Rules, shard_of};
use crate::shard::connections::ListenerInfo;
use crate::shard::{Ready, Setup, Shard};

/// What a node is made from, besides its disk.
#[derive(Debug)]
pub struct Plan {
    /// Its configuration.
    pub config: Arc<NodeConfig>,
    /// How many shards there will be.
    pub shards: usize,
    /// What each shard's store may use.
    pub options: store::Options,
    /// What clients are told about the listeners.
    pub listeners: Arc<Vec<ListenerInfo>>,
    /// Seed of all random numbers; another one at each start.
    pub seed: u64,
    /// Told when the node begins to serve.
    pub ready: Option<Ready>,
}

/// Why a node cannot be made from a data directory.
#[derive(Debug)]
pub enum Error {
    /// The storage cannot be opened.
    Storage(storage::Error),
    /// The metadata log does not make sense.
    Metadata(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Storage(error) => error.fmt(f),
            Error::Metadata(why) => write!(
                f,
                "the metadata log cannot be replayed: {why}; nothing was changed. If a newer skein wrote it, start that one"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        Error::Storage(error)
    }
}

/// Recovers what `disk` holds and makes the node's shards from it.
///
/// # Errors
/// If the directory is not a data directory, was written by a newer version, or is damaged.
pub fn assemble(disk: &dyn Disk, plan: Plan) -> Result<Vec<Shard>, Error> {
    let Plan { config, shards, options, listeners, seed, ready } = plan;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut directory_id = [0; 16];
    random.fill_bytes(&mut directory_id);
    let recovered = recover(disk, &Identity { directory_id, cluster_id: Vec::new() })?;
    let count = u16::try_from(shards).expect("checked by the configuration");
    let empty = Image::empty(config.node_id, count, Arc::new(config.settings.clone()));
    let replayed = replay(empty.clone(), &recovered.records_of(LogId(METADATA_LOG_ID))?)?;
    let place = |log: LogId| usize::from(shard_of(log.0, count));
    let stores = recovered.into_stores(shards, place, &options)?;
    let mut controller = Some(Controller::new(Arc::new(replayed), Rules::of(&config), random.next_u64()));
    let (mut ready, empty) = (ready, Arc::new(empty));
    let shards = stores.into_iter().enumerate().map(|(id, store)| {
        Shard::new(Setup {
            id,
            count: shards,
            config: Arc::clone(&config),
            listeners: Arc::clone(&listeners),
            stores: Stores::new(vec![Some(store)]),
            image: Arc::clone(&empty),
            controller: controller.take(),
            seed: random.next_u64(),
            ready: ready.take(),
        })
    });
    Ok(shards.collect())
}

/// Applies every record of the metadata log.
fn replay(mut image: Image, log: &[u8]) -> Result<Image, Error> {
    let damaged = |why: &dyn fmt::Display| Error::Metadata(why.to_string());
    for batch in batch::batches(log) {
        let batch = batch.map_err(|error| damaged(&error))?;
        for record in record::records(batch.body()) {
            let record = record.map_err(|error| damaged(&error))?;
            let value = record.value.ok_or_else(|| damaged(&"a record has no value"))?;
            image.replay(value).map_err(|error| damaged(&error))?;
        }
    }
    Ok(image)
}
