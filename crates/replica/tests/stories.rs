//! A stream's life, from both sides.

use std::{collections::VecDeque, time::Instant};

use replica::{
    Buckets, Change, FRAME_MAX, Importance, KEY_MAX, Limits, Receiver, Record, Sender, VALUE_MAX,
    What,
    frame::{Batch, Frame, Hello, Item, Reader, Role},
    receiver, sender,
};

use super::network::{MS, Network, SECOND, settings};

const OPENING: Importance = Importance::Opening;
const ESTABLISHED: Importance = Importance::Established;

fn key(number: u16) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// A connection's items that are records, put or removed.
fn records(network: &Network) -> usize {
    let is_record = |item: &&Item| matches!(item, Item::Put { .. } | Item::Remove { .. });
    network.items.iter().filter(is_record).count()
}

fn begun(network: &Network) -> usize {
    let is_begin = |item: &&Item| matches!(item, Item::Begin(_));
    network.items.iter().filter(is_begin).count()
}

#[test]
fn what_is_there_and_what_changes_reaches_the_copy() {
    let mut network = Network::new(1, Limits::default());
    for number in 0..1000_u16 {
        network.put(
            (number.to_be_bytes()[1], key(number)),
            key(number),
            ESTABLISHED,
        );
    }
    network.assign(Buckets::ALL);
    network.connect();
    network.pass(SECOND);
    network.check_equal();

    network.put((3, key(3)), b"other".to_vec(), ESTABLISHED);
    network.remove((4, key(4)));
    network.put((5, key(5000)), b"new".to_vec(), OPENING);
    network.pass(100 * MS);

    network.check_equal();
    assert_eq!(network.sender.status(network.now).snapshots_done, 256);
}

#[test]
fn a_stream_that_broke_sends_only_what_is_missing() {
    let mut network = Network::up(2, Limits::default(), &[1, 2, 3]);
    for number in 0..500 {
        network.put((1, key(number)), vec![7; 100], ESTABLISHED);
    }
    network.pass(SECOND);
    let before = network.applied;
    assert_eq!(before, [500, 0]);
    // Of the next ones some arrive, and no acknowledgement comes back.
    network.delay = 300 * MS;
    for number in 500..900 {
        network.put((1, key(number)), vec![7; 100], ESTABLISHED);
    }
    network.pass(10 * MS);
    network.cut(20_000);
    let arrived = usize::try_from(network.applied[0] - before[0]).unwrap();
    assert!((100..300).contains(&arrived), "{arrived}");
    // While there is no connection, too, things change.
    network.put((2, key(1)), vec![8], OPENING);
    network.remove((1, key(7)));
    network.delay = MS;
    network.connect();
    network.pass(SECOND);

    assert_eq!(records(&network), 400 - arrived + 2);
    assert_eq!(begun(&network), 0);
    assert_eq!(network.applied, [901, 1]);
    network.check_equal();
}

#[test]
fn a_snapshot_that_broke_goes_on_where_it_was() {
    let mut network = Network::new(3, Limits::default());
    for number in 0..600 {
        network.put((9, key(number)), vec![7; 100], ESTABLISHED);
    }
    network.assign([9].into_iter().collect());
    network.delay = 100 * MS;
    network.connect();
    network.pass(105 * MS);
    network.cut(30_000);
    let arrived = usize::try_from(network.applied[0]).unwrap();
    assert!((100..400).contains(&arrived), "{arrived}");
    network.connect();
    network.pass(2 * SECOND);

    assert_eq!(records(&network), 600 - arrived);
    network.check_equal();
}

#[test]
fn a_receiver_that_began_anew_gets_everything_and_keeps_nothing_else() {
    for keeps_table in [true, false] {
        let mut network = Network::up(4, Limits::default(), &[1, 2]);
        for number in 0..50 {
            network.put((1, key(number)), vec![1], ESTABLISHED);
            network.put((2, key(number)), vec![2], ESTABLISHED);
        }
        network.pass(SECOND);
        network.restart_receiver(keeps_table);
        network.remove((1, key(7)));
        network.assign([1].into_iter().collect());
        network.connect();
        network.pass(SECOND);

        assert_eq!(records(&network), 49);
        network.check_equal();
    }
}

