//! Laws: what holds for every frame that goes through, and for the tables between two frames.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a law is about some reasons and holds alike for all others"
)]

use std::collections::{BTreeMap, BTreeSet};

use abi::{
    Address, Counter, End, External, Holder, Ip4, Load, MappingKey, Port, Protocol, Reason, Side,
    Verdict, ports,
};
use datapath::{
    Exit,
    native::{Frame, Kind, Memory},
};
use gateway::quota::Quotas;

use super::{
    laws6,
    sums::{IP, header_is_right, split, sum, transport_is_right},
};

/// A frame that went through.
#[derive(Clone, Debug)]
pub struct Left {
    /// Why it left.
    pub reason: Reason,
    /// Where it went.
    pub exit: Exit,
    /// The frame as it was.
    pub before: Frame,
    /// The frame as it became.
    pub after: Frame,
}

/// Takes a frame through and asserts every law of a single frame.
pub fn take(memory: &Memory, frame: Frame) -> Left {
    let counters = memory.counters.borrow().clone();
    let carried_before = carried(memory);
    let before = frame.clone();
    let mut after = frame;

    let exit = datapath::process(&mut after, memory);

    let reason = counted_once(memory, &counters, before.bytes.len());
    let left = Left {
        reason,
        exit,
        before,
        after,
    };
    left.exit_fits();
    left.bytes_fit(memory);
    let translated = carried(memory) - carried_before;
    assert_eq!(
        translated,
        u64::from(left.is_translated()),
        "pools count what is translated"
    );
    left
}

/// Packets that pools have carried.
fn carried(memory: &Memory) -> u64 {
    let counters = memory.pool_counters.borrow();
    counters
        .iter()
        .map(|pool| pool.outbound.packets + pool.inbound.packets)
        .sum()
}

/// Exactly one reason was counted, by one packet of the frame's original length.
fn counted_once(memory: &Memory, before: &[Counter], bytes: usize) -> Reason {
    let reason = counted(memory, before);
    let one = Counter {
        packets: 1,
        bytes: bytes as u64,
    };
    assert_eq!(
        before[reason as usize].plus(one),
        memory.counted(reason),
        "{reason:?}"
    );
    reason
}

/// The one reason that was counted since.
pub fn counted(memory: &Memory, before: &[Counter]) -> Reason {
    let after = memory.counters.borrow();
    let rose = (0..after.len()).filter(|index| before[*index] != after[*index]);
    let [index] = rose.collect::<Vec<_>>()[..] else {
        panic!("not one reason was counted")
    };
    Reason::ALL[index]
}

impl Left {
    /// Whether the packet is that of a flow now.
    pub fn is_translated(&self) -> bool {
        self.is_sent_on() || self.is_left_to_the_kernel_to_send()
    }

    fn is_sent_on(&self) -> bool {
        matches!(self.reason, Reason::TranslatedOut | Reason::TranslatedIn)
    }

    /// Whether its addresses alone said what becomes of it.
    pub fn is_renumbered(&self) -> bool {
        matches!(
            self.reason,
            Reason::PrefixOut | Reason::PrefixIn | Reason::PrefixKernelSends
        )
    }

    /// Whether one of its addresses is of a prefix, and means nothing on the other side.
    pub fn has_no_counterpart(&self) -> bool {
        matches!(self.reason, Reason::PrefixUnmapped | Reason::PrefixZero)
    }

    fn is_left_to_the_kernel_to_send(&self) -> bool {
        matches!(
            self.reason,
            Reason::Unresolved | Reason::Fragmenting | Reason::KernelSends
        )
    }

    fn exit_fits(&self) {
        let may_tell = self.reason.is_refusal() || self.has_no_counterpart();
        let is_told = may_tell && self.exit == Exit::Transmit;
        let verdict = match self.exit {
            Exit::Transmit if is_told => Verdict::Drop,
            Exit::Pass => Verdict::Pass,
            Exit::Drop => Verdict::Drop,
            Exit::Transmit | Exit::Redirect(_) => Verdict::Send,
        };
        assert_eq!(self.reason.verdict(), verdict, "{:?}", self.reason);
        assert_ne!(
            self.exit,
            Exit::Redirect(self.before.ingress),
            "that is to transmit"
        );
        assert_ne!(
            self.reason,
            Reason::Internal,
            "the tables contradict themselves"
        );
    }

