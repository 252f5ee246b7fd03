//! Whether every acknowledged record was read back once, in order.
//!
//! Each producer numbers the records that it writes to a partition. The ledger of what was acknowledged and that of what
//! was read hold for each pair a count and a sum over mixed numbers: they agree if the same records are in both. That
//! numbers only rise is checked as they are read.

use std::collections::BTreeMap;
use std::fmt;

/// A producer's records of a partition.
pub(super) type Stream = (u32, i32);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    count: u64,
    sum: u64,
    /// The sequence that has to be exceeded by the next one.
    last: Option<u64>,
}

/// Records by their streams.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    entries: BTreeMap<Stream, Entry>,
}

/// What is wrong with the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A record came again, or after a later one.
    OutOfOrder { stream: Stream, sequence: u64, after: u64 },
    /// Not the records that were acknowledged.
    Differs { stream: Stream, acknowledged: u64, read: u64 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder { stream: (producer, partition), sequence, after } => {
                write!(f, "record {sequence} of producer {producer} in partition {partition} was read after {after}")
            }
            Self::Differs { stream: (producer, partition), acknowledged, read } => write!(
                f,
                "of producer {producer} in partition {partition}, {acknowledged} records were acknowledged and {read} \
                 read, not the same ones"
            ),
        }
    }
}

/// Numbers whose sums do not agree by chance.
fn mixed(sequence: u64) -> u64 {
    let mut mixed = sequence.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

impl Ledger {
    /// Adds records that were acknowledged.
    pub(super) fn acknowledge(&mut self, stream: Stream, sequences: std::ops::Range<u64>) {
        let entry = self.entries.entry(stream).or_default();
        entry.count += sequences.end - sequences.start;
        entry.sum = sequences.fold(entry.sum, |sum, sequence| sum.wrapping_add(mixed(sequence)));
    }

    /// Adds a record that was read.
    pub(super) fn read(&mut self, stream: Stream, sequence: u64) -> Result<(), Fault> {
        let entry = self.entries.entry(stream).or_default();
        if let Some(after) = entry.last.filter(|&last| last >= sequence) {
            return Err(Fault::OutOfOrder { stream, sequence, after });
        }
        *entry = Entry { count: entry.count + 1, sum: entry.sum.wrapping_add(mixed(sequence)), last: Some(sequence) };
        Ok(())
    }

    /// Adds the streams of another ledger, which are other streams or other records.
    pub(super) fn merge(&mut self, other: Self) {
        for (stream, other) in other.entries {
            let entry = self.entries.entry(stream).or_default();
            entry.count += other.count;
            entry.sum = entry.sum.wrapping_add(other.sum);
        }
    }

    /// Compares what was acknowledged (this) with what was read.
    pub(super) fn compare(&self, read: &Self) -> Result<(), Fault> {
        let nothing = Entry::default();
        for &stream in self.entries.keys().chain(read.entries.keys()) {
            let ours = self.entries.get(&stream).unwrap_or(&nothing);
            let theirs = read.entries.get(&stream).unwrap_or(&nothing);
            if (ours.count, ours.sum) != (theirs.count, theirs.sum) {
                return Err(Fault::Differs { stream, acknowledged: ours.count, read: theirs.count });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_what_has_to_be_read() {
        let (mut acknowledged, mut read) = (Ledger::default(), Ledger::default());
        acknowledged.acknowledge((1, 0), 0..3);
        acknowledged.acknowledge((1, 0), 5..7);
        [0, 1, 2, 5].into_iter().for_each(|sequence| read.read((1, 0), sequence).expect("in order"));
        let fault = acknowledged.compare(&read).expect_err("one is missing");
        assert_eq!(fault, Fault::Differs { stream: (1, 0), acknowledged: 5, read: 4 });
        let mut other = read.clone();
        read.read((1, 0), 6).expect("in order");
        acknowledged.compare(&read).expect("the same records");
        other.read((1, 0), 7).expect("in order");
        acknowledged.compare(&other).expect_err("as many, but another one");
        read.read((2, 0), 0).expect("in order");
        acknowledged.compare(&read).expect_err("one that nobody wrote");
    }

    #[test]
    fn a_record_that_comes_again_is_found_when_it_comes() {
        let mut read = Ledger::default();
        read.read((1, 0), 4).expect("the first");
        assert_eq!(read.read((1, 0), 4), Err(Fault::OutOfOrder { stream: (1, 0), sequence: 4, after: 4 }));
        read.read((1, 1), 3).expect("of another partition");
    }
}
