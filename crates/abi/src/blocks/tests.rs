//! Every client has a block of its own, and what is in none is the rest.

use std::collections::HashSet;

use super::*;

fn client(ordinal: u32) -> Ip4 {
    Ip4((0x6440_0000 + ordinal).to_be_bytes())
}

/// Of every size, with as many blocks as fit and with few: no two clients of an address share a port,
/// and together with the rest they have all.
#[test]
fn a_port_of_an_address_is_one_clients_or_the_rests() {
    for size in (8..=14).map(|bits| 1_u16 << bits) {
        for sharing in [1, (65_536 - u32::from(size)) / u32::from(size)] {
            let blocks = Blocks::new(
                &[(client(0), 3 * sharing)],
                sharing,
                (Port::new(size), size),
            );
            let blocks = blocks.expect("they fit");
            let mut owners = vec![0; 65_536];
            for ordinal in sharing..2 * sharing {
                let (first, last) = blocks.ports(ordinal).expect("it has some");
                assert_eq!(last.get() - first.get() + 1, size);
                let own = blocks.own(ordinal);
                for port in 0..=u16::MAX {
                    let is_own = (first.get()..=last.get()).contains(&port);
                    assert_eq!(has(&own, Port::new(port)), is_own, "{port} of {ordinal}");
                    owners[usize::from(port)] += u32::from(is_own);
                }
            }
            for (port, owners) in owners.iter().enumerate() {
                let rest = has(&blocks.rest, Port::new(port as u16));
                assert_eq!(*owners + u32::from(rest), 1, "port {port} at size {size}");
            }
        }
    }
}

#[test]
fn clients_of_all_prefixes_are_counted_through_and_nobody_else_is() {
    let prefixes = [(client(0), 256), (client(4096), 16), (client(512), 1)];
    let blocks = Blocks::new(&prefixes, 100, (Port::new(1024), 512)).expect("they fit");

    let mut seen = HashSet::new();
    let mut next = 0;
    for (first, count) in prefixes {
        for offset in 0..count {
            let of = Ip4((u32::from_be_bytes(first.0) + offset).to_be_bytes());
            assert_eq!(blocks.ordinal(of), next);
            assert!(seen.insert((blocks.address(next), blocks.own(next))));
            next += 1;
        }
    }
    for other in [256, 511, 513, 4095, 4112] {
        assert_eq!(blocks.ordinal(client(other)), NOBODY);
    }
    assert_eq!(Blocks::NONE.ordinal(Ip4([0; 4])), NOBODY);
}

#[test]
fn what_the_packet_path_cannot_have_is_refused() {
    let fits = |sharing, first: u16, size| {
        Blocks::new(&[(client(0), 1)], sharing, (Port::new(first), size)).is_some()
    };
    assert!(fits(126, 1024, 512));
    assert!(!fits(127, 1024, 512), "beyond the last port");
    assert!(!fits(1, 1024, 500), "no power of two");
    assert!(!fits(1, 1024, 128), "not of each class");
    assert!(!fits(1, 32_768, 32_768), "more than a word of a class");
    assert!(!fits(1, 1024 + 256, 512), "across words");
    assert!(!fits(0, 1024, 512), "nobody's");
    let many = [(client(0), 1); BLOCK_PREFIXES_MAX + 1];
    assert_eq!(Blocks::new(&many, 16, (Port::new(1024), 512)), None);
}