    fn bytes_fit(&self, memory: &Memory) {
        if laws6::concern(self) {
            return laws6::bytes_fit(self, memory);
        }
        match self.reason {
            Reason::TranslatedOut
            | Reason::TranslatedIn
            | Reason::Unresolved
            | Reason::Fragmenting
            | Reason::KernelSends => self.is_rewritten_and_nothing_else(),
            _ if self.is_renumbered() => self.is_readdressed_and_nothing_else(),
            Reason::ErrorTranslated | Reason::ErrorKernelSends => self.is_rewritten_error(),
            Reason::ResetSent => self.is_answered_by_reset(),
            Reason::TimeExceededSent => self.is_told_by_icmp(memory, (11, 0)),
            Reason::TooBigSent => self.is_told_by_icmp(memory, (3, 4)),
            reason if reason.is_refusal() && self.exit == Exit::Transmit => {
                match self.after.bytes[23] {
                    6 => self.is_answered_by_reset(),
                    _ => self.is_told_by_icmp(memory, (3, 13)),
                }
            }
            _ => assert_eq!(self.before.bytes, self.after.bytes, "{:?}", self.reason),
        }
    }

    /// Only addresses, ports, TTL, checksums and stations differ; checksums that were right are.
    fn is_rewritten_and_nothing_else(&self) {
        let (before, after) = (&self.before.bytes, &self.after.bytes);
        assert_eq!(before.len(), after.len());
        assert_eq!(
            header_is_right(before),
            header_is_right(after),
            "IP checksum"
        );
        let (header, _) = split(before).expect("a translated packet's lengths agree");
        let part = u16::from_be_bytes([header[6], header[7]]);
        let (is_whole, is_later) = (part & 0x3fff == 0, part & 0x1fff != 0);
        assert!(
            !is_whole || transport_is_right(before) == transport_is_right(after),
            "transport checksum"
        );

        let l4 = IP + header.len();
        let mut may_differ = vec![24..26, 26..34];
        match header[9] {
            // It has no ports and no checksum of its own.
            _ if is_later => {}
            // Translated by address.
            47 | 50 | 132 => {}
            1 => may_differ.push(l4 + 2..l4 + 6),
            6 => {
                may_differ.extend([l4..l4 + 4, l4 + 16..l4 + 18]);
                may_differ.extend(lowered_mss(before, after, l4));
            }
            _ => may_differ.extend([l4..l4 + 4, l4 + 6..l4 + 8]),
        }
        if self.is_sent_on() {
            may_differ.extend([0..12, 22..23]);
            assert_eq!(after[22], before[22] - 1, "TTL counts down once");
            assert!(after[22] > 0, "TTL");
        }
        if header[9] == 17 && !is_later && before[l4 + 6..l4 + 8] == [0, 0] {
            assert_eq!(after[l4 + 6..l4 + 8], [0, 0], "no checksum stays none");
        }
        self.differs_only_at(&may_differ);
    }

    /// Only addresses, TTL, checksums and stations differ; checksums that were right are.
    fn is_readdressed_and_nothing_else(&self) {
        let (before, after) = (&self.before.bytes, &self.after.bytes);
        assert_eq!(before.len(), after.len());
        assert_eq!(header_is_right(before), header_is_right(after));
        let (header, _) = split(before).expect("a translated packet's lengths agree");
        let part = u16::from_be_bytes([header[6], header[7]]);
        if part & 0x3fff == 0 {
            assert_eq!(transport_is_right(before), transport_is_right(after));
        }
        let l4 = IP + header.len();
        let mut may_differ = vec![24..26, 26..34];
        match header[9] {
            _ if part & 0x1fff != 0 => {}
            6 => may_differ.push(l4 + 16..l4 + 18),
            17 if before[l4 + 6..l4 + 8] == [0, 0] => {}
            17 | 33 | 136 => may_differ.push(l4 + 6..l4 + 8),
            _ => {}
        }
        if self.reason != Reason::PrefixKernelSends {
            may_differ.extend([0..12, 22..23]);
            assert_eq!(after[22], before[22] - 1, "TTL counts down once");
        }
        self.differs_only_at(&may_differ);
    }

