//! Several gateways with the same addresses: by whichever of them a packet comes, it reaches its flow, and no
//! external port is ever given to two.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use abi::{
    Ip4, Port, Protocol, Reason, Tuple,
    cluster::{Division, Giver, HOPS, Holder, NOBODY},
};
use datapath::{Exit, native::Frame};
use gateway::{
    cluster::{BLINDNESS, Cluster, Event, Member, PATIENCE, Standing},
    intent::{self, Intent},
};
use proptest::prelude::*;

use crate::{
    cases,
    rig::{
        Site, Sketch,
        shelves::{take_in, told},
        site::{self, INSIDE, OUTSIDE, own_mac, tuple},
        sketch::{ACK, Message, RST, SYN, read},
        sums::transport_is_right,
    },
};

const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 4], 443);

/// The addresses by which members reach each other.
type Underlay = fn(usize) -> IpAddr;

fn address(member: usize) -> IpAddr {
    Ipv4Addr::new(172, 31, 1, 11 + member as u8).into()
}

/// Both versions of IP.
const UNDERLAYS: [Underlay; 2] = [address, address6];

fn address6(member: usize) -> IpAddr {
    Ipv6Addr::new(0xfd0a, 0, 0, 0, 0, 0, 0, 11 + member as u16).into()
}

/// The gateways, and what each believes of the others.
struct Members {
    sites: Vec<Site>,
    beliefs: Vec<Cluster>,
    underlay: Underlay,
    now: Instant,
}

/// What became of a packet, and at which member.
#[derive(Debug)]
struct Ended {
    at: usize,
    reason: Reason,
    exit: Exit,
    frame: Frame,
    /// How often it was handed on.
    hops: usize,
}

impl Ended {
    /// What it shows at its end.
    fn tuple(&self) -> Tuple {
        read(&self.frame.bytes).expect("a packet").1
    }
}

impl Members {
    /// Gateways that all know of each other.
    fn new(count: usize) -> Self {
        Self::over(address, count)
    }

    /// The same, with these addresses.
    fn over(underlay: Underlay, count: usize) -> Self {
        let mut members = Self::strangers(underlay, count);
        (0..count).for_each(|of| members.hear(of, Standing::Up));
        members
    }

    /// Gateways that have heard nothing yet.
    fn strangers(underlay: Underlay, count: usize) -> Self {
        let now = Instant::now();
        let members: Vec<Member> = (0..count)
            .map(|index| Member {
                name: format!("gw{index}"),
                address: underlay(index),
            })
            .collect();
        let site = |me: usize| {
            let cluster = intent::cluster::Cluster {
                name: "west".to_owned(),
                members: members.clone(),
                me,
                secret: "/secret".into(),
                bfd: None,
                hops: 1,
                mtu: 1500,
                replication: None,
            };
            let mut site = Site::new(
                Intent {
                    cluster: Some(cluster),
                    ..site::usual()
                },
                4096,
            );
            site.handle(gateway::Event::Key(0x1234_5678_9abc_def0));
            let intent = site.gateway.intent().expect("it was configured").clone();
            site.handle(gateway::Event::Configure(Box::new(intent)));
            site
        };
        let mut all = Self {
            sites: (0..count).map(site).collect(),
            beliefs: vec![Cluster::default(); count],
            underlay,
            now,
        };
        for me in 0..count {
            let members = members.clone();
            all.tell(me, Event::Configure { members, me });
        }
        all
    }

    fn tell(&mut self, me: usize, event: Event) {
        if let Some(picture) = self.beliefs[me].handle(event, self.now) {
            let buckets = &self.sites[me].memory.buckets;
            buckets.set(&picture);
        }
    }

    /// All others hear this of a member.
    fn hear(&mut self, of: usize, standing: Standing) {
        let address = (self.underlay)(of);
        for me in (0..self.sites.len()).filter(|me| *me != of) {
            self.tell(me, Event::Heard(address, standing));
        }
    }

    /// Everybody knows that a member takes no new flows.
    fn leave(&mut self, member: usize) {
        self.tell(member, Event::Leave);
        self.hear(member, Standing::Leaving);
    }

