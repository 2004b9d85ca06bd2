//! Laws of compilation; that a compiled policy decides as its rules read is tested with the packet
//! path itself.

use super::*;

#[test]
fn the_prefixes_of_a_range_are_exactly_the_range() {
    let edges = [
        1, 2, 3, 80, 443, 1023, 1024, 8000, 8999, 32767, 32768, 65534, 65535,
    ];
    for first in edges {
        for last in edges.into_iter().filter(|last| *last >= first) {
            let prefixes = port_prefixes(first, last);

            let within = |port: u16| {
                prefixes.iter().filter(move |(start, bits)| {
                    let prefix = Prefix::of_word(u32::from(*start), 16 + bits);
                    prefix.covers(Prefix::of_word(u32::from(port), 32))
                })
            };
            for port in 0..=u16::MAX {
                let is_in = (first..=last).contains(&port);
                assert_eq!(
                    within(port).count(),
                    usize::from(is_in),
                    "{first}-{last}: {port}"
                );
            }
            assert!(prefixes.len() <= 30);
        }
    }
}

#[test]
fn a_prefix_knows_the_rules_of_the_prefixes_around_it() {
    let prefix = Prefix::of_word;
    let nested = nest(vec![
        (prefix(0x0a00_0000, 8), 0),
        (prefix(0x0a01_0000, 16), 1),
        (prefix(0x0a02_0000, 16), 2),
        (prefix(0, 0), 3),
        (prefix(0x0b00_0000, 8), 4),
    ]);

    let words: Vec<_> = nested
        .iter()
        .map(|(prefix, set)| ((prefix.value >> 96) as u32, set.0[0]))
        .collect();

    assert_eq!(
        words,
        [
            (0, 0b0_1000),
            (0x0a00_0000, 0b0_1001),
            (0x0a01_0000, 0b0_1011),
            (0x0a02_0000, 0b0_1101),
            (0x0b00_0000, 0b1_1000),
        ]
    );
}
