//! What seeds have found: each with a sentence about what is wrong.
//!
//! A flaw that is known has a switch in [`Laws`], and here a seed that breaks the law when that is on. When the flaw
//! is gone its test fails: then the law is demanded of every run, and its seed is one of those that pass.

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

/// Nothing is copied, so nobody has the flows of a member that dies.
#[test]
fn connections_of_a_member_that_dies_are_lost() {
    let seed = (1, Profile::Crash);
    is_not_yet_true("survives_crash", seed, Law::ConnectionsSurvive);
}

/// A member that was out of reach owned its buckets all the time, as it sees it: so it asks nobody who held them
/// meanwhile, and answers segments of flows that the other one began with RST.
#[test]
fn a_member_that_was_out_of_reach_does_not_ask_who_held_its_buckets() {
    let seed = (1, Profile::Rejoin);
    is_not_yet_true("survives_rejoin", seed, Law::ConnectionsSurvive);
}

/// A member had a flow of a bucket that another one owned, and was told by nobody that it held it before: its daemon
/// had started anew since. A packet of that flow that came to it from a router was handed to the owner with a note
/// that it came from outside, so that the owner left it to its kernel instead of asking back.
#[test]
fn what_is_handed_on_for_a_flow_that_there_is_keeps_its_realm() {
    run(&order(25, Profile::Gentle)).unwrap_or_else(|broken| panic!("{broken}"));
}

/// A member that drains has no BFD sessions, and so believes of others what it believed before. If one dies meanwhile,
/// it takes that one for alive also when it is back, because its session was never up: half of the buckets are handed
/// to nobody until that one returns.
#[test]
fn a_member_that_was_drained_never_hears_of_one_that_died_meanwhile() {
    let seed = (31_000, Profile::Harsh);
    is_not_yet_true("survives_stale_drain", seed, Law::NewConnectionsWork);
}

/// A bucket goes from one member to a second, and then to a third before the flows that it has at the first are over:
/// only the last owner is asked.
#[test]
fn of_two_changes_in_a_row_only_the_last_owner_is_asked() {
    let seed = (90, Profile::Harsh);
    is_not_yet_true("survives_overlap", seed, Law::ConnectionsSurvive);
}

/// Others hand packets to a member that starts as soon as BFD is up, and that one waits for the rest of the members
/// before it knows what it owns: until then it drops them, also those of established connections.
#[test]
fn a_member_that_starts_is_handed_packets_before_it_knows_what_it_owns() {
    let seed = (112, Profile::Crash);
    is_not_yet_true("always_owned", seed, Law::EveryBucketIsOwned);
}

/// That a member drains is said once, and again after a second; BFD finds it dead before that if the packet is lost.
/// Then nobody asks it any more, although it forwards.
#[test]
fn a_single_packet_that_is_lost_makes_a_drain_look_like_a_death() {
    let seed = (598, Profile::Gentle);
    is_not_yet_true("loses_last_words", seed, Law::ClientsKeepPorts);
}

/// A packet of which everybody was asked comes back to a member that has given its bucket away meanwhile. It hands
/// the packet on with the note that nobody has a flow for it, although it knows the client itself; so the new owner
/// gives the client a second port.
#[test]
fn a_packet_on_its_way_while_an_owner_changes_gets_its_client_another_port() {
    let seed = (4083, Profile::Gentle);
    is_not_yet_true("keeps_ports_at_once", seed, Law::ClientsKeepPorts);
}

/// Two control packets that overtake each other when a session comes up take it down again at once. Who held a
/// bucket before is computed anew in that moment, without the one that is down, and stays so.
#[test]
fn a_session_that_goes_down_and_up_at_once_makes_who_was_before_be_forgotten() {
    let seed = (88, Profile::Gentle);
    is_not_yet_true("reorders_control", seed, Law::ConnectionsSurvive);
}
