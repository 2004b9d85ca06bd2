//! A sweep over tables that the packet path would make.

use std::time::Duration;

use abi::{Behaviour, ExternalState, Shared, Tuple, ports::bitmap};

use super::*;
use crate::bitmaps::reserved;

const EXTERNAL: Ip4 = Ip4([192, 0, 2, 1]);
const CLIENT: Ip4 = Ip4([10, 0, 0, 7]);
const REMOTE: Ip4 = Ip4([198, 51, 100, 1]);
const START: Tick = Tick(1000);
const SEED: u64 = 7;

fn timeouts() -> Timeouts {
    let seconds = Duration::from_secs;
    Timeouts {
        tcp_established: seconds(7440),
        tcp_opening: seconds(240),
        tcp_closing: seconds(240),
        udp: seconds(300),
        icmp: seconds(60),
        sctp: seconds(300),
        gre: seconds(600),
        esp: seconds(900),
    }
}

fn externals() -> BTreeMap<Ip6, External> {
    let (first, last) = (Port::new(1024), Port::new(65535));
    [(
        EXTERNAL.wide(),
        External::new(
            (3, 0),
            ExternalState::Serving,
            (first, last),
            Behaviour::STRICTEST,
        ),
    )]
    .into()
}

/// Both entries of a flow that began at `START` and showed these flags.
fn flow(protocol: Protocol, client_port: u16, seen: (u8, u8)) -> [Half; 2] {
    let asked = Tuple {
        source: CLIENT,
        target: REMOTE,
        source_port: Port::new(client_port),
        target_port: Port::new(443),
    };
    let sent = Tuple {
        source: EXTERNAL,
        ..asked
    };
    let entry = |side, to, seen| {
        let mut entry = Flow::new(side, 0, to, (0, 0), START).picture();
        entry.seen = seen;
        entry
    };
    [
        (
            FlowKey::new(protocol, asked),
            entry(Side::Outbound, sent, seen.0),
        ),
        (
            FlowKey::new(protocol, sent.reversed()),
            entry(Side::Inbound, asked.reversed(), seen.1),
        ),
    ]
}

fn sweep(entries: &[Half], mappings: &[(MappingKey, Mapping)], after: Duration) -> Swept {
    let externals = externals();
    let now = Tick(START.0 + 1).nanos() + after.as_nanos() as u64;
    let sweep = Sweep::new((now, SEED), timeouts().into(), &externals);
    finished(sweep, entries, mappings)
}

/// What a sweep finds in these tables.
fn finished<A: Address>(
    mut sweep: Sweep<'_, A>,
    entries: &[Half<A>],
    mappings: &[(MappingKey<A>, Mapping<A>)],
) -> Swept<A> {
    for (key, flow) in entries {
        sweep.flows(&[*key], &[*flow]);
    }
    sweep.flows_done();
    for (key, mapping) in mappings {
        sweep.mappings(&[*key], &[*mapping]);
    }
    sweep.finish()
}

#[track_caller]
fn lives_for(protocol: Protocol, seen: (u8, u8), seconds: u64) {
    let entries = flow(protocol, 4000, seen);

    let before = sweep(&entries, &[], Duration::from_secs(seconds));
    assert!(before.ended.is_empty(), "ended after {seconds} s already");
    let after = sweep(
        &entries,
        &[],
        Duration::from_secs(seconds) + Duration::from_nanos(1),
    );
    assert_eq!(after.ended, entries.map(|(key, _)| key));
}

const OPEN: (u8, u8) = (Seen::SYN | Seen::ACK, Seen::SYN | Seen::ACK);

#[test]
fn a_udp_flow_lives_five_minutes() {
    lives_for(Protocol::Udp, (0, 0), 300);
}

#[test]
fn a_ping_lives_one_minute() {
    lives_for(Protocol::Icmp, (0, 0), 60);
}

#[test]
fn an_unanswered_syn_lives_four_minutes() {
    lives_for(Protocol::Tcp, (Seen::SYN, 0), 240);
}

#[test]
fn an_open_connection_lives_two_hours_and_four_minutes() {
    lives_for(Protocol::Tcp, OPEN, 7440);
}

