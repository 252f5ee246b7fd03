//! The node's configuration, from the command line and a properties file to typed values.

use std::path::PathBuf;

use super::connections::ConnectionLimits;
use super::definition::{Class, Definition, Reason, list};
use super::error::{ConfigError, Origin, Warning};
use super::listeners::{self, Bind, Listener};
use super::properties;
use super::settings::Settings;
use super::table;
use super::topic::{Durability, Overrides, TopicConfig};

/// The options of `skein start` that configure the node.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--data DIR`, once for each directory.
    pub data: Vec<PathBuf>,
    /// `--listen HOST:PORT`, once for each listener.
    pub listen: Vec<String>,
    /// `--advertise HOST:PORT`: the Nth belongs to the Nth listener.
    pub advertise: Vec<String>,
    /// `--shards N`.
    pub shards: Option<u32>,
    /// `--admin HOST:PORT`.
    pub admin: Option<String>,
}

/// A properties file that has been read.
#[derive(Debug, Clone, Copy)]
pub struct PropertiesFile<'a> {
    /// The path as the user named it, for messages.
    pub path: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// Everything a node is configured with. Built once at the start and shared by all shards.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// `node.id`.
    pub node_id: i32,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// The data directories, at least one, as given.
    pub data_dirs: Vec<PathBuf>,
    /// The number of shards that was asked for; `None` is one for each core the process may use.
    pub shards: Option<u16>,
    /// The memory budget that was asked for; `None` leaves the choice to the start.
    pub memory_bytes: Option<u64>,
    /// `skein.scrub.bytes.per.second`, of the whole node; 0 is off.
    pub scrub_bytes_per_second: u64,
    /// Where to listen, at least one.
    pub listeners: Vec<Listener>,
    /// Where the admin endpoint listens; nowhere unless it was asked for.
    pub admin: Vec<Bind>,
    /// Topic creation and deletion.
    pub topics: Topics,
    /// Group coordination.
    pub groups: Groups,
    /// Connections and requests.
    pub network: Network,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: u64,
    /// How long a partition remembers a quiet idempotent producer.
    pub producer_id_expiration_ms: u64,
    /// What compaction may use.
    pub cleaner: Cleaner,
    /// All that was set, for reports and for the defaults of topics.
    pub settings: Settings,
}

