//! Who talks to whom, and what becomes of those that do not fit.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use replica::{
    FRAME_MAX, Limits, NAME_MAX, Name, Reason, Receiver, Sender, Settings,
    frame::{Batch, Frame, Hello, Item, Role},
    negotiate, receiver, sender,
};

use super::network::{MS, SECOND, name, settings};

fn speaking(member: &str, peer: &str, versions: RangeInclusive<u16>) -> Settings {
    Settings {
        versions,
        ..settings(member, peer, Limits::default())
    }
}

/// What each side says first of the other: the version or why not.
fn meet(sending: Settings, receiving: Settings) -> [Result<u16, String>; 2] {
    let now = Instant::now();
    let mut sender = Sender::new(sending, 1);
    let mut receiver = Receiver::new(receiving);
    let [hello] = &sender.handle(sender::Event::Connected, now)[..] else {
        panic!("not one hello");
    };
    let sender::Action::Send(hello) = hello else {
        panic!("{hello:?}");
    };
    let [answer] = &receiver.handle(receiver::Event::Connected, now)[..] else {
        panic!("not one hello");
    };
    let receiver::Action::Send(answer) = answer else {
        panic!("{answer:?}");
    };
    let said = sender.handle(sender::Event::Received(answer), now);
    let heard = receiver.handle(receiver::Event::Received(hello), now);
    let of_sender = if let sender::Action::Close(reason) = &said[0] {
        Err(reason.to_string())
    } else {
        Ok(sender.status(now).version.unwrap())
    };
    let of_receiver = if let receiver::Action::Close(reason) = &heard[0] {
        Err(reason.to_string())
    } else {
        Ok(receiver.status().version.unwrap())
    };
    assert_eq!(sender.status(now).is_connected, of_sender.is_ok());
    assert_eq!(sender.status(now).version, of_sender.clone().ok());
    assert_eq!(receiver.status().version, of_receiver.clone().ok());
    [of_sender, of_receiver]
}

#[test]
fn the_highest_version_that_both_know_is_spoken() {
    for (ours, theirs, agreed) in [
        (1..=1, 1..=1, Some(1)),
        (1..=3, 2..=5, Some(3)),
        (2..=5, 1..=3, Some(3)),
        (1..=9, 4..=4, Some(4)),
        (1..=2, 3..=4, None),
        (0..=u16::MAX, u16::MAX..=u16::MAX, Some(u16::MAX)),
    ] {
        assert_eq!(negotiate(&ours, &theirs), agreed);
        let met = meet(speaking("a", "b", ours), speaking("b", "a", theirs));
        assert_eq!(met.map(Result::ok), [agreed; 2]);
    }
}

#[test]
fn two_that_have_no_version_in_common_both_say_so() {
    let met = meet(speaking("a", "b", 1..=2), speaking("b", "a", 3..=4));

    assert_eq!(
        met,
        [
            Err("we speak versions 1..=2 of the protocol and the other side 3..=4".to_owned()),
            Err("we speak versions 3..=4 of the protocol and the other side 1..=2".to_owned()),
        ]
    );
}

