//! Frames as bytes, and bytes as frames.

use proptest::{collection::vec, prelude::*};
use replica::{
    Buckets, FRAME_MAX, KEY_MAX, VALUE_MAX,
    frame::{Batch, Frame, Hello, Item, Malformed, Reader, Role},
};

use super::{any, network::name};

fn buckets() -> impl Strategy<Value = Buckets> {
    vec(any::<u8>(), 0..300).prop_map(|all| all.into_iter().collect())
}

fn item() -> impl Strategy<Value = Item> {
    let key = || vec(any::<u8>(), 0..=KEY_MAX);
    let value = prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..=VALUE_MAX)];
    prop_oneof![
        any::<u8>().prop_map(Item::Begin),
        any::<u8>().prop_map(Item::Complete),
        any::<u8>().prop_map(Item::Gap),
        any::<u8>().prop_map(Item::Forget),
        (any::<u8>(), key(), value).prop_map(|(bucket, key, value)| Item::Put {
            bucket,
            key,
            value
        }),
        (any::<u8>(), key()).prop_map(|(bucket, key)| Item::Remove { bucket, key }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        any::<u64>().prop_map(|instance| Role::Sender { instance }),
        any::<Option<(u64, u64)>>().prop_map(|known| Role::Receiver { known }),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let versions = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| a.min(b)..=a.max(b));
    let hello = (versions, any::<u32>(), ".{0,60}", ".{0,60}", role());
    let batch = (
        1_u64..u64::MAX - 100,
        proptest::option::of(buckets()),
        vec(item(), 1..20),
    );
    prop_oneof![
        hello.prop_map(|(versions, format, cluster, member, role)| {
            Frame::Hello(Hello {
                versions,
                format,
                cluster: name(&cluster),
                member: name(&member),
                role,
            })
        }),
        batch.prop_map(|(first, start, mut items)| {
            items.splice(0..0, start.map(Item::Start));
            Frame::Batch(Batch { first, items })
        }),
        any::<u64>().prop_map(Frame::Ack),
        Just(Frame::Heartbeat),
        any::<[u8; 32]>().prop_map(|bytes| Frame::Ask(Buckets::from_bytes(bytes))),
    ]
}

/// What a reader makes of bytes that come in pieces of these lengths, over and over.
fn read(bytes: &[u8], lengths: &[usize]) -> (Vec<Frame>, Option<Malformed>) {
    let mut reader = Reader::default();
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let (mut piece, behind) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
        rest = behind;
        loop {
            match reader.read(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => return (frames, Some(malformed)),
            }
            assert!(reader.held() <= FRAME_MAX);
        }
    }
    (frames, None)
}

/// Bytes that look like frames: real ones, a few of whose bytes are others, and any bytes.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let frames = vec(frame(), 1..4).prop_map(|all| all.iter().flat_map(Frame::write).collect());
    let wrong = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    prop_oneof![
        3 => (frames, wrong).prop_map(|(mut bytes, wrong): (Vec<u8>, _)| {
            for (place, byte) in wrong {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        }),
        1 => vec(any::<u8>(), 0..300),
        1 => vec(0_u8..6, 0..300),
    ]
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(frames in vec(frame(), 1..4)) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::write).collect();
        prop_assert_eq!(read(&bytes, &[bytes.len()]), (frames, None));
    }

    #[test]
    fn an_item_is_as_long_as_it_says(item in item()) {
        let one = Frame::Batch(Batch { first: 1, items: vec![item.clone()] });
        let two = Frame::Batch(Batch { first: 1, items: vec![item.clone(), item.clone()] });
        prop_assert_eq!(two.write().len() - one.write().len(), item.length());
    }

    #[test]
    fn any_bytes_are_the_same_frames_or_refused_alike_in_whatever_pieces_they_come(
        bytes in nearly(),
        lengths in vec(1_usize..200, 1..5),
    ) {
        let whole = read(&bytes, &[usize::MAX]);
        prop_assert_eq!(&read(&bytes, &lengths), &whole);
        prop_assert_eq!(&read(&bytes, &[1]), &whole);
        let (frames, _) = whole;
        let again: Vec<u8> = frames.iter().flat_map(Frame::write).collect();
        let speaks_more = |frame: &Frame| matches!(frame, Frame::Hello(it) if *it.versions.end() > 1);
        if !frames.iter().any(speaks_more) {
            prop_assert!(bytes.starts_with(&again));
        }
    }

    #[test]
    fn whatever_the_other_side_says_each_machine_answers_or_closes(
        first in any::<u8>(),
        said in nearly(),
        lengths in vec(1_u8..255, 1..6),
    ) {
        let mut bytes = vec![first];
        let mut rest = &said[..];
        for length in lengths.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(usize::from(*length)));
            bytes.push(u8::try_from(piece.len()).unwrap());
            bytes.extend(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        any::hear(&bytes);
    }

    #[test]
    fn a_set_of_buckets_is_what_was_put_in(all in vec(any::<u8>(), 0..300), other in buckets()) {
        let set: Buckets = all.iter().copied().collect();
        for bucket in 0..=u8::MAX {
            prop_assert_eq!(set.contains(bucket), all.contains(&bucket));
            let is_in = [set, other].map(|it| it.contains(bucket));
            prop_assert_eq!(set.without(&other).contains(bucket), is_in == [true, false]);
            prop_assert_eq!(set.and(&other).contains(bucket), is_in == [true, true]);
        }
        prop_assert_eq!(usize::try_from(set.len()).unwrap(), set.iter().count());
        prop_assert_eq!(Buckets::from_bytes(set.to_bytes()), set);
        let mut gone = set;
        all.iter().for_each(|bucket| gone.remove(*bucket));
        prop_assert!(gone.is_empty());
    }
}

