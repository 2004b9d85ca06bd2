//! Members come, go and fall silent: who holds what, and whose ports are whose.

use super::*;

const NAMES: [&str; 4] = ["gw1", "gw2", "gw3", "gw4"];

fn address(index: usize) -> IpAddr {
    std::net::Ipv4Addr::new(172, 31, 1, 11 + index as u8).into()
}

/// The same cluster as each of its members sees it.
struct Site {
    members: Vec<Cluster>,
    pictures: Vec<Option<Division>>,
    now: Instant,
}

impl Site {
    fn new(count: usize) -> Self {
        let now = Instant::now();
        let members: Vec<Member> = (0..count)
            .map(|index| Member {
                name: NAMES[index].to_owned(),
                address: address(index),
            })
            .collect();
        let mut site = Self {
            members: vec![Cluster::default(); count],
            pictures: vec![None; count],
            now,
        };
        for me in 0..count {
            let members = members.clone();
            site.tell(me, Event::Configure { members, me });
        }
        site
    }

    fn tell(&mut self, me: usize, event: Event) {
        let said = self.members[me].handle(event, self.now);
        self.pictures[me] = said.or(self.pictures[me].take());
    }

    /// All others hear this of a member.
    fn hear(&mut self, of: usize, standing: Standing) {
        for me in (0..self.members.len()).filter(|me| *me != of) {
            self.tell(me, Event::Heard(address(of), standing));
        }
    }

    /// A cluster whose members copy flows to each other, at the moment when all have told each other all.
    fn copying(count: usize) -> Self {
        let mut site = Self::new(count);
        (0..count).for_each(|me| site.tell(me, Event::Copies(true)));
        (0..count).for_each(|of| site.hear(of, Standing::Up));
        site.hand_over();
        // Nobody is new to the others any more.
        site.pass(PATIENCE_ANEW);
        site
    }

    fn custody(&self, me: usize) -> Custody {
        self.members[me].custody().expect("flows are copied")
    }

    /// Everybody tells owners what they are to know, as the machines of replication do.
    fn hand_over(&mut self) {
        for from in 0..self.members.len() {
            let custody = self.custody(from);
            for bucket in custody.handing {
                let to = custody.copied_to[usize::from(bucket)];
                let from_number = from as u8;
                let held = Event::Held {
                    bucket,
                    from: from_number,
                };
                self.tell(usize::from(to), held);
                let completed = Event::Completed {
                    bucket,
                    from: from_number,
                };
                self.tell(usize::from(to), completed);
                let turn = custody.turn;
                self.tell(from, Event::Copied { bucket, to, turn });
                self.tell(from, Event::Flushed { bucket, turn });
                let forgotten = Event::Forgotten {
                    bucket,
                    from: from_number,
                    is_all: true,
                };
                self.tell(usize::from(to), forgotten);
            }
        }
    }

    fn start(count: usize) -> Self {
        let mut site = Self::new(count);
        (0..count).for_each(|of| site.hear(of, Standing::Up));
        site
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        (0..self.members.len()).for_each(|me| self.tell(me, Event::Tick));
    }

    fn holder(&self, me: usize, bucket: usize) -> Holder {
        self.pictures[me].as_ref().expect("it is settled").holders[bucket]
    }

    /// The ports that a member gives away now.
    fn given(&self, me: usize) -> Vec<[u64; CLASS_WORDS]> {
        let picture = self.pictures[me].as_ref().expect("it is settled");
        let ports = |giver: &Giver| match picture.withheld.get(usize::from(giver.rank)) {
            Some(withheld) => withheld.map(|word| !word),
            None => [0; CLASS_WORDS],
        };
        picture.givers.iter().map(ports).collect()
    }
}

