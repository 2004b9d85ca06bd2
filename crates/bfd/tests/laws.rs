//! Laws: whatever happens in whatever order, they hold.

use std::time::Duration;

use bfd::{Packet, State, sessions::LOOK};
use proptest::prelude::*;

use super::{
    any,
    network::{MS, Network, SECOND, settings},
};

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Cut(usize, bool),
    Loss(u64),
    Busy(usize, u64),
    Configure(usize, u32, u8, bool),
    Remove(usize),
    Restart(usize),
    Inject(usize, Vec<u8>),
    Forge(usize, u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let interval = prop::sample::select(vec![10_u32, 50, 100, 300, 1000]);
    prop_oneof![
        4 => (1_u64..3000).prop_map(Step::Pass),
        1 => (0_usize..2, any::<bool>()).prop_map(|(side, is)| Step::Cut(side, is)),
        1 => (0_u64..60).prop_map(Step::Loss),
        1 => (0_usize..2, 1_u64..1500).prop_map(|(side, time)| Step::Busy(side, time)),
        2 => (0_usize..2, interval, 1_u8..6, any::<bool>())
            .prop_map(|(side, interval, multiplier, down)| Step::Configure(side, interval, multiplier, down)),
        1 => (0_usize..2).prop_map(Step::Remove),
        1 => (0_usize..2).prop_map(Step::Restart),
        1 => (0_usize..2, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(side, bytes)| Step::Inject(side, bytes)),
        1 => (0_usize..2, 0_u8..4, any::<u8>()).prop_map(|(side, state, flags)| Step::Forge(side, state, flags)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_sessions_that_hear_each_other_come_up_again(
        steps in prop::collection::vec(step(), 1..40),
        seed in any::<u64>(),
    ) {
        let mut network = Network::configured(seed, [settings(100 * MS, 3), settings(100 * MS, 3)]);
        for step in steps {
            act(&mut network, step);
            // Nobody is up who did not hear the other; nobody is up for long who hears nothing.
            for side in 0..2 {
                if let Some((_, status)) = network.sessions[side].snapshot().first()
                    && status.state == State::Up
                {
                    prop_assert_ne!(status.discriminators[1], 0);
                    prop_assert!(status.received > 0);
                }
            }
        }
        network.loss = 0;
        network.is_cut = [false; 2];
        for side in 0..2 {
            network.configure(side, Some(settings(100 * MS, 3)));
        }
        network.pass(20 * SECOND);
        prop_assert_eq!(network.states(), [State::Up; 2]);
        prop_assert_eq!(network.status(0).detection, 300 * MS);
    }

    #[test]
    fn any_datagram_is_taken_or_counted(
        datagrams in prop::collection::vec((any::<bool>(), 0_u8..40, prop::collection::vec(any::<u8>(), 0..60)), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (knows, diagnostic, mut said) in datagrams {
            // Most begin as packets do.
            if let [first, _, multiplier, length, ..] = said.as_mut_slice() {
                (*first, *multiplier, *length) = (diagnostic, 3, 24);
                *first |= 0x20;
            }
            bytes.push(u8::try_from(said.len()).unwrap() | if knows { 0x80 } else { 0 });
            bytes.extend(said);
        }
        any::hear(&bytes);
    }

    #[test]
    fn whoever_hears_nothing_is_down_when_the_detection_time_is_over(
        interval in prop::sample::select(vec![10_u32, 50, 100, 1000]),
        multiplier in 1_u8..10,
        busy in 0_u64..500,
        seed in any::<u64>(),
    ) {
        let each = [settings(MS * interval, multiplier), settings(MS * interval, multiplier)];
        let mut network = Network::configured(seed, each);
        network.pass(10 * SECOND);
        prop_assert_eq!(network.states()[0], State::Up);
        let detection = network.status(0).detection;
        network.is_cut[1] = true;
        let woken = network.now + Duration::from_millis(busy);
        network.busy_until[0] = Some(woken);
        let last = network.now;
        network.pass(detection + Duration::from_millis(busy) + SECOND);

        let since = network.status(0).since;
        prop_assert!(network.status(0).state != State::Up);
        prop_assert!(since <= (last + detection + MS).max(woken) + LOOK);
    }
}

fn act(network: &mut Network, step: Step) {
    match step {
        Step::Pass(time) => network.pass(Duration::from_millis(time)),
        Step::Cut(side, is) => network.is_cut[side] = is,
        Step::Loss(part) => network.loss = part,
        Step::Busy(side, time) => {
            network.busy_until[side] = Some(network.now + Duration::from_millis(time));
        }
        Step::Configure(side, interval, multiplier, is_admin_down) => {
            let mut wanted = settings(MS * interval, multiplier);
            wanted.is_admin_down = is_admin_down;
            network.configure(side, Some(wanted));
        }
        Step::Remove(side) => network.configure(side, None),
        Step::Restart(side) => network.restart(side, settings(100 * MS, 3)),
        Step::Inject(side, bytes) => network.inject(side, bytes),
        Step::Forge(side, state, flags) => {
            let Some((_, packet)) = network.sent[1 - side].last().copied() else {
                return;
            };
            let forged = Packet {
                state: State::ALL[usize::from(state % 4)],
                ..packet
            };
            let mut bytes = forged.write(24);
            bytes[1] ^= flags & 0x3a;
            network.inject(side, bytes.to_vec());
        }
    }
}
