//! What it costs that a request comes in on one shard and its partition lives on another.
//!
//! A fresh node gives connections, and the partitions of its first topic, to its shards in turn. The first connection
//! makes the topic, so producer `n` is on shard `(n + 1) % 2`, and writes where it is told to:
//!
//! ```text
//! producer        0  1  2  3 …
//! its shard       1  0  1  0 …
//! partition n + 1: 1  0  1  0 …   none crosses        partition n: 0  1  0  1 …   all cross
//! ```

use super::results::{ScenarioResults, Series};
use super::runner::Settings;
use crate::error::Error;
use crate::generator::{self, Target};
use crate::node::{Scratch, Server};
use crate::workload::{Produce, Rate, Time, Workload};

/// Records a second: what two shards on two CPUs carry beside the load.
const RATE: f64 = 40_000.0;

const SHARDS: i32 = 2;

/// Id, title and the partitions of producers.
const VARIANTS: [(&str, &str, Option<u32>); 3] = [
    ("crossing-0", "no request crosses", Some(1)),
    ("crossing-50", "half of them cross", None),
    ("crossing-100", "all cross", Some(0)),
];

fn workload(settings: &Settings, own_partition: Option<u32>) -> Workload {
    Workload {
        topic: "crossing".to_owned(),
        partitions: SHARDS,
        topic_configs: vec![("skein.durability".to_owned(), "durable".to_owned())],
        produce: Produce { producers: 64, in_flight: 100, own_partition, ..Produce::default() },
        rate: Rate { records_per_second: Some(RATE), ..Rate::default() },
        time: Time { warm_up_s: settings.warm_up_s, seconds: settings.seconds, ..Time::default() },
        ..Workload::default()
    }
}

/// Results of nothing yet.
pub(super) fn results(settings: &Settings) -> ScenarioResults {
    let series = |&(id, title, _): &(&str, &str, _)| Series { id: id.into(), title: title.into(), ..Series::default() };
    ScenarioResults {
        name: "crossing".to_owned(),
        title: "Requests that cross shards: 40,000 records of 100 B a second, durable, 2 shards".to_owned(),
        what:
            "skein alone, with two shards on the CPUs of the brokers and the load together: what a request costs that \
               comes in on one shard and is for a partition of the other."
                .to_owned(),
        workload: workload(settings, None).to_toml(),
        series: VARIANTS.iter().map(series).collect(),
    }
}

/// One round.
pub(super) fn measure(settings: &Settings, round: usize, found: &mut ScenarioResults) -> Result<(), Error> {
    let mut order: Vec<usize> = (0..VARIANTS.len()).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    let cores = [settings.server_cores[settings.server_cores.len() - 1], settings.load_cores[0]];
    for index in order {
        let scratch = Scratch::new(&settings.directory, "skein-bench-crossing")?;
        let server = Server::node(&settings.program, scratch.path(), &cores, &[])?;
        // One thread opens connections in the order of producers.
        let target = Target { cores: settings.load_cores[..1].to_vec(), ..settings.target(&server) };
        let outcome = generator::run(&workload(settings, VARIANTS[index].2), &target)?;
        found.series[index].record(&outcome);
        server.stop()?;
    }
    Ok(())
}
