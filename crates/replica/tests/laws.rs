//! Laws: whatever happens in whatever order, they hold.

use std::time::Duration;

use proptest::prelude::*;
use replica::{Buckets, FRAME_MAX, Importance, Limits, Reason};

use super::network::{MS, Network};

const BUCKETS: [u8; 5] = [0, 1, 63, 64, 255];

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Cut(usize),
    Connect,
    Stall(bool),
    Capacity(usize),
    Put(usize, u8, usize, bool),
    Remove(usize, u8),
    /// It comes, and goes at once or after a while.
    Flap(usize, u8, u64),
    Burst(usize, u64),
    Assign(u8),
    RestartSender,
    RestartReceiver(bool),
    Lateness(u64),
    Lazy(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop::sample::select(vec![0_usize, 3, 40, 512, 513]);
    prop_oneof![
        6 => (0_u64..50).prop_map(Step::Pass),
        1 => (0_u64..8000).prop_map(Step::Pass),
        2 => (0_usize..3000).prop_map(Step::Cut),
        4 => Just(Step::Connect),
        1 => any::<bool>().prop_map(Step::Stall),
        1 => prop::sample::select(vec![1_usize, 200, 5000, 1 << 20]).prop_map(Step::Capacity),
        6 => (0_usize..5, 0_u8..6, length(), any::<bool>())
            .prop_map(|(bucket, key, length, opens)| Step::Put(bucket, key, length, opens)),
        4 => (0_usize..5, 0_u8..6).prop_map(|(bucket, key)| Step::Remove(bucket, key)),
        3 => (0_usize..5, 0_u8..40, 0_u64..6).prop_map(|(bucket, key, time)| Step::Flap(bucket, key, time)),
        2 => (1_usize..150, any::<u64>()).prop_map(|(count, seed)| Step::Burst(count, seed)),
        2 => (0_u8..32).prop_map(Step::Assign),
        1 => Just(Step::RestartSender),
        1 => any::<bool>().prop_map(Step::RestartReceiver),
        1 => (0_u64..40).prop_map(Step::Lateness),
        1 => any::<bool>().prop_map(Step::Lazy),
    ]
}

/// So small that everything runs full.
fn narrow() -> impl Strategy<Value = Limits> {
    let queue = prop::sample::select(vec![1_usize, 12, 100]);
    let snapshot = prop::sample::select(vec![1_usize, 8, 50]);
    let acknowledge_count = prop::sample::select(vec![1_u64, 7, 256]);
    let each = (queue, snapshot, 1_u32..4, acknowledge_count);
    each.prop_map(|(queue, snapshot, reading, acknowledge_count)| Limits {
        queue,
        window: FRAME_MAX,
        transport: FRAME_MAX,
        snapshot,
        reading,
        acknowledge_count,
        ..Limits::default()
    })
}

fn buckets(bits: u8) -> Buckets {
    let each = BUCKETS.into_iter().enumerate();
    each.filter(|(place, _)| bits >> place & 1 == 1)
        .map(|(_, bucket)| bucket)
        .collect()
}

fn put(network: &mut Network, bucket: usize, key: u8, length: usize, opens: bool) {
    let mut value = vec![key; length];
    let mark = network.random().to_be_bytes();
    value
        .iter_mut()
        .zip(mark.iter().rev())
        .for_each(|(to, from)| *to = *from);
    let importance = match opens {
        true => Importance::Opening,
        false => Importance::Established,
    };
    network.put(
        (BUCKETS[bucket], vec![key; usize::from(key)]),
        value,
        importance,
    );
}

fn act(network: &mut Network, step: Step) {
    match step {
        Step::Pass(time) => network.pass(MS * u32::try_from(time).unwrap()),
        Step::Cut(bytes) => network.cut(bytes),
        Step::Connect => network.connect(),
        Step::Stall(is) => network.is_stalled = is,
        Step::Capacity(bytes) => network.capacity = bytes,
        Step::Put(bucket, key, length, opens) => put(network, bucket, key, length, opens),
        Step::Remove(bucket, key) => {
            network.remove((BUCKETS[bucket], vec![key; usize::from(key)]));
        }
        Step::Flap(bucket, key, time) => {
            put(network, bucket, key, 3, false);
            network.pass(MS * u32::try_from(time).unwrap());
            network.remove((BUCKETS[bucket], vec![key; usize::from(key)]));
        }
        Step::Burst(count, seed) => {
            let mut draw = seed;
            for number in 0..count {
                if seed % 2 == 1 && number % 16 == 15 {
                    network.pass(6 * MS);
                }
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let [a, b, c, d, ..] = draw.to_be_bytes();
                let (bucket, key) = (usize::from(a) % 5, b % 40);
                match c % 3 {
                    0 => network.remove((BUCKETS[bucket], vec![key; usize::from(key)])),
                    1 => put(network, bucket, key, usize::from(d) * 2, false),
                    _ => put(network, bucket, key, usize::from(d), true),
                }
            }
        }
        Step::Assign(bits) => network.assign(buckets(bits)),
        Step::RestartSender => network.restart_sender(),
        Step::RestartReceiver(keeps_table) => network.restart_receiver(keeps_table),
        Step::Lateness(time) => network.lateness = Duration::from_millis(time),
        Step::Lazy(is) => network.is_lazy = is,
    }
}

/// A stalled connection is given up; nothing else may be a reason.
fn check_reasons(network: &Network) {
    for reason in &network.closed {
        let is_silence = matches!(reason, Reason::Silence(_) | Reason::NoHello(_));
        assert!(is_silence, "{reason}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_copy_is_the_table_once_it_is_quiet(
        steps in prop::collection::vec(step(), 1..80),
        limits in narrow(),
        seed in any::<u64>(),
    ) {
        let mut network = Network::new(seed, limits);
        network.assign(buckets(0b111));
        network.connect();
        for step in steps {
            act(&mut network, step);
        }
        network.calm();

        check_reasons(&network);
        network.check_equal();
        prop_assert!(network.is_connected);
    }
}
