//! A gateway's life, as bytes tell it: clients, remotes and strangers send, time passes, the daemon
//! sweeps, reloads and restarts, CPUs get into each other's way. The laws hold throughout, and in the
//! end everything that was taken is free again.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use abi::{Behaviour, Dependence, Limits, MappingKey, Port, Protocol, Quota, Reason, Tuple};
use datapath::native::Memory;
use gateway::{
    Event,
    intent::{Action, Forward, HoldDown, Intent, Pool, PortRange},
    mappings::{Ask, Granted, Owner, Withdraw},
};

use super::{
    Site, Sketch,
    interrupted::process_with,
    laws::{counts_are_true, safe, sound, take, whole, within},
    site::{self, ARM, INSIDE, OUTSIDE, from_pool, intent, own_mac, peer_mac, pool, rule, usual},
    sketch::read,
};

/// Flows that fit: few, so that full tables are soon met.
const FLOWS: usize = 24;
/// Steps that are told of one story.
const STEPS_MAX: usize = 200;
/// Sweeps until ports that were charged, and then asked for, are known to be nobody's.
const SWEEPS_TO_COUNT: u8 = 3;
/// Longer than any timeout.
const AGES: Duration = Duration::from_secs(2000);

/// What is still to be told.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    /// The next word; the last ones are zeros.
    fn next(&mut self) -> u8 {
        let (word, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *word
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }
}

/// The gateway, and what its peers know.
struct Story {
    site: Site,
    wanted: Intent,
    /// What clients asked, by what their remotes saw; the latest, where that was seen before.
    asked: BTreeMap<(Protocol, Tuple), Tuple>,
    /// Whether packets came in the middle of a sweep, or a pool was overloaded: then an endpoint may
    /// come to have two ports, and a port two endpoints.
    is_raced: bool,
    /// Whether a pool has been overloaded, or is no longer, since the last sweep: then ports that are
    /// in use are not known to be where new ones are claimed.
    is_unswept: bool,
    /// How many sweeps have to pass until ports that were charged, and then asked for, are charged to
    /// nobody.
    uncounted: u8,
    /// Whether somebody asked for a port: then one may be given to another while its flows go on.
    are_leased: bool,
}

/// Tells a story and asserts every law along its way.
pub fn tell(bytes: &[u8]) {
    let mut words = Words(bytes);
    let wanted = wanted(words.next());
    let mut story = Story {
        is_raced: overloads(&wanted),
        is_unswept: false,
        uncounted: 0,
        are_leased: !wanted.pools.iter().all(|it| it.forwards.is_empty()),
        site: Site::new(wanted.clone(), FLOWS),
        wanted,
        asked: BTreeMap::new(),
    };
    for _ in 0..STEPS_MAX {
        if words.0.is_empty() {
            break;
        }
        story.step(&mut words);
        story.holds();
    }
    story.end();
}

impl Story {
    /// The laws between two steps.
    fn holds(&self) {
        let memory = &self.site.memory;
        let mut quotas = self.site.gateway.quotas();
        // Others come and go with their policies, and are counted anew when they come back.
        let always = self.site.gateway.numbers().rules.get("rule").copied();
        quotas.retain(|number, _| Some(*number) == always);
        within(memory, &quotas);
        if self.is_unswept {
            whole(memory);
        } else if self.is_raced {
            safe(memory);
        } else {
            sound(memory);
            if self.uncounted == 0 {
                counts_are_true(memory, &quotas);
            }
        }
    }

