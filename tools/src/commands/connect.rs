use std::path::PathBuf;

use super::failure::{Failure, Outcome, warn};
use crate::client::{Address, Cluster, Settings};

/// Where the cluster is asked for without any word about it.
const DEFAULT_BOOTSTRAP: &str = "localhost:9092";

/// How to reach the cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connect {
    /// Brokers to ask for the cluster, separated by commas [default: localhost:9092]
    #[arg(
        long,
        short = 'b',
        env = "SKEIN_BOOTSTRAP",
        value_name = "HOST:PORT,...",
        global = true,
        hide_env_values = true
    )]
    bootstrap: Option<String>,

    /// File of Kafka client properties (name=value lines); options win over it
    #[arg(long, value_name = "FILE", global = true)]
    command_config: Option<PathBuf>,
}

impl Connect {
    /// What the client is told: the file's properties, then the options.
    pub(super) fn settings(&self) -> Outcome<Settings> {
        let mut settings = Settings::default();
        if let Some(path) = &self.command_config {
            let warnings = settings.read_file(path).map_err(|error| Failure::Usage(error.to_string()))?;
            warnings.iter().for_each(warn);
        }
        let given = self.bootstrap.as_deref().filter(|text| !text.trim().is_empty());
        let default = settings.bootstrap.is_empty().then_some(DEFAULT_BOOTSTRAP);
        if let Some(text) = given.or(default) {
            settings.bootstrap =
                Address::parse_list(text).map_err(|error| Failure::Usage(format!("--bootstrap: {error}")))?;
        }
        Ok(settings)
    }

    /// A connection to the cluster.
    pub(super) fn cluster(&self) -> Outcome<Cluster> {
        Ok(Cluster::connect(self.settings()?)?)
    }
}
