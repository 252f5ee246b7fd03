//! The same requests to skein and to Apache Kafka, and the answers compared: `tools/compare` starts both and runs it.
//!
//! ```text
//! compare --left HOST:PORT --right HOST:PORT [--seed N] [--requests N] [--episode N] [--prefix TEXT]
//! ```
//!
//! Requests are generated from the seed, for every API and version that both serve: valid ones on prepared topics and
//! groups, and ones that were spoilt; with `--episode` each is printed. An answer differs where, after [`normal`] has
//! given both sides' ids, times and addresses common names, a value is another. Differences that are meant stand with
//! their reasons in `differences.toml`; any other one fails. Without brokers nothing is compared, and cargo is content.

mod batches;
mod codec;
mod differences;
mod episode;
mod link;
mod normal;
mod pair;
mod random;
mod requests;
#[path = "../../../net/build/schema.rs"]
mod schema;
mod side;
mod spoil;
mod value;
mod world;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::SystemTime;

use crate::differences::{Covered, Difference, Intended};
use crate::pair::Pair;
use crate::random::Random;
use crate::schema::Api;
use crate::value::Value;
use crate::world::World;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compare/differences.toml");

/// Differences that a report shows in full; the others are counted.
const SHOWN_MAX: usize = 200;

/// The stream of the random numbers that deal the APIs; episodes have small numbers.
const DEALING: u64 = 1 << 40;

#[derive(Debug)]
struct Args {
    left: Option<SocketAddr>,
    right: Option<SocketAddr>,
    seed: u64,
    requests: usize,
    episode: Option<usize>,
    prefix: String,
    /// Only APIs whose name has this in it.
    api: String,
}

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let (Some(left), Some(right)) = (args.left, args.right) else {
        println!("SKIPPED: compare: --left and --right name no brokers; tools/compare starts them");
        return ExitCode::SUCCESS;
    };
    let intended =
        std::fs::read_to_string(LIST).map_err(|error| error.to_string()).and_then(|text| Intended::read(&text));
    let intended = match intended {
        Ok(intended) => intended,
        Err(wrong) => {
            eprintln!("{LIST}: {wrong}");
            return ExitCode::from(2);
        }
    };
    match run(&args, left, right, intended) {
        Ok(report) => report.print(),
        Err(failed) => {
            eprintln!("{failed}");
            println!("compare: 0 passed, 1 failed, 0 skipped");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            left: None,
            right: None,
            seed: 1,
            requests: 4000,
            episode: None,
            prefix: "cmp".to_owned(),
            api: String::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--left" => args.left = Some(address(&value()?)?),
                "--right" => args.right = Some(address(&value()?)?),
                "--seed" => args.seed = number(&value()?)?,
                "--requests" => args.requests = number(&value()?)? as usize,
                "--episode" => args.episode = Some(number(&value()?)? as usize),
                "--prefix" => args.prefix = value()?,
                "--api" => args.api = value()?,
                // What cargo passes to the harness of tests.
                _ if args.left.is_none() => {}
                _ => return Err(format!("{word} is no option of compare")),
            }
        }
        Ok(args)
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| format!("{text} is no HOST:PORT"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

/// What came of a run.
#[derive(Debug)]
struct Report {
    intended: Intended,
    requests: u64,
    /// Requests whose answers differ only as they are meant to, or not at all.
    agreed: u64,
    /// By API and version.
    asked: BTreeMap<(i16, i16), u64>,
    unintended: BTreeMap<(String, String, String, String), Unintended>,
    broken: Vec<String>,
}

#[derive(Debug)]
struct Unintended {
    first: String,
    times: u64,
}

fn run(args: &Args, left: SocketAddr, right: SocketAddr, intended: Intended) -> Result<Report, String> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(|error| error.to_string())?;
    let now = i64::try_from(since.as_millis()).map_err(|error| error.to_string())?;
    let mut pair = Pair::new(left, right);
    let served: Vec<_> =
        served(&mut pair)?.into_iter().filter(|(api, _)| api.name.contains(args.api.as_str())).collect();
    let mut report = Report {
        intended,
        requests: 0,
        agreed: 0,
        asked: BTreeMap::new(),
        unintended: BTreeMap::new(),
        broken: Vec::new(),
    };
    for episode in 0..args.requests.div_ceil(episode::REQUESTS) {
        if args.episode.is_some_and(|wanted| wanted != episode) {
            continue;
        }
        let start = episode * episode::REQUESTS;
        let deck: Vec<_> = (start..args.requests.min(start + episode::REQUESTS))
            .map(|number| dealt(args.seed, number, &served))
            .collect();
        let world = World { prefix: format!("{}{}-{episode}-", args.prefix, args.seed), now };
        let mut random = Random::new(args.seed, episode as u64);
        let mut number = 0;
        let outcome = episode::run(&mut pair, &world, &mut random, &deck, |step| {
            if args.episode.is_some() {
                let (api, version) = deck[number];
                println!("request {number}: {} v{version} {}", api.name, step.request);
            }
            let place = format!("--seed {} --episode {episode}, request {number}", args.seed);
            number += 1;
            report.take(deck[number - 1], step, &place)
        });
        if let Err(failed) = outcome {
            report.broken.push(format!("episode {episode} after {number} requests: {failed}"));
        }
    }
    Ok(report)
}

