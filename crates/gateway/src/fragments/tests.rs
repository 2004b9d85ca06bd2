//! Laws of what is held: bounds, fates, and who displaces whom.

use proptest::prelude::*;

use super::*;

const MILLISECOND: u64 = 1_000_000;

fn key(sender: u32, id: u32) -> FragmentKey<Ip6> {
    let mut source = [0; 16];
    source[12..].copy_from_slice(&sender.to_be_bytes());
    let target = Ip6([9; 16]);
    FragmentKey::new(Ip6(source), target, id.to_be_bytes(), 17)
}

/// An IPv4 frame of so many bytes with a fragment of this offset.
fn frame(offset: u16, bytes: usize) -> Frame {
    let mut frame = vec![0; bytes.max(34)];
    frame[12] = 8;
    frame[20..22].copy_from_slice(&offset.to_be_bytes());
    Frame {
        ingress: 1,
        bytes: frame,
    }
}

fn early(key: FragmentKey<Ip6>, at: u64, frame: Frame) -> Event {
    Event::Early {
        key,
        at,
        frame,
        is_known: false,
    }
}

/// Memory is at its bound, and what is counted is what there is.
fn sound(holder: &Holder) {
    let Tally {
        packets,
        fragments,
        bytes,
        ..
    } = holder.tally();
    assert!(
        packets <= PACKETS_MAX && bytes <= BYTES_MAX,
        "{packets}, {bytes}"
    );
    assert_eq!(packets, holder.packets.len());
    assert_eq!(packets, holder.numbers.len());
    let of_packets = holder.packets.values();
    assert_eq!(
        fragments,
        of_packets.clone().map(|it| it.frames.len()).sum::<usize>()
    );
    assert_eq!(bytes, of_packets.map(|it| it.bytes).sum::<usize>());
    let of_senders = holder.senders.values();
    assert_eq!(
        packets,
        of_senders.clone().map(|it| it.packets.len()).sum::<usize>()
    );
    assert_eq!(bytes, of_senders.clone().map(|it| it.bytes).sum::<usize>());
    for sender in of_senders {
        assert!(sender.packets.len() <= SENDER_PACKETS_MAX);
        assert!(sender.bytes <= SENDER_BYTES_MAX);
    }
}

#[test]
fn fragments_are_let_go_in_order_when_their_first_one_comes() {
    let mut holder = Holder::default();
    for offset in [3, 1, 2] {
        let nothing = holder.handle(early(key(1, 1), 0, frame(offset, 100)), 0);
        assert_eq!(nothing, []);
    }

    let released = holder.handle(Event::First(key(1, 1)), MILLISECOND);

    assert_eq!(released, [1, 2, 3].map(|offset| frame(offset, 100)));
    assert_eq!(
        holder.tally(),
        Tally {
            released: 3,
            ..Tally::default()
        }
    );
    assert_eq!(holder.deadline(), None);
}

/// The first one came while this one was on its way here.
#[test]
fn a_fragment_whose_first_one_is_known_already_goes_on_at_once() {
    let mut holder = Holder::default();
    holder.handle(early(key(1, 1), 0, frame(2, 100)), 0);
    let known = Event::Early {
        key: key(1, 1),
        at: 0,
        frame: frame(1, 100),
        is_known: true,
    };

    let released = holder.handle(known, 0);

    assert_eq!(released, [frame(2, 100), frame(1, 100)]);
    assert_eq!(holder.tally().released, 2);
    sound(&holder);
}

#[test]
fn a_fragment_whose_first_one_does_not_come_in_time_is_given_up() {
    let mut holder = Holder::default();
    holder.handle(early(key(1, 1), 5, frame(1, 100)), 5);
    assert_eq!(holder.deadline(), Some(5 + PATIENCE));

    holder.handle(Event::Tick, 4 + PATIENCE);
    assert_eq!(holder.tally().fragments, 1);
    holder.handle(Event::Tick, 5 + PATIENCE);

    assert_eq!((holder.tally().fragments, holder.tally().expired), (0, 1));
    assert_eq!(holder.handle(Event::First(key(1, 1)), 6 + PATIENCE), []);
}

