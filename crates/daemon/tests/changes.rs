//! Configurations that are applied.

use std::fs;

use api::{
    Problems,
    http::{ApiError, Applied, Pools, Status, path},
};

use crate::rig::{CONFIG, Gateway, Request};

/// A configuration with another address in a pool.
fn other() -> String {
    CONFIG.replace("192.0.2.11", "192.0.2.12")
}

fn in_force(gateway: &Gateway) -> String {
    gateway.ask(&Request::get(path::CONFIG)).text().to_owned()
}

#[test]
fn the_configuration_in_force_is_shown_as_it_was_written() {
    let gateway = Gateway::start();

    let answer = gateway.ask(&Request::get(path::CONFIG));

    assert_eq!(answer.text(), fs::read_to_string(gateway.file()).unwrap());
    assert_eq!(answer.header("content-type"), "text/yaml; charset=utf-8");
}

#[test]
fn what_is_applied_is_in_force_and_the_file_stays_as_it_is() {
    let gateway = Gateway::start();

    let applied: Applied = gateway.apply(&other(), |_| ()).json();

    assert!(applied.applied && !applied.saved);
    assert_eq!(applied.changes.len(), 2, "{:?}", applied.changes);
    let status: Status = gateway.get(path::STATUS);
    assert_eq!(
        (status.config.source.as_str(), status.config.saved),
        ("api", false)
    );
    assert_eq!(in_force(&gateway), gateway.config(&other()));
    assert_eq!(
        fs::read_to_string(gateway.file()).unwrap(),
        gateway.config(CONFIG)
    );
    let pools: Pools = gateway.get(path::POOLS);
    let addresses = pools.pools[0]
        .addresses
        .iter()
        .map(|it| it.address.to_string());
    assert!(
        addresses
            .collect::<Vec<_>>()
            .contains(&"192.0.2.12".to_owned())
    );
}

#[test]
fn what_is_saved_is_in_the_file_too() {
    let gateway = Gateway::start();

    let applied: Applied = gateway
        .apply(&other(), |request| request.save = true)
        .json();

    assert!(applied.applied && applied.saved);
    assert_eq!(
        fs::read_to_string(gateway.file()).unwrap(),
        gateway.config(&other())
    );
    let status: Status = gateway.get(path::STATUS);
    assert!(status.config.saved);
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let gateway = Gateway::start();

    let applied: Applied = gateway
        .apply(&other(), |request| request.dry_run = true)
        .json();

    assert!(!applied.applied);
    assert_eq!(applied.changes.len(), 2, "{:?}", applied.changes);
    assert_eq!(in_force(&gateway), gateway.config(CONFIG));
}

#[test]
fn what_is_not_valid_changes_nothing_and_is_remembered() {
    let gateway = Gateway::start();

    let answer = gateway.apply(&CONFIG.replace("pool: team-b", "pool: team-x"), |_| ());

    assert_eq!(answer.status, 422);
    let problems: Problems = answer.json();
    assert_eq!(problems.problems[0].field, "rules[1].pool");
    assert_eq!(problems.problems[0].file, "test.yaml");
    assert_eq!(in_force(&gateway), gateway.config(CONFIG));
    let status: Status = gateway.get(path::STATUS);
    assert_eq!(status.config.last_error, Some(problems));
}

#[test]
fn what_is_not_possible_now_is_a_conflict_with_a_remedy() {
    let gateway = Gateway::start();

    let answer = gateway.apply(CONFIG, |request| {
        request.text = CONFIG.to_owned() + "state: /sys/fs/bpf/egret-elsewhere\n";
    });

    assert_eq!(answer.status, 409);
    let error: ApiError = answer.json();
    assert!(error.error.contains("state directory"), "{error}");
    assert_eq!(in_force(&gateway), gateway.config(CONFIG));
}