    /// Everybody has told the others of all flows that it has of theirs.
    fn hand_over(&mut self) {
        let count = self.sites.len();
        for me in 0..count {
            self.tell(me, Event::Copies(true));
            for other in (0..count).filter(|it| *it != me).map(|it| it as u8) {
                for bucket in 0..=u8::MAX {
                    let from = other;
                    let turn = u64::MAX;
                    for event in [
                        Event::Held { bucket, from },
                        Event::Completed { bucket, from },
                        Event::Forgotten {
                            bucket,
                            from,
                            is_all: true,
                        },
                        Event::Copied {
                            bucket,
                            to: other,
                            turn,
                        },
                        Event::Flushed { bucket, turn },
                    ] {
                        self.tell(me, event);
                    }
                }
            }
        }
    }

    fn stay(&mut self, member: usize) {
        self.tell(member, Event::Stay);
        self.hear(member, Standing::Up);
    }

    /// Takes a frame through the member that a router sends it to, and through those that it is handed to.
    fn send(&self, to: usize, ingress: u32, frame: Frame) -> Ended {
        let (mut at, mut frame) = (to, Frame { ingress, ..frame });
        frame.bytes[..6].copy_from_slice(&own_mac(ingress));
        for hops in 0..=usize::from(HOPS) {
            let memory = &self.sites[at].memory;
            let before = memory.counters.borrow().clone();
            let exit = datapath::process(&mut frame, memory);
            let counted = |reason: &&Reason| {
                memory.counted(**reason).packets != before[**reason as usize].packets
            };
            let reason = *Reason::ALL
                .iter()
                .find(counted)
                .expect("every packet is counted");
            if reason != Reason::Relayed {
                return Ended {
                    at,
                    reason,
                    exit,
                    frame,
                    hops,
                };
            }
            assert!(outer_is_right(&frame.bytes), "the outer header is one");
            let target = outer_target(&frame.bytes);
            at = (0..self.sites.len())
                .find(|member| (self.underlay)(*member) == target)
                .expect("it goes to a member");
            frame.bytes[..6].copy_from_slice(&own_mac(INSIDE));
            frame.ingress = INSIDE;
        }
        panic!("a packet goes round");
    }

    fn first(&self, to: usize, protocol: Protocol, client: ([u8; 4], u16)) -> Ended {
        let sketch = Sketch::first(protocol, tuple(client, REMOTE));
        self.send(to, INSIDE, sketch.frame())
    }

    fn answer(&self, to: usize, protocol: Protocol, external: Tuple) -> Ended {
        let answer = Sketch {
            ingress: OUTSIDE,
            to: own_mac(OUTSIDE),
            ..Sketch::answer(protocol, external.reversed())
        };
        self.send(to, OUTSIDE, answer.frame())
    }
}

/// To whom an outer header is addressed.
fn outer_target(frame: &[u8]) -> IpAddr {
    if frame[12..14] == [0x86, 0xdd] {
        let target: [u8; 16] = frame[38..54].try_into().expect("an address");
        return target.into();
    }
    let target: [u8; 4] = frame[30..34].try_into().expect("an address");
    target.into()
}

fn outer_is_right(frame: &[u8]) -> bool {
    if frame[12..14] == [0x86, 0xdd] {
        let payload = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
        return frame[14..16] == [0x60, 0]
            && frame[20..22] == [4, 64]
            && frame.len() == 54 + payload;
    }
    let sum: u32 = frame[14..34]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    frame[12..14] == [8, 0]
        && frame[14] == 0x45
        && frame[23] == 4
        && (sum & 0xffff) + (sum >> 16) == 0xffff
        && frame.len() == 14 + total
}

#[test]
fn a_packet_reaches_its_flow_by_whichever_member_it_comes() {
    for underlay in UNDERLAYS {
        reaches_its_flow(underlay);
    }
}