#[test]
fn all_members_agree_who_owns_what_and_each_has_its_part() {
    let site = Site::start(3);
    let mut owned = [0; 3];
    for bucket in 0..BUCKETS {
        let owner = site.holder(0, bucket).owner;
        owned[usize::from(owner)] += 1;
        assert!((1..3).all(|me| site.holder(me, bucket).owner == owner));
    }
    assert!(owned.iter().all(|of| (60..115).contains(of)), "{owned:?}");
}

#[test]
fn no_port_is_two_members_to_give_whatever_each_believes() {
    for count in 2..=4 {
        // Every member believes that it is alone, which is the worst that can be.
        let mut alone = Site::new(count);
        alone.pass(PATIENCE);
        let given: Vec<_> = (0..count).map(|me| alone.given(me)).collect();
        for bucket in 0..BUCKETS {
            for word in 0..CLASS_WORDS {
                let all = given.iter().map(|it| it[bucket][word]);
                let ports: u32 = all.clone().map(u64::count_ones).sum();
                let union = all.fold(0, |all, some| all | some);
                assert_eq!(
                    ports,
                    union.count_ones(),
                    "{count} members, bucket {bucket}"
                );
                assert_eq!(union, u64::MAX, "no port is nobody's");
            }
        }
    }
}

#[test]
fn the_first_in_order_has_seven_of_eight_ports_and_others_share_the_rest() {
    let ports =
        |rank, members| -> u32 { share(rank, members).iter().map(|it| it.count_ones()).sum() };
    assert_eq!(ports(0, 1), 256);
    assert_eq!([ports(0, 2), ports(1, 2)], [224, 32]);
    assert_eq!([ports(0, 3), ports(1, 3), ports(2, 3)], [224, 16, 16]);
    assert!((1..16).all(|rank| ports(rank, 16) >= 2));
}

#[test]
fn a_member_that_dies_leaves_its_buckets_to_the_next_and_no_other_bucket_moves() {
    let mut site = Site::start(3);
    let before: Vec<_> = (0..BUCKETS).map(|it| site.holder(0, it)).collect();
    site.hear(1, Standing::Down);
    for (bucket, before) in before.into_iter().enumerate() {
        let now = site.holder(0, bucket);
        assert_eq!(now.owner, site.holder(2, bucket).owner);
        match before.owner {
            1 => assert_eq!(now.owner, site.members[0].order(bucket as u8)[1]),
            owner => assert_eq!(now.owner, owner),
        }
        assert_ne!(now.before, 1, "who is dead is not asked");
    }
}

#[test]
fn a_member_that_leaves_serves_what_it_has_and_is_asked_for_it() {
    let mut site = Site::start(2);
    let owned: Vec<_> = (0..BUCKETS)
        .filter(|it| site.holder(0, *it).owner == 1)
        .collect();
    site.tell(1, Event::Leave);
    site.hear(1, Standing::Leaving);
    for bucket in owned.clone() {
        let left = Holder {
            owner: 0,
            before: 1,
        };
        assert_eq!(site.holder(0, bucket), left);
        assert_eq!(site.holder(1, bucket), left);
    }
    assert!(site.given(1).iter().flatten().all(|word| *word == 0));
    // Its daemon ends; its packet path goes on for a while.
    site.hear(1, Standing::Down);
    assert_eq!(site.holder(0, owned[0]).before, 1);
    site.pass(ABSENCE);
    assert_eq!(site.holder(0, owned[0]).before, NOBODY);
}

#[test]
fn nobody_asks_a_member_that_said_that_nothing_is_left() {
    let mut site = Site::start(2);
    site.tell(1, Event::Leave);
    site.hear(1, Standing::Leaving);
    site.hear(1, Standing::Gone);
    assert!((0..BUCKETS).all(|bucket| site.holder(0, bucket).before == NOBODY));
}

