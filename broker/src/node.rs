//! A node from its configuration to a clean stop: checks, listeners, recovery, shards, signals.

mod memory;

use std::fmt;
use std::io::Read as _;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use storage::disk::{Directory, Disk};
use storage::io::DataDirectory;
use storage::store;

use crate::admin::Admin;
use crate::assemble::{self, Found, Plan, assemble};
use crate::config::{Bind, Durability, Listener, Network, NodeConfig};
use crate::directory::Opened;
use crate::driver::ring::{self, StartupError};
use crate::listen;
use crate::metadata::Image;
use crate::pump;
use crate::shard::connections::ListenerInfo;
use crate::shard::{Ready, Shard};

/// Open files that are kept for what is not a log: rings, mailboxes, the runtime.
const RESERVED_FILES: u64 = 64;

/// Why a node does not start. Each says what happened, why, and what to do.
#[derive(Debug)]
pub enum Error {
    /// The kernel or its limits do not allow io_uring.
    Kernel(StartupError),
    /// A host name does not resolve.
    Resolve {
        /// The host and port.
        endpoint: String,
        /// Why.
        cause: std::io::Error,
    },
    /// An address cannot be served.
    Listen(listen::Error),
    /// More data directories were named than a node can have.
    TooManyDirectories(usize),
    /// A data directory cannot be opened or recovered.
    Data(assemble::Error),
    /// The operating system refused something else.
    System {
        /// What was wanted.
        what: &'static str,
        /// Why not.
        cause: std::io::Error,
    },
    /// A shard does not start.
    Shard(pump::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kernel(error) => error.fmt(f),
            Error::Resolve { endpoint, cause } => {
                write!(f, "the host of {endpoint} cannot be resolved ({cause}): name an address of this machine")
            }
            Error::Listen(error) => error.fmt(f),
            Error::TooManyDirectories(count) => {
                write!(f, "{count} data directories are named; a node has {} at the most", DataDirectory::COUNT_MAX)
            }
            Error::Data(error) => error.fmt(f),
            Error::System { what, cause } => write!(f, "no {what}: {cause}"),
            Error::Shard(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// What a node says when it serves.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The addresses it listens on, as bound.
    pub addresses: Vec<std::net::SocketAddr>,
    /// The cluster's id.
    pub cluster_id: String,
    /// The data directories that are in use, as absolute paths.
    pub directories: Vec<PathBuf>,
    /// How many shards there are.
    pub shards: usize,
    /// Whether files bypass the page cache.
    pub direct: bool,
    /// What an acknowledgement means where a topic does not say otherwise.
    pub durability: Durability,
    /// The addresses of the admin endpoint, if there is one.
    pub admin: Vec<std::net::SocketAddr>,
}

/// Runs a node until it is asked to stop (SIGTERM, SIGINT). `serving` is called once, when it serves.
///
/// # Errors
/// If it cannot start. What fails later ends the process.
pub fn run(config: NodeConfig, serving: impl FnOnce(&Serving)) -> Result<(), Error> {
    let signals = ring::signals::Signals::block().map_err(system("signal handling"))?;
    let limits = ring::limits::raise().map_err(system("resource limits"))?;
    ring::probe().map_err(Error::Kernel)?;
    if config.data_dirs.len() > DataDirectory::COUNT_MAX {
        return Err(Error::TooManyDirectories(config.data_dirs.len()));
    }
    let bound = bind_all(&config.listeners)?;
    let mut admin = start_admin(&config.admin)?;
    let mut held: Vec<Held> = config.data_dirs.iter().map(|path| Held::open(path)).collect();
    let cores = pump::cores::available();
    let shards = config.shards.map_or(cores.len(), usize::from).max(1);
    let addresses: Vec<_> = bound.iter().filter_map(|(_, listener)| listener.local_addr().ok()).collect();
    let listeners = bound
        .iter()
        .map(|(listener, _)| ListenerInfo { name: listener.name.clone(), advertised: listener.advertised.clone() });
    let shard_bytes = config.memory_bytes.unwrap_or_else(|| memory::default_bytes(shards as u64)) / shards as u64;
    let parts = memory::Parts::of(shard_bytes, held.len() as u64);
    let network = Network { memory_bytes: parts.connections as usize, ..config.network.clone() };
    let (ready, served) = mpsc::channel();
    let told = Ready(Box::new(move |image: &Image| {
        let id = image.cluster_id().map(|id| id.to_string());
        // The receiver is gone only if the start failed elsewhere.
        let _ = ready.send(id.unwrap_or_default());
    }));
    let plan = Plan {
        shards,
        listeners: Arc::new(listeners.collect()),
        seed: entropy().map_err(system("random seed"))?,
        ready: Some(told),
        // Clients see the directory's path, which means something to them only if it is absolute.
        config: Arc::new(NodeConfig {
            data_dirs: held.iter().map(|it| it.path.clone()).collect(),
            network,
            ..config.clone()
        }),
    };
    let share =
        Share { directories: held.len() as u64, shards: shards as u64, open_files: limits.open_files, memory: parts };
    let is_direct = held.iter().all(|it| it.direct);
    let found = held.iter_mut().map(|it| it.found(&config, share)).collect();
    let made = assemble(found, plan).map_err(Error::Data)?;
    let sockets: Vec<TcpListener> = bound.into_iter().map(|(_, listener)| listener).collect();
    let in_use = |it: &Opened| it.offline.is_none().then(|| it.path.clone());
    let roots: Vec<Option<PathBuf>> = made.directories.iter().map(in_use).collect();
    let pumps = pump::Config { directories: roots.clone(), listeners: sockets, cores };
    let node = start_shards(pumps, made.shards, admin.as_mut())?;
    let (stopper, farewell) = (node.stopper(), admin.as_ref().map(Admin::farewell));
    let stop = move || {
        if let Some(farewell) = &farewell {
            farewell.stopping();
        }
        stopper.stop();
    };
    signals.watch(stop).map_err(system("signal handling"))?;
    if let Ok(cluster_id) = served.recv() {
        let durability = config.durability();
        let admin_addresses = admin.as_ref().map(|admin| admin.addresses().to_vec()).unwrap_or_default();
        serving(&Serving {
            addresses,
            cluster_id,
            directories: roots.into_iter().flatten().collect(),
            shards,
            direct: is_direct,
            durability,
            admin: admin_addresses,
        });
        if let Some(admin) = &admin {
            admin.serving();
        }
    }
    node.join();
    if let Some(admin) = admin {
        admin.stop();
    }
    drop(held);
    Ok(())
}

/// A data directory, and the lock on it for as long as the node runs.
struct Held {
    /// Absolute where it could be opened: clients see it, and a relative path means nothing to them.
    path: PathBuf,
    disk: Option<Directory>,
    /// Why there is none.
    cause: Option<storage::Error>,
    /// Whether files bypass the page cache.
    direct: bool,
}

/// Among whom the node's memory and files are shared out.
#[derive(Debug, Clone, Copy)]
struct Share {
    directories: u64,
    shards: u64,
    open_files: u64,
    /// Of a shard.
    memory: memory::Parts,
}

impl Held {
    fn open(path: &Path) -> Self {
        match Directory::open(path) {
            Ok(disk) => {
                let path = disk.root().to_path_buf();
                Self { direct: direct_io_works(&path), path, disk: Some(disk), cause: None }
            }
            Err(cause) => Self { path: path.to_path_buf(), disk: None, cause: Some(cause), direct: true },
        }
    }

    fn found(&mut self, config: &NodeConfig, share: Share) -> Found<'_> {
        let options = store_options(config, share, &self.path, self.direct);
        let disk = match (&self.disk, self.cause.take()) {
            (Some(disk), _) => Ok(disk as &dyn Disk),
            (None, cause) => Err(cause.expect("it is open or failed, and is asked once")),
        };
        Found { path: self.path.clone(), disk, options }
    }
}

/// Serves the admin endpoint from now on, so that it can say that the node starts. It stops by itself if the start
/// fails: the process ends.
fn start_admin(binds: &[Bind]) -> Result<Option<Admin>, Error> {
    if binds.is_empty() {
        return Ok(None);
    }
    let sockets = bind_each(binds).map_err(|error| match error {
        Error::Listen(error) => Error::Listen(listen::Error { option: "--admin", ..error }),
        error => error,
    })?;
    Admin::start(sockets).map(Some).map_err(system("thread for the admin endpoint"))
}

fn start_shards(pumps: pump::Config, made: Vec<Shard>, admin: Option<&mut Admin>) -> Result<pump::Node, Error> {
    let shards = made.into_iter().map(|shard| move || shard).collect();
    let Some(admin) = admin else { return pump::start(pumps, shards).map_err(Error::Shard) };
    let (node, mailboxes) = pump::start_observed(pumps, shards, admin.doorbell()).map_err(Error::Shard)?;
    admin.connect(mailboxes);
    Ok(node)
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |cause| Error::System { what, cause }
}

/// Binds every address of every listener; the addresses of a listener share the port of its first.
fn bind_all(listeners: &[Listener]) -> Result<Vec<(&Listener, TcpListener)>, Error> {
    let mut bound = Vec::new();
    for listener in listeners {
        bound.extend(bind_each(&listener.bind)?.into_iter().map(|socket| (listener, socket)));
    }
    Ok(bound)
}

/// Binds all addresses, on one port.
fn bind_each(binds: &[Bind]) -> Result<Vec<TcpListener>, Error> {
    let mut sockets = Vec::new();
    let mut port_of_first = None;
    for bind in binds {
        for socket in bind_one(bind, port_of_first)? {
            port_of_first = port_of_first.or(socket.local_addr().ok().map(|address| address.port()));
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

fn bind_one(bind: &Bind, port_of_first: Option<u16>) -> Result<Vec<TcpListener>, Error> {
    let port = match (bind.endpoint.port, port_of_first) {
        (0, Some(port)) => port,
        (port, _) => port,
    };
    let resolved = (bind.endpoint.host.as_str(), port).to_socket_addrs();
    let addresses = match resolved {
        Ok(addresses) => addresses,
        Err(_) if bind.optional => return Ok(Vec::new()),
        Err(cause) => return Err(Error::Resolve { endpoint: bind.endpoint.to_string(), cause }),
    };
    let mut sockets = Vec::new();
    for address in addresses {
        match listen::bind(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if bind.optional && error.cause.kind() != std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(Error::Listen(error)),
        }
    }
    Ok(sockets)
}

/// Whether the data directory's file system can bypass the page cache; without, everything still works, slower.
fn direct_io_works(root: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = root.join(".direct-io-probe");
    let mut options = std::fs::OpenOptions::new();
    let opened = options.create(true).truncate(true).write(true).custom_flags(libc::O_DIRECT).open(&path);
    // Whatever else is wrong with the directory is found out by whoever opens the next file.
    let works = opened.err().and_then(|error| error.raw_os_error()) != Some(libc::EINVAL);
    // A leftover probe is empty and harmless.
    let _ = std::fs::remove_file(&path);
    if !works {
        tracing::warn!(
            directory = %root.display(),
            "this file system has no direct I/O (O_DIRECT): writing through the page cache instead, with a sync for each \
             group; a data directory on ext4 or XFS is faster"
        );
    }
    works
}

/// The file systems on which one sync of all is known to make every file durable. FUSE never hears of it.
const SYNC_ALL_WORKS_ON: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// Whether `syncfs` may stand for many syncs on the data directory's file system.
fn sync_all_works(root: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_root = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (mount_point, kind) = (fields.next()?, fields.next()?);
        root.starts_with(mount_point).then_some((mount_point.len(), kind))
    });
    // Of two mounts on one place the later one counts.
    of_root.max_by_key(|&(length, _)| length).is_some_and(|(_, kind)| SYNC_ALL_WORKS_ON.contains(&kind))
}

fn store_options(config: &NodeConfig, share: Share, root: &Path, direct: bool) -> store::Options {
    let stores = share.shards * share.directories;
    let files = share.open_files.saturating_sub(RESERVED_FILES) / 4 / stores;
    let defaults = store::Options::default();
    store::Options {
        tail_bytes: share.memory.tails as usize,
        buffer_bytes: share.memory.reads as usize,
        scrub_bytes_per_second: config.scrub_bytes_per_second / share.shards,
        expiry_interval_ns: config.retention_check_interval_ms.saturating_mul(1_000_000),
        open_files_max: (files as usize).clamp(16, defaults.open_files_max),
        direct,
        sync_all: sync_all_works(root),
        ..defaults
    }
}

/// Eight random bytes of the operating system.
fn entropy() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
