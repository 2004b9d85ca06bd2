//! The gateway and the [model](super::model) of it, side by side: bytes say what happens to both, and
//! they must agree in everything.

mod glue;
mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use abi::{End as Entry, FlowKey, Ip4, MappingKey, Port, Protocol, Reason, Side, Tick, hash::hash};
use gateway::{Event, intent::Intent, sweep::Joined};

use super::{
    Site, Sketch,
    laws::whole,
    model::{End, Fate, Nat, Packet, Way, What, sweep::Swept},
    site::{ARM, INSIDE, OUTSIDE},
    sketch::{ACK, FIN, RST, SYN},
    sums::IP,
};
use glue::{Made, both, end, ends, ip4, sketch, state, way};
use policy::wanted;

/// Sessions that fit: few, so that full tables are soon met.
const ROOM: usize = 24;
/// After how long somebody may call back.
const SOON: Duration = Duration::from_secs(5);
/// Packets that clients send at once, at most.
const BURST: u8 = 24;
/// What a flow's last packet is known to.
const TICK: Duration = Duration::from_nanos(Tick(1).nanos());
/// Exchanges that are remembered, of which some have ended.
const PAST: usize = 48;

/// One thing that happens, as bytes tell it.
pub type Operation = [u8; 8];

/// The choices that one operation makes: its bytes, and what follows from them when these are used up.
struct Words {
    bytes: Operation,
    used: usize,
}

impl Words {
    const fn new(bytes: Operation) -> Self {
        Self { bytes, used: 0 }
    }

    fn next(&mut self) -> u8 {
        let more = || hash(self.used as u64, u64::from_le_bytes(self.bytes), 0) as u8;
        let word = self.bytes.get(self.used).copied().unwrap_or_else(more);
        self.used += 1;
        word
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()]
    }
}

/// An exchange as both sides saw it when it last began.
#[derive(Clone, Copy)]
struct Exchange {
    protocol: Protocol,
    inside: End,
    seen: End,
    external: End,
    peer: End,
}

/// Both.
struct Play {
    site: Site,
    nat: Nat,
    wanted: Intent,
    past: Vec<Exchange>,
    is_told: bool,
}

/// Plays a life: a policy, and what happens under it. Returns the number of operations in which the two
/// agreed.
pub fn play(life: &[Operation]) -> u64 {
    run(life, false)
}

/// Plays a life, and prints it.
pub fn tell(life: &[Operation]) {
    run(life, true);
}

fn run(life: &[Operation], is_told: bool) -> u64 {
    let mut life = life.iter().map(|it| Words::new(*it));
    let mut first = life.next().unwrap_or(Words::new([0; 8]));
    let wanted = wanted(&mut first);
    let mut play = Play {
        nat: Nat::new(&wanted, ROOM, way),
        site: Site::new(wanted.clone(), ROOM),
        wanted,
        past: Vec::new(),
        is_told,
    };
    play.told(|play| play.policy());
    let mut operations = 0;
    for mut words in life {
        play.step(&mut words);
        operations += 1;
    }
    play.sweep();
    operations
}

impl Play {
    fn step(&mut self, words: &mut Words) {
        match words.below(32) {
            0 => {
                for _ in 0..words.below(BURST) {
                    self.dial(words);
                }
            }
            1..=8 => self.dial(words),
            9..=13 => self.answer(words),
            14..=15 => self.go_on(words),
            16..=18 => self.knock(words),
            19..=20 => self.call(words),
            21 => self.stray(words),
            22 => self.tell(words),
            23..=24 => self.pass(Duration::from_millis(u64::from(words.next()) * 40)),
            25 => self.pass(Duration::from_secs(u64::from(words.next()) * 3)),
            26..=29 => {
                self.pass(Duration::from_secs(1));
                self.sweep();
            }
            30 => self.configure(words),
            _ => {
                if words.below(4) == 0 {
                    self.restart();
                }
                self.quiet(words);
            }
        }
    }