#[test]
fn a_half_closed_connection_lives_as_long_as_an_open_one() {
    lives_for(Protocol::Tcp, (OPEN.0 | Seen::FIN, OPEN.1), 7440);
}

#[test]
fn a_connection_closed_by_both_sides_lives_four_minutes() {
    lives_for(Protocol::Tcp, (OPEN.0 | Seen::FIN, OPEN.1 | Seen::FIN), 240);
}

#[test]
fn a_reset_connection_lives_four_minutes() {
    lives_for(Protocol::Tcp, (OPEN.0, OPEN.1 | Seen::RST), 240);
}

#[test]
fn a_packet_in_either_direction_keeps_a_flow() {
    for direction in [0, 1] {
        let mut entries = flow(Protocol::Udp, 4000, (0, 0));
        entries[direction].1.last_seen += 200;

        assert!(
            sweep(&entries, &[], Duration::from_secs(400))
                .ended
                .is_empty()
        );
    }
}

#[test]
fn half_a_flow_is_removed_once_it_is_not_young() {
    let [outbound, _] = flow(Protocol::Udp, 4000, (0, 0));

    assert!(sweep(&[outbound], &[], Duration::ZERO).ended.is_empty());
    let later = sweep(&[outbound], &[], Duration::from_secs(5));

    assert_eq!(later.ended, [outbound.0]);
    assert_eq!(later.orphans, 1);
}

#[test]
fn a_mapping_lives_as_long_as_its_flows() {
    let entries = flow(Protocol::Udp, 4000, (0, 0));
    let port = Port::new(4000);
    let key = MappingKey::outward(Protocol::Udp, (CLIENT, port), EXTERNAL, Ip4([0; 4]));
    let inward = MappingKey::inward(Protocol::Udp, (EXTERNAL, port));
    let mappings = [
        (key, Mapping::outward(port, START)),
        (inward, Mapping::inward((CLIENT, port), REMOTE, START)),
    ];

    assert!(
        sweep(&entries, &mappings, Duration::from_secs(300))
            .unmapped
            .is_empty()
    );
    assert_eq!(
        sweep(&entries, &mappings, Duration::from_secs(301)).unmapped,
        [key, inward]
    );
}

#[test]
fn a_remote_is_let_in_while_it_is_talked_to_or_may_still_answer() {
    let entries = flow(Protocol::Udp, 4000, (0, 0));
    let end = (EXTERNAL, Port::new(4000));
    let permit = |remote| {
        let key = MappingKey::permit(Protocol::Udp, end, (remote, Port::new(0)));
        (key, Mapping::permit(START))
    };
    let (talked_to, other) = (permit(REMOTE), permit(Ip4([198, 51, 100, 2])));
    let gone = |seconds| {
        let after = Duration::from_secs(seconds);
        sweep(&entries, &[talked_to, other], after).unmapped
    };

    assert_eq!(gone(30), []);
    assert_eq!(gone(40), [other.0]);
    assert_eq!(gone(301), [talked_to.0, other.0], "with the mapping");
}

#[test]
fn living_flows_are_counted_by_state_pool_and_address() {
    let mut entries = flow(Protocol::Tcp, 1, OPEN).to_vec();
    entries.extend(flow(Protocol::Tcp, 2, (Seen::SYN, 0)));
    entries.extend(flow(Protocol::Udp, 3, (0, 0)));

    let swept = sweep(&entries, &[], Duration::ZERO);

    let expected = [
        ((Protocol::Tcp, FlowState::Opening), 1),
        ((Protocol::Tcp, FlowState::Established), 1),
        ((Protocol::Udp, FlowState::Active), 1),
    ];
    assert_eq!(swept.flows, expected.into());
    assert_eq!(swept.by_pool, [(0, 3)].into());
    assert_eq!(swept.by_external, [(EXTERNAL.wide(), 3)].into());
}