    fn step(&mut self, words: &mut Words<'_>) {
        match words.below(20) {
            0..=4 => {
                let (ingress, protocol, sketch) = outbound(words);
                self.send(ingress, protocol, &sketch);
            }
            5..=6 => self.answer(words),
            7 => self.go_on(words),
            8 => self.anything(words),
            9 => self.site.pass(Duration::from_secs(words.next().into())),
            10 => {
                self.site.sweep_during(|_| {});
                self.is_unswept = false;
                self.uncounted = self.uncounted.saturating_sub(1);
            }
            11 => self.sweep_and_send(words),
            12 => {
                let before = std::mem::replace(&mut self.wanted, wanted(words.next()));
                self.is_raced |= overloads(&self.wanted);
                self.is_unswept |= overloads(&before) != overloads(&self.wanted);
                if self.wanted.pools.iter().any(|it| !it.forwards.is_empty()) {
                    self.uncounted = SWEEPS_TO_COUNT;
                    // A port that a client's flows have may come to be another's.
                    self.is_raced = true;
                    self.are_leased = true;
                }
                self.site
                    .handle(Event::Configure(Box::new(self.wanted.clone())));
            }
            13 => {
                self.restart();
                // What its predecessor found once it does not know.
                if self.uncounted != 0 {
                    self.uncounted = SWEEPS_TO_COUNT;
                }
            }
            14 => self.site.handle(Event::RoutesChanged),
            15 => self.knock(words),
            16 => self.call(words),
            17 => self.lease(words),
            18 => self.withdraw(words),
            _ => self.race(words),
        }
    }

    fn send(&mut self, ingress: u32, protocol: Protocol, sketch: &Sketch) {
        let left = self.site.send(ingress, sketch);
        if left.is_translated() {
            let (_, asked) = read(&left.before.bytes).expect("a packet that can be translated");
            let (_, seen) = read(&left.after.bytes).expect("still such a packet");
            self.asked.insert((protocol, seen), asked);
        }
    }

    /// A remote answers what it saw. What comes through goes to whoever asked last.
    fn answer(&mut self, words: &mut Words<'_>) {
        let which = usize::from(words.next());
        let Some(((protocol, seen), asked)) = self.asked.iter().nth(which) else {
            return;
        };
        let answer = Sketch::answer(*protocol, seen.reversed());
        let left = self.site.send(OUTSIDE, &answer.flags(words.next()));
        if left.is_translated() && !self.is_anothers(*protocol, seen, asked) {
            let got = read(&left.after.bytes).expect("still such a packet");
            assert_eq!(got, (*protocol, asked.reversed()));
        }
    }

    /// A remote that was not asked, or by another port, sends to what it may know of.
    fn knock(&mut self, words: &mut Words<'_>) {
        let which = usize::from(words.next());
        let Some(((protocol, seen), asked)) = self.asked.iter().nth(which) else {
            return;
        };
        let mut knock = seen.reversed();
        knock.source_port = Port::new(440 + u16::from(words.below(8)));
        knock.source.0[3] = 1 + words.below(6);
        let left = self.site.send(OUTSIDE, &Sketch::first(*protocol, knock));
        if left.is_translated() && !self.is_anothers(*protocol, seen, asked) {
            let (_, got) = read(&left.after.bytes).expect("still such a packet");
            let to = (got.target, got.target_port);
            assert_eq!(to, (asked.source, asked.source_port), "whose the port is");
            assert_eq!(
                (got.source, got.source_port),
                (knock.source, knock.source_port)
            );
        }
    }

    /// Whether an external port has come to be another's than the one that it was seen of, because
    /// somebody asked for it.
    fn is_anothers(&self, protocol: Protocol, seen: &Tuple, asked: &Tuple) -> bool {
        let end = MappingKey::inward(protocol, (seen.source, seen.source_port));
        let found = self.site.memory.v4.mappings.get(&end);
        let owner = (asked.source, asked.source_port);
        self.are_leased && found.is_some_and(|it| (it.internal, it.port) != owner)
    }