fn reaches_its_flow(underlay: Underlay) {
    let members = Members::over(underlay, 3);
    let mut relayed = 0;
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        for client in 0..60u16 {
            let client = ([10, 1, 0, client as u8], 4000 + client);
            let first = members.first(usize::from(client.1) % 3, protocol, client);
            assert_eq!(first.reason, Reason::TranslatedOut, "{first:?}");
            assert!(transport_is_right(&first.frame.bytes));
            let external = first.tuple();
            relayed += first.hops;
            for to in 0..3 {
                let answer = members.answer(to, protocol, external);
                assert_eq!(answer.reason, Reason::TranslatedIn, "{answer:?}");
                assert_eq!(answer.at, first.at, "the owner has the flow");
                assert_eq!(answer.tuple().target, Ip4(client.0));
                let more = members.first(to, protocol, client);
                assert_eq!(
                    (more.reason, more.tuple()),
                    (Reason::TranslatedOut, external)
                );
            }
        }
    }
    assert!(relayed > 60, "most packets come to another member first");
}

#[test]
fn protocols_without_ports_are_one_members_and_both_directions_meet_there() {
    let members = Members::new(3);
    for protocol in [Protocol::Sctp, Protocol::Gre, Protocol::Esp] {
        let first = members.first(0, protocol, ([10, 1, 0, 9], 0));
        assert_eq!(first.reason, Reason::TranslatedOut);
        for to in 0..3 {
            let answer = members.answer(to, protocol, first.tuple());
            assert_eq!((answer.reason, answer.at), (Reason::TranslatedIn, first.at));
        }
    }
}

/// Members are told of a new policy one after the other.
#[test]
fn what_only_another_members_rules_want_is_not_let_out_untranslated() {
    let mut members = Members::new(2);
    let mut intent = members.sites[1].gateway.intent().expect("one").clone();
    intent.rules.truncate(1);
    members.sites[1].handle(gateway::Event::Configure(Box::new(intent)));
    let mut unwanted = 0;
    for client in 0..40u16 {
        let ended = members.first(0, Protocol::Udp, ([10, 1, 0, 1], 4000 + client));
        let expected = match ended.hops {
            0 => Reason::TranslatedOut,
            _ => Reason::RelayUnwanted,
        };
        unwanted += ended.hops;
        assert_eq!(ended.reason, expected);
    }
    assert!(unwanted > 5);
}

/// Who keeps a flow for its owner knows from which realm its packets come, and says so.
#[test]
fn a_packet_that_its_owner_has_no_flow_for_is_not_let_out_untranslated() {
    let mut members = Members::new(2);
    members.hand_over();
    for client in 0..40u16 {
        let client = ([10, 1, 0, 2], 4000 + client);
        let first = members.first(0, Protocol::Tcp, client);
        let keeper = 1 - first.at;
        for told in told(&members.sites[first.at]) {
            take_in(&members.sites[keeper], &told, false);
        }
        // The owner begins anew, and has lost it.
        let flows = &members.sites[first.at].memory.v4.flows;
        flows.all().iter().for_each(|(key, _)| flows.remove(key));
        let sketch = Sketch::first(Protocol::Tcp, tuple(client, REMOTE)).flags(ACK);
        let ended = members.send(keeper, INSIDE, sketch.frame());
        assert_eq!((ended.reason, ended.at), (Reason::ResetSent, first.at));
    }
}

#[test]
fn what_no_rule_wants_is_left_to_the_kernel_where_it_comes() {
    let members = Members::new(2);
    for client in 0..20 {
        let sketch = Sketch::first(
            Protocol::Udp,
            tuple(([10, 1, 0, client], 40), ([10, 2, 0, 1], 53)),
        );
        let ended = members.send(0, INSIDE, sketch.frame());
        assert_eq!((ended.reason, ended.hops), (Reason::RulePass, 0));
    }
}

/// The owner knows by the outer header from which realm a packet came, not by where the tunnel ends.
#[test]
fn what_comes_from_outside_begins_nothing_by_being_handed_on() {
    let members = Members::new(3);
    for port in 2000..2060 {
        let external = tuple(([192, 0, 2, 2], port), REMOTE);
        let syn = Sketch {
            ingress: OUTSIDE,
            to: own_mac(OUTSIDE),
            ..Sketch::first(Protocol::Tcp, external.reversed())
        };
        let ended = members.send(0, OUTSIDE, syn.frame());
        assert_eq!(ended.reason, Reason::Unsolicited);
    }
}