/// What compaction may use, all shards together: Kafka's `log.cleaner.…`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cleaner {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.dedupe.buffer.size`.
    pub dedupe_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`.
    pub io_bytes: u32,
    /// `log.cleaner.io.max.bytes.per.second`.
    pub io_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: u64,
}

impl Cleaner {
    fn of(settings: &Settings) -> Self {
        let number = |name| settings.effective(name).and_then(|value| value.parse().ok()).unwrap_or(f64::MAX);
        Self {
            enabled: settings.flag("log.cleaner.enable"),
            dedupe_bytes: settings.count("log.cleaner.dedupe.buffer.size"),
            load_factor: number("log.cleaner.io.buffer.load.factor"),
            io_bytes: settings.count32("log.cleaner.io.buffer.size"),
            io_bytes_per_second: number("log.cleaner.io.max.bytes.per.second"),
            backoff_ms: settings.count("log.cleaner.backoff.ms"),
        }
    }
}

/// How topics come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub delete: bool,
    /// `num.partitions`: of a topic that does not say.
    pub partitions_default: u32,
    /// `default.replication.factor`: of a topic that does not say.
    pub replication_factor_default: u32,
}

/// How groups and their committed offsets are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: u32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: u32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: u32,
    /// `group.max.size`: members of one group.
    pub members_max: u32,
    /// `offset.metadata.max.bytes`: text with a committed offset.
    pub offset_metadata_bytes_max: u32,
    /// `offsets.topic.num.partitions`.
    pub offsets_partitions: u32,
    /// `offsets.topic.replication.factor`, to be limited to the nodes present.
    pub offsets_replication_factor: u32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_segment_bytes: u32,
    /// `offsets.retention.minutes`, in ms, counted from when the group is empty.
    pub offsets_retention_ms: u64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
}

/// Memory of a shard's connections unless the node shares out its memory otherwise.
const CONNECTION_BYTES: usize = 128 << 20;

/// Limits of connections, requests and answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: u32,
    /// A request of which at least so many bytes are missing is received straight into its buffer. No property: only
    /// simulations have less, so that they meet it all the time.
    pub direct_bytes_min: usize,
    /// Memory for the requests and answers of a shard's connections, in bytes: its share of `skein.memory`.
    pub memory_bytes: usize,
    /// `connections.max.idle.ms`; `None` is no limit.
    pub idle_ms_max: Option<u64>,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: u32,
    /// `max.incremental.fetch.session.cache.slots`, of the whole node.
    pub fetch_sessions_max: u32,
    /// `telemetry.max.bytes`.
    pub telemetry_bytes_max: u32,
    /// `max.connections` and what belongs to it.
    pub connections: ConnectionLimits,
}

impl NodeConfig {
    /// Puts a configuration together: defaults, then the file, then `--set NAME=VALUE`, then the options.
    pub fn load(
        flags: &Flags,
        file: Option<PropertiesFile<'_>>,
        sets: &[String],
    ) -> Result<(NodeConfig, Vec<Warning>), ConfigError> {
        let mut loader = Loader::default();
        if let Some(file) = file {
            loader.file(file)?;
        }
        for set in sets {
            loader.set_flag(set)?;
        }
        loader.flags(flags)?;
        loader.check_together()?;

        let listening = listeners::Flags { listen: &flags.listen, advertise: &flags.advertise };
        let (listeners, mut warnings) = listeners::resolve(&listening, &loader.settings)?;
        loader.remember_listeners(flags, &listeners)?;
        let admin = listeners::admin(&loader.settings)?;
        if !loader.without_meaning.is_empty() {
            warnings.insert(0, Warning::WithoutMeaning(loader.without_meaning));
        }
        Ok((typed(loader.settings, data_dirs(flags), listeners, admin), warnings))
    }

    /// The same node while these settings are in force: what was set while it runs has its effect.
    #[must_use]
    pub fn with_settings(&self, settings: &Settings) -> NodeConfig {
        NodeConfig {
            producer_id_expiration_ms: settings.count("producer.id.expiration.ms"),
            scrub_bytes_per_second: settings.count("skein.scrub.bytes.per.second"),
            network: Network { connections: ConnectionLimits::of(settings), ..self.network.clone() },
            cleaner: Cleaner::of(settings),
            settings: settings.clone(),
            ..self.clone()
        }
    }

    /// The node's default durability, that of topics which do not choose.
    pub fn durability(&self) -> Durability {
        self.topic_defaults().durability
    }

    /// The configuration of a topic without overrides.
    pub fn topic_defaults(&self) -> TopicConfig {
        TopicConfig::resolve(&Overrides::new(), &self.settings)
    }
}

/// The settings as they come together.
#[derive(Default)]
struct Loader {
    settings: Settings,
    without_meaning: Vec<(String, Reason)>,
}

impl Loader {
    fn file(&mut self, file: PropertiesFile<'_>) -> Result<(), ConfigError> {
        let origin = |line| Origin::File { path: file.path.to_owned(), line };
        let entries = properties::parse(file.text).map_err(|bad| {
            ConfigError::new(&origin(bad.line), "\\u must be followed by four hexadecimal digits that make a character")
        })?;
        for entry in entries {
            self.set(&entry.name, &entry.value, &origin(entry.line))?;
        }
        Ok(())
    }

    fn set_flag(&mut self, set: &str) -> Result<(), ConfigError> {
        let origin = Origin::Flag("--set");
        let (name, value) = set
            .split_once('=')
            .ok_or_else(|| ConfigError::new(&origin, format!("\"{set}\": a property is set as NAME=VALUE")))?;
        self.set(name.trim(), value, &origin)
    }

    fn flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        if let Some(shards) = flags.shards {
            self.set("skein.shards", &shards.to_string(), &Origin::Flag("--shards"))?;
        }
        if let Some(admin) = &flags.admin {
            self.set(listeners::ADMIN_LISTENER, admin, &Origin::Flag("--admin"))?;
        }
        if !flags.data.is_empty() {
            let dirs: Vec<_> = flags.data.iter().map(|dir| dir.to_string_lossy()).collect();
            self.set("log.dirs", &dirs.join(","), &Origin::Flag("--data"))?;
        }
        Ok(())
    }

    /// Lets reports show the listeners of the command line.
    fn remember_listeners(&mut self, flags: &Flags, listeners: &[Listener]) -> Result<(), ConfigError> {
        let named = |(listener, text): (&Listener, &String)| {
            let address = text.split_once("://").map_or(text.as_str(), |(_, address)| address);
            format!("{}://{address}", listener.name)
        };
        let join = |texts: &[String]| listeners.iter().zip(texts).map(named).collect::<Vec<_>>().join(",");
        if !flags.listen.is_empty() {
            self.set("listeners", &join(&flags.listen), &Origin::Flag("--listen"))?;
        }
        if !flags.advertise.is_empty() {
            self.set("advertised.listeners", &join(&flags.advertise), &Origin::Flag("--advertise"))?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str, origin: &Origin) -> Result<(), ConfigError> {
        let Some(definition) = table::broker(name) else {
            return match table::known_prefix(name) {
                Some(reason) => {
                    self.warn(name, reason);
                    Ok(())
                }
                None => Err(ConfigError::new(origin, unknown(name))),
            };
        };
        self.settings
            .set(definition, value)
            .map_err(|invalid| ConfigError::new(origin, with_default(definition, &invalid.to_string())))?;
        if let Class::WithoutMeaning(reason) = definition.class {
            self.warn(name, reason);
        }
        Ok(())
    }

    fn warn(&mut self, name: &str, reason: Reason) {
        if !self.without_meaning.iter().any(|(known, _)| known == name) {
            self.without_meaning.push((name.to_owned(), reason));
        }
    }

    fn check_together(&mut self) -> Result<(), ConfigError> {
        let wrong = |message: String| Err(ConfigError::new(&Origin::Together, message));
        let settings = &self.settings;
        if let Some(roles) = settings.explicit("process.roles")
            && !list(roles).any(|role| role == "broker")
        {
            return wrong(format!(
                "process.roles={roles}: every node is a broker and keeps its own metadata; add broker or remove the line"
            ));
        }
        let broker_id = settings.whole("broker.id");
        if let Some(node_id) = settings.explicit("node.id")
            && broker_id >= 0
            && broker_id != settings.whole("node.id")
        {
            return wrong(format!("node.id={node_id} and broker.id={broker_id} name one thing; remove broker.id"));
        }
        let (least, most) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
        if settings.whole(least) > settings.whole(most) {
            return wrong(format!("{least} must not be larger than {most}"));
        }
        if broker_id >= 0 && settings.explicit("node.id").is_none() {
            self.set("node.id", &broker_id.to_string(), &Origin::Together)?;
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    if table::topic(name).is_some_and(|topic| !topic.synonyms.is_empty()) {
        let synonym = table::topic(name).map_or("", |topic| topic.synonyms[0].name);
        return format!("{name} is a property of topics; their default on the broker is called {synonym}");
    }
    match table::nearest_broker(name) {
        Some(nearest) => format!("unknown property {name}; did you mean {nearest}?"),
        None => format!("unknown property {name}; docs/configuration.md lists all of them"),
    }
}

fn with_default(definition: &Definition, message: &str) -> String {
    match definition.default {
        Some(default) if !default.is_empty() => format!("{message} (the default is {default})"),
        _ => message.to_owned(),
    }
}

/// Directories of the command line keep their bytes; those of the file are text.
fn data_dirs(flags: &Flags) -> Option<Vec<PathBuf>> {
    (!flags.data.is_empty()).then(|| flags.data.clone())
}

fn typed(
    settings: Settings,
    data_dirs: Option<Vec<PathBuf>>,
    listeners: Vec<Listener>,
    admin: Vec<Bind>,
) -> NodeConfig {
    let s = &settings;
    let dirs_value = s.effective("log.dirs").or_else(|| s.effective("log.dir")).unwrap_or_default();
    let whole_if_set = |name| s.effective(name).map(|_| s.whole(name));
    NodeConfig {
        node_id: i32::try_from(s.whole("node.id")).expect("node.id was checked to be an int"),
        rack: s.effective("broker.rack").filter(|rack| !rack.is_empty()).map(str::to_owned),
        data_dirs: data_dirs.unwrap_or_else(|| list(dirs_value).map(PathBuf::from).collect()),
        shards: whole_if_set("skein.shards").and_then(|n| u16::try_from(n).ok()),
        memory_bytes: whole_if_set("skein.memory").and_then(|n| u64::try_from(n).ok()),
        scrub_bytes_per_second: s.count("skein.scrub.bytes.per.second"),
        listeners,
        admin,
        topics: Topics {
            auto_create: s.flag("auto.create.topics.enable"),
            delete: s.flag("delete.topic.enable"),
            partitions_default: s.count32("num.partitions"),
            replication_factor_default: s.count32("default.replication.factor"),
        },
        groups: Groups {
            session_timeout_ms_min: s.count32("group.min.session.timeout.ms"),
            session_timeout_ms_max: s.count32("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: s.count32("group.initial.rebalance.delay.ms"),
            members_max: s.count32("group.max.size"),
            offset_metadata_bytes_max: s.count32("offset.metadata.max.bytes"),
            offsets_partitions: s.count32("offsets.topic.num.partitions"),
            offsets_replication_factor: s.count32("offsets.topic.replication.factor"),
            offsets_segment_bytes: s.count32("offsets.topic.segment.bytes"),
            offsets_retention_ms: s.count("offsets.retention.minutes") * 60_000,
            offsets_retention_check_interval_ms: s.count("offsets.retention.check.interval.ms"),
        },
        network: Network {
            request_bytes_max: s.count32("socket.request.max.bytes"),
            direct_bytes_min: net::frame::DIRECT_BYTES_MIN_DEFAULT,
            memory_bytes: CONNECTION_BYTES,
            idle_ms_max: u64::try_from(s.whole("connections.max.idle.ms")).ok(),
            fetch_bytes_max: s.count32("fetch.max.bytes"),
            fetch_sessions_max: s.count32("max.incremental.fetch.session.cache.slots"),
            telemetry_bytes_max: s.count32("telemetry.max.bytes"),
            connections: ConnectionLimits::of(s),
        },
        retention_check_interval_ms: s.count("log.retention.check.interval.ms"),
        producer_id_expiration_ms: s.count("producer.id.expiration.ms"),
        cleaner: Cleaner::of(s),
        settings,
    }
}