    /// A client calls what it may know to be another's external endpoint.
    fn call(&mut self, words: &mut Words<'_>) {
        let which = usize::from(words.next());
        let Some(((_, seen), _)) = self.asked.iter().nth(which) else {
            return;
        };
        let to = (seen.source, seen.source_port);
        let (ingress, protocol, mut sketch) = outbound(words);
        let (_, mut tuple) = read(&sketch.frame().bytes).expect("such a packet");
        (tuple.target, tuple.target_port) = to;
        if protocol != Protocol::Icmp {
            sketch = Sketch::first(protocol, tuple);
            let left = self.site.send(ingress, &sketch);
            if left.is_translated() {
                let (_, got) = read(&left.after.bytes).expect("still such a packet");
                assert_ne!(got.source, tuple.source, "no client sees another's address");
            }
        }
    }

    /// Somebody asks for an external port. What is granted is nobody else's.
    fn lease(&mut self, words: &mut Words<'_>) {
        let ask = Ask {
            protocol: Protocol::PORTED[usize::from(words.below(3))],
            internal: internal(words),
            address: (words.below(2) == 0).then(|| [192, 0, 2, 1 + words.below(4)].into()),
            port: (words.below(2) == 0).then(|| 1020 + u16::from(words.below(40))),
            prefer_failure: words.below(3) == 0,
            lifetime: Duration::from_secs(u64::from(words.next()) * 4),
            owner: owner(words),
        };
        let before: Vec<Granted> = self.site.gateway.mappings().leases().copied().collect();
        let Ok(granted) = self.site.ask(&ask) else {
            let after: Vec<Granted> = self.site.gateway.mappings().leases().copied().collect();
            assert_eq!(before, after, "what is denied changes nothing");
            return;
        };
        self.uncounted = SWEEPS_TO_COUNT;
        self.are_leased = true;
        assert_eq!(
            (granted.protocol, granted.internal),
            (ask.protocol, ask.internal)
        );
        let is_other = |it: &&Granted| (it.protocol, it.internal) != (ask.protocol, ask.internal);
        for other in before.iter().filter(is_other) {
            let end = |it: &Granted| (it.protocol, it.external);
            assert_ne!(end(other), end(&granted), "one port is granted to two");
        }
    }

    fn withdraw(&mut self, words: &mut Words<'_>) {
        let withdraw = Withdraw {
            protocol: Protocol::PORTED[usize::from(words.below(3))],
            internal: internal(words),
            owner: owner(words),
        };
        let before = self.site.gateway.mappings().leases().count();
        let done = self.site.withdraw(&withdraw).is_ok();
        let after = self.site.gateway.mappings().leases().count();
        assert_eq!(before, after + usize::from(done));
    }

    /// A client goes on with what it began.
    fn go_on(&mut self, words: &mut Words<'_>) {
        let which = usize::from(words.next());
        let Some(((protocol, _), asked)) = self.asked.iter().nth(which) else {
            return;
        };
        let (protocol, sketch) = (*protocol, Sketch::first(*protocol, *asked));
        self.send(INSIDE, protocol, &sketch.flags(words.next()));
    }

    /// Somebody sends bytes that look like IPv4, or do not.
    fn anything(&mut self, words: &mut Words<'_>) {
        let ingress = u32::from(words.below(3)) + INSIDE;
        let length = usize::from(words.below(90)).min(words.0.len());
        let (bytes, rest) = words.0.split_at(length);
        words.0 = rest;
        let mut frame = [&own_mac(ingress), &peer_mac(ingress), &[8, 0][..]].concat();
        frame.extend_from_slice(bytes);
        let left = self.site.send_bytes(ingress, frame);
        if left.reason == Reason::TranslatedOut
            && let (Some((protocol, asked)), Some((_, seen))) =
                (read(&left.before.bytes), read(&left.after.bytes))
        {
            self.asked.insert((protocol, seen), asked);
        }
    }