#[test]
fn a_sender_that_began_anew_sends_everything() {
    let mut network = Network::up(5, Limits::default(), &[1]);
    for number in 0..50 {
        network.put((1, key(number)), vec![1], ESTABLISHED);
    }
    network.pass(SECOND);
    network.restart_sender();
    network.remove((1, key(7)));
    // Nothing goes before its successor came whole: the sender may have died for good.
    assert_eq!(network.copy().len(), 50);
    network.connect();
    network.pass(SECOND);

    assert_eq!(records(&network), 49);
    network.check_equal();
}

#[test]
fn a_bucket_that_is_no_longer_assigned_is_forgotten_at_once_or_when_there_is_a_connection() {
    for is_cut in [false, true] {
        let mut network = Network::up(6, Limits::default(), &[1, 2]);
        network.put((1, key(1)), vec![1], ESTABLISHED);
        network.put((2, key(2)), vec![2], ESTABLISHED);
        network.pass(SECOND);
        if is_cut {
            network.cut(0);
        }
        network.assign([2].into_iter().collect());
        network.connect();
        network.pass(50 * MS);

        network.check_equal();
        assert_eq!(network.copy().len(), 1);
        network.assign([1, 2].into_iter().collect());
        network.pass(50 * MS);
        network.check_equal();
        assert_eq!(network.copy().len(), 2);
    }
}

#[test]
fn a_bucket_that_was_assigned_and_did_not_begin_to_come_is_forgotten_too() {
    let limits = Limits {
        reading: 1,
        ..Limits::default()
    };
    let mut network = Network::up(9, limits, &[1, 2]);
    network.put((2, key(2)), vec![2], ESTABLISHED);
    network.pass(SECOND);
    network.restart_sender();
    network.is_lazy = true;
    network.connect();
    network.pass(50 * MS);
    assert_eq!(network.copy().len(), 1);
    network.assign([1].into_iter().collect());
    network.pass(50 * MS);

    assert_eq!(network.copy().len(), 0);
    network.calm();
    network.check_equal();
}

#[test]
fn what_the_receiver_did_not_take_comes_anew_when_it_asks() {
    let mut network = Network::up(2, Limits::default(), &[1, 2]);
    for number in 0..300 {
        network.put((1, key(number)), vec![7], ESTABLISHED);
        network.put((2, key(number)), vec![7], ESTABLISHED);
    }
    network.pass(SECOND);

    network.doubt(1);
    network.pass(SECOND);
    network.check_equal();
    let done = network.sender.status(network.now).snapshots_done;
    assert_eq!(done, 3, "two, and one of them again");

    // One that is asked for while there is no connection comes when there is one.
    network.cut(0);
    network.doubt(2);
    network.connect();
    network.pass(SECOND);
    network.check_equal();
}

#[test]
fn a_quiet_stream_stays() {
    let mut network = Network::up(7, Limits::default(), &[1]);
    let before = network.bytes;
    network.pass(3600 * SECOND);

    assert!(network.is_connected);
    assert_eq!(network.closed, []);
    // Three bytes a second.
    assert!(network.bytes - before <= 3 * 3600);
}

/// A sender whose receiver has agreed, its Start taken, at a time.
struct Lone {
    sender: Sender,
    now: Instant,
    items: Vec<Vec<Item>>,
    needs: Vec<(u8, u64)>,
    said: Vec<sender::Happening>,
    /// The transport takes nothing.
    is_stuck: bool,
}

impl Lone {
    fn new(limits: Limits, buckets: &[u8]) -> Self {
        let mut lone = Self {
            sender: Sender::new(settings("a", "b", limits), 1),
            now: Instant::now(),
            items: Vec::new(),
            needs: Vec::new(),
            said: Vec::new(),
            is_stuck: false,
        };
        lone.tell(sender::Event::Assign(buckets.iter().copied().collect()));
        lone.connect(None);
        lone
    }

    fn connect(&mut self, known: Option<(u64, u64)>) {
        let theirs = settings("b", "a", Limits::default());
        let hello = Hello {
            versions: theirs.versions,
            format: theirs.format,
            cluster: theirs.cluster,
            member: theirs.member,
            role: Role::Receiver { known },
        };
        self.tell(sender::Event::Connected);
        self.tell(sender::Event::Received(&Frame::Hello(hello).write()));
    }

