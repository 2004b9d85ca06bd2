//! Of which buckets a member does not know whether flows live elsewhere.

use super::*;
use crate::cluster::BLINDNESS;

/// The buckets that a member owns and does not know all flows of.
fn unknown(site: &Site, me: usize) -> Vec<usize> {
    let picture = site.pictures[me].as_ref().expect("it is settled");
    (0..BUCKETS)
        .filter(|it| is_in(&picture.unknown, *it))
        .collect()
}

/// The buckets that a member owns.
fn owned(site: &Site, me: usize) -> Vec<usize> {
    let is_owned = |bucket: &usize| usize::from(site.holder(me, *bucket).owner) == me;
    (0..BUCKETS).filter(is_owned).collect()
}

/// The second one and the others hear this of each other.
fn part(site: &mut Site, standing: Standing) {
    site.hear(1, standing);
    for other in [0, 2] {
        site.tell(1, Event::Heard(address(other), standing));
    }
}

#[test]
fn what_a_silent_member_had_not_copied_may_live_until_it_is_heard_or_given_up() {
    let mut site = Site::copying(3);
    let before = owned(&site, 0);
    // Of every other bucket of the second one the first one has all.
    let had = owned(&site, 1);
    for bucket in had.iter().step_by(2) {
        let (bucket, from) = (*bucket as u8, 1);
        site.tell(0, Event::Held { bucket, from });
        site.tell(0, Event::Completed { bucket, from });
    }
    assert!((0..3).all(|me| unknown(&site, me).is_empty()));

    part(&mut site, Standing::Down);
    let inherited = had
        .iter()
        .filter(|it| usize::from(site.holder(0, **it).owner) == 0);
    let inherited: Vec<usize> = inherited.copied().collect();
    let is_copied = |bucket: &usize| had.iter().step_by(2).any(|it| it == bucket);
    let missing: Vec<usize> = inherited
        .iter()
        .copied()
        .filter(|it| !is_copied(it))
        .collect();
    assert!(!missing.is_empty() && missing.len() < inherited.len());
    assert_eq!(unknown(&site, 0), missing);
    assert!(before.iter().all(|it| !unknown(&site, 0).contains(it)));
    let known = unknown(&site, 1);
    assert!(
        had.iter().all(|it| !known.contains(it)),
        "it knows what it had"
    );

    let mut heard = Site {
        members: site.members.clone(),
        pictures: site.pictures.clone(),
        now: site.now,
    };
    part(&mut heard, Standing::Up);
    assert!(
        missing.iter().all(|it| !unknown(&heard, 0).contains(it)),
        "they are its own"
    );
    assert_eq!(
        unknown(&heard, 0),
        before,
        "it may have some, as long as it has not told"
    );
    heard.hand_over();
    assert!((0..3).all(|me| unknown(&heard, me).is_empty()));

    site.pass(BLINDNESS - Duration::from_millis(1));
    assert_eq!(unknown(&site, 0), missing);
    let deadline = site.members[0].deadline().expect("it waits");
    assert_eq!(deadline, site.now + Duration::from_millis(1));
    site.pass(Duration::from_millis(1));
    assert!((0..3).all(|me| unknown(&site, me).is_empty()));
}

#[test]
fn a_member_that_went_in_peace_or_that_copies_nothing_leaves_nothing_unknown() {
    let mut site = Site::copying(2);
    site.hear(1, Standing::Leaving);
    site.hear(1, Standing::Gone);
    assert!(unknown(&site, 0).is_empty());

    let mut site = Site::start(2);
    site.hear(1, Standing::Down);
    assert!(unknown(&site, 0).is_empty(), "its flows are gone with it");
}

#[test]
fn a_member_that_starts_knows_of_no_flows_before_another_one_has_told_of_them() {
    let mut site = Site::new(2);
    (0..2).for_each(|me| site.tell(me, Event::Copies(true)));
    site.pass(PATIENCE_ANEW);
    assert_eq!(unknown(&site, 0).len(), BUCKETS);
    (0..2).for_each(|of| site.hear(of, Standing::Up));
    assert_eq!(unknown(&site, 0), owned(&site, 0));
    site.hand_over();
    assert!(unknown(&site, 0).is_empty());
}

#[test]
fn a_daemon_that_starts_over_tables_does_not_know_what_the_one_before_did_not() {
    let site = Site::copying(2);
    let members: Vec<_> = site.members[0].members().map(|it| it.0.clone()).collect();
    let mut cluster = Cluster::default();
    let known = Holder {
        owner: 0,
        before: NOBODY,
    };
    let found = Event::Found {
        holders: Box::new([known; BUCKETS]),
        members: BTreeMap::from([(0, address(0)), (1, address(1))]),
        unknown: [1 << 7, 0, 0, 0],
    };
    cluster.handle(found, site.now);
    cluster.handle(Event::Copies(true), site.now);
    cluster.handle(Event::Configure { members, me: 0 }, site.now);
    let division = cluster.handle(Event::Tick, site.now + PATIENCE);
    assert_eq!(division.expect("it is settled").unknown, [1 << 7, 0, 0, 0]);
}