#[test]
fn a_member_that_comes_back_asks_who_held_its_buckets_meanwhile() {
    let mut site = Site::start(2);
    let owned = (0..BUCKETS)
        .find(|it| site.holder(0, *it).owner == 1)
        .expect("it has some");
    site.hear(1, Standing::Down);
    // It starts anew and knows nothing.
    let members: Vec<_> = site.members[0].members().map(|it| it.0.clone()).collect();
    (site.members[1], site.pictures[1]) = (Cluster::default(), None);
    site.tell(1, Event::Configure { members, me: 1 });
    assert!(site.pictures[1].is_none() && !site.members[1].is_settled());
    site.tell(1, Event::Heard(address(0), Standing::Up));
    site.hear(1, Standing::Up);
    let back = Holder {
        owner: 1,
        before: 0,
    };
    assert_eq!(site.holder(1, owned), back);
    assert_eq!(site.holder(0, owned), back);
}

#[test]
fn who_hears_of_nobody_owns_everything_after_a_while() {
    let mut site = Site::new(2);
    assert!(site.pictures[0].is_none());
    assert_eq!(site.members[0].deadline(), Some(site.now + PATIENCE));
    site.pass(PATIENCE);
    assert!((0..BUCKETS).all(|bucket| site.holder(0, bucket).owner == 0));
}

#[test]
fn who_knows_nothing_of_its_past_and_hears_of_nobody_waits_longer_where_flows_are_copied() {
    let mut site = Site::new(2);
    site.tell(0, Event::Copies(true));
    site.pass(PATIENCE);
    assert!(
        site.pictures[0].is_none(),
        "its former flows may live on at the other one, with its ports"
    );
    assert_eq!(
        site.members[0].deadline(),
        Some(site.now - PATIENCE + PATIENCE_ANEW)
    );
    site.pass(PATIENCE_ANEW);
    assert!((0..BUCKETS).all(|bucket| site.holder(0, bucket).owner == 0));
    assert!(site.given(0).iter().flatten().any(|word| *word != 0));
}

#[test]
fn who_starts_anew_gives_no_ports_when_who_was_to_tell_it_of_its_flows_falls_silent() {
    let mut site = Site::new(2);
    (0..2).for_each(|me| site.tell(me, Event::Copies(true)));
    (0..2).for_each(|of| site.hear(of, Standing::Up));

    site.hear(1, Standing::Down);

    assert!((0..BUCKETS).all(|bucket| site.holder(0, bucket).owner == 0));
    assert!(site.given(0).iter().flatten().all(|word| *word == 0));
    site.pass(PATIENCE_ANEW);
    assert!(site.given(0).iter().flatten().any(|word| *word != 0));
}

#[test]
fn a_member_that_starts_is_waited_for_no_more_and_owns_nothing_before_it_is_ready() {
    let mut site = Site::new(2);
    site.tell(0, Event::Heard(address(1), Standing::Starting));
    assert!((0..BUCKETS).all(|bucket| site.holder(0, bucket).owner == 0));
    site.tell(0, Event::Heard(address(1), Standing::Up));
    assert!((0..BUCKETS).any(|bucket| site.holder(0, bucket).owner == 1));
}

#[test]
fn a_daemon_that_is_replaced_does_not_tell_owners_of_what_it_only_kept() {
    let mut site = Site::copying(2);
    let holders = site.pictures[1].as_ref().expect("it is settled").holders;
    let members: Vec<_> = site.members[0].members().map(|it| it.0.clone()).collect();
    let numbers = (0..2).map(|it| (it as u8, address(it))).collect();
    site.members[1] = Cluster::default();
    site.tell(
        1,
        Event::Found {
            unknown: [0; SET_WORDS],
            holders: Box::new(holders),
            members: numbers,
        },
    );
    site.tell(1, Event::Configure { members, me: 1 });
    site.tell(1, Event::Copies(true));
    site.tell(1, Event::Heard(address(0), Standing::Up));

    assert_eq!(
        site.custody(1).handing,
        Vec::<u8>::new(),
        "the owner knows better"
    );
}

