//! `skein top`: what a node does at the moment, from its admin endpoint.
//!
//! ```text
//! scrape ─► page ─► view: rates between two scrapes ─► frame: lines ─► screen, or standard output
//! ```

mod frame;
mod page;
mod scrape;
mod screen;
mod view;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::failure::{Failure, Outcome};
use super::output::{Output, OutputArgs, print, print_json};
use frame::Size;
use page::Page;
use scrape::Endpoint;
use screen::{Key, Screen};
use view::View;

/// Where the endpoint is asked for without any word about it.
const DEFAULT_ADMIN: &str = "localhost:9644";

/// Time between the two scrapes of a single frame.
const ONCE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein top                                        the node whose endpoint is localhost:9644
  skein top --admin http://broker1:9644 --interval 5
  skein top --once                                 one frame, for scripts
  skein top --once --output json | jq .topics

The node has to be started with --admin HOST:PORT. Keys: q ends, space stops and goes on.
Rates are those since the frame before; durations are as exact as the classes of /metrics.")]
pub(super) struct Args {
    /// The node's admin endpoint, as URL or HOST:PORT
    #[arg(long, env = "SKEIN_ADMIN", value_name = "URL", default_value = DEFAULT_ADMIN, hide_env_values = true)]
    admin: String,

    /// Seconds between two frames
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    interval: f64,

    /// Print one frame without colours, and end
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Outcome {
    let endpoint =
        Endpoint::parse(&args.admin).map_err(|why| Failure::Usage(format!("--admin {}: {why}", args.admin)))?;
    if !(0.1..=3600.0).contains(&args.interval) {
        return Err(Failure::Usage("--interval must be between 0.1 and 3600 seconds".to_owned()));
    }
    if args.output.output == Output::Json && !args.once {
        return Err(Failure::Usage("--output json needs --once".to_owned()));
    }
    if args.once {
        return once(&endpoint, args.output.output);
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::Usage("standard output is no terminal; --once prints one frame".to_owned()));
    }
    watch(&endpoint, Duration::from_secs_f64(args.interval))
}

/// A page, and when it came.
struct Scrape {
    page: Page,
    at: Instant,
}

fn scrape(endpoint: &Endpoint) -> Outcome<Scrape> {
    let text = endpoint.get("/metrics").map_err(|error| {
        let remedy = "start the node with --admin HOST:PORT, or name its endpoint with --admin URL";
        Failure::with_remedy(format!("no metrics from {endpoint}: {error}"), remedy)
    })?;
    let page = Page::parse(&text).map_err(|error| Failure::failed(format!("the metrics of {endpoint}: {error}")))?;
    Ok(Scrape { page, at: Instant::now() })
}

fn once(endpoint: &Endpoint, output: Output) -> Outcome {
    let before = scrape(endpoint)?;
    std::thread::sleep(ONCE_INTERVAL);
    let view = view(&before, &scrape(endpoint)?);
    match output {
        Output::Json => print_json(&json!(view.to_json())),
        Output::Text => print(&frame::lines(&endpoint.to_string(), &view, Size::ANY).join("\n")),
    }
}

fn view(before: &Scrape, after: &Scrape) -> View {
    View::between(&before.page, &after.page, (after.at - before.at).as_secs_f64())
}

/// Shows frame after frame until a key or a signal ends it.
fn watch(endpoint: &Endpoint, interval: Duration) -> Outcome {
    let mut before = scrape(endpoint)?;
    let mut screen = Screen::enter()?;
    let mut due = Instant::now() + interval.min(ONCE_INTERVAL);
    screen.show(&[format!("{endpoint}: the first rates come in a moment")])?;
    let mut is_stopped = false;
    loop {
        match screen.key_before(due)? {
            Some(Key::End) => return Ok(()),
            Some(Key::Stop) => is_stopped = !is_stopped,
            Some(Key::Other) => {}
            None if is_stopped => due = Instant::now() + interval,
            None => {
                due = Instant::now() + interval;
                // A node that is being started again is waited for.
                match scrape(endpoint) {
                    Ok(after) => {
                        let size = screen.size();
                        screen.show(&frame::lines(&endpoint.to_string(), &view(&before, &after), size))?;
                        before = after;
                    }
                    Err(failure) => screen.show(&[failure.text(), "trying again; q ends".to_owned()])?,
                }
            }
        }
    }
}
