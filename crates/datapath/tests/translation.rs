//! Packets that are translated: out, back, and nowhere else.

use std::{cell::Cell, collections::BTreeSet, rc::Rc, time::Duration};

use abi::{Ip4, Port, Protocol, Reason, Tuple};
use proptest::prelude::*;

use crate::cases;
use crate::rig::{
    Site, Sketch,
    laws::{clients_keep_their_address, sound, taken_is_mapped},
    site::{ARM, INSIDE, OUTSIDE, own_mac, peer_mac, route, tuple, usual},
    sketch::{ACK, FIN, Message, RST, SYN, read},
};

/// What a test varies in a conversation beside its tuple.
#[derive(Clone, Debug)]
struct Conversation {
    protocol: Protocol,
    tuple: Tuple,
    payload: Vec<u8>,
    options: usize,
    ttl: u8,
    padding: usize,
    is_summed: bool,
    ingress: u32,
}

impl Conversation {
    fn first(&self) -> Sketch {
        self.dress(Sketch::first(self.protocol, self.tuple))
    }

    /// What the remote sends back to what it saw.
    fn answer(&self, seen: Tuple) -> Sketch {
        self.dress(Sketch::answer(self.protocol, seen.reversed()))
    }

    fn dress(&self, mut sketch: Sketch) -> Sketch {
        sketch.payload = self.payload.clone();
        // No operation, as often as needed.
        sketch.options = vec![1; 4 * self.options];
        (sketch.ttl, sketch.padding) = (self.ttl, self.padding);
        if let Message::Udp { is_summed, .. } = &mut sketch.message {
            *is_summed = self.is_summed;
        }
        sketch
    }
}

/// Few enough clients, ports and remotes that they meet again.
fn conversation() -> impl Strategy<Value = Conversation> {
    let tuple = (0..8u8, 0..6u8, 0..5u8, 0..3u8).prop_map(|(subnet, port, remote, service)| {
        let client = [10, subnet, 1, subnet * 3 + 1];
        let remote = match remote {
            0 => [203, 0, 113, 7],
            1 => [198, 18, 0, 9],
            _ => [198, 51, 100, remote],
        };
        let port = [1, 4000, 4001, 50_000, 65_534, 65_535][usize::from(port)];
        tuple(
            (client, port),
            (remote, [53, 443, 65_535][usize::from(service)]),
        )
    });
    let looks = (
        0..=10usize,
        2..=255u8,
        prop_oneof![Just(0usize), 0..20usize],
        any::<bool>(),
    );
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    let ingress = prop_oneof![Just(INSIDE), Just(ARM)];
    let protocol = prop::sample::select(&Protocol::PORTED[..]);
    (protocol, tuple, payload, looks, ingress).prop_map(
        |(protocol, mut tuple, payload, (options, ttl, padding, is_summed), ingress)| {
            if protocol == Protocol::Icmp {
                tuple.target_port = Port::new(0);
            }
            Conversation {
                protocol,
                tuple,
                payload,
                options,
                ttl,
                padding,
                is_summed,
                ingress,
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(48))]

    /// What the remote sees is an external address; what it answers reaches exactly who asked.
    #[test]
    fn a_reply_returns_to_its_sender(
        conversations in prop::collection::vec(conversation(), 1..40),
    ) {
        let site = Site::new(usual(), 4096);
        for conversation in &conversations {
            let out = site.send(conversation.ingress, &conversation.first());

            prop_assert!(out.is_translated(), "{:?}", out.reason);
            let (protocol, seen) = read(&out.after.bytes).expect("still such a packet");
            prop_assert_eq!(protocol, conversation.protocol);
            prop_assert!(seen.source.0.starts_with(&[192, 0, 2]));
            prop_assert_eq!(seen.target, conversation.tuple.target);
            prop_assert_eq!(seen.target_port, conversation.tuple.target_port);

            let back = site.send(OUTSIDE, &conversation.answer(seen));
            prop_assert_eq!(back.reason, Reason::TranslatedIn);
            let (_, got) = read(&back.after.bytes).expect("still such a packet");
            prop_assert_eq!(got, conversation.tuple.reversed());
            prop_assert_eq!(&back.after.bytes[..6], &peer_mac(INSIDE)[..]);
            prop_assert_eq!(&back.after.bytes[6..12], &own_mac(INSIDE)[..]);
        }
        sound(&site.memory);
        clients_keep_their_address(&site.memory);
        taken_is_mapped(&site.memory);
    }
}

fn seen_by(site: &Site, protocol: Protocol, asked: Tuple) -> Tuple {
    let out = site.send(INSIDE, &Sketch::first(protocol, asked));
    assert_eq!(out.reason, Reason::TranslatedOut);
    read(&out.after.bytes).expect("still such a packet").1
}

#[test]
fn an_internal_port_is_the_same_external_port_to_every_remote() {
    let site = Site::new(usual(), 4096);
    for protocol in Protocol::PORTED {
        let to = |remote, port| {
            // A query has an identifier, and no port at the remote.
            let port = if protocol == Protocol::Icmp { 0 } else { port };
            tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, remote], port))
        };

        let first = seen_by(&site, protocol, to(1, 443));

        for (remote, port) in [(1, 444), (2, 443), (3, 1)] {
            let seen = seen_by(&site, protocol, to(remote, port));
            assert_eq!(
                (seen.source, seen.source_port),
                (first.source, first.source_port)
            );
        }
    }
}