#[test]
fn a_set_of_buckets_is_told_by_its_ranges() {
    let set: Buckets = [0, 1, 2, 9, 254, 255].into_iter().collect();

    assert_eq!(format!("{set:?}"), "{0..=2, 9, 254..=255}");
    assert_eq!(
        format!("{:?} {:?}", Buckets::NONE, Buckets::ALL),
        "{} {0..=255}"
    );
}

/// Bytes of a batch whose first number is 1.
fn batch(items: &[u8]) -> Vec<u8> {
    let length = u16::try_from(1 + 8 + items.len()).unwrap();
    [&length.to_be_bytes()[..], &[2], &1_u64.to_be_bytes(), items].concat()
}

#[track_caller]
fn refused(bytes: &[u8], words: &str) {
    for length in [1, usize::MAX] {
        let (frames, malformed) = read(bytes, &[length]);
        assert_eq!(frames, []);
        assert_eq!(malformed.unwrap().to_string(), words);
    }
}

#[test]
fn what_is_refused_is_said_with_its_place() {
    refused(&[0, 0], "frame 1, byte 0: a length of 0");
    refused(&[0xff, 0xff], "frame 1, byte 0: a length of 65535");
    refused(
        &[0, 1, 9],
        "frame 1, byte 2: a frame of kind 9, which there is not",
    );
    refused(&[0, 2, 4], "frame 1 (heartbeat), byte 0: a length of 2");
    refused(&[0, 10, 3], "frame 1 (ack), byte 0: a length of 10");
    refused(
        &[0, 3, 3, 0, 0],
        "frame 1 (ack), byte 3: it ends where 6 more bytes should be",
    );
    refused(
        b"\0\x05\x01HTTP",
        "frame 1 (hello), byte 3: this is not the protocol of replication",
    );
    refused(
        b"\0\x09\x01EGRR\0\x05\0\x04",
        "frame 1 (hello), byte 7: versions from 5 to 4",
    );
    refused(
        &batch(&[]),
        "frame 1 (batch), byte 11: a batch without an item",
    );
    refused(
        &batch(&[9]),
        "frame 1 (batch), byte 11: an item of kind 9, which there is not",
    );
    refused(
        &batch(&[1]),
        "frame 1 (batch), byte 12: it ends where 1 more bytes should be",
    );
    refused(
        &batch(&[5, 0, 65]),
        "frame 1 (batch), byte 13: a key of 65 bytes, and 64 is the most",
    );
    refused(
        &batch(&[4, 0, 0, 2, 1]),
        "frame 1 (batch), byte 14: a value of 513 bytes, and 512 is the most",
    );
    refused(
        &batch(&[&[1, 0, 0][..], &[0; 32]].concat()),
        "frame 1 (batch), byte 13: a start that is not the first item",
    );
    let mut none = batch(&[1, 0]);
    none[3..11].fill(0);
    refused(&none, "frame 1 (batch), byte 3: a number 0");
    none[3..11].fill(0xff);
    refused(
        &none,
        "frame 1 (batch), byte 3: a number 18446744073709551615",
    );
}

#[test]
fn the_frame_that_is_wrong_is_counted_on_its_connection() {
    let mut bytes = Frame::Heartbeat.write().repeat(7);
    bytes.extend([0, 1, 0]);

    let (frames, malformed) = read(&bytes, &[2]);

    assert_eq!(frames, vec![Frame::Heartbeat; 7]);
    assert_eq!(
        malformed.unwrap().to_string(),
        "frame 8, byte 2: a frame of kind 0, which there is not"
    );
}

#[test]
fn a_hello_of_a_later_version_may_say_more_than_we_know() {
    let hello = |highest: u16| {
        let hello = Hello {
            versions: 1..=highest,
            format: 1,
            cluster: name("zurich"),
            member: name("a"),
            role: Role::Receiver { known: None },
        };
        let mut bytes = Frame::Hello(hello).write();
        bytes.extend(b"more");
        bytes[1] += 4;
        bytes
    };

    assert_eq!(read(&hello(2), &[1]).0.len(), 1);
    refused(
        &hello(1),
        "frame 1 (hello), byte 25: 4 bytes behind its end",
    );
}
