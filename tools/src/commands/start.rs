use std::io::IsTerminal as _;
use std::path::PathBuf;

use broker::config::{Durability, Flags, NodeConfig, PropertiesFile};
use broker::node::{self, Serving};

use super::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein start                                          localhost:9092, data in ./skein-data
  skein start --data /var/lib/skein --listen 0.0.0.0:9092 --advertise broker.example.com:9092
  skein start --listen localhost:0                     a free port; the ready line shows it
  skein start --config server.properties --set num.partitions=4
  skein start --admin localhost:9644                   metrics and health over HTTP, for Prometheus and `skein top`
  skein start --log debug                              say more on standard error

The node is ready when it prints `skein ready on HOST:PORT` on standard output. Ctrl-C stops it.")]
pub(super) struct Args {
    /// Data directory; repeat for several [default: ./skein-data]
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,

    /// Address to listen on; repeat for several; port 0 takes a free one [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<String>,

    /// Address that clients are told to connect to, one for each --listen in their order
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<String>,

    /// Number of shards, each a thread on a core of its own [default: one for each usable CPU]
    #[arg(long, value_name = "N")]
    shards: Option<u32>,

    /// Address of the admin endpoint: /metrics, /healthz, /readyz over HTTP [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,

    /// File with Kafka's server.properties syntax
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one property; wins over the file
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// What to log on standard error: error, warn, info, debug, trace, or target=level,...
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub(super) fn run(args: Args) -> Outcome {
    if storage::mutation::ARE_COMPILED_IN {
        let what = "this build makes faults on purpose (the feature `mutations`), for tests of the tests alone";
        return Err(Failure::with_remedy(what, "build it without the feature: cargo build --release"));
    }
    start_logging(args.log.as_deref())?;
    let flags = Flags {
        data: args.data,
        listen: args.listen,
        advertise: args.advertise,
        shards: args.shards,
        admin: args.admin,
    };
    let text = args.config.as_ref().map(|path| read_properties(path)).transpose()?;
    let path = args.config.unwrap_or_default().display().to_string();
    let file = text.as_ref().map(|text| PropertiesFile { path: &path, text });
    let (config, warnings) =
        NodeConfig::load(&flags, file, &args.set).map_err(|error| Failure::Usage(error.to_string()))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    node::run(config, announce).map_err(|error| Failure::failed(error.to_string()))?;
    tracing::info!("stopped; everything acknowledged is on disk");
    Ok(())
}

fn read_properties(path: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("the properties file {} cannot be read: {error}", path.display())))
}

/// Logs go to standard error, so that standard output carries the ready line alone.
pub(super) fn start_logging(filter: Option<&str>) -> Result<(), Failure> {
    let filter = filter.map(str::to_owned).or_else(|| std::env::var("SKEIN_LOG").ok()).unwrap_or_else(|| "info".into());
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .map_err(|error| Failure::Usage(format!("--log {filter}: {error}; try --log debug, or storage=debug,info")))?;
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A log that cannot be written must not end the node: the disk that is full may be the log's too.
    logs.log_internal_errors(false).init();
    Ok(())
}

/// Says on standard error what the node is, and on standard output that it is ready.
fn announce(serving: &Serving) {
    let mut addresses: Vec<String> = serving.addresses.iter().map(ToString::to_string).collect();
    addresses.dedup();
    let directories: Vec<String> = serving.directories.iter().map(|it| it.display().to_string()).collect();
    let directories = directories.join(", ");
    let durability = match serving.durability {
        Durability::Durable => "durable: acknowledged records are on the device",
        Durability::Cached => "cached: acknowledged records survive the end of the process, not a power cut",
    };
    tracing::info!(
        data = directories,
        shards = serving.shards,
        io = if serving.direct { "direct" } else { "buffered" },
        cluster = %serving.cluster_id,
        "serving on {}",
        addresses.join(", ")
    );
    tracing::info!("{durability}");
    let admin: Vec<String> = serving.admin.iter().map(ToString::to_string).collect();
    if let Some(address) = admin.first() {
        tracing::info!(
            "metrics and health: http://{address}/metrics, /healthz, /readyz; try: skein top --admin http://{address}"
        );
    }
    let first = addresses.first().cloned().unwrap_or_default();
    tracing::info!("try: skein topic create hello --bootstrap {first}");
    println!(
        "skein ready on {} (cluster {}, data in {}{})",
        addresses.join(","),
        serving.cluster_id,
        directories,
        admin.first().map(|address| format!(", admin on {address}")).unwrap_or_default()
    );
}
