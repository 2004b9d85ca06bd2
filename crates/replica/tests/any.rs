//! Any bytes, as what the other side of a stream says.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use replica::{
    Buckets, Change, FRAME_MAX, Importance, Limits, Name, Receiver, Record, Sender, Settings,
    VERSIONS, What,
    frame::{Frame, Hello, Reader, Role},
    receiver, sender,
};

const INSTANCE: u64 = 9;

fn settings(member: &str, peer: &str, versions: RangeInclusive<u16>) -> Settings {
    Settings {
        cluster: Name::new("c").unwrap(),
        member: Name::new(member).unwrap(),
        peer: Name::new(peer).unwrap(),
        format: 1,
        versions,
        limits: Limits::default(),
    }
}

fn hello(role: Role) -> Vec<u8> {
    let settings = settings("b", "a", VERSIONS);
    let hello = Hello {
        versions: settings.versions,
        format: settings.format,
        cluster: settings.cluster,
        member: settings.member,
        role,
    };
    Frame::Hello(hello).write()
}

/// Bytes to a sender and to a receiver, in pieces: a byte that says how long the piece is, and the piece. Even
/// first bytes stand for a side that has said who it is. Nothing that is said makes either side do more than
/// answer with frames, ask, apply or close.
pub fn hear(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let is_greeted = first % 2 == 0;
    to_receiver(is_greeted, rest);
    to_sender(is_greeted, rest);
}

fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        Some(piece)
    })
}

fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    let mut reader = Reader::default();
    while reader.read(&mut rest).unwrap().is_some() {}
    assert_eq!(reader.held(), 0, "half a frame was sent");
}

fn to_receiver(is_greeted: bool, bytes: &[u8]) {
    let mut now = Instant::now();
    let mut receiver = Receiver::new(settings("a", "b", VERSIONS));
    receiver.handle(receiver::Event::Connected, now);
    let hello = hello(Role::Sender { instance: INSTANCE });
    if is_greeted {
        receiver.handle(receiver::Event::Received(&hello), now);
    }
    let mut begun = Buckets::NONE;
    let mut is_closed = false;
    for piece in pieces(bytes) {
        now += Duration::from_millis(10);
        let mut actions = receiver.handle(receiver::Event::Received(piece), now);
        actions.extend(receiver.handle(receiver::Event::Tick, now));
        for action in actions {
            assert!(!is_closed, "{action:?} after it was closed");
            match action {
                receiver::Action::Put { bucket, .. } => assert!(begun.contains(bucket)),
                receiver::Action::Remove { bucket, .. } => assert!(begun.contains(bucket)),
                receiver::Action::Begin(bucket) => begun.insert(bucket),
                receiver::Action::Complete(bucket) => assert!(begun.contains(bucket)),
                receiver::Action::Forget(bucket) | receiver::Action::Abandon(bucket) => {
                    begun.remove(bucket);
                }
                receiver::Action::Send(bytes) => frames(&bytes),
                receiver::Action::Close(reason) => {
                    is_closed = true;
                    assert!(!reason.to_string().is_empty());
                }
                receiver::Action::Say(_) => {}
            }
        }
        let status = receiver.status();
        assert!(status.complete.without(&status.begun).is_empty());
        assert_eq!(status.is_connected, !is_closed);
    }
}

fn to_sender(is_greeted: bool, bytes: &[u8]) {
    let mut now = Instant::now();
    let mut sender = Sender::new(settings("a", "b", VERSIONS), INSTANCE);
    sender.handle(sender::Event::Assign([1, 2].into_iter().collect()), now);
    sender.handle(sender::Event::Connected, now);
    let mut waiting = Vec::new();
    if is_greeted {
        let hello = hello(Role::Receiver { known: None });
        waiting = sender.handle(sender::Event::Received(&hello), now);
    }
    let mut is_closed = false;
    for piece in pieces(bytes) {
        now += Duration::from_millis(10);
        let mut actions = std::mem::take(&mut waiting);
        actions.extend(sender.handle(sender::Event::Received(piece), now));
        actions.extend(sender.handle(sender::Event::Tick, now));
        for action in actions {
            match action {
                sender::Action::Send(bytes) => {
                    assert!(!is_closed);
                    assert!(bytes.len() <= FRAME_MAX);
                    frames(&bytes);
                    waiting.extend(sender.handle(sender::Event::Room(bytes.len()), now));
                }
                sender::Action::Need { bucket, request } => {
                    let key = piece.iter().copied().take(64).collect();
                    let value = vec![0; 10];
                    waiting.extend(sender.handle(
                        sender::Event::Snapshot {
                            bucket,
                            request,
                            records: vec![Record { key, value }],
                            is_last: true,
                        },
                        now,
                    ));
                }
                sender::Action::Close(reason) => {
                    is_closed = true;
                    assert!(!reason.to_string().is_empty());
                }
                sender::Action::Say(_) => {}
            }
        }
        let change = Change {
            bucket: 1,
            key: piece.iter().copied().take(64).collect(),
            what: What::Put {
                value: piece.to_vec(),
                importance: Importance::Established,
                is_new: false,
            },
        };
        waiting.extend(sender.handle(sender::Event::Changed(change), now));
        let status = sender.status(now);
        assert!(status.acknowledged <= status.sent);
    }
}