#[test]
fn a_port_is_freed_when_nobody_used_it_twice_and_not_before() {
    let external = externals()[&EXTERNAL.wide()];
    let bitmap = bitmap(external.index, Protocol::Udp);
    let reserved = reserved(&external, Protocol::Udp);
    let (word, bit) = place(Port::new(4000));
    let mut idle = Idle::default();
    let words = std::array::from_fn(|index| PortWord {
        taken: Shared::from(reserved[index] | if index == word { 1 << bit } else { 0 }),
        held: Shared::from(0),
    });
    let mut judge = |used: &PortSets| idle.judge(bitmap, used, &reserved, &words);
    let mut used = PortSets::default();
    used.insert(bitmap, Port::new(4000));

    assert_eq!(judge(&PortSets::default()), []);
    assert_eq!(judge(&used), []);
    assert_eq!(judge(&PortSets::default()), []);
    assert_eq!(
        judge(&PortSets::default()),
        [(
            word,
            Correction {
                set: 0,
                clear: 1 << bit
            }
        )]
    );
}

#[test]
fn ports_outside_the_range_are_kept_from_the_packet_path() {
    let external = externals()[&EXTERNAL.wide()];
    let reserved = reserved(&external, Protocol::Tcp);

    let corrections = Idle::default().judge(
        bitmap(3, Protocol::Tcp),
        &PortSets::default(),
        &reserved,
        &std::array::from_fn(|_| PortWord {
            taken: Shared::from(0),
            held: Shared::from(0),
        }),
    );

    let set: u32 = corrections
        .iter()
        .map(|(_, correction)| correction.set.count_ones())
        .sum();
    assert_eq!(set, 1024);
    assert!(
        crate::bitmaps::reserved(&external, Protocol::Icmp)
            .iter()
            .all(|word| *word == 0)
    );
}

#[test]
fn a_pool_and_a_service_may_have_timeouts_of_their_own() {
    let text = "
interfaces: [{name: eth0, realm: both}]
pools:
  - name: web
    addresses: [192.0.2.1]
    timeouts: {udp: 10m, services: [{service: tcp/443, timeout: 12h}]}
  - {name: other, addresses: [192.0.2.2]}
rules: [{name: all, sources: [10.0.0.0/8], pool: web}]
timeouts: {services: [{service: udp/100-199, timeout: 7s}, {service: tcp/443, timeout: 3h}]}
";
    let intent = crate::intent::parse("test", text).expect("valid").intent;
    let numbers = crate::numbers::Numbers::default().assign(&intent.pools);
    let numbers = numbers.expect("numbers are free");
    let patience = Patience::new(&intent, &numbers);
    let kept = |protocol, pool: &str, port, seen: (u8, u8)| {
        let [(mut key, mut out), (back, inbound)] = flow(protocol, 4000, seen);
        key.tuple.target_port = Port::new(port);
        let asked = (out.to, (out.ip_delta, out.l4_delta), START);
        let number = numbers.pools[pool];
        let fresh = Flow::new(Side::Outbound, number, asked.0, asked.1, asked.2);
        let shown = out.seen;
        out = fresh.picture();
        out.seen = shown;
        let flow = Joined::new(protocol, (key, out), (back, inbound));
        Duration::from_nanos(patience.timeout(&flow)).as_secs()
    };

    assert_eq!(kept(Protocol::Tcp, "web", 443, OPEN), 12 * 3600);
    assert_eq!(kept(Protocol::Tcp, "other", 443, OPEN), 3 * 3600);
    assert_eq!(kept(Protocol::Tcp, "web", 80, OPEN), 7440);
    assert_eq!(kept(Protocol::Tcp, "web", 443, (Seen::SYN, 0)), 240);
    assert_eq!(kept(Protocol::Udp, "web", 53, (0, 0)), 600);
    assert_eq!(kept(Protocol::Udp, "other", 53, (0, 0)), 300);
    assert_eq!(kept(Protocol::Udp, "web", 150, (0, 0)), 7);
}

fn ip6(text: &str) -> Ip6 {
    Ip6(text
        .parse::<std::net::Ipv6Addr>()
        .expect("an address")
        .octets())
}

/// Both entries of a flow between versions, or within IPv6: as it was asked for and as it was sent.
fn wide_flow(protocol: Protocol, asked: Tuple<Ip6>, sent: Tuple<Ip6>) -> [Half<Ip6>; 2] {
    let entry = |side, to| Flow::new(side, 0, to, (0, 0), START).picture();
    [
        (FlowKey::new(protocol, asked), entry(Side::Outbound, sent)),
        (
            FlowKey::new(protocol, sent.reversed()),
            entry(Side::Inbound, asked.reversed()),
        ),
    ]
}