#[test]
fn a_member_of_another_cluster_is_left() {
    let mut other = settings("b", "a", Limits::default());
    other.cluster = name("basel");

    let met = meet(settings("a", "b", Limits::default()), other);

    assert_eq!(
        met[0],
        Err(r#"we are of the cluster "zurich" and the other side is of "basel""#.to_owned())
    );
    assert!(met[1].is_err());
}

#[test]
fn another_member_than_expected_is_left() {
    let met = meet(
        settings("a", "b", Limits::default()),
        settings("c", "a", Limits::default()),
    );

    let words = r#"the other side should be "b" and says that it is "c""#;
    assert_eq!(met, [Err(words.to_owned()), Ok(1)]);
}

#[test]
fn records_of_another_format_are_not_exchanged() {
    let mut other = settings("b", "a", Limits::default());
    other.format = 8;

    let met = meet(settings("a", "b", Limits::default()), other);

    let words = |ours, theirs| {
        format!("our records are of format {ours} and those of the other side of {theirs}")
    };
    assert_eq!(met, [Err(words(7, 8)), Err(words(8, 7))]);
}

#[test]
fn a_name_that_is_too_long_is_none() {
    assert!(Name::new(&"n".repeat(NAME_MAX)).is_ok());
    let words = Name::new(&"n".repeat(NAME_MAX + 1))
        .unwrap_err()
        .to_string();
    assert_eq!(words, "a name of 256 bytes, and 255 is the most");
}

fn hello(member: &str, peer: &str, role: Role) -> Vec<u8> {
    let settings = settings(member, peer, Limits::default());
    let hello = Hello {
        versions: settings.versions,
        format: settings.format,
        cluster: settings.cluster,
        member: settings.member,
        role,
    };
    Frame::Hello(hello).write()
}

/// Why a receiver, who knows that the sender is of instance 1, closes when this is said to it.
fn receiver_closes(said: &[Vec<u8>]) -> Reason {
    let now = Instant::now();
    let mut receiver = Receiver::new(settings("b", "a", Limits::default()));
    receiver.handle(receiver::Event::Connected, now);
    let bytes = said.concat();
    let actions = receiver.handle(receiver::Event::Received(&bytes), now);
    match actions.last() {
        Some(receiver::Action::Close(reason)) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

fn sender_closes(said: &[Vec<u8>]) -> Reason {
    let now = Instant::now();
    let mut sender = Sender::new(settings("a", "b", Limits::default()), 1);
    sender.handle(sender::Event::Connected, now);
    let bytes = said.concat();
    let actions = sender.handle(sender::Event::Received(&bytes), now);
    match actions.last() {
        Some(sender::Action::Close(reason)) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

fn batch(first: u64, items: Vec<Item>) -> Vec<u8> {
    Frame::Batch(Batch { first, items }).write()
}

#[test]
fn what_does_not_fit_what_was_said_before_closes_a_receiver() {
    let greeting = hello("a", "b", Role::Sender { instance: 1 });
    let start = || Item::Start([1, 2].into_iter().collect());
    let key = || b"key".to_vec();
    let remove = Item::Remove {
        bucket: 7,
        key: key(),
    };
    let put = Item::Put {
        bucket: 1,
        key: key(),
        value: Vec::new(),
    };
    for (said, words) in [
        (
            vec![Frame::Heartbeat.write()],
            "a frame came that may not come here: there was no hello before it",
        ),
        (
            vec![greeting.clone(), greeting.clone()],
            "a frame came that may not come here: a second hello",
        ),
        (
            vec![greeting.clone(), Frame::Ack(1).write()],
            "a frame came that may not come here: an acknowledgement, to a receiver",
        ),
        (
            vec![hello("a", "b", Role::Receiver { known: None })],
            "both sides are receivers",
        ),
        (
            vec![greeting.clone(), batch(5, vec![Item::Begin(1)])],
            "changes of another start of the sender came without a beginning",
        ),
        (
            vec![
                greeting.clone(),
                batch(5, vec![start()]),
                batch(7, vec![Item::Begin(1)]),
            ],
            "change 7 came where 6 is the next",
        ),
        (
            vec![greeting.clone(), batch(5, vec![start(), put.clone()])],
            "a record of bucket 1 came, which was not begun",
        ),
        (
            vec![
                greeting.clone(),
                batch(5, vec![start(), Item::Begin(6), remove]),
            ],
            "a removal of bucket 7 came, which was not begun",
        ),
        (
            vec![
                greeting.clone(),
                batch(1, vec![start(), Item::Begin(1), Item::Forget(1), put]),
            ],
            "a record of bucket 1 came, which was not begun",
        ),
        (
            vec![greeting.clone(), batch(5, vec![start(), Item::Complete(1)])],
            "the completion of bucket 1 came, which was not begun",
        ),
        (
            vec![greeting.clone(), vec![0, 1, 77]],
            "frame 2, byte 2: a frame of kind 77, which there is not",
        ),
    ] {
        assert_eq!(receiver_closes(&said).to_string(), words);
    }
}

#[test]
fn what_does_not_fit_what_was_said_before_closes_a_sender() {
    let greeting = hello("b", "a", Role::Receiver { known: None });
    for (said, words) in [
        (
            vec![hello("b", "a", Role::Sender { instance: 3 })],
            "both sides are senders",
        ),
        (
            vec![greeting.clone(), batch(5, vec![Item::Begin(1)])],
            "a frame came that may not come here: a batch, to a sender",
        ),
        (
            vec![greeting.clone(), Frame::Ack(9).write()],
            "change 9 was acknowledged, and 0 is the last that was sent",
        ),
        (
            vec![vec![0xff; FRAME_MAX]],
            "frame 1, byte 0: a length of 65535",
        ),
    ] {
        assert_eq!(sender_closes(&said).to_string(), words);
    }
}

#[test]
fn who_does_not_say_who_it_is_in_time_is_left() {
    let begin = Instant::now();
    let silence = Limits::default().silence;
    let mut sender = Sender::new(settings("a", "b", Limits::default()), 1);
    let mut receiver = Receiver::new(settings("b", "a", Limits::default()));
    sender.handle(sender::Event::Connected, begin);
    receiver.handle(receiver::Event::Connected, begin);
    // A part of a hello is none, however lately it came.
    let hello = hello("a", "b", Role::Sender { instance: 1 });
    let late = begin + silence - MS;
    receiver.handle(receiver::Event::Received(&hello[..20]), late);

    assert_eq!(sender.deadline(), Some(begin + silence));
    assert_eq!(receiver.deadline(), Some(begin + silence));
    assert_eq!(sender.handle(sender::Event::Tick, late), []);
    let reason = Reason::NoHello(silence);
    let closed = sender.handle(sender::Event::Tick, begin + silence);
    assert_eq!(closed, [sender::Action::Close(reason.clone())]);
    let closed = receiver.handle(receiver::Event::Tick, begin + silence);
    assert_eq!(closed, [receiver::Action::Close(reason)]);
    assert_eq!(sender.deadline(), None);
    assert_eq!(receiver.deadline(), None);
}

#[test]
fn who_says_nothing_for_too_long_is_left() {
    let begin = Instant::now();
    let mut sender = Sender::new(settings("a", "b", Limits::default()), 1);
    sender.handle(sender::Event::Connected, begin);
    let greeting = hello("b", "a", Role::Receiver { known: None });
    let now = begin + SECOND;
    sender.handle(sender::Event::Received(&greeting), now);
    let heard = now + 2 * SECOND;
    sender.handle(sender::Event::Received(&Frame::Heartbeat.write()), heard);

    let (closed, at) = loop {
        let at = sender.deadline().unwrap();
        let actions = sender.handle(sender::Event::Tick, at);
        if let Some(sender::Action::Close(reason)) = actions.last() {
            break (reason.clone(), at);
        }
        // The transport took whatever was said.
        sender.handle(sender::Event::Room(usize::MAX), at);
    };

    assert_eq!(closed.to_string(), "nothing came for 5s");
    assert_eq!(at, heard + Duration::from_secs(5));
}