    fn told(&self, what: impl FnOnce(&Self) -> String) {
        if self.is_told {
            println!("{}", what(self));
        }
    }

    fn policy(&self) -> String {
        let pools = self.wanted.pools.iter().map(|it| format!("\n  {it:?}"));
        let rules = self.wanted.rules.iter().map(|it| format!("\n  {it:?}"));
        let text: String = pools.chain(rules).collect();
        format!("policy{text}\n  {:?}", self.wanted.services)
    }

    /// A client sends to somebody.
    fn dial(&mut self, words: &mut Words) {
        let (source, protocol) = client(words);
        let ip = match words.below(12) {
            0 => Ipv4Addr::new(198, 18, 0, 1),
            1 => Ipv4Addr::new(198, 18, 1, 1),
            2 => Ipv4Addr::new(198, 18, 3, 1),
            3 => Ipv4Addr::new(10, 255, 255, 1),
            4 => Ipv4Addr::new(10, 2, 0, 1),
            last => Ipv4Addr::new(198, 51, 100, last % 4),
        };
        let target = remote(protocol, ip, words);
        let ingress = words.one_of(&[INSIDE, INSIDE, INSIDE, ARM, OUTSIDE]);
        let what = first(protocol, words);
        self.send(ingress, protocol, (source, target), what);
    }

    /// A remote answers, or goes on.
    fn answer(&mut self, words: &mut Words) {
        if let Some(it) = self.exchange(words) {
            let flags = words.one_of(&[SYN | ACK, SYN | ACK, ACK, ACK, FIN | ACK, RST, SYN]);
            let what = match it.protocol {
                Protocol::Tcp => What::Segment(flags),
                Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => What::Datagram,
                Protocol::Icmp => What::Reply,
            };
            let ingress = facing(it.peer);
            self.send(ingress, it.protocol, (it.peer, it.external), what);
        }
    }

    /// A client goes on with what it began.
    fn go_on(&mut self, words: &mut Words) {
        if let Some(it) = self.exchange(words) {
            let flags = words.one_of(&[ACK, ACK, ACK, FIN | ACK, RST, SYN, SYN | ACK, RST | ACK]);
            let what = match it.protocol {
                Protocol::Tcp => What::Segment(flags),
                Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => What::Datagram,
                Protocol::Icmp => What::Question,
            };
            self.send(INSIDE, it.protocol, (it.inside, it.seen), what);
        }
    }

    /// A remote that was not asked, or by another port, sends to an external endpoint.
    fn knock(&mut self, words: &mut Words) {
        if let Some(it) = self.exchange(words) {
            let ip = match words.below(3) {
                0 => *it.peer.ip(),
                _ => Ipv4Addr::new(198, 51, 100, words.below(4)),
            };
            let source = remote(it.protocol, ip, words);
            let what = match it.protocol {
                Protocol::Icmp => What::Reply,
                Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {
                    first(it.protocol, words)
                }
            };
            self.send(facing(source), it.protocol, (source, it.external), what);
        }
    }

    /// A client sends to what is another's external endpoint, or its own; and may be called back.
    fn call(&mut self, words: &mut Words) {
        let Some(to) = self.exchange(words) else {
            return;
        };
        let protocol = to.protocol;
        let mut others = self.past.iter().rev().filter(|it| it.protocol == protocol);
        let from = others.nth(usize::from(words.below(5))).copied();
        let (source, what) = (from.map(|it| it.inside), first(protocol, words));
        let source = source.unwrap_or_else(|| client(words).0);
        self.send(INSIDE, protocol, (source, to.external), what);
        if let Some(from) = from.filter(|_| words.below(2) == 0) {
            if words.below(2) == 0 {
                self.pass(SOON);
                self.sweep();
            }
            let what = first(protocol, words);
            self.send(INSIDE, protocol, (to.inside, from.external), what);
        }
    }

