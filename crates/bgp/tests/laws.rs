//! One speaker to whom anything happens in any order: the laws hold throughout, and who is still there in the
//! end knows what it should.

mod world;

use std::time::Duration;

use bgp::{ConnectionId, Event, Farewell};
use proptest::prelude::*;

use world::{Said, World, peer};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Configure(u8, u8),
    Announce(u8, u16),
    Accept(u8, u8),
    Connect(prop::sample::Index, bool),
    Hear(prop::sample::Index, Vec<Said>, usize),
    Unsent(prop::sample::Index, usize),
    Closed(prop::sample::Index),
    PathDown(u8),
    Reset(u8),
    Refresh(u8),
    Farewell(Farewell),
    Restart,
    Pass(u64),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => any::<u8>().prop_map(Said::Open),
        4 => Just(Said::Keepalive),
        2 => any::<u8>().prop_map(Said::Update),
        1 => any::<u8>().prop_map(Said::Refresh),
        1 => any::<[u8; 2]>().prop_map(Said::Notification),
        1 => (0_u8..7, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, body)| match (kind, body.as_slice()) {
            // By chance it is one.
            (4, []) => Said::Keepalive,
            _ => Said::Framed(kind, body),
        }),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Said::Bytes),
    ]
}

/// What a peer says that wants a session, and then whatever.
fn speech() -> impl Strategy<Value = Vec<Said>> {
    let rest = || prop::collection::vec(said(), 0..4);
    prop_oneof![
        (any::<u8>(), rest()).prop_map(|(open, rest)| {
            let mut all = vec![Said::Open(open), Said::Keepalive];
            all.extend(rest);
            all
        }),
        rest(),
    ]
}

