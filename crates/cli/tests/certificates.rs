//! `egret cluster certificates`, which needs no daemon.

use std::fs;

use crate::{Directory, run, word};

#[test]
fn certificates_are_made_without_a_daemon_and_a_member_is_added_later() {
    let directory = Directory::new();
    let place = directory.path("west");
    let socket = directory.path("nobody.sock");
    let make = |more: &[&str]| {
        let first = ["--socket", word(&socket), "cluster", "certificates"];
        run(&[&first[..], &["--directory", word(&place)], more].concat())
    };

    let said = make(&["--name", "west", "gw1", "gw2"]);
    assert_eq!((said.exit, said.stderr.as_str()), (Some(0), ""));
    assert!(said.stdout.starts_with("made a CA, Egret cluster west, "));

    let said = make(&["--json", "--days", "30", "gw3"]);
    assert_eq!((said.exit, said.stderr.as_str()), (Some(0), ""));
    let made: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(made["ca"]["new"], false);
    assert_eq!(made["members"][0]["key"], "gw3.key");

    let said = make(&["gw3"]);
    assert_eq!((said.exit, said.stdout.as_str()), (Some(2), ""));
    assert!(said.stderr.contains("gw3.pem is there already"));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 8);
}

#[test]
fn a_certificate_is_for_somebody_somewhere_and_for_some_days() {
    for arguments in [
        &["--directory", "x"][..],
        &["gw1"],
        &["--directory", "x", "--days", "0", "gw1"],
        &["--directory", "x", "--days", "4000", "gw1"],
    ] {
        let said = run(&[&["cluster", "certificates"], arguments].concat());

        assert_eq!(said.exit, Some(2), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn without_a_verb_the_daemon_is_asked_who_the_members_are() {
    let directory = Directory::new();
    let socket = directory.path("nobody.sock");
    for verb in [&["cluster"][..], &["cluster", "show"]] {
        let said = run(&[&["--socket", word(&socket)], verb].concat());

        assert_eq!(said.exit, Some(3), "{}", said.stderr);
    }
}
