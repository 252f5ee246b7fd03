//! From data directories to shards: recovery, the replayed metadata, the logs dealt out. The simulator starts its nodes by
//! the same function.
//!
//! ```text
//! who are they ─► the one with the metadata is number 0 ─► recover each ─► replay the metadata ─► does every log lie
//!                                                                             where it should? ─► stores ─► shards
//! ```
//!
//! A directory that cannot be read is offline; one that belongs elsewhere, or is damaged, refuses the start.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use net::Uuid;
use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use storage::disk::Disk;
use storage::io::DataDirectory;
use storage::recovery::{Identity, Recovered, identify, recover};
use storage::{LogId, Store, Stores, batch, record, store};

use crate::config::NodeConfig;
use crate::directory::Opened;
use crate::metadata::{Controller, Image, METADATA_LOG_ID, Rules, shard_of};
use crate::shard::connections::ListenerInfo;
use crate::shard::{Ready, Setup, Shard};

/// What a node is made from, besides its disks.
#[derive(Debug)]
pub struct Plan {
    /// Its configuration.
    pub config: Arc<NodeConfig>,
    /// How many shards there will be.
    pub shards: usize,
    /// What clients are told about the listeners.
    pub listeners: Arc<Vec<ListenerInfo>>,
    /// Seed of all random numbers; another one at each start.
    pub seed: u64,
    /// Told when the node begins to serve.
    pub ready: Option<Ready>,
}

/// A data directory as it was found.
pub struct Found<'a> {
    /// Where it lies.
    pub path: PathBuf,
    /// Access to it, or why there is none.
    pub disk: Result<&'a dyn Disk, storage::Error>,
    /// What its stores may use.
    pub options: store::Options,
}

impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("path", &self.path).field("error", &self.disk.as_ref().err()).finish()
    }
}

/// What a node is made of.
#[derive(Debug)]
pub struct Assembled {
    /// Its shards.
    pub shards: Vec<Shard>,
    /// Its data directories by their numbers.
    pub directories: Vec<Opened>,
}

/// Why a node cannot be made from its data directories.
#[derive(Debug)]
pub enum Error {
    /// A directory cannot be opened, or is not what it should be.
    Storage {
        /// The directory.
        directory: PathBuf,
        /// Why.
        cause: storage::Error,
    },
    /// The metadata log does not make sense.
    Metadata {
        /// The directory that has it.
        directory: PathBuf,
        /// Why.
        why: String,
    },
    /// None of the directories has the node's metadata.
    NoMetadata {
        /// Those that belong to a node.
        directories: Vec<PathBuf>,
        /// Those that could not be read, which one is, and why.
        unreadable: Vec<String>,
    },
    /// Directories of several nodes are named.
    OtherNode {
        /// One directory.
        directory: PathBuf,
        /// Another node's.
        other: PathBuf,
    },
    /// Two names are of one directory, or one is a copy of the other.
    Twice {
        /// One of them.
        directory: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A partition's log lies in another directory than the metadata say.
    Misplaced {
        /// The topic and the partition.
        partition: String,
        /// The directory that has it.
        directory: PathBuf,
        /// The one that should.
        recorded: PathBuf,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Storage { directory, cause } => write!(f, "data directory {}: {cause}", directory.display()),
            Error::Metadata { directory, why } => write!(
                f,
                "data directory {}: the metadata log cannot be replayed: {why}; nothing was changed. If a newer skein wrote \
                 it, start that one",
                directory.display()
            ),
            Error::NoMetadata { directories, unreadable } => {
                let all: Vec<String> = directories.iter().map(|it| it.display().to_string()).collect();
                write!(
                    f,
                    "data directory {} belongs to a node whose metadata lies in another directory: name that one, too; \
                     nothing was changed",
                    all.join(", ")
                )?;
                unreadable.iter().try_for_each(|why| write!(f, ". {why}"))
            }
            Error::OtherNode { directory, other } => write!(
                f,
                "data directories {} and {} belong to different nodes: name those of one node; nothing was changed",
                directory.display(),
                other.display()
            ),
            Error::Twice { directory, other } => write!(
                f,
                "data directories {} and {} are one directory, or one is a copy of the other: name it once; nothing was \
                 changed",
                directory.display(),
                other.display()
            ),
            Error::Misplaced { partition, directory, recorded } => write!(
                f,
                "partition {partition} lies in data directory {}, and should in {}: move the contents of whole data \
                 directories only; nothing was changed",
                directory.display(),
                recorded.display()
            ),
        }
    }
}

impl std::error::Error for Error {}

/// A directory of which is known whose it is.
struct Known<'a> {
    found: Found<'a>,
    identity: Option<Identity>,
}

/// A directory once its journals are replayed.
struct Replayed<'a> {
    opened: Opened,
    recovered: Option<Recovered<'a>>,
    options: store::Options,
}

