//! The endpoint over real sockets, with real shards that threads of the test give turns to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use net::Uuid;
use replication::mailbox::{Mailboxes, mesh};
use replication::wake::{Doorbell, Wake};
use storage::LogId;
use storage::disk::Directory;
use storage::latency::Latencies;

use super::clients::Clients;
use super::exposition::{Family, Kind, Page};
use super::families::ALL;
use super::metrics::{Process, page};
use super::topics::{self, OTHER, TOPICS_MAX};
use super::{Admin, Phase};
use crate::assemble::{Found, Plan, assemble};
use crate::config::{Flags, NodeConfig, Overrides};
use crate::driver::Ops;
use crate::metadata::Image;
use crate::metadata::record::{NewPartition, Record};
use crate::shard::Shard;
use crate::shard::mail::Mail;
use crate::shard::metrics::Moved;
use crate::shard::report::{Inquiry, Log, Report, Told};
use crate::turn::{Next, Now, Turn as _};

const NOW: Now = Now { monotonic_ns: 1_000_000, wall_ms: 1_700_000_000_000 };

/// Wakes a thread of the test.
struct Ring(Mutex<mpsc::Sender<()>>);

impl Wake for Ring {
    fn wake(&self) {
        // The thread may have ended.
        let _ = self.0.lock().expect("no holder panics").send(());
    }
}

fn doorbell() -> (Arc<Doorbell>, mpsc::Receiver<()>) {
    let (ring, rung) = mpsc::channel();
    (Arc::new(Doorbell::new(Box::new(Ring(Mutex::new(ring))))), rung)
}

fn config() -> Arc<NodeConfig> {
    let flags = Flags { admin: Some("localhost:0".to_owned()), ..Flags::default() };
    Arc::new(NodeConfig::load(&flags, None, &[]).expect("defaults").0)
}

/// Shards of a new data directory. What they want of their disks is never done.
fn shards(count: usize) -> Vec<Shard> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = Directory::open(directory.path()).expect("it can be opened");
    let plan = Plan { config: config(), shards: count, listeners: Arc::new(Vec::new()), seed: 1, ready: None };
    let options = storage::store::Options::default();
    let found = Found { path: directory.path().to_path_buf(), disk: Ok(&disk), options };
    assemble(vec![found], plan).expect("an empty directory").shards
}

/// Gives a shard mail of the admin thread and turns until it is idle; what it answered.
fn answers(shard: &mut Shard, admin: usize, inquiry: Inquiry) -> Vec<Mail> {
    let (mut ops, mut outbox) = (Ops::default(), Vec::new());
    shard.begin(NOW);
    shard.mail(admin, Mail::Inquiry(inquiry));
    while shard.turn(NOW, &mut ops, &mut outbox) == Next::Busy {
        ops = Ops::default();
    }
    outbox.into_iter().filter(|(to, _)| *to == admin).map(|(_, mail)| mail).collect()
}

fn report(shard: &mut Shard, admin: usize) -> Report {
    match answers(shard, admin, Inquiry::Report).pop() {
        Some(Mail::Told(Told::Report(report))) => *report,
        other => panic!("a report was asked for: {other:?}"),
    }
}

/// Answers the admin thread's mail until the mailbox's other end is gone.
fn serve(mut shard: Shard, mut mailboxes: Mailboxes<Mail>, doorbell: &Doorbell, rung: &mpsc::Receiver<()>) {
    let admin = mailboxes.receivers.len() - 1;
    loop {
        doorbell.drowsy();
        let mail = mailboxes.receivers[admin].as_mut().and_then(|receiver| receiver.pop());
        let Some(mail) = mail else {
            if rung.recv().is_err() {
                return;
            }
            continue;
        };
        doorbell.awake();
        let Mail::Inquiry(inquiry) = mail else { panic!("the admin thread only asks") };
        let sender = mailboxes.senders[admin].as_mut().expect("there is a mailbox to the admin thread");
        for answer in answers(&mut shard, admin, inquiry) {
            sender.push(answer).expect("an inquiry has room for its answer");
            sender.ring();
        }
    }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers with text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends with an empty line");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    if path == "/metrics" {
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    }
    (status, body.to_owned())
}

fn start() -> Admin {
    Admin::start(vec![TcpListener::bind("127.0.0.1:0").expect("a free port")]).expect("a thread")
}