    /// Wherever the packet path may come between two steps of a sweep, a packet does.
    fn sweep_and_send(&mut self, words: &mut Words<'_>) {
        let mut asked = Vec::new();
        self.site.sweep_during(|memory| {
            if !words.0.is_empty() {
                let (ingress, protocol, sketch) = outbound(words);
                let left = take(memory, addressed(ingress, &sketch).frame());
                if left.is_translated() {
                    let (before, after) = (read(&left.before.bytes), read(&left.after.bytes));
                    asked.extend(
                        before
                            .zip(after)
                            .map(|((_, asked), (_, seen))| ((protocol, seen), asked)),
                    );
                }
            }
        });
        self.asked.extend(asked);
        self.is_raced = true;
        self.is_unswept = false;
    }

    /// The daemon dies and its successor takes over.
    fn restart(&mut self) {
        let idle = Site::new(self.wanted.clone(), 0);
        self.site = std::mem::replace(&mut self.site, idle).restarted();
        self.site
            .handle(Event::Configure(Box::new(self.wanted.clone())));
    }

    /// Two CPUs at once: a packet in the middle of another.
    fn race(&mut self, words: &mut Words<'_>) {
        let place = usize::from(words.below(32));
        let (ingress, protocol, first) = outbound(words);
        let (other_ingress, other_protocol, second) = outbound(words);
        let mut frame = addressed(ingress, &first).frame();
        let memory: &Memory = &self.site.memory;
        process_with(&mut frame, memory, place, || {
            take(memory, addressed(other_ingress, &second).frame());
        });
        // Both again, so that what they are seen as is known.
        self.send(ingress, protocol, &first);
        self.send(other_ingress, other_protocol, &second);
    }

    /// When nobody sends any more, everything is free in the end.
    fn end(mut self) {
        for pool in &mut self.wanted.pools {
            pool.forwards.clear();
        }
        self.site
            .handle(Event::Configure(Box::new(self.wanted.clone())));
        self.site.pass(AGES);
        for _ in 0..10 {
            self.site.sweep();
            self.site.pass(Duration::from_secs(1));
        }
        for _ in 0..2 {
            self.site.pass(HoldDown::DEFAULT.time);
            self.site.sweep();
        }
        let memory = &self.site.memory;
        assert!(memory.v4.flows.is_empty() && memory.v4.mappings.is_empty());
        assert!(memory.clients.is_empty());
        for (slot, it) in memory.uses.borrow().iter() {
            assert_eq!((it.held.get(), it.taken.get()), (0, 0), "slot {slot}");
        }
        for (address, external) in memory.v4.externals.all() {
            for protocol in Protocol::PORTED {
                let kept = match protocol == Protocol::Icmp {
                    true => 0,
                    false => 65_535 - u32::from(external.last.get() - external.first.get()),
                };
                for (_, bitmap) in external.bitmaps().filter(|(of, _)| *of == protocol) {
                    let taken = memory.taken(bitmap);
                    assert_eq!(taken, kept, "{protocol:?} of {address:?}");
                    let held = memory
                        .bitmap(bitmap)
                        .iter()
                        .any(|word| word.held.get() != 0);
                    assert!(!held, "{protocol:?} of {address:?}");
                }
            }
        }
    }
}

/// A packet of a client: few clients, ports and remotes, so that they meet again.
fn outbound(words: &mut Words<'_>) -> (u32, Protocol, Sketch) {
    let protocol = Protocol::PORTED[usize::from(words.below(3))];
    let ingress = if words.below(4) == 0 { ARM } else { INSIDE };
    let client = [10, [1, 7][usize::from(words.below(2))], 0, words.below(6)];
    let remote = match words.below(6) {
        0 => [203, 0, 113, 1],
        1 => [198, 18, 0, 1],
        2 => [198, 18, 3, 1],
        last => [198, 51, 100, last],
    };
    let port = if protocol == Protocol::Icmp {
        0
    } else {
        440 + u16::from(words.below(3))
    };
    let tuple = site::tuple((client, 4000 + u16::from(words.below(4))), (remote, port));
    (ingress, protocol, Sketch::first(protocol, tuple))
}

