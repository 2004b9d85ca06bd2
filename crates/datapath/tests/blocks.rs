//! Blocks of ports: whose a port is follows from the configuration, whatever happens, and none is refused
//! while one is left that the client may have.

use std::collections::BTreeSet;

use abi::{Ip4, Port, Protocol, Reason, Tuple};
use datapath::native::Memory;
use gateway::{
    Event,
    intent::{Blocks, Intent, Pool, PortRange},
    mappings::{Ask, Denied, Owner},
};

use crate::rig::{
    Site, Sketch,
    laws::{sound, taken_is_mapped},
    site::{INSIDE, OUTSIDE, from_pool, intent, pool, rule, tuple},
    sketch::read,
};

/// The ports of a block.
const SIZE: u16 = 256;

/// Four clients with a block each, `100.64.0.0` to `100.64.0.3`, who share two addresses. Of each address
/// 512 ports are in blocks, and as many in none.
fn homes() -> Pool {
    let ports = PortRange {
        first: 1000,
        last: 2047,
    };
    let clients = vec!["100.64.0.0/31", "100.64.0.2/31"];
    let clients = clients.into_iter().map(|it| it.parse().expect("a prefix"));
    let blocks = Blocks::lay_out(clients.collect(), SIZE, 2, ports);
    Pool {
        blocks: Some(blocks.expect("they fit")),
        ..pool("homes", 1..=2, (ports.first, ports.last))
    }
}

fn with(pool: Pool) -> Intent {
    let rule = rule("0.0.0.0/0", "198.51.100.0/24", from_pool("homes"));
    intent(vec![pool], vec![rule])
}

fn client(last: u8) -> [u8; 4] {
    [100, 64, 0, last]
}

/// A client without a block, whom its hash leads to this address of the pool.
fn stranger(site: &Site, address: u8) -> [u8; 4] {
    let mut all = (0..=255).map(|last| [10, 0, 0, last]);
    let leads = |client: &[u8; 4]| {
        let sent = begin(site, Protocol::Udp, (*client, 9), 9);
        sent.is_ok_and(|sent| sent.source == Ip4([192, 0, 2, address]))
    };
    all.find(leads).expect("some of them")
}

/// Begins a flow to a port; returns how it left, or why not.
fn begin(
    site: &Site,
    protocol: Protocol,
    from: ([u8; 4], u16),
    port: u16,
) -> Result<Tuple, Reason> {
    let port = if protocol == Protocol::Icmp { 0 } else { port };
    let asked = tuple(from, ([198, 51, 100, 1], port));
    let out = site.send(INSIDE, &Sketch::first(protocol, asked));
    if out.reason != Reason::TranslatedOut {
        return Err(out.reason);
    }
    Ok(read(&out.after.bytes).expect("it has ports").1)
}

/// Begins flows of a client, each from a port of its own, until one is refused; returns the address that
/// they left from, and their ports in order.
fn exhaust(site: &Site, protocol: Protocol, client: [u8; 4]) -> (Ip4, Vec<u16>) {
    let (mut ports, mut address) = (Vec::new(), None);
    for internal in 2000.. {
        match begin(site, protocol, (client, internal), 443) {
            Ok(sent) => {
                assert_eq!(*address.get_or_insert(sent.source), sent.source);
                ports.push(sent.source_port.get());
            }
            Err(reason) => {
                assert_eq!(reason, Reason::PortsExhausted);
                break;
            }
        }
    }
    (address.expect("at least one flow"), ports)
}

/// Those of the block that a client has by the arithmetic of the reference.
fn block(ordinal: u16) -> BTreeSet<u16> {
    let first = 1024 + ordinal % 2 * SIZE;
    (first..first + SIZE).collect()
}

#[test]
fn a_client_has_its_own_block_then_the_rest_and_is_refused_when_both_are_full() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let site = Site::new(with(homes()), 4096);
        let mut rest = BTreeSet::from_iter(1000..1024);
        rest.extend(1536..2048);
        for ordinal in 0..4_u16 {
            let (address, ports) = exhaust(&site, protocol, client(ordinal as u8));

            assert_eq!(address, Ip4([192, 0, 2, 1 + ordinal as u8 / 2]));
            let (own, others) = ports.split_at(usize::from(SIZE));
            assert_eq!(BTreeSet::from_iter(own.iter().copied()), block(ordinal));
            // The first of an address finds all the rest, the second one none of it.
            let others = BTreeSet::from_iter(others.iter().copied());
            assert_eq!(
                others,
                if ordinal % 2 == 0 {
                    rest.clone()
                } else {
                    BTreeSet::new()
                }
            );
        }
        sound(&site.memory);
        taken_is_mapped(&site.memory);
    }
}

#[test]
fn whoever_has_no_block_never_has_a_port_of_one() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let site = Site::new(with(homes()), 4096);
        let stranger = stranger(&site, 1);

        let (_, ports) = exhaust(&site, protocol, stranger);

        let in_blocks = block(0).union(&block(1)).copied().collect();
        assert!(BTreeSet::from_iter(ports.iter().copied()).is_disjoint(&in_blocks));
        let probed = usize::from(protocol == Protocol::Udp);
        assert_eq!(ports.len() + probed, 24 + 512, "all that are in no block");
        // Those who have blocks notice nothing.
        let (_, ports) = exhaust(&site, protocol, client(1));
        assert_eq!(BTreeSet::from_iter(ports), block(1));
    }
}