    fn differs_only_at(&self, may_differ: &[std::ops::Range<usize>]) {
        for (at, (old, new)) in self.before.bytes.iter().zip(&self.after.bytes).enumerate() {
            let may = may_differ.iter().any(|range| range.contains(&at));
            assert!(
                may || old == new,
                "byte {at} was {old:#04x} and is {new:#04x}"
            );
        }
    }

    /// RFC 5508 §4: only addresses, ports and checksums of the error and of what it quotes differ,
    /// and every checksum is right that was.
    fn is_rewritten_error(&self) {
        let (before, after) = (&self.before.bytes, &self.after.bytes);
        assert_eq!(before.len(), after.len());
        assert!(header_is_right(before) == header_is_right(after));
        assert!(transport_is_right(before), "a damaged error is dropped");
        assert!(transport_is_right(after), "the error's checksum");
        let (header, message) = split(after).expect("an error's lengths agree");
        let quote = IP + header.len() + 8;
        let inner = usize::from(message[8] & 0x0f) * 4;
        assert_eq!(sum(&message[8..8 + inner]), 0xffff, "the quoted header's");
        // As a frame of its own: if it is quoted whole, its checksum must be as right as it was.
        let quoted = |bytes: &[u8]| [&[0; IP], &bytes[quote..]].concat();
        if split(&quoted(before)).is_some() {
            assert_eq!(
                transport_is_right(&quoted(before)),
                transport_is_right(&quoted(after)),
                "the quoted transport checksum"
            );
        }

        let (icmp, l4) = (IP + header.len(), quote + inner);
        let mut may_differ = vec![24..34, icmp + 2..icmp + 4, quote + 10..quote + 20];
        match message[8 + 9] {
            47 | 50 | 132 => {}
            1 => may_differ.push(l4 + 2..l4 + 6),
            6 => may_differ.extend([l4..l4 + 4, l4 + 16..l4 + 18]),
            _ => may_differ.extend([l4..l4 + 4, l4 + 6..l4 + 8]),
        }
        if self.reason == Reason::ErrorTranslated {
            may_differ.extend([0..12, 22..23]);
            assert_eq!(after[22], before[22] - 1, "TTL counts down once");
        }
        self.differs_only_at(&may_differ);
    }

    /// RFC 9293 §3.10.7.1, and never in answer to an RST.
    fn is_answered_by_reset(&self) {
        let (before, after) = (&self.before.bytes, &self.after.bytes);
        let (asked, segment) = split(before).expect("a segment's lengths agree");
        let (answer, reset) = split(after).expect("an answer's lengths agree");
        self.goes_back_alone(after);
        assert_eq!(after.len(), IP + 40);
        assert_eq!(answer[9], 6);
        assert_eq!(
            (&answer[12..16], &answer[16..20]),
            (&asked[16..20], &asked[12..16])
        );
        assert_eq!((&reset[..2], &reset[2..4]), (&segment[2..4], &segment[..2]));
        assert!(transport_is_right(after));

        let word = |bytes: &[u8], at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let flags = segment[13];
        assert_eq!(flags & 4, 0, "an RST is not answered");
        let (seq, ack) = (word(reset, 4), word(reset, 8));
        if flags & 16 != 0 {
            assert_eq!((seq, ack, reset[13]), (word(segment, 8), 0, 4));
        } else {
            let header = usize::from(segment[12] >> 4) * 4;
            let data = segment.len() - header;
            let control = u32::from(flags & 2 != 0) + u32::from(flags & 1 != 0);
            let next = word(segment, 4)
                .wrapping_add(data as u32)
                .wrapping_add(control);
            assert_eq!((seq, ack, reset[13]), (0, next, 4 | 16));
        }
    }