#[test]
fn a_segment_of_no_flow_is_answered_by_the_owner_with_a_reset() {
    let members = Members::new(3);
    for client in 0..20u16 {
        let sketch = Sketch::first(Protocol::Tcp, tuple(([10, 1, 0, 7], 5000 + client), REMOTE));
        let ended = members.send(0, INSIDE, sketch.flags(ACK).frame());
        assert_eq!(
            (ended.reason, ended.exit),
            (Reason::ResetSent, Exit::Transmit)
        );
        let Some((_, _, Message::Tcp { flags, .. })) = flags_of(&ended) else {
            panic!("it is a segment");
        };
        assert_ne!(flags & RST, 0);
    }
}

fn flags_of(ended: &Ended) -> Option<((), (), Message)> {
    let flags = *ended.frame.bytes.get(47)?;
    let none = Port::new(0);
    let message = Message::Tcp {
        source: none,
        target: none,
        flags,
        seq: 0,
        ack: 0,
    };
    Some(((), (), message))
}

#[test]
fn a_member_that_leaves_serves_its_flows_and_begins_none() {
    let mut members = Members::new(3);
    let flows: Vec<_> = (0..60u16)
        .map(|client| ([10, 1, 1, client as u8], 6000 + client))
        .map(|client| (client, members.first(0, Protocol::Tcp, client)))
        .collect();
    let leaving = 1;
    assert!(flows.iter().any(|(_, first)| first.at == leaving));

    members.leave(leaving);

    for (client, first) in &flows {
        for to in 0..3 {
            let answer = members.answer(to, Protocol::Tcp, first.tuple());
            assert_eq!((answer.reason, answer.at), (Reason::TranslatedIn, first.at));
            assert_eq!(answer.tuple().target, Ip4(client.0));
            let sketch = Sketch::first(Protocol::Tcp, tuple(*client, REMOTE)).flags(ACK);
            let more = members.send(to, INSIDE, sketch.frame());
            assert_eq!(
                (more.reason, more.tuple()),
                (Reason::TranslatedOut, first.tuple())
            );
        }
    }
    for client in 0..60u16 {
        let first = members.first(leaving, Protocol::Tcp, ([10, 1, 2, client as u8], 7000));
        assert_eq!(first.reason, Reason::TranslatedOut, "{first:?}");
        assert_ne!(first.at, leaving);
        assert!(first.hops <= usize::from(HOPS));
    }

    members.stay(leaving);
    for (client, first) in &flows {
        let answer = members.answer(2, Protocol::Tcp, first.tuple());
        assert_eq!((answer.reason, answer.at), (Reason::TranslatedIn, first.at));
        assert_eq!(answer.tuple().target, Ip4(client.0));
    }
}

/// RFC 4787 REQ-1: also while its bucket goes from one member to another.
#[test]
fn a_client_keeps_its_port_towards_new_remotes_while_its_bucket_moves() {
    let mut members = Members::new(2);
    let client = ([10, 1, 3, 3], 9000);
    let first = members.first(0, Protocol::Udp, client);
    members.leave(first.at);
    let sketch = Sketch::first(Protocol::Udp, tuple(client, ([198, 51, 100, 9], 53)));
    for to in 0..2 {
        let next = members.send(to, INSIDE, sketch.frame());
        assert_eq!(next.reason, Reason::TranslatedOut);
        assert_eq!(next.tuple().source_port, first.tuple().source_port);
        assert_eq!(next.tuple().source, first.tuple().source);
    }
}

#[test]
fn members_that_do_not_agree_hand_a_packet_on_a_few_times_and_then_drop_it() {
    let members = Members::new(2);
    for (me, other) in [(0, 1), (1, 0)] {
        let not_me = Holder {
            owner: other,
            before: NOBODY,
        };
        let buckets = &members.sites[me].memory.buckets;
        buckets.set(&Division {
            holders: [not_me; 256],
            givers: [Giver::NONE; 256],
            withheld: [[0; 4]; 16],
            unknown: [0; 4],
        });
    }
    let ended = members.first(0, Protocol::Tcp, ([10, 1, 0, 1], 4000));
    assert_eq!(
        (ended.reason, ended.hops),
        (Reason::RelayHops, usize::from(HOPS))
    );
}

