//! A thousand consumers that read what only the disk has, beside a producer.

use storage::store::Options;

use super::world::{Client, World};

const PARTITIONS: i32 = 8;
const BATCHES: i64 = 24;
const BATCH_BYTES: usize = 100_000;
const CONSUMERS: usize = 1000;
/// Answers that a consumer wants.
const ANSWERS: usize = 2;

#[test]
fn a_thousand_cold_readers_get_everything_and_a_producer_goes_on() {
    // So little memory that a tenth of the readers would fill it.
    let options = || Options { tail_bytes: 6 << 20, buffer_bytes: 24 << 20, open_files_max: 16, ..Options::default() };
    let mut world = World::start(2, &[], options());
    let mut producer = world.connect();
    producer.create_topic(&mut world, "old", PARTITIONS, &[("segment.bytes", "1048576")]);
    producer.create_topic(&mut world, "new", 2, &[]);
    for partition in 0..PARTITIONS {
        for offset in 0..BATCHES {
            assert_eq!(producer.produce(&mut world, "old", partition, BATCH_BYTES), (0, offset));
        }
    }
    let mut readers: Vec<Reader> = (0..CONSUMERS).map(|number| Reader::new(&mut world, number)).collect();
    let (mut produced, mut slowest_ns) = (0, 0);
    let mut asked_at_ns = None;
    let until_ns = world.now_ns() + 300_000_000_000;
    while readers.iter().any(|reader| !reader.is_done()) {
        assert!(
            world.now_ns() < until_ns,
            "{} readers are not done",
            readers.iter().filter(|it| !it.is_done()).count()
        );
        world.step_until(world.now_ns() + 1_000_000);
        readers.iter_mut().for_each(|reader| reader.step(&mut world));
        match asked_at_ns {
            None => {
                producer.send_produce(&mut world, "new", produced % 2, 1000);
                asked_at_ns = Some(world.now_ns());
            }
            Some(at_ns) => {
                if let Some((error, _)) = producer.produced(&mut world) {
                    assert_eq!(error, 0);
                    slowest_ns = slowest_ns.max(world.now_ns() - at_ns);
                    (produced, asked_at_ns) = (produced + 1, None);
                }
            }
        }
    }
    for shard in 0..2 {
        let store = world.report(shard).store;
        assert!(store.buffers.used_bytes <= store.buffers.budget_bytes, "{:?}", store.buffers);
        assert_eq!((store.reads_waiting, store.damage.found), (0, 0));
    }
    assert!(produced > 5 && slowest_ns < 100_000_000, "{produced} batches, the slowest took {slowest_ns} ns");
}

/// A consumer of one partition.
struct Reader {
    client: Client,
    partition: i32,
    offset: i64,
    answers: usize,
}

impl Reader {
    fn new(world: &mut World, number: usize) -> Self {
        let partition = number as i32 % PARTITIONS;
        // Spread over the segments.
        let offset = number as i64 % BATCHES;
        let mut reader = Self { client: world.connect(), partition, offset, answers: 0 };
        reader.client.partition_max_bytes = BATCH_BYTES as i32;
        reader.ask(world);
        reader
    }

    fn is_done(&self) -> bool {
        self.offset >= BATCHES || self.answers == ANSWERS
    }

    fn ask(&mut self, world: &mut World) {
        self.client.send_fetch(world, "old", self.partition, self.offset, 500);
    }

    fn step(&mut self, world: &mut World) {
        if self.is_done() {
            return;
        }
        let Some((error, records)) = self.client.fetched(world) else { return };
        assert_eq!(error, 0);
        for batch in storage::batch::batches(&records) {
            let batch = batch.expect("whole batches");
            assert_eq!((batch.base_offset(), batch.crc()), (self.offset, batch.computed_crc()));
            self.offset = batch.next_offset();
        }
        self.answers += usize::from(!records.is_empty());
        if !self.is_done() {
            self.ask(world);
        }
    }
}