#[test]
fn identifiers_of_pings_are_in_blocks_as_ports_are() {
    let site = Site::new(with(homes()), 4096);

    for internal in 0..SIZE {
        let sent = begin(&site, Protocol::Icmp, (client(3), internal), 0).expect("a free one");
        assert!(block(3).contains(&sent.source_port.get()));
    }

    let sent = begin(&site, Protocol::Icmp, (client(3), SIZE), 0).expect("one of the rest");
    assert!(!block(2).contains(&sent.source_port.get()));
    assert!(!block(3).contains(&sent.source_port.get()));
}

#[test]
fn parity_and_hold_down_are_kept_within_a_block() {
    let site = Site::new(with(homes()), 4096);
    let hold = |memory: &Memory, kept: u16| {
        let external = memory
            .v4
            .externals
            .get(&Ip4([192, 0, 2, 1]))
            .expect("served");
        let words = memory.bitmap(abi::ports::bitmap(external.index, Protocol::Udp));
        for port in block(0).into_iter().filter(|port| *port != kept) {
            let (word, bit) = abi::ports::place(Port::new(port));
            words[word].held.fetch_or(1 << bit);
        }
    };
    hold(&site.memory, 1101);

    let port = |internal| {
        let sent = begin(&site, Protocol::Udp, (client(0), internal), 443);
        sent.expect("a free one").source_port.get()
    };

    // The one that is not held back, of whatever parity; then those that are, before the rest.
    assert_eq!(port(4000), 1101);
    for internal in 4001..4100 {
        let port = port(internal);
        assert!(block(0).contains(&port));
        assert_eq!(port % 2, internal % 2);
    }
}

#[test]
fn overloaded_addresses_have_blocks_too() {
    let mut homes = homes();
    homes.behaviour = homes.behaviour.overloading();
    let site = Site::new(with(homes), 1 << 14);
    let mut flows = 0;

    for remote in 1..200 {
        for internal in 0..64 {
            let from = (client(2), 5000 + internal);
            match begin(&site, Protocol::Tcp, from, remote) {
                Ok(sent) => {
                    flows += 1;
                    assert_eq!(sent.source, Ip4([192, 0, 2, 2]));
                    assert!(!block(3).contains(&sent.source_port.get()));
                }
                Err(reason) => assert_eq!(reason, Reason::PortsExhausted),
            }
        }
    }

    // Sixteen times what a block and the rest have, as long as the remotes' hashes are spread evenly.
    assert!(flows > 9 * (256 + 536), "{flows}");
    sound(&site.memory);
}

/// Another size: flows stay where they are, and new ones go where the new blocks are.
#[test]
fn a_change_of_blocks_leaves_flows_alone() {
    let mut site = Site::new(with(homes()), 4096);
    let before = begin(&site, Protocol::Udp, (client(1), 4000), 443).expect("begun");
    assert!(block(1).contains(&before.source_port.get()));

    let mut changed = homes();
    let clients = vec!["100.64.0.0/30".parse().expect("a prefix")];
    let blocks = Blocks::lay_out(clients, 512, 2, changed.ports).expect("they fit");
    changed.blocks = Some(blocks);
    site.handle(Event::Configure(Box::new(with(changed))));

    let after = begin(&site, Protocol::Udp, (client(1), 4000), 444).expect("the same port");
    assert_eq!(after.source_port, before.source_port);
    let new = begin(&site, Protocol::Udp, (client(1), 4001), 443).expect("a new one");
    assert!((1536..2048).contains(&new.source_port.get()));
    let answer = Sketch::answer(Protocol::Udp, before.reversed());
    assert_eq!(site.send(OUTSIDE, &answer).reason, Reason::TranslatedIn);
}

/// Who asks for a port by the API has one of its own block as well, and never another's.
#[test]
fn a_port_that_is_asked_for_is_not_in_anothers_block() {
    let mut site = Site::new(with(homes()), 4096);
    let ask = |last, port| Ask {
        protocol: Protocol::Tcp,
        internal: (client(last), 8080).into(),
        address: None,
        port,
        prefer_failure: port.is_some(),
        lifetime: std::time::Duration::from_secs(60),
        owner: Owner::default(),
    };

    let granted = site.ask(&ask(0, None)).expect("granted");
    assert!(block(0).contains(&granted.external.port()));

    let denied = site.ask(&ask(1, Some(1030)));
    assert!(matches!(denied, Err(Denied::NotFree { port: 1030, .. })));
    let granted = site.ask(&ask(1, Some(1300))).expect("its own");
    assert_eq!(granted.external.port(), 1300);
    let granted = site.ask(&ask(2, Some(1600))).expect("nobody's");
    assert_eq!(granted.external.port(), 1600);
}
