//! How long somebody waits for a drain, and what they are told.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

fn drain(phase: &str, hand_over: Option<HandOver>) -> Drain {
    Drain {
        phase: phase.to_owned(),
        ready: true,
        packets_per_second: None,
        ended: (phase == "drained").then(|| "ebbed".to_owned()),
        hand_over,
    }
}

fn going(buckets: u32) -> HandOver {
    let moving = Moving {
        member: Some("gw2".to_owned()),
        state: "up".to_owned(),
        buckets,
        connected: false,
        waiting: 0,
    };
    HandOver {
        copied: true,
        leaving: true,
        done: buckets == 0,
        owns: 0,
        going: vec![moving],
        coming: Vec::new(),
    }
}

fn serving(done: bool) -> HandOver {
    HandOver {
        leaving: false,
        done,
        ..going(0)
    }
}

#[test]
fn a_drain_is_over_when_nothing_comes_and_others_have_all_flows() {
    let mut follow = Follow::new(Aim::Leave, TIMEOUT);
    let now = Instant::now();

    assert_eq!(follow.look(&drain("ebbing", Some(going(0))), now), None);
    assert_eq!(follow.look(&drain("drained", Some(going(7))), now), None);
    let end = follow.look(&drain("drained", Some(going(0))), now + TIMEOUT / 2);

    assert_eq!(end, Some(End::Done));
}

#[test]
fn what_the_cluster_has_not_heard_of_yet_is_not_taken_for_the_end() {
    let mut follow = Follow::new(Aim::Leave, TIMEOUT);
    let early = drain("drained", Some(serving(true)));
    assert_eq!(follow.look(&early, Instant::now()), None);

    let mut follow = Follow::new(Aim::Stay, TIMEOUT);
    let early = drain("serving", Some(going(0)));
    assert_eq!(follow.look(&early, Instant::now()), None);
}

#[test]
fn who_does_not_take_flows_in_time_is_named() {
    let mut follow = Follow::new(Aim::Leave, TIMEOUT);
    let (now, late) = (Instant::now(), drain("drained", Some(going(7))));
    follow.look(&late, now);

    let end = follow.look(&late, now + TIMEOUT).expect("it is late");

    assert_eq!((end, end.exit()), (End::Late, Exit::Refused));
    let remark = follow.remark(&end, &late).expect("there is one");
    assert!(
        remark.contains("gw2 has not taken all flows of 7 buckets (up, and not connected)"),
        "{remark}"
    );
}

#[test]
fn the_time_for_flows_begins_when_routes_are_gone() {
    let mut follow = Follow::new(Aim::Leave, TIMEOUT);
    let now = Instant::now();
    follow.look(&drain("ebbing", Some(going(7))), now);

    let end = follow.look(&drain("drained", Some(going(7))), now + TIMEOUT * 3);

    assert_eq!(end, None);
}

#[test]
fn a_gateway_that_is_alone_or_copies_nothing_waits_for_routers_only() {
    let uncopied = HandOver {
        copied: false,
        ..going(7)
    };
    for hand_over in [None, Some(uncopied)] {
        let mut follow = Follow::new(Aim::Leave, TIMEOUT);

        let end = follow.look(&drain("drained", hand_over), Instant::now());

        assert_eq!(end, Some(End::Done));
    }
}

#[test]
fn who_comes_back_waits_for_its_flows() {
    let mut follow = Follow::new(Aim::Stay, TIMEOUT);
    let now = Instant::now();

    assert_eq!(
        follow.look(&drain("serving", Some(serving(false))), now),
        None
    );
    let end = follow.look(&drain("serving", Some(serving(true))), now);

    assert_eq!(end, Some(End::Done));
}
