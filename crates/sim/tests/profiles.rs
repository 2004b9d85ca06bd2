//! The laws, on a few seeds of each kind of run.

use sim::{Order, Profile, Report};

use crate::{order, passes};

/// Seeds that take little time.
const SEEDS: [u64; 5] = [5, 10, 16, 17, 18];

fn pass_all(profile: Profile) -> Vec<Report> {
    SEEDS.map(|seed| passes(&order(seed, profile))).to_vec()
}

#[test]
fn no_connection_is_lost_by_what_operators_do() {
    let reports = pass_all(Profile::Gentle);

    let (all, proved) = reports.iter().fold((0, 0), |(all, proved), it| {
        (all + it.connections, proved + it.proved)
    });
    assert!(proved * 10 > all * 9, "{proved} of {all} had no excuse");
}

#[test]
fn one_member_that_dies_takes_its_own_flows_along_and_no_others() {
    let reports = pass_all(Profile::Crash);

    assert!(reports.iter().all(|it| it.proved * 2 > it.connections));
}

#[test]
fn a_member_that_is_out_of_reach_takes_its_own_flows_along_and_no_others() {
    let reports = pass_all(Profile::Rejoin);

    assert!(reports.iter().all(|it| it.proved * 4 > it.connections));
}

#[test]
fn whatever_goes_wrong_no_port_is_given_to_two_and_all_is_well_afterwards() {
    let reports = pass_all(Profile::Harsh);

    assert!(reports.iter().all(|it| it.proved > 20));
}

#[test]
fn a_seed_is_one_run_and_another_seed_is_another() {
    let [first, again, other] = [16, 16, 18].map(|seed| passes(&Order::of(seed)));

    assert_eq!(first, again);
    assert_ne!(first.digest, other.digest);
}
