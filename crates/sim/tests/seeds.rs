//! What seeds have found: each with a sentence about what is wrong.
//!
//! A flaw that is known has a switch in [`Laws`], and here a seed that breaks the law when that is on. When the flaw
//! is gone its test fails: then the law is demanded of every run, and its seed is one of those that pass. Of four
//! switches no seed is known any more, since gateways copy flows; they are off because nothing was done for them.

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
    let seed = (9, Profile::Rejoin);
    is_not_yet_true("survives_rejoin", seed, Law::ConnectionsSurvive);
}

/// A member had a flow of a bucket that another one owned, and was told by nobody that it held it before: its daemon
/// had started anew since. A packet of that flow that came to it from a router was handed to the owner with a note
/// that it came from outside, so that the owner left it to its kernel instead of asking back.
#[test]
fn what_is_handed_on_for_a_flow_that_there_is_keeps_its_realm() {
    run(&order(25, Profile::Gentle)).unwrap_or_else(|broken| panic!("{broken}"));
}

/// Others hand packets to a member that starts as soon as BFD is up, and that one waits for the rest of the members
/// before it knows what it owns: until then it drops them, also those of established connections.
#[test]
fn a_member_that_starts_is_handed_packets_before_it_knows_what_it_owns() {
    let seed = (1, Profile::Crash);
    is_not_yet_true("always_owned", seed, Law::EveryBucketIsOwned);
}

/// Two control packets that overtake each other when a session comes up take it down again at once. Who held a
/// bucket before is computed anew in that moment, without the one that is down, and stays so.
#[test]
fn a_session_that_goes_down_and_up_at_once_makes_who_was_before_be_forgotten() {
    let seed = (154, Profile::Gentle);
    is_not_yet_true("reorders_control", seed, Law::NewConnectionsWork);
}

/// A port whose flow has ended at one member is given again, and the copy of that flow lives on at another one, which
/// hears nothing of that: it takes the answers to the new client for the former one's.
#[test]
fn a_port_is_given_again_that_a_member_that_is_not_heard_takes_for_its_former_clients() {
    let seed = (52, Profile::Harsh);
    is_not_yet_true("agrees_on_ended", seed, Law::RightDelivery);
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