/// An internal endpoint of [`outbound`], or one that no rule knows.
fn internal(words: &mut Words<'_>) -> SocketAddr {
    let client = match words.below(8) {
        7 => [172, 16, 0, 1],
        last => [10, [1, 7][usize::from(words.below(2))], 0, last.min(5)],
    };
    (client, 4000 + u16::from(words.below(4))).into()
}

fn owner(words: &mut Words<'_>) -> Owner {
    let name = ["", "", "a", "b"][usize::from(words.below(4))];
    Owner::named(name).expect("it is short")
}

/// What leads to hosts that are clients too, in and beside what the pool gives out.
fn forwarding(mut intent: Intent, address: u8, first: u16, count: u16) -> Intent {
    let forwards = [Protocol::Tcp, Protocol::Udp].map(|protocol| Forward {
        name: "to".to_owned(),
        protocol,
        address: [192, 0, 2, address].into(),
        ports: PortRange {
            first,
            last: first + (count - 1),
        },
        target: ([10, 1, 0, 1].into(), 4000),
        callers: match protocol == Protocol::Tcp {
            true => vec!["198.51.100.0/30".parse().expect("a prefix")],
            false => Vec::new(),
        },
    });
    intent.pools[0].forwards = forwards.into();
    intent
}

fn addressed(ingress: u32, sketch: &Sketch) -> Sketch {
    Sketch {
        ingress,
        to: own_mac(ingress),
        from: peer_mac(ingress),
        ..sketch.clone()
    }
}

fn overloads(intent: &Intent) -> bool {
    intent.pools.iter().any(|pool| pool.behaviour.overloads())
}

/// Policies between which a daemon is told to change, each with quotas.
fn wanted(word: u8) -> Intent {
    let mut wanted = policy(word);
    let rules = wanted.rules.iter_mut().rev();
    for (rule, name) in rules.zip(["rule", "bank", "pass"]) {
        rule.name = name.to_owned();
        if rule.action != Action::Pass {
            rule.quota = Quota {
                total: Limits {
                    flows: 14,
                    ports: 11,
                },
                client: Limits { flows: 6, ports: 5 },
                ..Quota::NONE
            }
            .with_rate(3, 9);
        }
    }
    wanted
}

fn policy(word: u8) -> Intent {
    let rules = || vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
    let behaving = |mapping, filtering, hairpins| {
        let pool = Pool {
            behaviour: Behaviour::new([mapping; 3], [filtering; 3], hairpins, 0),
            ..pool("web", [1], (1024, 1063))
        };
        intent(vec![pool], rules())
    };
    let overloading = |last, hairpins| {
        let modes = [Dependence::Endpoint; 3];
        let pool = Pool {
            behaviour: Behaviour::new(modes, modes, hairpins, 0).overloading(),
            ..pool("web", [1], (1024, last))
        };
        intent(vec![pool], rules())
    };
    match word % 14 {
        0 => usual(),
        10 => forwarding(usual(), 2, 80, 3),
        11 => forwarding(overloading(1063, true), 1, 1030, 3),
        12 => forwarding(
            behaving(Dependence::AddressAndPort, Dependence::Address, true),
            1,
            1030,
            4,
        ),
        13 => forwarding(
            behaving(Dependence::Address, Dependence::AddressAndPort, true),
            1,
            1031,
            2,
        ),
        8 => overloading(1025, true),
        9 => overloading(1063, false),
        4 => behaving(Dependence::AddressAndPort, Dependence::AddressAndPort, true),
        5 => behaving(Dependence::Address, Dependence::Endpoint, true),
        6 => behaving(Dependence::Endpoint, Dependence::Endpoint, true),
        7 => behaving(Dependence::AddressAndPort, Dependence::Address, false),
        1 => intent(vec![pool("web", [1], (1024, 1031))], rules()),
        2 => intent(
            vec![
                pool("web", 2..=4, (3000, 65_535)),
                pool("bank", [1], (1, 99)),
            ],
            rules(),
        ),
        _ => intent(vec![pool("web", [10], (40_000, 40_009))], rules()),
    }
}