    fn tell(&mut self, event: sender::Event<'_>) {
        let mut actions: VecDeque<sender::Action> = self.sender.handle(event, self.now).into();
        while let Some(action) = actions.pop_front() {
            match action {
                sender::Action::Send(bytes) => {
                    let frame = Reader::default().read(&mut &bytes[..]).unwrap().unwrap();
                    if let Frame::Batch(Batch { items, .. }) = frame {
                        self.items.push(items);
                    }
                    if !self.is_stuck {
                        let room = sender::Event::Room(bytes.len());
                        actions.extend(self.sender.handle(room, self.now));
                    }
                }
                sender::Action::Need { bucket, request } => self.needs.push((bucket, request)),
                sender::Action::Close(reason) => panic!("{reason}"),
                sender::Action::Say(happening) => self.said.push(happening),
            }
        }
    }

    fn put(&mut self, bucket: u8, number: u16, value: u8, is_new: bool) {
        let what = What::Put {
            value: vec![value],
            importance: ESTABLISHED,
            is_new,
        };
        let key = key(number);
        self.tell(sender::Event::Changed(Change { bucket, key, what }));
    }

    fn remove(&mut self, bucket: u8, number: u16) {
        let (key, what) = (key(number), What::Remove);
        self.tell(sender::Event::Changed(Change { bucket, key, what }));
    }

    /// Answers what was asked for, a number for each record.
    fn answer(&mut self, need: (u8, u64), numbers: &[u16], is_last: bool) {
        let records = numbers.iter().map(|number| Record {
            key: key(*number),
            value: vec![0],
        });
        self.tell(sender::Event::Snapshot {
            bucket: need.0,
            request: need.1,
            records: records.collect(),
            is_last,
        });
    }

    fn answer_all(&mut self) {
        for need in std::mem::take(&mut self.needs) {
            self.answer(need, &[], true);
        }
    }

    fn tick(&mut self) {
        self.now = self.sender.deadline().unwrap();
        self.tell(sender::Event::Tick);
    }

    fn taken(&mut self) -> Vec<Vec<Item>> {
        std::mem::take(&mut self.items)
    }
}

fn item(bucket: u8, number: u16, value: u8) -> Item {
    Item::Put {
        bucket,
        key: key(number),
        value: vec![value],
    }
}

fn gone(bucket: u8, number: u16) -> Item {
    Item::Remove {
        bucket,
        key: key(number),
    }
}

#[test]
fn changes_go_together_after_the_delay_and_of_a_key_the_latest() {
    let mut lone = Lone::new(Limits::default(), &[1, 2]);
    lone.answer_all();
    lone.taken();
    let begin = lone.now;
    lone.put(1, 10, 1, false);
    lone.now += MS;
    lone.put(2, 20, 1, false);
    lone.put(1, 10, 2, false);
    lone.put(1, 11, 1, false);
    lone.remove(1, 11);
    assert_eq!(lone.items.len(), 0);
    assert_eq!(
        lone.sender.deadline(),
        Some(begin + Limits::default().delay)
    );
    let status = lone.sender.status(lone.now);
    assert_eq!((status.queued, status.lag.age), (3, MS));
    lone.tick();

    assert_eq!(
        lone.taken(),
        [[item(1, 10, 2), item(2, 20, 1), gone(1, 11)]]
    );
}

#[test]
fn a_full_frame_does_not_wait() {
    let mut lone = Lone::new(Limits::default(), &[1]);
    lone.answer_all();
    lone.taken();
    for number in 0..3000 {
        lone.put(1, number, 1, false);
    }

    assert_eq!(lone.items.len(), 1);
    assert!(lone.items[0].len() > 1900, "{}", lone.items[0].len());
}

#[test]
fn what_came_and_went_before_it_was_sent_is_not_sent_unless_the_receiver_may_have_it() {
    let mut lone = Lone::new(Limits::default(), &[1]);
    lone.answer_all();
    lone.taken();

    lone.put(1, 10, 1, true);
    lone.put(1, 10, 2, false);
    lone.remove(1, 10);
    assert_eq!(lone.sender.status(lone.now).queued, 0);
    assert!(lone.sender.deadline().unwrap() > lone.now + Limits::default().delay);

    lone.put(1, 11, 1, true);
    lone.tick();
    lone.remove(1, 11);
    lone.put(1, 11, 2, true);
    lone.remove(1, 11);
    lone.tick();
    assert_eq!(lone.taken(), [[item(1, 11, 1)], [gone(1, 11)]]);
}