fn wide_sweep(
    entries: &[Half<Ip6>],
    mappings: &[(MappingKey<Ip6>, Mapping<Ip6>)],
    after: Duration,
) -> Swept<Ip6> {
    let externals = externals();
    let now = Tick(START.0 + 1).nanos() + after.as_nanos() as u64;
    let sweep = Sweep::new((now, 0), timeouts().into(), &externals).knowing([Prefix64::WELL_KNOWN]);
    finished(sweep, entries, mappings)
}

fn wide_tuple(source: (Ip6, u16), target: (Ip6, u16)) -> Tuple<Ip6> {
    Tuple {
        source: source.0,
        target: target.0,
        source_port: Port::new(source.1),
        target_port: Port::new(target.1),
    }
}

#[test]
fn a_flow_between_versions_uses_a_port_of_the_ipv4_address() {
    let (client, remote) = (ip6("2001:db8::7"), Prefix64::WELL_KNOWN.embed(REMOTE));
    let asked = wide_tuple((client, 4000), (remote, 53));
    let sent = wide_tuple((EXTERNAL.wide(), 5000), (REMOTE.wide(), 53));
    let entries = wide_flow(Protocol::Udp, asked, sent);
    let key = MappingKey::inward(Protocol::Udp, (EXTERNAL.wide(), Port::new(5000)));
    let mapping = Mapping::inward((client, Port::new(4000)), REMOTE.wide(), START);
    let permit = MappingKey::permit(
        Protocol::Udp,
        (EXTERNAL.wide(), Port::new(5000)),
        (REMOTE.wide(), Port::new(0)),
    );
    let mappings = [(key, mapping), (permit, Mapping::permit(START))];

    let alive = wide_sweep(&entries, &mappings, Duration::from_secs(300));
    let ended = wide_sweep(&entries, &mappings, Duration::from_secs(301));

    let bitmap = bitmap(externals()[&EXTERNAL.wide()].index, Protocol::Udp);
    let (word, bit) = place(Port::new(5000));
    assert_eq!(alive.used.word(bitmap, word), 1 << bit);
    assert_eq!(alive.by_external, [(EXTERNAL.wide(), 1)].into());
    assert_eq!(
        alive.unmapped,
        [],
        "a remote is permitted under its own address"
    );
    assert_eq!(ended.ended, entries.map(|(key, _)| key));
    assert_eq!(ended.unmapped, [key, permit]);
}

/// Both ends of such a flow are IPv6 clients', and both external ends stand behind the prefix.
#[test]
fn a_hairpinned_flow_between_versions_uses_the_ports_of_both_ends() {
    let prefix = Prefix64::WELL_KNOWN;
    let (one, other) = (ip6("2001:db8::7"), ip6("2001:db8::8"));
    let asked = wide_tuple((one, 4000), (prefix.embed(EXTERNAL), 5001));
    let sent = wide_tuple((prefix.embed(EXTERNAL), 5000), (other, 4001));
    let entries = wide_flow(Protocol::Udp, asked, sent);

    let swept = wide_sweep(&entries, &[], Duration::ZERO);

    let bitmap = bitmap(externals()[&EXTERNAL.wide()].index, Protocol::Udp);
    for port in [5000, 5001] {
        let (word, bit) = place(Port::new(port));
        assert!(swept.used.word(bitmap, word) & 1 << bit != 0, "{port}");
    }
    assert_eq!(swept.by_external, [(EXTERNAL.wide(), 1)].into());
}

#[test]
fn what_the_tables_of_both_versions_hold_is_counted_together() {
    let asked = wide_tuple((ip6("2001:db8::7"), 1), (ip6("64:ff9b::1"), 53));
    let sent = wide_tuple((EXTERNAL.wide(), 5000), (REMOTE.wide(), 53));
    let wide = wide_sweep(&wide_flow(Protocol::Udp, asked, sent), &[], Duration::ZERO);
    let narrow = flow(Protocol::Udp, 4000, (0, 0));

    let mut swept = sweep(&narrow, &[], Duration::ZERO);
    swept.count(&wide);

    assert_eq!(
        swept.flows,
        [((Protocol::Udp, FlowState::Active), 2)].into()
    );
    assert_eq!(swept.wide.flows, 1);
    assert_eq!(swept.by_external, [(EXTERNAL.wide(), 2)].into());
    let bitmap = bitmap(externals()[&EXTERNAL.wide()].index, Protocol::Udp);
    for port in [4000, 5000] {
        let (word, bit) = place(Port::new(port));
        assert!(swept.used.word(bitmap, word) & 1 << bit != 0, "{port}");
    }
}