    /// Somebody outside sends to any port of an external address.
    fn stray(&mut self, words: &mut Words) {
        let protocol = words.one_of(&Protocol::PORTED);
        let source = remote(protocol, Ipv4Addr::new(198, 51, 100, words.below(4)), words);
        let ip = Ipv4Addr::new(192, 0, 2, words.below(12));
        let port = u16::from_be_bytes([words.next(), words.next()]);
        let mut ends = (source, End::new(ip, port));
        let what = match (protocol, words.below(2)) {
            (Protocol::Icmp, 0) => {
                ends = (End::new(*source.ip(), port), End::new(ip, 0));
                What::Question
            }
            (Protocol::Icmp, _) => What::Reply,
            (Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp, _) => {
                first(protocol, words)
            }
        };
        let ingress = words.one_of(&[OUTSIDE, ARM]);
        self.send(ingress, protocol, ends, what);
    }

    /// Somebody tells by ICMP that a packet did not arrive.
    fn tell(&mut self, words: &mut Words) {
        let Some(it) = self.exchange(words) else {
            return;
        };
        let Exchange {
            protocol,
            inside,
            seen,
            external,
            peer,
        } = it;
        let is_outside = words.below(2) == 0;
        let (source, target, what) = match is_outside {
            true => (external, peer, What::Question),
            false => (seen, inside, What::Reply),
        };
        let what = match protocol {
            Protocol::Icmp => what,
            Protocol::Tcp => What::Segment(ACK),
            Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => What::Datagram,
        };
        let about = sketch(protocol, (source, target), what).frame().bytes;
        let from = match is_outside {
            true => Ip4([198, 51, 100, 200]),
            false => Ip4(inside.ip().octets()),
        };
        let error = Sketch::error(words.one_of(&[3, 11, 12]), from, &about, about.len());
        let ingress = if is_outside { facing(peer) } else { INSIDE };
        let left = self.site.send(ingress, &error);
        match self.nat.quoted(protocol, source, target) {
            Some(quoted) => {
                let wanted = match way(*quoted.0.ip()) {
                    Way::Sent => Reason::ErrorTranslated,
                    Way::KernelSends | Way::Unresolved => Reason::ErrorKernelSends,
                    Way::Local | Way::Nowhere => Reason::NoRoute,
                };
                assert_eq!(left.reason, wanted, "an error about {source} to {target}");
                let message = &left.after.bytes[IP + 28..];
                let quote = [&[0; IP][..], message].concat();
                assert_eq!(ends(&quote), Some((protocol, quoted)), "what it quotes");
                assert_eq!(left.after.bytes[30..34], quoted.0.ip().octets(), "to whom");
            }
            None if self.nat.addresses().any(|address| address == *source.ip()) => {
                assert_eq!(left.reason, Reason::IcmpError);
            }
            None => {}
        }
    }