    /// RFC 792: an IP header and eight bytes of what was sent, as it was sent.
    fn is_told_by_icmp(&self, memory: &Memory, (kind, code): (u8, u8)) {
        let (before, after) = (&self.before.bytes, &self.after.bytes);
        let (header, message) = split(after).expect("an error's lengths agree");
        let own = memory
            .interfaces
            .get(&self.before.ingress)
            .and_then(|found| found.address());
        self.goes_back_alone(after);
        assert_eq!(header[9], 1);
        assert_eq!(
            Some(Ip4([header[12], header[13], header[14], header[15]])),
            own
        );
        assert_eq!(header[16..20], before[26..30], "to whoever sent the packet");
        assert!(transport_is_right(after));
        assert_eq!(header[1], before[15] & 0xfc, "in the packet's class");
        assert_eq!((message[0], message[1]), (kind, code));
        // Behind a packet that is shorter stand zeros.
        let mut quoted: Vec<u8> = before[IP..].iter().copied().take(28).collect();
        quoted.resize(28, 0);
        assert_eq!(message[8..], quoted);
        let mtu = u16::from_be_bytes([message[6], message[7]]);
        let total = u16::from_be_bytes([before[16], before[17]]);
        match (kind, code) {
            (3, 4) => assert!(
                (68..total).contains(&mtu),
                "an MTU that the packet exceeds, not {mtu}"
            ),
            _ => assert_eq!(message[4..8], [0; 4]),
        }
    }

    /// What an answer of our own looks like whatever it says.
    fn goes_back_alone(&self, after: &[u8]) {
        let before = &self.before.bytes;
        assert_eq!(self.exit, Exit::Transmit, "by the interface it came by");
        assert_eq!((&after[..6], &after[6..12]), (&before[6..12], &before[..6]));
        assert_eq!(after[12..15], [0x08, 0x00, 0x45]);
        assert!(after[22] >= 64, "hops enough to arrive");
        assert!(header_is_right(after));
        let total = split(after).map(|(header, data)| header.len() + data.len());
        assert_eq!(total, Some(after.len() - IP), "nothing behind the packet");
    }
}

/// Where the MSS of a SYN stands, if it became less.
fn lowered_mss(before: &[u8], after: &[u8], l4: usize) -> Option<std::ops::Range<usize>> {
    let is_syn = before[l4 + 13] & 2 != 0;
    let total = usize::from(u16::from_be_bytes([before[16], before[17]]));
    let end = l4 + usize::from(before[l4 + 12] >> 4) * 4;
    if end > IP + total {
        return None;
    }
    let mut at = l4 + 20;
    while is_syn && at + 4 <= end && before[at] != 0 {
        let value = |bytes: &[u8]| u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]);
        if before[at..at + 2] == [2, 4] {
            return (value(after) < value(before)).then_some(at + 2..at + 4);
        }
        at += match before[at] {
            1 => 1,
            _ => usize::from(before[at + 1]).max(1),
        };
    }
    None
}

/// Asserts what holds for the tables whenever no packet is under way, also if packets came in the
/// middle of a sweep: they are [`whole`], and every external port in use is taken.
pub fn safe(memory: &Memory) {
    safe_of(memory, &memory.v4);
    safe_of(memory, &memory.v6);
}

fn safe_of<A: Address>(memory: &Memory, kind: &Kind<A>) {
    whole_of(kind);
    for (key, flow) in kind.flows.all() {
        let protocol = Protocol::from_number(key.protocol).expect("only these have flows");
        if flow.side() == Side::Outbound && !protocol.is_by_address() {
            let (address, port) = (flow.to.source, flow.to.source_port);
            // Whoever has IPv6 sees a client of IPv4 under an address that stands for its external one.
            let is_embedded = external(memory, address).is_none();
            let address = match embedded(memory, address) {
                Some(address) if is_embedded => address,
                _ => address,
            };
            assert!(
                is_taken(memory, protocol, address, port),
                "a free port in use: {key:?}"
            );
        }
    }
}

/// The IPv4 address that an IPv6 one stands for.
fn embedded<A: Address>(memory: &Memory, address: A) -> Option<A> {
    let config = memory.config.borrow();
    let mut prefixes = config.prefixes.iter();
    let found = prefixes.find_map(|prefix| prefix.extract(&address.wide()))?;
    (A::LENGTH != Ip4::LENGTH).then_some(A::of_ip4(found))
}

