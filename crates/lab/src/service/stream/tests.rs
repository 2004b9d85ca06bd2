//! The pattern of long transfers, and where it breaks.

use super::*;

/// A stream of the pattern, from its beginning.
fn pattern(length: usize) -> Vec<u8> {
    let chunks = (0..).step_by(CHUNK_BYTES).map(|at| pattern_at(at).to_vec());
    chunks
        .take(length.div_ceil(CHUNK_BYTES))
        .flatten()
        .take(length)
        .collect()
}

#[test]
fn the_pattern_matches_itself_at_any_position() {
    let stream = pattern(5 * PATTERN_BYTES);

    for start in [0, 1, CHUNK_BYTES, PATTERN_BYTES - 1, 3 * PATTERN_BYTES + 7] {
        assert_eq!(
            first_difference(&stream[start..], start as u64),
            None,
            "from {start}"
        );
    }
}

#[test]
fn a_changed_byte_is_found_where_it_is() {
    let mut stream = pattern(3 * PATTERN_BYTES);
    stream[100_000] ^= 1;

    assert_eq!(first_difference(&stream, 0), Some(100_000));
}

#[test]
fn a_lost_segment_is_found_where_it_was() {
    let mut stream = pattern(3 * PATTERN_BYTES);
    stream.drain(50_000..50_000 + 1448);

    let found = first_difference(&stream, 0).unwrap();

    assert!((50_000..50_010).contains(&found), "{found}");
}