/// Recovers what the directories hold and makes the node's shards from it. New directories become the node's; the first
/// one of a new node gets its metadata.
///
/// # Errors
/// If a directory is not a data directory, belongs to another node, was written by a newer version, or if the one with
/// the metadata is damaged or cannot be read.
pub fn assemble(found: Vec<Found<'_>>, plan: Plan) -> Result<Assembled, Error> {
    let Plan { config, shards, listeners, seed, ready } = plan;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let known = metadata_first(found.into_iter().map(whose).collect::<Result<_, _>>()?)?;
    let replayed = recover_all(known, &mut random)?;
    let count = u16::try_from(shards).expect("checked by the configuration");
    let empty = Image::empty(config.node_id, count, Arc::new(config.settings.clone()));
    let image = replay_metadata(&replayed[0], empty.clone())?;
    check_places(&replayed, &image)?;
    let (directories, stores) = open_stores(replayed, shards, count)?;
    warn_of_absent(&directories, &image);
    let mut controller = Some(Controller::new(Arc::new(image), Rules::of(&config), random.next_u64()));
    let (mut ready, empty) = (ready, Arc::new(empty));
    let shards = stores.into_iter().enumerate().map(|(id, stores)| {
        Shard::new(Setup {
            id,
            count: shards,
            config: Arc::clone(&config),
            listeners: Arc::clone(&listeners),
            stores: Stores::new(stores),
            directories: directories.clone(),
            image: Arc::clone(&empty),
            controller: controller.take(),
            seed: random.next_u64(),
            ready: ready.take(),
        })
    });
    Ok(Assembled { shards: shards.collect(), directories })
}

/// Whose a directory is. One that cannot be read may be nobody's.
fn whose(mut found: Found<'_>) -> Result<Known<'_>, Error> {
    let identity = match &found.disk {
        Ok(disk) => identify(*disk),
        Err(_) => Ok(None),
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(cause) => {
            found.disk = Err(cause);
            None
        }
    };
    match found.disk {
        Err(cause) if !matches!(cause, storage::Error::Io { .. }) => {
            Err(Error::Storage { directory: found.path, cause })
        }
        _ => Ok(Known { found, identity }),
    }
}

/// Puts the directory with the metadata in front.
fn metadata_first(mut known: Vec<Known<'_>>) -> Result<Vec<Known<'_>>, Error> {
    let has_metadata =
        |it: &Known<'_>| it.identity.as_ref().is_some_and(|identity| identity.node == identity.directory_id);
    let Some(at) = known.iter().position(has_metadata) else { return new_node(known) };
    let first = known.remove(at);
    known.insert(0, first);
    let node = known[0].identity.as_ref().expect("looked at above").node;
    for (at, it) in known.iter().enumerate().skip(1) {
        let Some(identity) = &it.identity else { continue };
        let is_same = |other: &&Known<'_>| {
            other.identity.as_ref().is_some_and(|other| other.directory_id == identity.directory_id)
        };
        if let Some(other) = known[..at].iter().find(is_same) {
            return Err(Error::Twice { directory: other.found.path.clone(), other: it.found.path.clone() });
        }
        if identity.node != node {
            return Err(Error::OtherNode { directory: known[0].found.path.clone(), other: it.found.path.clone() });
        }
    }
    Ok(known)
}

/// A new node needs all its directories: one that cannot be read could have the metadata of an old one.
fn new_node(known: Vec<Known<'_>>) -> Result<Vec<Known<'_>>, Error> {
    let of_a_node: Vec<PathBuf> =
        known.iter().filter(|it| it.identity.is_some()).map(|it| it.found.path.clone()).collect();
    if !of_a_node.is_empty() {
        let why = |it: &Known<'_>| {
            it.found.disk.as_ref().err().map(|cause| format!("{} cannot be read: {cause}", it.found.path.display()))
        };
        let unreadable = known.iter().filter_map(why).collect();
        return Err(Error::NoMetadata { directories: of_a_node, unreadable });
    }
    let mut readable = Vec::new();
    for it in known {
        match it.found.disk {
            Err(cause) => return Err(Error::Storage { directory: it.found.path, cause }),
            Ok(_) => readable.push(it),
        }
    }
    Ok(readable)
}

/// Replays the journals of every directory, the one with the metadata first.
fn recover_all<'a>(known: Vec<Known<'a>>, random: &mut Xoshiro256PlusPlus) -> Result<Vec<Replayed<'a>>, Error> {
    let mut node = None;
    let mut all = Vec::with_capacity(known.len());
    for Known { found: Found { path, disk, options }, identity } in known {
        let mut fresh_id = [0; 16];
        random.fill_bytes(&mut fresh_id);
        let directory_id = identity.map_or(fresh_id, |identity| identity.directory_id);
        let is_first = node.is_none();
        let node = *node.get_or_insert(directory_id);
        let id = if is_first { Uuid::ZERO } else { Uuid(directory_id) };
        let fresh = Identity { directory_id, node, cluster_id: Vec::new() };
        let recovered = match disk.and_then(|disk| recover(disk, &fresh)) {
            Ok(recovered) => Ok(recovered),
            Err(cause) if is_first || !can_go_without(&cause) => return Err(Error::Storage { directory: path, cause }),
            Err(cause) => Err(offline(&path, &cause)),
        };
        let opened = Opened { id, path, offline: recovered.as_ref().err().cloned() };
        all.push(Replayed { opened, recovered: recovered.ok(), options });
    }
    Ok(all)
}