#[test]
fn a_cluster_in_which_all_leave_goes_on_with_them() {
    let mut site = Site::start(2);
    for me in 0..2 {
        site.tell(me, Event::Leave);
        site.hear(me, Standing::Leaving);
    }
    let owners = |me| -> Vec<u8> { (0..BUCKETS).map(|it| site.holder(me, it).owner).collect() };
    assert_eq!(owners(0), owners(1));
    assert!(!owners(0).contains(&NOBODY));
}

#[test]
fn when_all_is_handed_over_nobody_is_asked_and_each_bucket_is_copied_to_who_would_own_it_next() {
    let site = Site::copying(3);
    for me in 0..3 {
        let custody = site.custody(me);
        assert!(custody.handing.is_empty() && custody.switched.is_empty());
        for bucket in 0..BUCKETS {
            let holder = site.holder(me, bucket);
            assert_eq!(holder.before, NOBODY);
            let order = site.members[me].order(bucket as u8);
            let (to, serves) = match usize::from(holder.owner) == me {
                true => (order[1], true),
                false => (NOBODY, false),
            };
            assert_eq!(custody.copied_to[bucket], to);
            assert_eq!(custody.roles[bucket].serves(), serves);
        }
    }
}

#[test]
fn a_bucket_that_is_handed_over_is_served_by_both_until_the_owner_has_all_of_it() {
    let mut site = Site::copying(3);
    let bucket = (0..BUCKETS)
        .find(|it| site.holder(0, *it).owner == 0)
        .expect("it has some");
    let next = usize::from(site.members[0].order(bucket as u8)[1]);
    site.tell(0, Event::Leave);
    site.hear(0, Standing::Leaving);

    let both = Holder {
        owner: next as u8,
        before: 0,
    };
    assert_eq!(
        [site.holder(0, bucket), site.holder(next, bucket)],
        [both; 2]
    );
    assert!(site.custody(0).roles[bucket].serves());
    assert_eq!(usize::from(site.custody(0).copied_to[bucket]), next);
    // What the one hears is not heard by the other: neither counts silence.
    let Role::Serves { is_shared, .. } = site.custody(next).roles[bucket] else {
        panic!("it serves");
    };
    assert!(is_shared);

    let (name, to) = (bucket as u8, next as u8);
    site.tell(
        next,
        Event::Held {
            bucket: name,
            from: 0,
        },
    );
    let turn = site.custody(0).turn;
    let copied = |turn| Event::Copied {
        bucket: name,
        to,
        turn,
    };
    site.tell(0, copied(turn - 1));
    assert_eq!(
        site.holder(0, bucket),
        both,
        "that was about an earlier turn"
    );
    site.tell(0, copied(turn));
    assert_eq!(
        site.holder(0, bucket).before,
        NOBODY,
        "it hands on what comes"
    );
    assert_eq!(site.custody(0).roles[bucket], Role::Owes);
    assert_eq!(site.custody(0).switched, [name]);
    assert_eq!(site.holder(next, bucket), both, "it is still asked");

    site.tell(0, Event::Flushed { bucket: name, turn });
    site.tell(
        next,
        Event::Forgotten {
            bucket: name,
            from: 0,
            is_all: true,
        },
    );
    assert_eq!(site.holder(next, bucket).before, NOBODY);
    assert_eq!(site.custody(0).copied_to[bucket], NOBODY);
}

/// What two members do at the same time comes to each at another moment.
#[test]
fn a_hand_over_that_ends_before_the_owner_knows_who_is_there_is_not_waited_for() {
    let mut site = Site::new(2);
    (0..2).for_each(|me| site.tell(me, Event::Copies(true)));
    site.tell(0, Event::Heard(address(1), Standing::Up));
    for bucket in 0..=u8::MAX {
        site.tell(1, Event::Held { bucket, from: 0 });
        let forgotten = Event::Forgotten {
            bucket,
            from: 0,
            is_all: true,
        };
        site.tell(1, forgotten);
    }
    site.tell(1, Event::Heard(address(0), Standing::Up));
    let owned = (0..BUCKETS).filter(|it| site.holder(1, *it).owner == 1);
    let asked = owned.filter(|it| site.holder(1, *it).before != NOBODY);
    assert_eq!(asked.count(), 0);
}

