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
    let total = frame.len() as u16 - 14;
    (frame[12], frame[14]) = (8, 0x45);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
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

/// An IPv4 packet behind an Ethernet header.
fn packet(place: u16, options: usize, body: &[u8]) -> Frame {
    let mut bytes = vec![0; 14 + 20 + 4 * options];
    bytes[12] = 8;
    bytes[14] = 0x45 + options as u8;
    let total = (20 + 4 * options + body.len()) as u16;
    bytes[16..18].copy_from_slice(&total.to_be_bytes());
    bytes[20..22].copy_from_slice(&place.to_be_bytes());
    bytes[23] = 6;
    bytes.extend_from_slice(body);
    Frame { ingress: 1, bytes }
}

/// The same of UDP, from somebody to somebody.
fn datagram(place: u16, options: usize, body: &[u8]) -> Frame {
    let mut frame = packet(place, options, body);
    frame.bytes[23] = 17;
    frame.bytes[26..34].copy_from_slice(&[198, 51, 100, 7, 192, 0, 2, 10]);
    frame
}

fn place_of(frame: &Frame) -> (usize, bool) {
    let place = u16::from_be_bytes([frame.bytes[20], frame.bytes[21]]);
    (usize::from(place & 0x1fff) * 8, place & 0x2000 != 0)
}

proptest! {
    /// Whatever is cut comes together again, and every piece of it fits.
    #[test]
    fn the_pieces_of_a_packet_are_the_packet(
        (start, more) in (0..4000_u16, any::<bool>()),
        options in 0..=10_usize,
        body in prop::collection::vec(any::<u8>(), 1360..3000),
        mtu in 1280..1400_u16,
    ) {
        let place = start | if more { 0x2000 } else { 0 };
        let whole = packet(place, options, &body);
        let pieces = Holder::default().handle(Event::TooLong { frame: whole, mtu }, 0);

        prop_assert!(pieces.len() > 1);
        let header = 14 + 20 + 4 * options;
        let mut together = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let (offset, has_more) = place_of(piece);
            prop_assert_eq!(offset, usize::from(start) * 8 + together.len());
            prop_assert_eq!(has_more, more || number + 1 < pieces.len());
            prop_assert!(piece.bytes.len() - header + 48 <= usize::from(mtu));
            let total = u16::from_be_bytes([piece.bytes[16], piece.bytes[17]]);
            prop_assert_eq!(usize::from(total), piece.bytes.len() - 14);
            together.extend_from_slice(&piece.bytes[header..]);
        }
        prop_assert_eq!(together, body);
    }

    /// RFC 6146 §3.4, RFC 7915 §4.5.
    #[test]
    fn a_datagram_without_a_checksum_is_let_go_with_one_when_all_of_it_is_there(
        (data, is_summed) in (prop::collection::vec(any::<u8>(), 16..4000), prop::bool::weighted(0.2)),
        cuts in prop::collection::btree_set(1..500_usize, 1..8),
        order in any::<u64>(),
        twice in prop::option::of(any::<usize>()),
        options in 0..=10_usize,
    ) {
        let mut whole = [&[0x30, 0x39, 0, 53, 0, 0, 0, 0], &data[..]].concat();
        let length = whole.len() as u16;
        whole[4..6].copy_from_slice(&length.to_be_bytes());
        if is_summed {
            whole[6] = 1;
        }
        let mut bounds: Vec<_> = cuts.iter().map(|cut| cut * 8).collect();
        bounds.retain(|cut| *cut < whole.len());
        bounds.push(whole.len());
        let mut begin = 0;
        let mut pieces = Vec::new();
        for end in bounds {
            let more = if end < whole.len() { 0x2000 } else { 0 };
            pieces.push(datagram(more | (begin / 8) as u16, options, &whole[begin..end]));
            begin = end;
        }
        let sent = pieces.clone();
        if let Some(twice) = twice.filter(|_| sent.len() > 1) {
            pieces.push(sent[twice % sent.len()].clone());
        }
        pieces.sort_by_key(|piece| (order ^ place_of(piece).0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));

        let mut holder = Holder::default();
        let mut let_go = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let all = sent.iter().all(|it| pieces[..=number].contains(it));
            let frames = holder.handle(early(key(1, 1), 0, piece.clone()), 0);
            prop_assert!(frames.is_empty() || all, "not before all are there");
            let_go.extend(frames);
            sound(&holder);
        }

        if is_summed {
            prop_assert_eq!(let_go, vec![]);
            return Ok(());
        }
        prop_assert_eq!(let_go.len(), sent.len());
        let header = 34 + 4 * options;
        let body: Vec<u8> = let_go.iter().flat_map(|it| it.bytes[header..].to_vec()).collect();
        prop_assert_eq!(&body[8..], &data[..]);
        let pseudo = [&let_go[0].bytes[26..34], &[0, 17], &length.to_be_bytes(), &body].concat();
        prop_assert_eq!(piece::sum(0, &pseudo), 0xffff);
        let tally = holder.tally();
        prop_assert_eq!(tally.released, sent.len() as u64);
    }

    #[test]
    fn a_datagram_whose_fragments_overlap_is_never_let_go(
        (first, second) in (3..20_usize, 1..20_usize),
        overlap in 1..3_usize,
        order in any::<bool>(),
    ) {
        let begin = datagram(0x2000, 0, &vec![0; first * 8]);
        let end = datagram((first - overlap) as u16, 0, &vec![0; (second + overlap) * 8]);
        let pieces = if order { [begin, end] } else { [end, begin] };
        let mut holder = Holder::default();
        for piece in pieces {
            prop_assert_eq!(holder.handle(early(key(1, 1), 0, piece), 0), vec![]);
        }
        prop_assert_eq!(holder.handle(Event::Tick, PATIENCE), vec![]);
        prop_assert_eq!(holder.tally().expired, 2);
    }

    /// Packets are hostile: nothing panics, and nothing comes of what is broken.
    #[test]
    fn what_is_no_packet_is_not_cut(
        mut bytes in prop::collection::vec(any::<u8>(), 0..2000),
        is_packet in any::<bool>(),
        mtu in any::<u16>(),
    ) {
        if is_packet && bytes.len() > 34 {
            bytes[14] = 0x45;
            let total = (bytes.len() - 14) as u16;
            bytes[16..18].copy_from_slice(&total.to_be_bytes());
        }
        let length = bytes.len();
        let frame = Frame { ingress: 1, bytes };
        for piece in Holder::default().handle(Event::TooLong { frame, mtu }, 0) {
            prop_assert!(piece.bytes.len() < length);
            let (start, _) = place_of(&piece);
            prop_assert!(start <= usize::from(u16::MAX));
        }
    }
}
