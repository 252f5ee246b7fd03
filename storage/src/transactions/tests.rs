use proptest::prelude::*;

use super::*;

fn aborted() -> impl Strategy<Value = Aborted> {
    (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>()).prop_map(
        |(producer_id, first_offset, last_offset, last_stable_offset)| Aborted {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
        },
    )
}

#[test]
fn an_entry_is_kafkas_byte_for_byte() {
    let entry = Aborted { producer_id: 1, first_offset: 2, last_offset: 0x0102_0304_0506_0708, last_stable_offset: -2 };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    let expected = [
        &[0, 0][..],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[255, 255, 255, 255, 255, 255, 255, 254],
    ];
    assert_eq!(bytes, expected.concat());
}

proptest! {
    #[test]
    fn entries_come_back_and_nothing_else_is_taken_for_them(mut entries in prop::collection::vec(aborted(), 0..20), cut in 1..ENTRY_BYTES) {
        entries.sort_by_key(|it| it.last_offset);
        let bytes = encode(&entries);
        prop_assert_eq!(decode(&bytes), Some(entries.clone()));
        let mut of = OfSegment { written: entries.len() as u32, ..OfSegment::default() };
        of.load(&bytes, crc32c::crc32c(&bytes));
        prop_assert!(!of.is_damaged && of.aborted == entries);
        if let Some(cut) = bytes.len().checked_sub(cut) {
            prop_assert_eq!(decode(&bytes[..cut]), None);
            of.load(&bytes[..cut], crc32c::crc32c(&bytes));
            prop_assert!(of.is_damaged);
        }
    }

    #[test]
    fn open_transactions_come_back(open in prop::collection::btree_map(any::<i64>(), any::<i64>(), 0..20)) {
        let mut firsts = BTreeSet::new();
        let open: Vec<OpenV1> = open
            .into_iter()
            .filter(|(_, first)| firsts.insert(*first))
            .map(|(producer_id, first_offset)| OpenV1 { producer_id, first_offset })
            .collect();
        prop_assert_eq!(Open::decode(&Open::new(&open).encode()).snapshot(), open);
    }
}