#[test]
fn a_member_that_was_out_of_reach_asks_who_held_its_buckets_meanwhile() {
    let mut site = Site::copying(2);
    let owned = (0..BUCKETS)
        .find(|it| site.holder(0, *it).owner == 1)
        .expect("it has some");
    site.hear(1, Standing::Down);
    site.hear(0, Standing::Down);
    assert_eq!(site.holder(0, owned).owner, 0);
    assert_eq!(site.holder(1, owned).owner, 1);

    site.hear(1, Standing::Up);
    site.hear(0, Standing::Up);
    let back = Holder {
        owner: 1,
        before: 0,
    };
    assert_eq!([site.holder(0, owned), site.holder(1, owned)], [back; 2]);
    site.hand_over();
    assert_eq!(site.holder(1, owned).before, NOBODY);
}

#[test]
fn a_member_that_is_added_gets_its_part_when_it_is_up_and_no_other_bucket_is_without_an_owner() {
    let mut site = Site::copying(2);
    let mut members: Vec<_> = site.members[0].members().map(|it| it.0.clone()).collect();
    members.push(Member {
        name: NAMES[2].to_owned(),
        address: address(2),
    });
    for me in 0..2 {
        let members = members.clone();
        site.tell(me, Event::Configure { members, me });
        assert!((0..BUCKETS).all(|bucket| site.holder(me, bucket).owner < 2));
    }
    site.members.push(Cluster::default());
    site.pictures.push(None);
    site.tell(2, Event::Copies(true));
    site.tell(2, Event::Configure { members, me: 2 });
    for of in 0..3 {
        site.hear(of, Standing::Up);
    }
    let moved = (0..BUCKETS).filter(|it| site.holder(2, *it).owner == 2);
    for bucket in moved {
        assert_eq!(site.holder(0, bucket).owner, 2);
        assert!(
            site.holder(2, bucket).before < 2,
            "they are asked for what they have"
        );
    }
    site.hand_over();
    assert!((0..BUCKETS).all(|bucket| site.holder(2, bucket).before == NOBODY));
}

/// Ports that a member gave are in use by flows that live on elsewhere while it is away.
#[test]
fn an_owner_gives_no_ports_before_it_has_the_flows_of_who_held_the_bucket_before() {
    let mut site = Site::copying(2);
    let bucket = (0..BUCKETS)
        .find(|it| site.holder(0, *it).owner == 0)
        .expect("it has some");
    let gives = |site: &Site, me: usize| site.given(me)[bucket] != [0; CLASS_WORDS];
    site.hear(0, Standing::Down);
    site.hear(1, Standing::Down);
    site.hear(0, Standing::Up);
    site.hear(1, Standing::Up);
    assert!(!gives(&site, 0), "it does not know what is in use");
    assert!(gives(&site, 1), "new flows are begun by who held it before");

    let name = bucket as u8;
    site.tell(
        0,
        Event::Held {
            bucket: name,
            from: 1,
        },
    );
    assert!(!gives(&site, 0));
    site.tell(
        0,
        Event::Completed {
            bucket: name,
            from: 1,
        },
    );
    assert!(gives(&site, 0));

    let turn = site.custody(1).turn;
    let copied = Event::Copied {
        bucket: name,
        to: 0,
        turn,
    };
    site.tell(1, copied);
    assert!(
        !gives(&site, 1),
        "what it began now nobody would be told of"
    );
}

