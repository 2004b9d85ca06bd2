//! What is wrong on purpose is found, and by the law that it breaks. The numbers of seeds are bounds, of which some
//! are needed.

use sim::{Broken, Law, Order, Planted, Profile, run};

use crate::order;

/// The first seed by which it is found, of so many.
fn found(planted: Planted, profile: Profile, seeds: u64) -> Option<Box<Broken>> {
    (1..=seeds).find_map(|seed| {
        let order = Order {
            planted: Some(planted),
            ..order(seed, profile)
        };
        run(&order).err()
    })
}

#[test]
fn a_member_that_gives_away_anothers_ports_is_found() {
    let broken = found(Planted::AnothersPorts, Profile::Rejoin, 20).expect("it is found");

    assert_eq!(broken.law, Law::OneTupleOneConnection, "{broken}");
}

#[test]
fn a_member_that_does_not_hear_that_another_one_died_is_found() {
    let broken = found(Planted::DeafToHealth, Profile::Crash, 12).expect("it is found");

    let laws = [Law::NewConnectionsWork, Law::ConnectionsSurvive];
    assert!(laws.contains(&broken.law), "{broken}");
}

#[test]
fn members_that_do_not_ask_who_held_a_bucket_before_are_found() {
    let broken = found(Planted::NoHandOver, Profile::Gentle, 6).expect("it is found");

    let laws = [Law::ConnectionsSurvive, Law::ClientsKeepPorts];
    assert!(laws.contains(&broken.law), "{broken}");
}

#[test]
fn a_bucket_that_is_served_before_its_flows_are_there_is_found() {
    let broken = found(Planted::NoGate, Profile::Gentle, 6).expect("it is found");

    let laws = [Law::NewConnectionsWork, Law::ConnectionsSurvive];
    assert!(laws.contains(&broken.law), "{broken}");
}

#[test]
fn copies_that_end_while_their_owner_lives_are_found() {
    let broken = found(Planted::CopiesExpire, Profile::Gentle, 12).expect("it is found");

    assert_eq!(broken.law, Law::ConnectionsSurvive, "{broken}");
}