#[test]
fn a_node_that_starts_is_healthy_and_not_ready_and_has_metrics() {
    let admin = start();
    let address = admin.addresses()[0];
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    let (status, why) = get(address, "/readyz");
    assert!(status == 503 && why.contains("starting"), "{status} {why}");
    let (status, text) = get(address, "/metrics");
    assert!(status == 200 && text.contains("\nskein_ready 0\n"), "{text}");
    assert_eq!(get(address, "/nothing").0, 404);
    admin.farewell().stopping();
    assert_eq!(get(address, "/readyz"), (503, "the node is stopping\n".to_owned()));
    admin.stop();
    assert!(TcpStream::connect(address).is_err(), "the endpoint is gone");
}

#[test]
fn a_shard_that_hangs_is_named_until_it_goes_on() {
    let mut admin = start();
    let address = admin.addresses()[0];
    let ((first, first_rung), (second, second_rung)) = (doorbell(), doorbell());
    let mut mailboxes = mesh(&[Arc::clone(&first), Arc::clone(&second), admin.doorbell()]);
    admin.connect(mailboxes.pop().expect("the admin thread's"));
    admin.serving();
    let mut shards = shards(2);
    let (of_second, of_first) = (mailboxes.pop().expect("two"), mailboxes.pop().expect("two"));
    let (hung, answering) = (shards.pop().expect("two"), shards.pop().expect("two"));
    thread::spawn(move || serve(answering, of_first, &first, &first_rung));

    assert_eq!(get(address, "/healthz"), (503, "shard 1 has not answered for 2 s\n".to_owned()));
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200, "what the others say is still there");
    assert!(text.contains("skein_shard_up{shard=\"0\"} 1\nskein_shard_up{shard=\"1\"} 0\n"), "{text}");
    assert!(text.contains("skein_partitions{shard=\"0\"}") && !text.contains("skein_partitions{shard=\"1\"}"));

    // It has the mail of the rounds that it missed: answering that late is no harm.
    thread::spawn(move || serve(hung, of_second, &second, &second_rung));
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    let (_, why) = get(address, "/readyz");
    assert_eq!(why, "shard 0 does not serve yet\nshard 1 does not serve yet\n");
    let (_, text) = get(address, "/metrics");
    assert!(text.contains("skein_shard_up{shard=\"0\"} 1\nskein_shard_up{shard=\"1\"} 1\n"), "{text}");
    admin.stop();
}

#[test]
fn a_shard_without_an_admin_thread_is_asked_nothing_and_sends_nothing() {
    let mut shard = shards(1).pop().expect("one");
    let (mut ops, mut outbox) = (Ops::default(), Vec::new());
    shard.begin(NOW);
    shard.turn(NOW, &mut ops, &mut outbox);
    assert!(outbox.is_empty(), "{outbox:?}");
}

/// A sample of a page: labels with their values, and the value.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads a page back, holding it to the rules of the format: every sample stands below the type of its family, and no
/// family and no sample occurs twice.
fn parse(text: &str) -> Vec<Sample> {
    let (mut samples, mut types, mut seen) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} occurs twice");
            current = name.to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(seen.insert(series.to_owned()), "{series} occurs twice");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, parse_labels(labels)),
            None => (series, Vec::new()),
        };
        let family = if types[&current] == "histogram" {
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).expect("of a histogram")
        } else {
            name
        };
        assert_eq!(family, current, "a sample stands below its family");
        samples.push(Sample { name: name.to_owned(), labels, value: value.parse().expect("a number") });
    }
    assert!(text.ends_with('\n'), "the last line ends too");
    samples
}

fn parse_labels(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut letters = text.chars();
    loop {
        let name: String = letters.by_ref().take_while(|&letter| letter != '=').collect();
        assert!(!name.is_empty() && letters.next() == Some('"'), "{text}");
        let mut value = String::new();
        loop {
            match letters.next().expect("a value ends with a quote") {
                '"' => break,
                '\\' => value.push(match letters.next() {
                    Some('n') => '\n',
                    Some(escaped @ ('"' | '\\')) => escaped,
                    other => panic!("\\{other:?} is no escape"),
                }),
                letter => value.push(letter),
            }
        }
        labels.push((name, value));
        match letters.next() {
            Some(',') => {}
            Some('}') => return labels,
            other => panic!("{other:?} behind a label: {text}"),
        }
    }
}

#[test]
fn a_page_of_real_shards_is_read_back() {
    let mut shards = shards(2);
    let reports = shards.iter_mut().map(|shard| Some(Arc::new(report(shard, 2)))).collect();
    let process = Process { is_serving: true, started_at: 1.5, uptime: 2.0, usage: Some((0.25, 4096)) };
    let text = page(&reports, &Vec::new(), &process);
    let samples = parse(&text);
    let of_clients = Clients::default().page(tokio::time::Instant::now());
    for Family { name, .. } in ALL {
        let text = if name.starts_with("skein_client_metrics_") { &of_clients } else { &text };
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is on the page even without samples");
    }
    let partitions = |shard: &str| {
        let labels = vec![("shard".to_owned(), shard.to_owned())];
        samples.iter().find(|sample| sample.name == "skein_partitions" && sample.labels == labels).map(|it| it.value)
    };
    assert_eq!((partitions("0"), partitions("1")), (Some(1.0), Some(0.0)), "the metadata log is on shard 0");
}

