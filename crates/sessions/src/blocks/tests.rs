//! Whose an endpoint is, by computing, under one configuration after another.

use std::{collections::BTreeSet, slice};

use super::*;
use crate::{
    Event, Flow,
    index::{Entry, Key, Packed},
    json,
    segment::walk,
};

fn nets(all: &[&str]) -> Vec<Ipv4Net> {
    all.iter().map(|net| net.parse().unwrap()).collect()
}

/// Clients of two prefixes, five addresses that do not lie side by side, 100 clients an address.
fn homes() -> Blocks {
    Blocks {
        pool: "homes".into(),
        clients: nets(&["100.64.0.0/24", "100.64.7.0/25"]),
        addresses: nets(&["192.0.2.4/30", "192.0.2.9/32"]),
        sharing: 100,
        first: 1024,
        size: 512,
    }
}

fn assignment(time: u64, pools: Vec<Blocks>) -> Assignment {
    Assignment {
        time: Time::from_secs(time),
        pools,
    }
}

#[test]
fn every_client_is_found_by_every_port_of_its_block_and_nobody_by_others() {
    let homes = homes();
    let mut seen = BTreeSet::new();
    for net in homes.clients.clone() {
        for client in whole(net) {
            let own = homes.of(client).unwrap();
            assert_eq!(own.last - own.first, 511);
            for port in [own.first, own.first + 77, own.last] {
                assert_eq!(homes.owner(own.address, port), Some(own.clone()));
            }
            assert!(seen.insert((own.address, own.first)), "{client}");
        }
    }
    assert_eq!(seen.len(), 384);

    // The last address has fewer clients than there are blocks.
    let owner = |address: &str, port| homes.owner(address.parse().unwrap(), port);
    assert!(owner("192.0.2.7", 1024 + 83 * 512).is_some());
    assert_eq!(owner("192.0.2.7", 1024 + 84 * 512), None);
    assert_eq!(owner("192.0.2.9", 1024), None, "it has none");
    assert_eq!(owner("192.0.2.4", 1023), None);
    assert_eq!(owner("192.0.2.4", 1024 + 100 * 512), None);
    assert_eq!(owner("192.0.2.8", 1024), None, "another's address");
    assert_eq!(homes.of("100.64.1.0".parse().unwrap()), None);
}

fn record(client: &str, external: &str, protocol: u8, time: u64) -> Record {
    Record {
        time: Time::from_secs(time),
        flow: Flow {
            protocol: Protocol(protocol),
            client: client.parse().unwrap(),
            external: external.parse().unwrap(),
            remote: "198.51.100.9:443".parse().unwrap(),
            pool: None,
        },
        event: Event::Opened,
    }
}

#[test]
fn only_what_follows_from_the_blocks_is_spared() {
    let sieve = Sieve::new(Arc::new(assignment(100, vec![homes()])));
    let spares =
        |client, external, protocol, time| sieve.spares(&record(client, external, protocol, time));
    // The third client has ports from 2048 on.
    for protocol in [1, 6, 17] {
        assert!(spares("100.64.0.2:9", "192.0.2.4:2048", protocol, 100));
        assert!(spares("100.64.0.2:9", "192.0.2.4:2559", protocol, 101));
    }
    assert!(!spares("100.64.0.2:9", "192.0.2.4:2560", 6, 101), "beside");
    assert!(!spares("100.64.0.2:9", "192.0.2.5:2048", 6, 101), "another");
    assert!(!spares("100.64.0.3:9", "192.0.2.4:2048", 6, 101), "other's");
    assert!(!spares("10.0.0.2:9", "192.0.2.4:2048", 6, 101), "nobody");
    assert!(!spares("100.64.0.2:9", "192.0.2.4:2048", 6, 99), "before");
    assert!(!spares("100.64.0.2:9", "192.0.2.4:2048", 47, 101), "GRE");
    assert!(!spares("[2001:db8::2]:9", "192.0.2.4:2048", 6, 101));
}

/// A file of the log with such blocks, and its index.
struct File(Vec<u8>, BTreeSet<Packed>);

fn file(assignments: &[Assignment]) -> File {
    let mut text = Vec::new();
    for assignment in assignments {
        json::write_blocks(assignment, &mut text);
        json::write(&record("10.0.0.1:1", "192.0.2.4:2048", 6, 5), &mut text);
    }
    let walked = walk(&text.as_slice()).unwrap();
    assert_eq!(walked.damaged, 0);
    let said = assignments.last().map(|last| !last.pools.is_empty());
    assert_eq!(walked.has_blocks, said);
    File(text, walked.entries)
}