    /// Nothing happens for a while but sweeps.
    fn quiet(&mut self, words: &mut Words) {
        let step = Duration::from_secs(words.one_of(&[1, 2, 20, 130]));
        for _ in 0..words.below(6) {
            self.pass(step);
            self.sweep();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.told(|_| format!("{time:?} pass"));
        self.site.pass(time);
        self.nat.pass(time);
    }

    fn configure(&mut self, words: &mut Words) {
        self.wanted = wanted(words);
        self.told(Self::policy);
        self.site
            .handle(Event::Configure(Box::new(self.wanted.clone())));
        self.nat.configure(&self.wanted);
        self.nat.hold_back(self.held());
    }

    /// The daemon dies and its successor takes over.
    fn restart(&mut self) {
        self.told(|_| "restart".to_owned());
        let idle = Site::new(self.wanted.clone(), 0);
        self.site = std::mem::replace(&mut self.site, idle).restarted();
        self.site
            .handle(Event::Configure(Box::new(self.wanted.clone())));
        self.nat.restart();
    }

    /// One of the exchanges that were, the latest more often.
    fn exchange(&mut self, words: &mut Words) -> Option<Exchange> {
        let back = usize::from(words.next()) % PAST;
        let (back, count) = (back * back / PAST, self.past.len());
        self.past.get(count.checked_sub(back + 1)?).copied()
    }

    /// A packet goes through both.
    fn send(&mut self, ingress: u32, protocol: Protocol, ends: (End, End), what: What) {
        // Only who asks has an identifier.
        let ends = match what {
            What::Question => (ends.0, End::new(*ends.1.ip(), 0)),
            What::Reply => (End::new(*ends.0.ip(), 0), ends.1),
            What::Datagram | What::Segment(_) => ends,
        };
        let packet = Packet {
            protocol,
            source: ends.0,
            target: ends.1,
            what,
            is_inside: ingress != OUTSIDE,
        };
        let left = self.site.send(ingress, &sketch(protocol, ends, what));
        self.told(|_| {
            format!(
                "{packet:?}: {:?}, {:?}",
                left.reason,
                glue::ends(&left.after.bytes)
            )
        });
        let made = Made::new(&self.site, &self.nat, &packet, &left);
        let known = self.nat.sessions().len();
        let Fate { reason, sent } = self.nat.packet(&packet, &made);
        assert_eq!(left.reason, reason, "{packet:?}");
        let Some(sent) = sent else { return };
        let seen = glue::ends(&left.after.bytes);
        assert_eq!(seen, Some((protocol, sent)), "{packet:?}");
        if self.nat.sessions().len() != known {
            self.remember(&packet, sent);
        }
    }

    fn remember(&mut self, packet: &Packet, sent: (End, End)) {
        let is_ours = self.nat.addresses().any(|it| it == *packet.source.ip());
        let is_out = !is_ours && packet.source.ip() != sent.0.ip();
        let (inside, seen, external, peer) = match is_out {
            true => (packet.source, packet.target, sent.0, sent.1),
            false => (sent.1, sent.0, packet.target, packet.source),
        };
        if self.past.len() == PAST {
            self.past.remove(0);
        }
        let protocol = packet.protocol;
        self.past.push(Exchange {
            protocol,
            inside,
            seen,
            external,
            peer,
        });
    }

    /// A sweep, after which both must have the same sessions and mappings.
    fn sweep(&mut self) {
        let swept = self.site.sweep_during(|_| {});
        self.told(|_| {
            format!(
                "sweep: {} ended, {:?}",
                swept.ended.len() / 2,
                swept.unmapped
            )
        });
        let tuple = |key: &FlowKey| {
            let protocol = Protocol::from_number(key.protocol).expect("one of ours");
            let (source, target) = both(key.tuple);
            (protocol, source, target)
        };
        let keys: Vec<_> = swept.ended.chunks(2).map(|both| tuple(&both[0])).collect();
        let unmapped = swept.unmapped.iter().filter_map(|key| match key.what() {
            Some(Entry::Inward { port }) => {
                let protocol = Protocol::from_number(key.protocol).expect("one of ours");
                Some((protocol, end(key.external, port)))
            }
            Some(Entry::Outward { .. } | Entry::Permit { .. }) | None => None,
        });
        let externals = self.site.memory.v4.externals.all();
        self.nat.sweep(Swept {
            ended: keys,
            unmapped: unmapped.collect(),
            held: self.held(),
            addresses: externals
                .iter()
                .map(|(it, _)| Ipv4Addr::from(it.0))
                .collect(),
        });
        self.agree();
    }

    /// The ports that are held back, where no sessions share them.
    fn held(&self) -> BTreeSet<(Protocol, End)> {
        let memory = &self.site.memory;
        let mut held = BTreeSet::new();
        for (address, external) in memory.v4.externals.all() {
            for protocol in Protocol::PORTED {
                if protocol == Protocol::Tcp && external.planes != 0 {
                    continue;
                }
                let words = memory.bitmap(abi::ports::bitmap(external.index, protocol));
                for (index, word) in words.iter().enumerate() {
                    let mut bits = word.held.get();
                    while bits != 0 {
                        let port = abi::ports::port(index, bits.trailing_zeros());
                        held.insert((protocol, end(address, port)));
                        bits &= bits - 1;
                    }
                }
            }
        }
        held
    }

    /// Both have the same sessions and mappings.
    fn agree(&self) {
        let memory = &self.site.memory;
        whole(memory);
        let mut flows = BTreeMap::new();
        for (key, flow) in memory.v4.flows.all() {
            let protocol = Protocol::from_number(key.protocol).expect("one of ours");
            let out = flow.picture();
            if out.side() == Side::Outbound {
                let twin = out.twin(protocol);
                let back = memory.v4.flows.get(&twin).expect("it has both directions");
                let flow = Joined::new(protocol, (key, out), (twin, back.picture()));
                flows.insert((protocol, both(key.tuple)), flow);
            }
        }
        let sessions = self.nat.sessions();
        let count = sessions.len();
        for it in sessions {
            let flow = flows.get(&(it.protocol, (it.inside, it.seen)));
            let flow = flow.unwrap_or_else(|| panic!("there is no flow of {it:?}"));
            assert_eq!(both(flow.outbound.1.to), (it.external, it.peer), "{it:?}");
            if let Some(state) = state(it.protocol, it.stage()) {
                assert_eq!(flow.state(), state, "{it:?}");
            }
            // Both the last packet and now are known to the tick.
            let silent = Duration::from_nanos(flow.silent(memory.now.get().nanos()));
            let truly = self.nat.silent(it);
            let known = truly.saturating_sub(TICK * 2)..=truly;
            assert!(
                known.contains(&silent),
                "{silent:?} and not {truly:?}: {it:?}"
            );
        }
        assert_eq!(flows.len(), count, "sessions");
        let mut mapped = BTreeMap::new();
        for (key, mapping) in memory.v4.mappings.all() {
            if let Some(Entry::Inward { port }) = key.what() {
                let external = end(key.external, port);
                mapped.insert(
                    (key.protocol, external),
                    end(mapping.internal, mapping.port),
                );
            }
        }
        let mappings = self.nat.mappings();
        let mappings =
            mappings.map(|((protocol, external), internal)| ((protocol as u8, external), internal));
        assert_eq!(mapped, mappings.collect(), "mappings");
        for ((protocol, external), (internal, remote)) in self.nat.known() {
            let remote = remote.map_or(Ip4([0; 4]), |remote| Ip4(remote.octets()));
            let from = (ip4(internal), Port::new(internal.port()));
            let key = MappingKey::outward(protocol, from, ip4(external), remote);
            let port = memory.v4.mappings.get(&key).map(|it| it.port.get());
            assert_eq!(port, Some(external.port()), "{internal} of {protocol:?}");
        }
    }
}

/// The interface by which somebody's packets come.
fn facing(sender: End) -> u32 {
    match sender.ip().octets() {
        [10, ..] => INSIDE,
        _ => OUTSIDE,
    }
}

/// Few clients, ports and remotes, so that they meet again.
fn client(words: &mut Words) -> (End, Protocol) {
    let net = words.one_of(&[1, 1, 1, 7, 9]);
    let ip = Ipv4Addr::new(10, net, 0, words.below(4));
    let port = 4000 + u16::from(words.below(5));
    (End::new(ip, port), words.one_of(&Protocol::PORTED))
}

fn remote(protocol: Protocol, ip: Ipv4Addr, words: &mut Words) -> End {
    match protocol {
        Protocol::Icmp | Protocol::Gre | Protocol::Esp => End::new(ip, 0),
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => {
            End::new(ip, 440 + u16::from(words.below(4)))
        }
    }
}

/// What mostly begins something.
fn first(protocol: Protocol, words: &mut Words) -> What {
    match protocol {
        Protocol::Tcp => {
            What::Segment(words.one_of(&[SYN, SYN, SYN, SYN, ACK, SYN | ACK, RST, FIN | ACK]))
        }
        Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => What::Datagram,
        Protocol::Icmp => {
            words.one_of(&[What::Question, What::Question, What::Question, What::Reply])
        }
    }
}