/// An owner that comes back does not know which ports are in use.
#[test]
fn until_an_owner_has_its_flows_who_held_them_begins_new_ones() {
    let mut members = Members::new(2);
    members.hand_over();
    members.hear(0, Standing::Down);
    members.hear(1, Standing::Down);
    members.hear(0, Standing::Up);
    members.hear(1, Standing::Up);
    for number in 0..80u16 {
        let client = ([10, 1, 0, 3], 4000 + number);
        let first = members.first(usize::from(number % 2), Protocol::Udp, client);
        assert_eq!(first.reason, Reason::TranslatedOut, "{first:?}");
        let bucket = first.tuple().source_port.get() as u8;
        let owner = members.sites[0].memory.buckets.holder(bucket).owner;
        assert_eq!(first.at, 1 - usize::from(owner), "its owner gives no ports");
        for to in 0..2 {
            let answer = members.answer(to, Protocol::Udp, first.tuple());
            assert_eq!(answer.reason, Reason::TranslatedIn, "{answer:?}");
        }
    }
    // When that one has no more of its own, there will be some as soon as the owner gives them.
    for site in &members.sites {
        for bitmap in site.memory.ports.borrow().values() {
            bitmap.iter().for_each(|word| word.taken.set(u64::MAX));
        }
    }
    let first = members.first(0, Protocol::Udp, ([10, 1, 0, 4], 3999));
    assert_eq!((first.reason, first.exit), (Reason::Moving, Exit::Drop));
    // In the moment when that one has ceased to, and the owner does not know it yet.
    for site in &members.sites {
        let givers = &site.memory.buckets.givers;
        givers
            .iter()
            .for_each(|giver| giver.set(Giver::NONE.word()));
    }
    let first = members.first(0, Protocol::Udp, ([10, 1, 0, 4], 4000));
    assert_eq!((first.reason, first.exit), (Reason::Moving, Exit::Drop));
    // Who has a port keeps it.
    let known = members.first(0, Protocol::Udp, ([10, 1, 0, 3], 4000));
    assert_eq!(known.reason, Reason::TranslatedOut);
}

/// One that fell silent may have died, or only not be seen from here.
#[test]
fn a_segment_of_a_flow_that_may_live_elsewhere_is_not_answered() {
    let mut members = Members::new(3);
    members.hand_over();
    let client = ([10, 1, 0, 5], 4000);
    let first = members.first(0, Protocol::Tcp, client);
    let (owner, external) = (first.at, first.tuple());
    members.hear(owner, Standing::Down);
    let others = (0..3).filter(|it| *it != owner);
    let data = Sketch::first(Protocol::Tcp, tuple(client, REMOTE)).flags(ACK);
    let data = data.frame();
    for to in others.clone() {
        let data = members.send(to, INSIDE, data.clone());
        for ended in [data, members.answer(to, Protocol::Tcp, external)] {
            let fate = (ended.reason, ended.exit);
            assert_eq!(fate, (Reason::StateUnknown, Exit::Drop), "{ended:?}");
        }
        // Whoever begins a connection does not wait.
        let begun = members.first(to, Protocol::Tcp, ([10, 1, 0, 6], 4000 + to as u16));
        assert_eq!(begun.reason, Reason::TranslatedOut);
    }
    // It is not heard any more, and its flows are given up.
    members.now += BLINDNESS;
    (0..3).for_each(|me| members.tell(me, Event::Tick));
    for to in others {
        let ended = members.send(to, INSIDE, data.clone());
        assert_eq!(ended.reason, Reason::ResetSent, "{ended:?}");
    }
}

#[test]
fn nobody_is_handed_anything_before_it_is_known_who_is_there() {
    let members = Members::strangers(address, 2);
    let ended = members.first(0, Protocol::Tcp, ([10, 1, 0, 1], 4000));
    assert_eq!(ended.reason, Reason::NoOwner);
}

