//! What a daemon waits for that is told to end.

use super::*;

/// Routers that have sent elsewhere.
const DRAINED: Standing = Standing {
    phase: Phase::Drained,
    established: 2,
    is_ebbed: true,
};

/// Routers that still send here.
const EBBING: Standing = Standing {
    phase: Phase::Ebbing,
    established: 2,
    is_ebbed: false,
};

fn moves(owned: u32, going: &[(u8, u32)]) -> Moves {
    Moves {
        is_settled: true,
        is_leaving: true,
        are_copied: true,
        is_taken: true,
        owned,
        going: going.iter().copied().collect(),
        ..Moves::default()
    }
}

#[test]
fn who_has_handed_over_everything_ends_when_routers_send_elsewhere() {
    let (now, all) = (Instant::now(), moves(0, &[]));
    let mut leaving = Leaving::default();

    assert_eq!(leaving.look(EBBING, Some(&all), now), None);
    assert_eq!(leaving.look(DRAINED, Some(&all), now), Some(Left::All));
    assert!(is_empty(Some(&all)));
}

#[test]
fn members_that_do_not_take_all_are_waited_for_until_the_time_is_over() {
    let (now, some) = (Instant::now(), moves(0, &[(1, 40), (2, 3)]));
    let mut leaving = Leaving::default();

    assert_eq!(leaving.look(DRAINED, Some(&some), now), None);
    let until = leaving.deadline().expect("it is waited").into_std();
    assert_eq!(until, now + HAND_OVER_MAX);
    let late = leaving.look(DRAINED, Some(&some), until);

    assert_eq!(late, Some(Left::Late(43)));
    assert!(!is_empty(Some(&some)));
}

#[test]
fn the_time_for_members_begins_when_routers_send_elsewhere() {
    let (now, some) = (Instant::now(), moves(0, &[(1, 40)]));
    let mut leaving = Leaving::default();

    assert_eq!(
        leaving.look(EBBING, Some(&some), now + HAND_OVER_MAX * 3),
        None
    );

    assert_eq!(leaving.deadline(), None);
}

#[test]
fn nobody_waits_where_no_other_member_is_up() {
    let none = Moves {
        is_taken: false,
        ..moves(256, &[])
    };
    let mut leaving = Leaving::default();

    let left = leaving.look(DRAINED, Some(&none), Instant::now());

    assert_eq!(left, Some(Left::Untaken(256)));
    assert!(!must_wait(DRAINED, Some(&none)));
}

#[test]
fn a_gateway_without_copies_waits_for_routers_only() {
    let uncopied = Moves {
        are_copied: false,
        ..moves(0, &[(1, 40)])
    };
    for moves in [None, Some(&uncopied)] {
        let left = Leaving::default().look(DRAINED, moves, Instant::now());

        assert_eq!(left, Some(Left::Nothing));
        assert!(!must_wait(DRAINED, moves));
        assert!(must_wait(EBBING, moves));
    }
}

#[test]
fn a_member_without_routers_hands_over_too() {
    let serving = Standing {
        phase: Phase::Serving,
        established: 0,
        is_ebbed: false,
    };
    let here = Moves {
        is_leaving: false,
        ..moves(128, &[])
    };

    assert!(must_wait(serving, Some(&here)));
}