fn farewell() -> impl Strategy<Value = Farewell> {
    let words = "bye".to_owned();
    prop::sample::select(vec![
        Farewell::None,
        Farewell::Graceful,
        Farewell::Stop { words },
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let time = prop_oneof![1_u64..100, 100_u64..20_000, 20_000_u64..400_000];
    prop_oneof![
        2 => any::<[u8; 2]>().prop_map(|[peers, how]| Step::Configure(peers, how)),
        3 => (any::<u8>(), any::<u16>()).prop_map(|(peers, nets)| Step::Announce(peers, nets)),
        4 => any::<[u8; 2]>().prop_map(|[peer, address]| Step::Accept(peer, address)),
        4 => (index(), prop::bool::weighted(0.8)).prop_map(|(call, is_answered)| Step::Connect(call, is_answered)),
        8 => (index(), speech(), 1_usize..80).prop_map(|(wire, said, piece)| Step::Hear(wire, said, piece)),
        2 => (index(), prop_oneof![Just(0), 0_usize..1 << 20]).prop_map(|(wire, bytes)| Step::Unsent(wire, bytes)),
        1 => index().prop_map(Step::Closed),
        1 => any::<u8>().prop_map(Step::PathDown),
        1 => any::<u8>().prop_map(Step::Reset),
        2 => any::<u8>().prop_map(Step::Refresh),
        1 => farewell().prop_map(Step::Farewell),
        1 => Just(Step::Restart),
        4 => time.prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_peer_knows_what_it_should_in_the_end(
        steps in prop::collection::vec(step(), 1..60),
        wish in any::<u16>(),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(seed);
        world.configure(u8::MAX, 0);
        for step in steps {
            act(&mut world, step);
        }
        world.everything_is_taken();
        world.pass(2 * SECOND);
        world.everybody_knows_what_it_should(0);

        world.configure(u8::MAX, 0);
        world.tell(Event::Farewell(Farewell::Graceful));
        world.tell(Event::Farewell(Farewell::None));
        world.announce(u8::MAX, wish);
        for id in 0..3 {
            world.tell(Event::Reset(peer(id)));
            let wire = world.accept(id, 0);
            world.hear(wire, &[Said::Open(0), Said::Keepalive], usize::MAX);
            prop_assert!(world.is_established(wire), "peer {id}");
        }
        world.everything_is_taken();
        world.pass(2 * SECOND);
        world.everybody_knows_what_it_should(3);
    }
}

/// One whose peer can everything but what the bits of its OPEN say.
fn established(open: u8) -> (World, ConnectionId) {
    let mut world = World::new(1);
    world.configure(u8::MAX, 0);
    let wire = world.accept(0, 0);
    world.hear(wire, &[Said::Open(open), Said::Keepalive], usize::MAX);
    assert!(world.is_established(wire));
    (world, wire)
}

#[test]
fn what_is_withdrawn_while_a_peer_takes_nothing_is_withdrawn_also_if_it_asks_for_everything() {
    // It does not know where everything begins and ends: only a withdrawal takes something back.
    let (mut world, connection) = established(2);
    world.announce(1, 0xff);
    let bytes = 1 << 20;
    world.tell(Event::Unsent { connection, bytes });
    world.announce(1, 0x0f);
    world.hear(connection, &[Said::Refresh(0x80)], usize::MAX);
    world.everything_is_taken();
    world.everybody_knows_what_it_should(1);
}

#[test]
fn a_peer_that_calls_again_and_again_has_few_connections() {
    // The world counts them.
    let (mut world, wire) = established(32);
    for _ in 0..10 {
        world.accept(0, 0);
    }
    assert!(world.is_established(wire));
}

#[test]
fn a_peer_that_calls_again_is_not_called_meanwhile() {
    let mut world = World::new(1);
    world.configure(1, 0);
    world.accept(0, 0);
    world.accept(0, 0);
    // Longer than until it would be called, shorter than such a call.
    world.pass(10 * SECOND);
    assert_eq!(world.calls(), 0);
}

#[test]
fn a_range_is_never_called_whatever_is_configured() {
    let mut world = World::new(1);
    // The world refuses such calls.
    for how in [0, 1, 0, 4] {
        world.configure(u8::MAX, how);
        world.accept(2, 1);
        world.pass(600 * SECOND);
    }
}

#[test]
fn a_peer_that_was_left_alone_is_called_when_that_is_over() {
    let mut world = World::new(1);
    world.configure(1, 8);
    let wire = world.accept(0, 0);
    let said = [
        Said::Open(0),
        Said::Keepalive,
        Said::Update(1),
        Said::Update(2),
    ];
    world.hear(wire, &said, usize::MAX);
    assert!(!world.is_established(wire));
    world.pass(299 * SECOND);
    assert_eq!(world.calls(), 0);
    // One tick is enough, or the world complains.
    world.pass(2 * SECOND);
    assert_eq!(world.calls(), 1);
}

fn act(world: &mut World, step: Step) {
    match step {
        Step::Configure(peers, how) => world.configure(peers, how),
        Step::Announce(peers, nets) => world.announce(peers, nets),
        Step::Accept(peer, address) => {
            world.accept(peer, address % 3);
        }
        Step::Connect(call, is_answered) => world.connect(call, is_answered),
        Step::Hear(wire, said, piece) => {
            if let Some(wire) = world.any_wire(wire) {
                world.hear(wire, &said, piece);
            }
        }
        Step::Unsent(wire, bytes) => {
            if let Some(connection) = world.any_wire(wire) {
                world.tell(Event::Unsent { connection, bytes });
            }
        }
        Step::Closed(wire) => {
            if let Some(connection) = world.any_wire(wire) {
                world.close(connection);
            }
        }
        Step::PathDown(id) => world.tell(Event::PathDown(peer(id))),
        Step::Reset(id) => world.tell(Event::Reset(peer(id))),
        Step::Refresh(id) => world.tell(Event::Refresh(peer(id))),
        Step::Farewell(farewell) => world.tell(Event::Farewell(farewell)),
        Step::Restart => world.tell(Event::Restart),
        Step::Pass(time) => world.pass(Duration::from_millis(time)),
    }
}