#[test]
fn ports_keep_their_parity() {
    let site = Site::new(usual(), 4096);
    for port in 1000..1100 {
        let seen = seen_by(
            &site,
            Protocol::Udp,
            tuple(([10, 1, 0, 1], port), ([198, 51, 100, 1], 53)),
        );
        assert_eq!(seen.source_port.get() % 2, port % 2);
    }
}

#[test]
fn clients_are_spread_over_all_addresses_of_their_rules_pool() {
    let site = Site::new(usual(), 4096);
    let mut seen = BTreeSet::new();
    for client in 0..200 {
        let target = ([198, 51, 100, 1], 443);
        for subnet in [1, 7] {
            let asked = tuple(([10, subnet, 0, client], 4000), target);
            seen.insert((subnet, seen_by(&site, Protocol::Tcp, asked).source));
        }
    }
    let address = |last| Ip4([192, 0, 2, last]);
    let web = [1, 2, 3].map(|last| (1, address(last)));
    let bank = [9, 10].map(|last| (7, address(last)));
    assert_eq!(seen, web.into_iter().chain(bank).collect());
}

#[test]
fn a_pool_gives_out_no_port_outside_its_range() {
    let site = Site::new(usual(), 4096);
    for port in 0..2000 {
        let asked = tuple(
            ([10, 7, (port % 50) as u8, 1], port),
            ([198, 51, 100, 1], 443),
        );
        let seen = seen_by(&site, Protocol::Tcp, asked).source_port.get();
        assert!((20_000..=29_999).contains(&seen), "{seen}");
    }
}

#[test]
fn all_segments_of_a_connection_pass_in_both_directions() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443));
    let seen = seen_by(&site, Protocol::Tcp, asked);

    for flags in [ACK, ACK | FIN, RST, RST | ACK, SYN, SYN | ACK, 0, SYN | FIN] {
        let out = site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked).flags(flags));
        assert_eq!(out.reason, Reason::TranslatedOut);
        let answer = Sketch::answer(Protocol::Tcp, seen.reversed()).flags(flags);
        assert_eq!(site.send(OUTSIDE, &answer).reason, Reason::TranslatedIn);
    }
}

#[test]
fn on_one_arm_packets_leave_by_the_interface_they_came_by() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 18, 2, 1], 443));

    let out = site.send(ARM, &Sketch::first(Protocol::Tcp, asked));

    assert_eq!(out.reason, Reason::TranslatedOut);
    assert_eq!(out.exit, datapath::Exit::Transmit);
}

#[test]
fn a_packet_whose_neighbour_is_unknown_is_translated_for_the_kernel_to_send() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 18, 0, 1], 443));

    let out = site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked).ttl(2));

    assert_eq!(out.reason, Reason::Unresolved);
    assert_eq!(out.after.bytes[22], 2, "the kernel counts its hop itself");
}

#[test]
fn a_large_packet_is_translated_for_the_kernel_to_fragment() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([203, 0, 113, 1], 443));

    let out = site.send(
        INSIDE,
        &Sketch::first(Protocol::Udp, asked).payload(&[7; 600]),
    );

    assert_eq!(out.reason, Reason::Fragmenting);
}

#[test]
fn a_packet_for_an_interface_that_takes_none_from_us_is_translated_for_the_kernel_to_send() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 18, 3, 1], 443));

    for _ in 0..2 {
        let out = site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked));
        assert_eq!(out.reason, Reason::KernelSends);
    }
}

#[test]
fn a_next_hop_is_asked_for_once_and_again_when_routes_have_changed() {
    let mut site = Site::new(usual(), 16);
    let asked = Rc::new(Cell::new(0));
    let counting = asked.clone();
    *site.memory.v4.routes.borrow_mut() = Rc::new(move |query| {
        counting.set(counting.get() + 1);
        route(query)
    });
    let sketch = Sketch::first(
        Protocol::Udp,
        tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443)),
    );

    for _ in 0..3 {
        site.send(INSIDE, &sketch);
    }
    assert_eq!(asked.get(), 1);
    site.handle(gateway::Event::RoutesChanged);
    for _ in 0..3 {
        site.send(INSIDE, &sketch);
    }
    assert_eq!(asked.get(), 2);
    site.pass(Duration::from_secs(10));
    for _ in 0..3 {
        site.send(INSIDE, &sketch);
    }
    assert_eq!(
        asked.get(),
        3,
        "while nobody tells, it is asked for from time to time"
    );
}

/// RFC 5508 REQ-1: every query that is not deprecated.
#[test]
fn a_timestamp_request_is_answered_as_an_echo_is() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 4], 0));
    let of_kind = |kind, sketch: Sketch, tuple: Tuple| Sketch {
        message: Message::Icmp {
            kind,
            id: if kind == 13 {
                tuple.source_port
            } else {
                tuple.target_port
            },
            seq: 1,
        },
        payload: vec![0; 12],
        ..sketch
    };

    let request = of_kind(13, Sketch::first(Protocol::Icmp, asked), asked);
    let out = site.send(INSIDE, &request);
    assert_eq!(out.reason, Reason::TranslatedOut);
    let (_, seen) = read(&out.after.bytes).expect("a query");
    let answer = seen.reversed();
    let reply = of_kind(14, Sketch::answer(Protocol::Icmp, answer), answer);
    let back = site.send(OUTSIDE, &reply);

    assert_eq!(back.reason, Reason::TranslatedIn);
    let (_, got) = read(&back.after.bytes).expect("a reply");
    assert_eq!(got, asked.reversed());
}