#[test]
fn an_owner_does_not_wait_for_ever_for_who_has_nothing_to_hand_over() {
    let mut site = Site::copying(2);
    let bucket = (0..BUCKETS)
        .find(|it| site.holder(0, *it).owner == 0)
        .expect("it has some");
    let gives = |site: &Site| site.given(0)[bucket] != [0; CLASS_WORDS];
    // Only one of the two has noticed anything.
    site.tell(0, Event::Heard(address(1), Standing::Down));
    site.tell(0, Event::Heard(address(1), Standing::Up));
    assert!(!gives(&site));
    site.pass(SILENCE);
    assert!(!gives(&site), "nothing is heard of it");

    let hears = Event::Hears {
        from: 1,
        is_heard: true,
    };
    site.tell(0, hears);
    site.pass(SILENCE);
    assert!(gives(&site));
}

#[test]
fn a_daemon_that_starts_over_tables_has_to_do_with_what_the_one_before_had() {
    let site = Site::copying(2);
    let members: Vec<_> = site.members[0].members().map(|it| it.0.clone()).collect();
    let others = (0..BUCKETS).filter(|it| site.holder(0, *it).owner == 1);
    let others: Vec<_> = others.collect();
    let start = |found: Option<Event>| {
        let mut cluster = Cluster::default();
        for event in found.into_iter().chain([
            Event::Configure {
                members: members.clone(),
                me: 0,
            },
            Event::Copies(true),
        ]) {
            cluster.handle(event, site.now);
        }
        let up = Event::Heard(address(1), Standing::Up);
        cluster.handle(up, site.now).expect("it is settled")
    };

    // The members had other numbers then.
    let mut holders = Box::new([Holder::NONE; BUCKETS]);
    for (bucket, holder) in holders.iter_mut().enumerate() {
        let owner = 7 - site.holder(0, bucket).owner;
        *holder = Holder {
            owner,
            before: NOBODY,
        };
    }
    let [mine, kept] = [others[0], others[1]];
    holders[mine].owner = 7;
    let numbers = BTreeMap::from([(7, address(0)), (6, address(1))]);
    let division = start(Some(Event::Found {
        unknown: [0; SET_WORDS],
        holders,
        members: numbers,
    }));
    let holder = |before| Holder { owner: 1, before };
    assert_eq!(division.holders[mine], holder(0), "it held it");
    assert_eq!(division.holders[kept], holder(NOBODY), "it only kept it");

    // Of one that finds no tables nobody asks anything.
    let division = start(None);
    assert!(
        others
            .iter()
            .all(|it| division.holders[*it] == holder(NOBODY))
    );
}

#[test]
fn a_member_has_left_when_others_have_all_its_flows_and_arrived_when_it_has_theirs() {
    let mut site = Site::copying(3);
    let moves = |site: &Site| site.members[0].moves().expect("there are others");
    assert!(moves(&site).has_arrived());
    assert!(moves(&site).is_worth_waiting());
    let owned = moves(&site).owned;

    site.tell(0, Event::Leave);
    site.hear(0, Standing::Leaving);
    let on_its_way = moves(&site);
    assert_eq!((on_its_way.owned, on_its_way.has_left()), (0, false));
    assert_eq!(on_its_way.going.values().sum::<u32>(), owned);
    site.hand_over();
    assert!(moves(&site).has_left());
    assert!(!moves(&site).is_worth_waiting());

    site.tell(0, Event::Stay);
    site.hear(0, Standing::Up);
    let on_its_way = moves(&site);
    assert_eq!(on_its_way.coming.values().sum::<u32>(), owned);
    assert!(!on_its_way.has_arrived());
    site.hand_over();
    assert!(moves(&site).has_arrived());
}

#[test]
fn a_member_that_is_the_last_one_up_cannot_leave() {
    let mut site = Site::copying(2);
    site.hear(1, Standing::Down);
    site.tell(0, Event::Leave);

    let moves = site.members[0].moves().expect("there is another");

    assert_eq!((moves.owned, moves.is_taken), (256, false));
    assert!(!moves.has_left() && !moves.is_worth_waiting());
}

mod unknown;