/// Whether the node can go on without a directory that has this. What a person has to decide is refused.
fn can_go_without(cause: &storage::Error) -> bool {
    matches!(cause, storage::Error::Io { .. } | storage::Error::Corrupt { .. })
}

fn offline(path: &std::path::Path, cause: &storage::Error) -> Arc<str> {
    tracing::error!(
        directory = %path.display(),
        "a data directory is offline: {cause}. Its partitions are not served until it is repaired and the node started \
         again; all others are"
    );
    cause.to_string().into()
}

/// Applies every record of the metadata log.
fn replay_metadata(first: &Replayed<'_>, mut image: Image) -> Result<Image, Error> {
    let directory = &first.opened.path;
    let recovered = first.recovered.as_ref().expect("a node has its metadata");
    let log = recovered
        .records_of(LogId(METADATA_LOG_ID))
        .map_err(|cause| Error::Storage { directory: directory.clone(), cause })?;
    let damaged = |why: &dyn fmt::Display| Error::Metadata { directory: directory.clone(), why: why.to_string() };
    for batch in batch::batches(&log) {
        let batch = batch.map_err(|error| damaged(&error))?;
        for record in record::records(batch.body()) {
            let record = record.map_err(|error| damaged(&error))?;
            let value = record.value.ok_or_else(|| damaged(&"a record has no value"))?;
            image.replay(value).map_err(|error| damaged(&error))?;
        }
    }
    Ok(image)
}

/// Checks that every log lies in the directory that the metadata say. Where that one has the log as well, the other is
/// what a move left.
fn check_places(replayed: &[Replayed<'_>], image: &Image) -> Result<(), Error> {
    if replayed.len() == 1 {
        return Ok(());
    }
    let mut placed = std::collections::BTreeMap::new();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            placed.insert(partition.log_id, (topic, index, partition.directory));
        }
    }
    let online = |id: Uuid| replayed.iter().find(|it| it.opened.id == id && it.recovered.is_some());
    for it in replayed {
        for log in it.recovered.iter().flat_map(Recovered::logs) {
            let Some(&(topic, index, directory)) = placed.get(&log.0).filter(|(.., id)| *id != it.opened.id) else {
                continue;
            };
            let Some(right) = online(directory) else { continue };
            let has_it = right.recovered.as_ref().is_some_and(|recovered| recovered.offsets_of(log).is_some());
            if !has_it {
                return Err(Error::Misplaced {
                    partition: format!("{}-{index}", topic.name),
                    directory: it.opened.path.clone(),
                    recorded: right.opened.path.clone(),
                });
            }
        }
    }
    Ok(())
}

type StoresOfShard = Vec<Option<Store>>;

/// Makes the stores of every directory, and deals them out to the shards.
fn open_stores(
    replayed: Vec<Replayed<'_>>,
    shards: usize,
    count: u16,
) -> Result<(Vec<Opened>, Vec<StoresOfShard>), Error> {
    let place = |log: LogId| usize::from(shard_of(log.0, count));
    let mut of_shards: Vec<StoresOfShard> = (0..shards).map(|_| Vec::new()).collect();
    let mut directories = Vec::with_capacity(replayed.len());
    for (number, Replayed { mut opened, recovered, options }) in replayed.into_iter().enumerate() {
        let number = DataDirectory(u8::try_from(number).expect("checked by the configuration"));
        let stores = recovered.map(|recovered| recovered.into_stores_of(number, shards, place, &options)).transpose();
        let stores = match stores {
            Ok(stores) => stores,
            Err(cause) if number == DataDirectory::FIRST || !can_go_without(&cause) => {
                return Err(Error::Storage { directory: opened.path, cause });
            }
            Err(cause) => {
                opened.offline = Some(offline(&opened.path, &cause));
                None
            }
        };
        let mut stores = stores.map(Vec::into_iter);
        for of_shard in &mut of_shards {
            of_shard.push(stores.as_mut().and_then(Iterator::next));
        }
        directories.push(opened);
    }
    Ok((directories, of_shards))
}

/// Says which directories the metadata know and nobody named.
fn warn_of_absent(directories: &[Opened], image: &Image) {
    for (id, partitions) in image.directory_loads().filter(|(id, _)| !directories.iter().any(|it| it.id == *id)) {
        tracing::error!(
            directory_id = %id,
            partitions,
            "a data directory of this node is missing: its partitions are not served. Name it, too, or delete its topics"
        );
    }
}