/// The APIs and versions that both advertise.
fn served(pair: &mut Pair) -> Result<Vec<(&'static Api, i16)>, String> {
    let api_versions = codec::api(18).ok_or("no ApiVersions in the schema")?;
    let answers = pair.must(api_versions, 0, &value::fields! {})?;
    let range = |answer: &Value, key: i16| {
        let found = answer.list("api_keys").iter().find(|api| api.int("api_key") == Some(key.into()));
        found.and_then(|api| Some((api.int("min_version")?, api.int("max_version")?)))
    };
    let mut all = Vec::new();
    for api in codec::apis() {
        let (Some(ours), Some(theirs)) = (range(&answers[0], api.key), range(&answers[1], api.key)) else { continue };
        let first = ours.0.max(theirs.0).max(api.min.into());
        all.extend((first..=ours.1.min(theirs.1)).map(|version| (api, version as i16)));
    }
    Ok(all)
}

/// The API and version of a request: all of them come in turn, each time in another order.
fn dealt(seed: u64, number: usize, served: &[(&'static Api, i16)]) -> (&'static Api, i16) {
    let round = number / served.len();
    let mut random = Random::new(seed, DEALING + round as u64);
    let mut order: Vec<usize> = (0..served.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    served[order[number % served.len()]]
}

impl Report {
    /// Counts a step. Whether the brokers still hold the same.
    fn take(&mut self, (api, version): (&Api, i16), step: episode::Step, place: &str) -> bool {
        self.requests += 1;
        *self.asked.entry((api.key, version)).or_default() += 1;
        let mut left: Vec<Difference> = Vec::new();
        let mut is_together = true;
        for found in step.found {
            match self.intended.covers(&found, &step.request) {
                Covered::No => left.push(found),
                Covered::Yes => {}
                Covered::Parting => is_together = false,
            }
        }
        if left.is_empty() {
            self.agreed += 1;
        }
        for found in left {
            let key = (found.api.clone(), found.path.clone(), found.skein.clone(), found.kafka.clone());
            let first = || Unintended { first: format!("{found}\n    asked  {}\n    {place}", step.request), times: 0 };
            self.unintended.entry(key).or_insert_with(first).times += 1;
        }
        is_together
    }

    fn print(&self) -> ExitCode {
        for unintended in self.unintended.values().take(SHOWN_MAX) {
            println!("DIFFERS {} times: {}", unintended.times, unintended.first);
        }
        if self.unintended.len() > SHOWN_MAX {
            println!("and {} more", self.unintended.len() - SHOWN_MAX);
        }
        for (reason, times) in self.intended.met() {
            println!("intended, met {times} times: {reason}");
        }
        for broken in &self.broken {
            println!("BROKEN {broken}");
        }
        let failed = self.requests - self.agreed + self.broken.len() as u64;
        println!("{} requests of {} APIs and versions", self.requests, self.asked.len());
        println!("compare: {} passed, {failed} failed, 0 skipped", self.agreed);
        if failed == 0 && self.requests > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