#[test]
fn a_change_that_comes_while_its_bucket_is_read_is_sent_behind_the_snapshot() {
    let mut lone = Lone::new(Limits::default(), &[1, 2]);
    let [first, second] = lone.needs[..] else {
        panic!("{:?}", lone.needs);
    };
    lone.answer(second, &[], true);
    lone.taken();
    lone.answer(first, &[10, 11], false);
    // What was read of 12 is older than this.
    lone.put(1, 12, 7, true);
    lone.remove(1, 10);
    lone.put(1, 13, 7, true);
    lone.remove(1, 13);
    lone.put(2, 20, 7, true);
    lone.tick();
    lone.answer(first, &[12], true);
    lone.tick();

    let (begins, rest) = (lone.taken(), [item(1, 12, 7), gone(1, 10), gone(1, 13)]);
    let all: Vec<Item> = begins.into_iter().flatten().collect();
    let snapshot = [
        item(1, 10, 0),
        item(1, 11, 0),
        item(2, 20, 7),
        item(1, 12, 0),
    ];
    let wanted = [&snapshot[..], &[Item::Complete(1)], &rest].concat();
    assert_eq!(all, wanted);
}

/// A sender whose transport takes nothing any more; the last frame was of bucket 2's snapshot, and more of it
/// waits. What was asked for of bucket 1 stands behind that.
fn stuck() -> (Lone, (u8, u64)) {
    let limits = Limits {
        transport: FRAME_MAX,
        ..Limits::default()
    };
    let mut lone = Lone::new(limits, &[1, 2]);
    let [first, second] = lone.needs[..] else {
        panic!("{:?}", lone.needs);
    };
    lone.is_stuck = true;
    let numbers: Vec<u16> = (0..3000).collect();
    lone.answer(second, &numbers, true);
    lone.taken();
    (lone, first)
}

/// What is sent of bucket 1 when the transport takes everything.
fn freed(mut lone: Lone) -> Vec<Item> {
    assert_eq!(lone.items.len(), 0);
    lone.is_stuck = false;
    lone.tell(sender::Event::Room(usize::MAX));
    let sent = lone.taken().concat().into_iter();
    sent.filter(|item| item.bucket() == Some(1)).collect()
}

#[test]
fn a_change_that_comes_while_a_snapshot_waits_to_be_sent_is_sent_behind_it() {
    let (mut lone, need) = stuck();
    lone.answer(need, &[10, 11], true);
    lone.put(1, 10, 7, false);
    lone.now += Limits::default().delay;

    let snapshot = [item(1, 10, 0), item(1, 11, 0), Item::Complete(1)];
    assert_eq!(freed(lone), [&snapshot[..], &[item(1, 10, 7)]].concat());
}

#[test]
fn nothing_is_sent_of_a_snapshot_whose_bucket_was_taken_away() {
    let (mut lone, need) = stuck();
    lone.answer(need, &[10, 11], true);
    lone.tell(sender::Event::Assign([2].into_iter().collect()));

    assert_eq!(freed(lone), [Item::Forget(1)]);
}

#[test]
fn a_bucket_that_is_being_read_is_not_asked_for_again_to_mend_it() {
    let limits = Limits {
        queue: 2,
        ..Limits::default()
    };
    let mut lone = Lone::new(limits, &[1, 2]);
    let second = lone.needs[1];
    lone.answer(second, &[], true);
    lone.put(1, 10, 1, true);
    lone.put(2, 20, 1, true);
    lone.put(1, 11, 1, true);
    assert_eq!(lone.sender.status(lone.now).skipped, 1);
    lone.tick();

    assert_eq!(lone.sender.status(lone.now).queued, 1);
    assert_eq!(lone.needs.len(), 2);
}

#[test]
fn an_answer_to_what_is_no_longer_asked_for_is_not_taken() {
    let mut lone = Lone::new(Limits::default(), &[1]);
    let old = lone.needs[0];
    lone.answer(old, &[10], false);
    lone.tell(sender::Event::Assign(Buckets::NONE));
    lone.tell(sender::Event::Assign([1].into_iter().collect()));
    let new = lone.needs[1];
    lone.taken();
    lone.answer(old, &[11], true);
    assert_eq!(lone.taken(), Vec::<Vec<Item>>::new());
    lone.answer(new, &[12], true);

    assert_eq!(lone.taken(), [[item(1, 12, 0), Item::Complete(1)]]);
}