#[test]
fn labels_that_need_escapes_are_read_back() {
    const FAMILY: Family = Family { name: "x", kind: Kind::Gauge, labels: &["a", "b"], help: "Help." };
    let strange = "quote\" back\\slash\nline, brace} = ünï";
    let mut page = Page::default();
    page.family(&FAMILY).sample(&[strange, ""], 7);
    let labels = vec![("a".to_owned(), strange.to_owned()), ("b".to_owned(), String::new())];
    assert_eq!(parse(&page.into_text()), [Sample { name: "x".to_owned(), labels, value: 7.0 }]);
}

#[test]
fn a_histogram_rises_to_its_count() {
    const FAMILY: Family = Family { name: "x", kind: Kind::Histogram, labels: &["shard"], help: "Help." };
    let mut latencies = Latencies::default();
    for us in [50, 150, 150, 70_000, 20_000_000] {
        latencies.record(us * 1000);
    }
    let mut page = Page::default();
    page.family(&FAMILY).distribution(&["0"], &latencies.distribution());
    let samples = parse(&page.into_text());
    let buckets: Vec<f64> = samples.iter().filter(|sample| sample.name == "x_bucket").map(|it| it.value).collect();
    assert!(buckets.is_sorted() && buckets.first() == Some(&1.0) && buckets.last() == Some(&5.0), "{buckets:?}");
    let bounds: Vec<&str> =
        samples.iter().filter_map(|it| it.labels.iter().find(|(name, _)| name == "le")).map(|(_, le)| &**le).collect();
    assert_eq!((bounds.first(), bounds.last()), (Some(&"0.0001"), Some(&"+Inf")));
    let value = |name: &str| samples.iter().find(|sample| sample.name == name).map(|sample| sample.value);
    assert_eq!(value("x_count"), Some(5.0));
    assert_eq!(value("x_sum"), Some(20.07035));
}

/// An image with so many topics of one partition, the log of the nth being n; the last one is called as the rest is.
fn image(topics: u64) -> Image {
    let mut image = Image::empty(1, 1, Arc::new(config().settings.clone()));
    for number in 1..=topics {
        let partition = NewPartition { log_id: number, leader: 1, leader_epoch: 0, replicas: vec![1] };
        let name = if number == topics { OTHER.to_owned() } else { format!("topic-{number:05}") };
        let record = Record::TopicCreated {
            name,
            topic_id: Uuid(u128::from(number).to_be_bytes()),
            configs: Overrides::new(),
            created_ms: 1_000_000 - number as i64,
            partitions: vec![partition],
        };
        image.apply(&record).expect("they do not contradict each other");
    }
    image
}

#[test]
fn a_bounded_number_of_topics_is_named_and_nothing_is_lost() {
    let mut shard = shards(1).pop().expect("one");
    let mut report = report(&mut shard, 1);
    let many = TOPICS_MAX as u64 + 50;
    let moved = |records| Moved { batches: 1, records, bytes: 10 };
    let log = |number| Log {
        log: LogId(number),
        start_offset: 0,
        high_watermark: 3,
        size_bytes: 10,
        produced: moved(number),
    };
    report.logs = (1..=many).map(log).collect();
    report.fetched = (1..=many).map(|number| (LogId(number), moved(2))).collect();
    let sums = topics::sums(&image(many), &[&report]);
    assert_eq!(sums.len(), TOPICS_MAX + 1);
    assert!(sums.contains_key("topic-00249") && !sums.contains_key("topic-00001"), "the oldest are named");
    assert_eq!(sums[OTHER].partitions, 50);
    assert_eq!(sums.values().map(|sum| sum.produced.records).sum::<u64>(), (1..=many).sum::<u64>());
    assert_eq!(sums.values().map(|sum| sum.fetched.records).sum::<u64>(), 2 * many);

    let few = topics::sums(&image(3), &[&report]);
    assert_eq!(few.keys().map(|name| &**name).collect::<Vec<_>>(), [OTHER, "topic-00001", "topic-00002"]);
}

#[test]
fn serving_again_after_a_stop_began_changes_nothing() {
    let admin = start();
    admin.farewell().stopping();
    admin.serving();
    assert_eq!(*admin.phase.borrow(), Phase::Stopping);
    admin.stop();
}
