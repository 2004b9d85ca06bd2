//! Entries and headers, and that a file and a set in memory are two views of one index.

use proptest::prelude::*;

use super::*;
use crate::{
    Record,
    samples::{any_record, closed, opened},
};

/// Entries of records that follow each other in a segment.
fn entries(records: &[Record]) -> BTreeSet<Packed> {
    let entry = |(number, record)| Entry::of(record, number as u64).pack();
    records.iter().enumerate().map(entry).collect()
}

fn all(sorted: &dyn Sorted, from: &Packed, to: &Packed) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut show = |entry: &Entry| {
        found.push(*entry);
        ControlFlow::Continue(())
    };
    sorted.between(from, to, &mut show).unwrap();
    found
}

#[test]
fn what_is_no_index_is_refused_and_so_is_a_cut_one() {
    let whole = whole(&entries(&[opened(), closed()]), 900);
    assert_eq!(Index::open(whole.as_slice()).unwrap().header().segment, 900);

    let mut damaged = whole.clone();
    damaged[17] ^= 1;
    for (bytes, why) in [
        (b"" as &[u8], "too short"),
        (&whole[..39], "too short"),
        (&whole[..whole.len() - 1], "cut"),
        (damaged.as_slice(), "damaged"),
    ] {
        let error = Index::open(bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn showing_ends_when_somebody_has_enough() {
    let records: Vec<Record> = std::iter::repeat_n(closed(), 2000).collect();
    let file = whole(&entries(&records), 0);
    let index = Index::open(file.as_slice()).unwrap();

    let mut shown = 0;
    closed_since(&index, Key::of(&closed()), 0, &mut |_| {
        shown += 1;
        if shown < 700 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .unwrap();

    assert_eq!(shown, 700);
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked(record in any_record(), offset: u64) {
        let entry = Entry::of(&record, offset);
        prop_assert_eq!(Entry::unpack(&entry.pack()), Some(entry));
    }

    #[test]
    fn any_header_is_refused_or_is_itself(bytes: [u8; 20], header: [u64; 2], seconds: [u32; 2]) {
        let [entries, segment] = header;
        let [earliest, latest] = seconds;
        let header = Header { entries, segment, earliest, latest };
        prop_assert_eq!(Header::unpack(&header.pack()), Some(header));
        let mut other = header.pack();
        for (byte, more) in other.iter_mut().zip(bytes) {
            *byte ^= more;
        }
        prop_assert_eq!(Header::unpack(&other).is_some(), other == header.pack());
    }

    /// The file and the set in memory are two views of the same thing.
    #[test]
    fn a_file_answers_as_the_set_it_was_made_from(
        records in prop::collection::vec(any_record(), 0..40),
        bounds: [prop::sample::Index; 2],
        max in 0..50_usize,
    ) {
        let set = entries(&records);
        let file = whole(&set, 0);
        let index = Index::open(file.as_slice()).unwrap();
        let some: Vec<Packed> = set.iter().copied().chain([[0; ENTRY_BYTES], [255; ENTRY_BYTES]]).collect();
        let [one, other] = bounds.map(|bound| *bound.get(&some));
        let (from, to) = (one.min(other), one.max(other));

        prop_assert_eq!(all(&index, &from, &to), all(&set, &from, &to));
        prop_assert_eq!(index.last_between(&from, &to, max).unwrap(), set.last_between(&from, &to, max).unwrap());
    }
}