#[test]
fn what_is_left_out_while_its_bucket_is_read_is_told_behind_the_snapshot_and_mended() {
    let limits = Limits {
        queue: 1,
        ..Limits::default()
    };
    let mut lone = Lone::new(limits, &[1]);
    lone.taken();
    lone.put(1, 10, 1, true);
    lone.put(1, 11, 1, true);
    assert_eq!(lone.sender.status(lone.now).skipped, 1);
    let first = lone.needs[0];
    lone.answer(first, &[10], true);

    let whole = [Item::Begin(1), item(1, 10, 0), Item::Complete(1)];
    assert_eq!(
        lone.taken().concat(),
        [&whole[1..], &[Item::Gap(1)]].concat()
    );
    // It is mended once the change that waits is sent.
    assert_eq!(lone.needs.len(), 1);
    lone.tick();
    let second = lone.needs[1];
    lone.answer(second, &[10], true);
    assert_eq!(
        lone.taken().concat(),
        [&[item(1, 11, 1)], &whole[..]].concat()
    );
    assert_eq!(lone.sender.status(lone.now).snapshots_to_do, 0);
}

#[test]
fn a_snapshot_that_comes_faster_than_it_may_is_asked_for_again() {
    let limits = Limits {
        snapshot: 3,
        ..Limits::default()
    };
    let mut lone = Lone::new(limits, &[1]);
    assert_eq!(lone.sender.room(), 3);
    lone.taken();
    let first = lone.needs[0];
    lone.answer(first, &[1, 2, 3, 4], false);

    assert_eq!(
        lone.said.last(),
        Some(&sender::Happening::Overrun { bucket: 1 })
    );
    assert_eq!(lone.needs.len(), 2);
    assert_eq!(lone.taken(), [[Item::Begin(1)]]);
    let second = lone.needs[1];
    lone.answer(second, &[1, 2], false);
    lone.answer(second, &[3, 4], true);
    assert_eq!(lone.sender.status(lone.now).snapshots_to_do, 0);
}

#[test]
fn a_bucket_is_complete_when_its_receiver_says_so() {
    let mut lone = Lone::new(Limits::default(), &[1, 2]);
    let [first, second] = lone.needs[..] else {
        panic!("{:?}", lone.needs);
    };
    lone.answer(first, &[1, 2], true);
    let status = lone.sender.status(lone.now);
    assert_eq!((status.snapshots_done, status.snapshots_to_do), (1, 1));
    assert!(status.complete.is_empty());
    // Start, two that begin, two records, one completion.
    assert_eq!(
        (status.sent, status.acknowledged, status.lag.changes),
        (6, 0, 6)
    );
    lone.tell(sender::Event::Received(&Frame::Ack(6).write()));

    let status = lone.sender.status(lone.now);
    assert_eq!(status.complete, [1].into_iter().collect());
    assert_eq!(
        (status.acknowledged, status.lag.changes, status.lag.bytes),
        (6, 0, 0)
    );
    lone.answer(second, &[], true);
    lone.tell(sender::Event::Received(&Frame::Ack(7).write()));
    assert_eq!(lone.sender.status(lone.now).complete.len(), 2);
}

#[test]
fn a_record_that_is_too_long_is_counted_and_an_older_one_of_its_key_goes() {
    let mut lone = Lone::new(Limits::default(), &[1]);
    let need = lone.needs[0];
    let long = |key: usize, value: usize| Record {
        key: vec![1; key],
        value: vec![2; value],
    };
    lone.tell(sender::Event::Snapshot {
        bucket: need.0,
        request: need.1,
        records: vec![
            long(KEY_MAX, VALUE_MAX),
            long(KEY_MAX + 1, 0),
            long(1, VALUE_MAX + 1),
        ],
        is_last: true,
    });
    let sent = lone.taken().concat();
    assert_eq!(sent.len(), 4, "{sent:?}");
    let change = |key: usize, value: usize| Change {
        bucket: 1,
        key: vec![1; key],
        what: What::Put {
            value: vec![0; value],
            importance: ESTABLISHED,
            is_new: false,
        },
    };
    lone.tell(sender::Event::Changed(change(KEY_MAX + 1, 0)));
    lone.tell(sender::Event::Changed(change(2, VALUE_MAX + 1)));
    lone.tick();

    let removal = Item::Remove {
        bucket: 1,
        key: vec![1; 2],
    };
    assert_eq!(lone.taken(), [[removal]]);
    assert_eq!(lone.sender.status(lone.now).refused, 4);
    let refused = sender::Happening::Refused {
        bucket: 1,
        key: KEY_MAX + 1,
        value: 0,
    };
    let said = lone.said.iter().filter(|it| **it == refused).count();
    assert_eq!(said, 1);
}

