//! What seeds have found: each with a sentence about what is wrong.
//!
//! A flaw that is known has a switch in [`Laws`], and here a seed that breaks the law when that is on. When the flaw
//! is gone its test fails: then the law is demanded of every run, and its seed is one of those that pass. Of
//! switches that no test here names no seed is known any more; they are off because nothing was done for them.

use sim::{Law, Laws, Order, Profile, run};

use crate::order;

/// Demands a law that is not true yet, of a seed that breaks it.
#[track_caller]
fn is_not_yet_true(switch: &str, (seed, profile): (u64, Profile), law: Law) {
    let laws = Laws::TODAY.demanding(switch).expect("there is this switch");
    let order = Order {
        laws,
        ..order(seed, profile)
    };
    match run(&order) {
        Ok(_) => panic!("seed {seed} breaks no law any more: turn `{switch}` on"),
        Err(broken) => assert_eq!(broken.law, law, "{broken}"),
    }
}

/// A member that stood still goes on with packets that had waited for it, before it has looked at its clock: of flows
/// that live elsewhere now, and that it has forgotten.
#[test]
fn a_member_that_stood_still_answers_what_waited_for_it_with_reset() {
    let seed = (33, Profile::Rejoin);
    is_not_yet_true("survives_rejoin", seed, Law::ConnectionsSurvive);
}

/// A member had a flow of a bucket that another one owned, and was told by nobody that it held it before: its daemon
/// had started anew since. A packet of that flow that came to it from a router was handed to the owner with a note
/// that it came from outside, so that the owner left it to its kernel instead of asking back.
#[test]
fn what_is_handed_on_for_a_flow_that_there_is_keeps_its_realm() {
    run(&order(25, Profile::Gentle)).unwrap_or_else(|broken| panic!("{broken}"));
}

/// Others handed packets to a member that starts as soon as BFD was up, and that one waited for the rest of the members
/// before it knew what it owned: until then it dropped them, also those of established connections.
#[test]
fn a_member_that_starts_is_handed_nothing_before_it_knows_what_it_owns() {
    run(&order(1, Profile::Crash)).unwrap_or_else(|broken| panic!("{broken}"));
}

/// A member came back with nothing in its tables, and heard nobody, or nobody for long enough to be told of the flows
/// that it had had: it gave their ports to new clients while they lived on at the others. And while members did not hear
/// each other, a port was given again at once of which another one had a copy. And one that was told that another one
/// goes took it to forward for half a minute more, although its daemon had come back before it fell silent.
#[test]
fn a_member_that_does_not_know_what_it_gave_away_gives_nothing() {
    let seeds = [
        50402, 900_289, 801_062, 810_583, 811_479, 700_002, 900_184, 75,
    ];
    for seed in seeds {
        run(&order(seed, Profile::Harsh)).unwrap_or_else(|broken| panic!("{broken}"));
    }
}

/// A member that drained handed a bucket over at once to whoever had copies of all of it, although of a flow that had just
/// begun the packet path could not tell, and no sweep had yet: the owner gave its client another port.
#[test]
fn what_only_the_next_sweep_finds_is_handed_over_too() {
    run(&order(831_195, Profile::Gentle)).unwrap_or_else(|broken| panic!("{broken}"));
}

/// A daemon was replaced, and told the owner of a bucket what it had kept for it before: flows that had ended since then
/// lived again, and a client had two ports.
#[test]
fn what_was_kept_while_a_daemon_was_away_is_not_told_its_owner_as_news() {
    for seed in [811_022, 801_535] {
        run(&order(seed, Profile::Gentle)).unwrap_or_else(|broken| panic!("{broken}"));
    }
}

/// Two control packets that overtake each other when a session comes up take it down again at once. Who held a
/// bucket before is computed anew in that moment, without the one that is down, and stays so.
#[test]
fn a_session_that_goes_down_and_up_at_once_makes_who_was_before_be_forgotten() {
    let seed = (1076, Profile::Gentle);
    is_not_yet_true("reorders_control", seed, Law::NewConnectionsWork);
}

/// A port whose flow had ended at one member was given again at once, and the copy of that flow lived on at another one,
/// which heard nothing of that: it took the answers to the new client for the former one's.
#[test]
fn a_port_goes_behind_others_while_a_member_that_is_not_heard_may_have_a_copy() {
    let laws = Laws::TODAY.demanding("agrees_on_ended");
    let order = Order {
        laws: laws.expect("there is this switch"),
        ..order(52, Profile::Harsh)
    };
    run(&order).unwrap_or_else(|broken| panic!("{broken}"));
}

/// What copies flows was run here for the first time, and these broke a law each: a copy that its owner was told of
/// while it handed the bucket over stayed for ever; an owner that came back gave ports that were in use; what was handed
/// over was taken for what was owed to another one; a copy was swept before it was known that it is one; what had been
/// kept before a daemon started was served after; a port's former client came back as a flow and was let in.
#[test]
fn what_copies_flows_leaves_nothing_behind_and_gives_nothing_twice() {
    let seeds = [
        (71, Profile::Harsh),
        (1054, Profile::Harsh),
        (3, Profile::Harsh),
        (209, Profile::Gentle),
        (5273, Profile::Gentle),
        (8, Profile::Harsh),
        (7029, Profile::Harsh),
        (1214, Profile::Rejoin),
    ];
    for (seed, profile) in seeds {
        run(&order(seed, profile)).unwrap_or_else(|broken| panic!("{broken}"));
    }
}