#[test]
fn who_is_no_member_cannot_hand_anything_over() {
    let members = Members::new(2);
    let client = ([10, 1, 0, 1], 4000);
    let packet = Sketch::first(Protocol::Tcp, tuple(client, REMOTE)).frame();
    // As the other member would send it, to the one that owns it.
    let owner = members.first(0, Protocol::Tcp, client).at;
    let mut frame = packet;
    frame.ingress = INSIDE;
    frame.bytes[..6].copy_from_slice(&own_mac(INSIDE));
    let exit = datapath::process(&mut frame, &members.sites[1 - owner].memory);
    assert_eq!(exit, Exit::Transmit);
    frame.bytes[..6].copy_from_slice(&own_mac(INSIDE));
    let right = frame.clone();
    let spoil = |place: usize, byte: u8| {
        let mut frame = right.clone();
        frame.bytes[place] = byte;
        frame
    };
    let taken = |frame: Frame| members.send(owner, frame.ingress, frame).reason;
    assert_eq!(taken(right.clone()), Reason::TranslatedOut);
    for (frame, why) in [
        (spoil(29, 99), "another source"),
        (spoil(18, 0x50), "another version"),
        (spoil(19, 0x2f), "another member's number"),
        (spoil(20, 0x20), "a fragment"),
        (spoil(33, 99), "another's address"),
    ] {
        assert_ne!(taken(frame), Reason::TranslatedOut, "{why}");
    }
    let mut outside = right;
    outside.ingress = OUTSIDE;
    outside.bytes[..6].copy_from_slice(&own_mac(OUTSIDE));
    assert_ne!(
        taken(outside),
        Reason::TranslatedOut,
        "not the way to that member"
    );
}

#[test]
fn who_is_no_member_cannot_hand_anything_over_by_ipv6() {
    let members = Members::over(address6, 2);
    let client = ([10, 1, 0, 1], 4000);
    let owner = members.first(0, Protocol::Tcp, client).at;
    let mut frame = Sketch::first(Protocol::Tcp, tuple(client, REMOTE)).frame();
    frame.ingress = INSIDE;
    frame.bytes[..6].copy_from_slice(&own_mac(INSIDE));
    let exit = datapath::process(&mut frame, &members.sites[1 - owner].memory);
    assert_eq!(exit, Exit::Transmit);
    let taken = |place: usize, byte: u8| {
        let mut frame = frame.clone();
        frame.bytes[place] = byte;
        members.send(owner, frame.ingress, frame).reason
    };
    assert_eq!(taken(21, 64), Reason::TranslatedOut);
    for (place, byte, why) in [
        (37, 99, "another source"),
        (53, 99, "another's address"),
        (16, 0x50, "another version"),
        (17, 0x2f, "another member's number"),
        (20, 17, "no packet in it"),
    ] {
        assert_ne!(taken(place, byte), Reason::TranslatedOut, "{why}");
    }
}

#[test]
fn what_is_too_large_with_an_outer_header_is_told_to_its_sender() {
    for (underlay, fits) in UNDERLAYS.into_iter().zip([1480, 1460]) {
        is_told(underlay, fits);
    }
}

fn is_told(underlay: Underlay, fits: u16) {
    let members = Members::over(underlay, 2);
    let mut told = 0;
    for client in 0..30 {
        let sketch = Sketch {
            payload: vec![0; 1472],
            dont_fragment: true,
            ..Sketch::first(Protocol::Udp, tuple(([10, 1, 4, client], 4000), REMOTE))
        };
        let ended = members.send(0, INSIDE, sketch.frame());
        if ended.at == 0 && ended.reason == Reason::TooBigSent {
            told += 1;
            let mtu = u16::from_be_bytes([ended.frame.bytes[40], ended.frame.bytes[41]]);
            assert_eq!(mtu, fits);
        } else {
            assert_eq!(ended.reason, Reason::TranslatedOut);
        }
    }
    assert!(told > 5);
}