/// Asserts what holds for the tables even if ports are counted elsewhere than they were when their
/// flows began: no flow is half a flow, and no two share an external tuple.
pub fn whole(memory: &Memory) {
    whole_of(&memory.v4);
    whole_of(&memory.v6);
}

fn whole_of<A: Address>(kind: &Kind<A>) {
    let mut twins = BTreeSet::new();
    for (key, flow) in kind.flows.all() {
        let protocol = Protocol::from_number(key.protocol).expect("only these have flows");
        let twin_key = flow.twin(protocol);
        let twin = kind
            .flows
            .get(&twin_key)
            .unwrap_or_else(|| panic!("half a flow: {key:?}"));
        assert_eq!(twin.twin(protocol), key, "each half knows the other");
        assert_ne!(
            twin.side(),
            flow.side(),
            "one half goes out, the other comes in"
        );
        assert_eq!((twin.pool(), twin.created), (flow.pool(), flow.created));
        if flow.side() == Side::Outbound {
            assert!(
                twins.insert(twin_key),
                "two flows share an external tuple: {twin_key:?}"
            );
        }
    }
}

fn external<A: Address>(memory: &Memory, address: A) -> Option<External> {
    let external = match address.ip4() {
        Some(address) => memory.v4.externals.get(&address),
        None => memory.v6.externals.get(&address.wide()),
    };
    external.map(|it| *it)
}

fn is_taken<A: Address>(memory: &Memory, protocol: Protocol, address: A, port: Port) -> bool {
    let external = external(memory, address).expect("flows and mappings are to our addresses");
    let (word, bit) = ports::place(port);
    let mut bitmaps = external.bitmaps().filter(|(of, _)| *of == protocol);
    bitmaps.any(|(_, bitmap)| memory.bitmap(bitmap)[word].taken.get() & 1 << bit != 0)
}

/// Asserts what holds for the tables whenever no packet and no sweep is under way.
///
/// They are [`safe`]; the two ends of a mapping agree; both ends of every flow that are ours are
/// mapped, but for ports that several flows share; every port that a mapping or a permit is about is
/// taken.
pub fn sound(memory: &Memory) {
    safe(memory);
    sound_of(memory, &memory.v4);
    sound_of(memory, &memory.v6);
}

fn sound_of<A: Address>(memory: &Memory, kind: &Kind<A>) {
    for (key, mapping) in kind.mappings.all() {
        let protocol = Protocol::from_number(key.protocol).expect("only these have mappings");
        let port = match key.what().expect("a kind we know") {
            End::Outward { internal, .. } => {
                let owner = owner(kind, protocol, (key.external, mapping.port));
                assert_eq!(
                    owner,
                    Some(internal),
                    "two endpoints have one port: {key:?}"
                );
                mapping.port
            }
            End::Inward { port } | End::Permit { port, .. } => port,
        };
        assert!(
            is_taken(memory, protocol, key.external, port),
            "a free port is mapped: {key:?}"
        );
    }
    for (key, flow) in kind.flows.all() {
        let protocol = Protocol::from_number(key.protocol).expect("only these have flows");
        // What leaves from another address than it came from leaves from one of ours.
        let external = external(memory, flow.to.source);
        let is_shared = external.is_some_and(|it| it.planes != 0) && protocol == Protocol::Tcp;
        let is_shared = is_shared || protocol.is_by_address();
        if flow.to.source != key.tuple.source && external.is_some() && !is_shared {
            let end = (flow.to.source, flow.to.source_port);
            let from = (key.tuple.source, key.tuple.source_port);
            let is_narrow = A::LENGTH != Ip4::LENGTH && from.0.ip4().is_some();
            // Whoever has IPv4 has its mappings among those of IPv4.
            let owner = match (end.0.ip4(), is_narrow) {
                (Some(address), true) => owner(&memory.v4, protocol, (address, end.1))
                    .map(|(address, port)| (A::of_ip4(address), port)),
                _ => owner(kind, protocol, end),
            };
            assert_eq!(owner, Some(from), "{key:?}");
        }
    }
}

/// The internal endpoint that an external one belongs to.
fn owner<A: Address>(kind: &Kind<A>, protocol: Protocol, end: (A, Port)) -> Option<(A, Port)> {
    let inward = kind.mappings.get(&MappingKey::inward(protocol, end))?;
    Some((inward.internal, inward.port))
}