/// It lay in the ring while no daemon ran.
#[test]
fn a_fragment_from_long_ago_is_not_held() {
    let mut holder = Holder::default();

    holder.handle(early(key(1, 1), 0, frame(1, 100)), PATIENCE);

    assert_eq!((holder.tally().fragments, holder.tally().expired), (0, 1));
}

#[test]
fn a_packet_has_no_more_fragments_than_there_can_be() {
    let mut holder = Holder::default();
    for offset in 0..FRAGMENTS_MAX as u16 + 7 {
        holder.handle(early(key(1, 1), 0, frame(offset, 100)), 0);
    }

    assert_eq!(holder.tally().displaced, 7);
    let released = holder.handle(Event::First(key(1, 1)), 0);
    assert_eq!(released.len(), FRAGMENTS_MAX);
}

#[test]
fn a_sender_that_floods_displaces_its_own_and_nobody_elses() {
    let mut holder = Holder::default();
    holder.handle(early(key(1, 1), 0, frame(1, 1514)), 0);

    for id in 0..100_000 {
        holder.handle(early(key(2, id), 0, frame(1, 1514)), 0);
    }

    sound(&holder);
    assert_eq!(holder.tally().packets, 1 + SENDER_PACKETS_MAX);
    assert_eq!(holder.handle(Event::First(key(1, 1)), 0).len(), 1);
    assert_eq!(holder.handle(Event::First(key(2, 0)), 0), []);
    assert_eq!(holder.handle(Event::First(key(2, 99_999)), 0).len(), 1);
}

/// Who forges addresses displaces what has waited longest.
#[test]
fn a_flood_from_many_senders_leaves_time_to_those_that_are_only_out_of_order() {
    let mut holder = Holder::default();
    for id in 0..100_000_u32 {
        let ours = id % 1000 == 0;
        if ours {
            holder.handle(early(key(1, id), 0, frame(1, 1514)), 0);
        }
        holder.handle(early(key(1000 + id, id), 0, frame(1, 40)), 0);
        // A first one that is a thousand fragments of others late.
        if id % 1000 == 999 {
            let released = holder.handle(Event::First(key(1, id - 999)), 0);
            assert_eq!(released.len(), 1, "{id}");
        }
    }
    sound(&holder);
}

#[derive(Clone, Debug)]
enum Step {
    Early(u32, u32, u16, usize, bool),
    First(u32, u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (sender, id) = (0..6_u32, 0..1500_u32);
    prop_oneof![
        8 => (sender.clone(), id.clone(), 1..70_u16, 34..3072_usize, any::<bool>()).prop_map(
            |(sender, id, offset, bytes, is_known)| {
                Step::Early(sender, id % (1 + sender * 300), offset, bytes, is_known && offset % 8 == 0)
            }
        ),
        2 => (sender, id).prop_map(|(sender, id)| Step::First(sender, id % (1 + sender * 300))),
        1 => (0..PATIENCE).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    /// Whatever comes: memory is at its bound, and every fragment has exactly one fate.
    #[test]
    fn nothing_is_lost_without_being_counted(steps in prop::collection::vec(step(), 0..6000)) {
        let (mut holder, mut now) = (Holder::default(), 1);
        let (mut came, mut left) = (0, 0);
        for step in steps {
            let event = match step {
                Step::Early(sender, id, offset, bytes, is_known) => {
                    came += 1;
                    let (key, frame) = (key(sender, id), frame(offset, bytes));
                    Event::Early { key, at: now, frame, is_known }
                }
                Step::First(sender, id) => Event::First(key(sender, id)),
                Step::Wait(nanos) => {
                    now += nanos / 64;
                    Event::Tick
                }
            };
            left += holder.handle(event, now).len() as u64;
            prop_assert!(holder.deadline().is_none_or(|at| at > now));
        }
        sound(&holder);
        let tally = holder.tally();
        prop_assert_eq!(tally.released, left);
        prop_assert_eq!(came, left + tally.expired + tally.displaced + tally.fragments as u64);
    }
}