#[test]
fn fragments_reach_their_flow_at_the_owner() {
    let members = Members::new(3);
    let mut relayed = 0;
    for client in 0..30u16 {
        let sketch = Sketch {
            id: 100 + client,
            payload: vec![7; 64],
            part: (true, 0),
            ..Sketch::first(
                Protocol::Udp,
                tuple(([10, 1, 5, client as u8], 4000), REMOTE),
            )
        };
        let first = members.send(1, INSIDE, sketch.frame());
        assert_eq!(first.reason, Reason::TranslatedOut, "{first:?}");
        let later = Sketch {
            part: (false, 9),
            message: Message::Other(17),
            ..sketch
        };
        let later = members.send(1, INSIDE, later.frame());
        assert_eq!((later.reason, later.at), (Reason::TranslatedOut, first.at));
        relayed += later.hops;
    }
    assert!(relayed > 5);
}

#[derive(Clone, Debug)]
enum Step {
    First(usize, Protocol, u8, u16),
    Leave(usize),
    Stay(usize),
    /// One member believes this of another, whatever is true.
    Believes(usize, usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let protocol = prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Icmp)
    ];
    let step = prop_oneof![
        12 => (0..3usize, protocol, 0..40u8, 4000..4040u16)
            .prop_map(|(to, protocol, client, port)| Step::First(to, protocol, client, port)),
        1 => (0..3usize).prop_map(Step::Leave),
        1 => (0..3usize).prop_map(Step::Stay),
        2 => (0..3usize, 0..3usize, any::<bool>()).prop_map(|(me, of, up)| Step::Believes(me, of, up)),
    ];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever each member believes of the others, and however they come and go.
    #[test]
    fn no_external_port_is_ever_given_to_two_clients(steps in steps()) {
        let mut members = Members::new(3);
        let mut given = BTreeMap::new();
        for step in steps {
            match step {
                Step::First(to, protocol, client, port) => {
                    let client = ([10, 1, 0, client], port);
                    let ended = members.first(to, protocol, client);
                    if ended.reason == Reason::TranslatedOut {
                        let tuple = ended.tuple();
                        let external = (protocol as u8, tuple.source, tuple.source_port);
                        let owner = *given.entry(external).or_insert(client);
                        prop_assert_eq!(owner, client, "{:?} is two clients'", external);
                    }
                }
                Step::Leave(member) => members.leave(member),
                Step::Stay(member) => members.stay(member),
                Step::Believes(me, of, is_up) => {
                    let standing = if is_up { Standing::Up } else { Standing::Down };
                    members.tell(me, Event::Heard(address(of), standing));
                }
            }
        }
    }

    /// Members that know of each other, of which one after the other leaves and comes again.
    #[test]
    fn no_flow_is_lost_while_members_leave_and_return(
        clients in prop::collection::btree_set((0..40u8, 4000..4040u16), 1..60),
        leaving in 0..3usize,
    ) {
        let mut members = Members::new(3);
        let mut flows = Vec::new();
        let begin = |members: &Members, flows: &mut Vec<_>, half: usize| {
            for (client, port) in clients.iter().filter(|it| usize::from(it.1) % 2 == half) {
                let client = ([10, 1, 0, *client], *port);
                let first = members.first(usize::from(*port) % 3, Protocol::Tcp, client);
                assert_eq!(first.reason, Reason::TranslatedOut);
                flows.push((client, first.tuple()));
            }
        };
        begin(&members, &mut flows, 0);
        members.leave(leaving);
        begin(&members, &mut flows, 1);
        members.stay(leaving);
        members.now += PATIENCE;
        for (client, external) in flows {
            for to in 0..3 {
                let answer = members.answer(to, Protocol::Tcp, external);
                prop_assert_eq!(answer.reason, Reason::TranslatedIn);
                prop_assert_eq!(answer.tuple().target, Ip4(client.0));
                let sketch = Sketch::first(Protocol::Tcp, tuple(client, REMOTE)).flags(SYN);
                let again = members.send(to, INSIDE, sketch.frame());
                prop_assert_eq!((again.reason, again.tuple()), (Reason::TranslatedOut, external));
            }
        }
    }
}