/// Asserts that the slots of clients and rules say what the tables hold: what is so whenever no packet
/// is under way and what ended has been swept.
pub fn counts_are_true(memory: &Memory, quotas: &Quotas) {
    let (mut clients, mut rules) = (BTreeMap::new(), BTreeMap::new());
    let mut add = |rule: u16, client: Ip4, held: Load| {
        *clients.entry(Holder::new(rule, client)).or_insert(0) += held.0;
        *rules.entry(rule).or_insert(0) += held.0;
    };
    for (key, flow) in memory.v4.flows.all() {
        if flow.side() == Side::Outbound {
            add(flow.picture().rule(), key.tuple.source, Load::new(1, 0));
        }
    }
    for (key, mapping) in memory.v4.mappings.all() {
        if let Some(End::Inward { .. }) = key.what()
            && !mapping.is_asked_for()
        {
            add(mapping.rule(), mapping.internal, Load::new(0, 1));
        }
    }
    for (rule, quota) in quotas {
        if !quota.total.is_none() {
            let held = memory.in_use(u32::from(*rule)).held.get();
            assert_eq!(held, rules.get(rule).copied().unwrap_or(0), "rule {rule}");
        }
        let counted = |holder: &Holder| {
            let slot = memory.clients.get(holder);
            slot.map_or(0, |slot| memory.in_use(*slot).held.get())
        };
        if quota.counts_clients() {
            let known: Vec<_> = memory.clients.all().into_iter().map(|it| it.0).collect();
            let all = clients.keys().chain(&known);
            for holder in all.filter(|holder| holder.rule() == *rule) {
                let held = clients.get(holder).copied().unwrap_or(0);
                assert_eq!(Load(counted(holder)), Load(held), "{holder:?}");
            }
        }
    }
}

/// Asserts that no client and no rule has more than its quota: what holds as long as that stays as it
/// is, whatever comes in the middle of what.
pub fn within(memory: &Memory, quotas: &Quotas) {
    let mut flows: BTreeMap<(u16, Option<Ip4>), u32> = BTreeMap::new();
    for (key, flow) in memory.v4.flows.all() {
        if flow.side() == Side::Outbound {
            let rule = flow.picture().rule();
            *flows.entry((rule, None)).or_default() += 1;
            *flows.entry((rule, Some(key.tuple.source))).or_default() += 1;
        }
    }
    for ((rule, client), flows) in flows {
        let Some(quota) = quotas.get(&rule) else {
            continue;
        };
        let limits = client.map_or(quota.total, |_| quota.client);
        assert!(
            limits.flows == 0 || flows <= limits.flows,
            "{client:?} has {flows}"
        );
    }
}

/// Asserts that a client has one address of a pool: what holds as long as the pool stays as it is.
pub fn clients_keep_their_address(memory: &Memory) {
    let mut address_of = BTreeMap::new();
    for (key, flow) in memory.v4.flows.all() {
        if flow.side() == Side::Outbound {
            let client = (key.tuple.source, flow.pool());
            let address = *address_of.entry(client).or_insert(flow.to.source);
            assert_eq!(address, flow.to.source, "{client:?}");
        }
    }
}

/// Asserts that exactly the mapped ports are taken, beside those outside the address's range: what
/// holds as long as nothing has ended.
pub fn taken_is_mapped(memory: &Memory) {
    for (address, external) in memory.v4.externals.all() {
        for protocol in Protocol::PORTED {
            let outside = match protocol == Protocol::Icmp {
                true => 0,
                false => 65_535 - u32::from(external.last.get() - external.first.get()),
            };
            let mapped = memory
                .v4
                .mappings
                .all()
                .into_iter()
                .filter(|(key, _)| key.external == address && key.protocol == protocol as u8)
                .filter(|(key, _)| matches!(key.what(), Some(End::Inward { .. })));
            let taken = memory.taken(ports::bitmap(external.index, protocol));
            assert_eq!(
                taken - outside,
                mapped.count() as u32,
                "{protocol:?} of {address:?}"
            );
        }
    }
}