fn owners(files: &[File], since: u64, until: u64) -> Vec<(u64, String)> {
    let external = "192.0.2.4:2048".parse().unwrap();
    let protocol = Protocol(17);
    let question = Question {
        key: Key { external, protocol },
        since: Time::from_secs(since),
        until: Time::from_secs(until),
    };
    let sources: Vec<&[u8]> = files.iter().map(|File(text, _)| text.as_slice()).collect();
    let segments: Vec<Segment<'_>> = files
        .iter()
        .zip(&sources)
        .map(|(File(_, entries), lines)| Segment { entries, lines })
        .collect();
    let history = history(&question, &segments).unwrap();
    let found = history.owners(&question).into_iter();
    let shown = |it: Owned| (it.since.micros() / 1_000_000, it.owner.client.to_string());
    found.map(shown).collect()
}

/// Three configurations, the second without blocks, over three files; the last one is said again where
/// a file begins.
#[test]
fn whose_an_endpoint_was_follows_from_the_configuration_of_that_time() {
    let before = assignment(1000, vec![homes()]);
    let other = Blocks {
        pool: "offices".into(),
        clients: nets(&["10.9.0.0/28"]),
        addresses: nets(&["192.0.2.200/32"]),
        ..homes()
    };
    let swapped = Blocks {
        clients: nets(&["100.64.7.0/25", "100.64.0.0/24"]),
        ..homes()
    };
    let after = assignment(3000, vec![other, swapped]);
    let files = [
        file(slice::from_ref(&before)),
        file(&[before, assignment(2000, Vec::new()), after.clone()]),
        file(&[after]),
    ];

    let first = (1000, "100.64.0.2".to_owned());
    let last = (3000, "100.64.7.2".to_owned());
    let nobody: [(u64, String); 0] = [];
    assert_eq!(owners(&files, 999, 999), nobody);
    for time in [1000, 1999] {
        assert_eq!(
            owners(&files, time, time).as_slice(),
            slice::from_ref(&first)
        );
    }
    assert_eq!(owners(&files, 2000, 2999), nobody);
    assert_eq!(
        owners(&files, 3000, 9999).as_slice(),
        slice::from_ref(&last)
    );
    assert_eq!(owners(&files, 0, 9999), [first, last]);
    assert_eq!(owners(&[], 0, 9999), []);
}

#[test]
fn a_line_of_blocks_is_read_as_it_was_written_and_never_too_long() {
    let wide = Blocks {
        clients: (0..8)
            .map(|it| format!("100.64.{it}.128/25").parse().unwrap())
            .collect(),
        addresses: (0..=255)
            .map(|it| format!("203.0.{it}.255/32").parse().unwrap())
            .collect(),
        pool: "a".repeat(63).as_str().into(),
        ..homes()
    };
    for pools in [vec![homes(), wide], vec![]] {
        let assignment = assignment(1_793_700_000, pools);
        let mut text = Vec::new();
        let places = json::write_blocks(&assignment, &mut text);
        assert_eq!(places.len(), assignment.pools.len().max(1));
        let mut read = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.len() < json::LINE_BYTES_MAX);
            match json::read(line).unwrap() {
                Said::Blocks(time, blocks) if time == assignment.time => read.extend(blocks),
                said @ (Said::Blocks(..) | Said::Flow(_)) => panic!("{said:?}"),
            }
        }
        assert_eq!(read, assignment.pools);
    }
    let mut text = Vec::new();
    json::write_blocks(&assignment(1_793_700_000, vec![homes()]), &mut text);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "{\"time\":\"2026-11-03T10:00:00.000000Z\",\"event\":\"blocks\",\"pool\":\"homes\",\
         \"clients\":[\"100.64.0.0/24\",\"100.64.7.0/25\"],\
         \"addresses\":[\"192.0.2.4/30\",\"192.0.2.9/32\"],\"clients_per_address\":100,\
         \"first_port\":1024,\"ports\":512}\n"
    );
}

/// Also by a version that knows no blocks: an entry of another kind is passed over.
#[test]
fn an_entry_of_blocks_is_found_beside_those_of_flows() {
    let entry = Entry::of_blocks(Time::from_secs(9), 77);
    assert_eq!(Entry::unpack(&entry.pack()), Some(entry));
}