/// A sweep of a member that copies flows, whose part in every bucket is this.
fn sweep_as(
    part: Part,
    shadow: &mut crate::copies::Shadow,
    entries: &[Half],
    after: Duration,
) -> Swept {
    let (externals, parts) = (externals(), [part; BUCKETS]);
    let now = Tick(START.0 + 1).nanos() + after.as_nanos() as u64;
    let sweep = Sweep::new((now, SEED), timeouts().into(), &externals);
    finished(sweep.dividing(&parts, shadow), entries, &[])
}

#[test]
fn a_flow_that_is_kept_for_another_member_is_ended_by_no_silence_and_keeps_its_port() {
    let entries = flow(Protocol::Udp, 4000, (0, 0));
    let day = Duration::from_secs(86_400);
    let swept = sweep_as(Part::Keeps, &mut Default::default(), &entries, day);
    assert!(swept.ended.is_empty() && swept.moved.is_empty() && swept.changed.is_empty());
    assert_eq!((swept.kept, swept.flows.len()), (1, 0));
    assert!(swept.used.is_used(bitmap(3, Protocol::Udp)));
}

#[test]
fn a_flow_that_is_another_members_now_goes_and_nobody_is_told() {
    let entries = flow(Protocol::Udp, 4000, (0, 0));
    let moved = |after| {
        let swept = sweep_as(Part::Nothing, &mut Default::default(), &entries, after);
        assert!(swept.ended.is_empty() && swept.removed.is_empty() && swept.over.is_empty());
        swept.moved.len()
    };
    assert_eq!(moved(Duration::ZERO), 0, "it may have come just now");
    assert_eq!(moved(Duration::from_nanos(NEW_COPY)), 2);
}

#[test]
fn a_member_that_has_just_begun_to_serve_a_flow_does_not_know_how_long_it_was_silent() {
    let entries = flow(Protocol::Udp, 4000, (0, 0));
    let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
    let since = Tick(START.0 + 1).nanos() + hour.as_nanos() as u64;
    let mut shadow = crate::copies::Shadow::default();
    let swept = sweep_as(Part::Serves(since), &mut shadow, &entries, hour + second);
    assert!(swept.ended.is_empty());
    let later = hour + Duration::from_secs(400);
    let swept = sweep_as(Part::Serves(since), &mut shadow, &entries, later);
    assert_eq!(swept.ended.len(), 2);
}

#[test]
fn others_are_told_of_flows_that_are_new_or_in_another_state_and_of_those_that_are_over() {
    let (syn, ack) = (Seen::SYN, Seen::ACK);
    let mut shadow = crate::copies::Shadow::default();
    let mut told = |seen, seconds| {
        let entries = flow(Protocol::Tcp, 4000, seen);
        let after = Duration::from_secs(seconds);
        let swept = sweep_as(Part::Serves(0), &mut shadow, &entries, after);
        (swept.changed.len(), swept.over.len())
    };
    assert_eq!(told((syn, 0), 0), (1, 0), "it is new");
    assert_eq!(told((syn, 0), 1), (0, 0));
    assert_eq!(told((syn | ack, syn), 2), (1, 0), "it is open");
    assert_eq!(told((syn | ack, syn), 3), (0, 0));
    assert_eq!(
        told((syn | ack, syn), 8000),
        (0, 1),
        "it was silent for too long"
    );
    let again = told((syn | ack, syn), 8000);
    assert_eq!(again, (0, 1), "others may have been told of it since");
}

#[test]
fn what_was_there_before_anybody_was_told_anything_is_told_otherwise() {
    let entries = flow(Protocol::Udp, 4000, (0, 0));
    let swept = sweep_as(
        Part::Serves(0),
        &mut Default::default(),
        &entries,
        Duration::from_secs(60),
    );
    assert!(swept.changed.is_empty());
}