#[test]
fn no_more_is_given_to_the_transport_than_it_has_room_for() {
    let limits = Limits::default();
    let mut network = Network::up(8, limits, &[1]);
    network.capacity = 0;
    for number in 0..20_000 {
        network.put((1, key(number)), vec![1; 400], ESTABLISHED);
    }
    network.pass(SECOND);
    let status = network.sender.status(network.now);
    assert!(status.untaken_bytes <= limits.transport);
    assert!(status.untaken_bytes > limits.transport - 1000);

    // What was handed over and did not leave is sent again on another connection, and nothing else is lost.
    network.cut(0);
    network.capacity = 1 << 20;
    network.connect();
    network.pass(2 * SECOND);
    network.check_equal();
    assert_eq!(network.sender.status(network.now).skipped, 0);
    assert_eq!(network.applied, [20_000, 0]);
}

#[test]
fn acknowledgements_are_few() {
    let limits = Limits::default();
    let now = Instant::now();
    let mut receiver = Receiver::new(settings("b", "a", limits));
    receiver.handle(receiver::Event::Connected, now);
    let theirs = settings("a", "b", limits);
    let hello = Frame::Hello(Hello {
        versions: theirs.versions,
        format: theirs.format,
        cluster: theirs.cluster,
        member: theirs.member,
        role: Role::Sender { instance: 1 },
    });
    receiver.handle(receiver::Event::Received(&hello.write()), now);
    let start = Item::Start([1].into_iter().collect());
    let mut sent = 0;
    let mut hear = |items: Vec<Item>, now: Instant| {
        let first = sent + 1;
        sent += u64::try_from(items.len()).unwrap();
        let bytes = Frame::Batch(Batch { first, items }).write();
        let actions = receiver.handle(receiver::Event::Received(&bytes), now);
        let acks = actions.into_iter().filter_map(|action| {
            let receiver::Action::Send(bytes) = action else {
                return None;
            };
            Some(bytes)
        });
        (acks.collect::<Vec<_>>(), receiver.deadline().unwrap())
    };

    let (acks, deadline) = hear(vec![start, Item::Begin(1)], now);
    assert_eq!(acks.len(), 0);
    assert_eq!(deadline, now + limits.acknowledge_delay);
    let (acks, deadline) = hear(vec![item(1, 1, 1)], now + MS);
    assert_eq!(acks.len(), 0);
    assert_eq!(deadline, now + limits.acknowledge_delay);
    let (acks, _) = hear(vec![item(1, 1, 1); 300], now + 2 * MS);
    assert_eq!(acks, [Frame::Ack(303).write()]);
    let later = now + 3 * MS;
    let (acks, deadline) = hear(vec![item(1, 1, 1)], later);
    assert_eq!(acks.len(), 0);
    assert_eq!(deadline, later + limits.acknowledge_delay);
    let acks = receiver.handle(receiver::Event::Tick, deadline);
    assert_eq!(acks, [receiver::Action::Send(Frame::Ack(304).write())]);
    assert_eq!(receiver.status().applied, 304);
}

#[test]
fn a_receiver_that_claims_what_was_never_sent_gets_everything() {
    let mut lone = Lone::new(Limits::default(), &[1]);
    lone.answer_all();
    let claims: [fn(u64) -> (u64, u64); 3] = [|sent| (1, sent + 1), |sent| (2, sent), |_| (1, 0)];
    for known in claims {
        let before = lone.sender.status(lone.now).sent;
        lone.connect(Some(known(before)));
        assert_eq!(
            lone.said.last(),
            Some(&sender::Happening::Started { buckets: 1 })
        );
        assert_eq!(lone.sender.status(lone.now).acknowledged, before);
        lone.answer_all();
    }
}
