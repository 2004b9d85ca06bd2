//! How the command ends: exit statuses, and readers that have had enough.

use std::{
    io::{Read, pipe},
    process::Stdio,
};

use crate::{
    Directory, Said, egret,
    fake::{Fake, json},
    run,
    transport::flows,
    word,
};

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["help", "flows"]] {
        let said = run(arguments);

        assert_eq!(said.exit, Some(0), "{arguments:?}");
        assert!(said.stdout.contains("egret"));
        assert_eq!(said.stderr, "");
    }
}

#[test]
fn a_command_line_that_cannot_be_used_ends_with_two() {
    for arguments in [
        &[][..],
        &["florws"],
        &["flows", "--limit", "x"],
        &["flows", "--limit", "1", "--count"],
        &["apply"],
        &["apply", "a", "--dry-run", "--save"],
        &["apply", "/nonexistent/gateway.yaml"],
        &["check", "/nonexistent/gateway.yaml"],
        &["watch", "--interval", "0"],
        &["man", "--out", "/dev/null/pages"],
    ] {
        let said = run(arguments);

        assert_eq!(said.exit, Some(2), "{arguments:?}: {}", said.stderr);
        assert_eq!(said.stdout, "");
        assert!(!said.stderr.is_empty());
    }
}

#[test]
fn a_filter_that_no_request_can_carry_is_refused_at_once() {
    let fake = Fake::always(json("200 OK", &flows(1)));

    let said = fake.run(&["flows", "--client", &"1".repeat(100_000)]);

    assert_eq!(said.exit, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("cannot ask GET /v1/flows"));
    assert!(fake.heard().is_empty());
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let fake = Fake::always(json("200 OK", &flows(10_000)));
    for arguments in [&["flows", "--limit", "0"][..], &["flows", "--json"]] {
        let mut child = fake
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 100]).unwrap();
        drop(stdout);
        let said = Said::from(child.wait_with_output().unwrap());

        assert_eq!(said.exit, Some(0), "{arguments:?}");
        assert_eq!(said.stderr, "");
    }
}

#[test]
fn a_reader_that_is_gone_from_the_start_is_no_error() {
    for arguments in [&["completions", "bash"][..], &["man"], &["--help"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);

        let said = Said::from(egret(arguments).stdout(writer).output().unwrap());

        assert_eq!(said.exit, Some(0), "{arguments:?}");
        assert_eq!(said.stderr, "");
    }
}

#[test]
fn a_disk_that_is_full_is_an_error() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();

    let said = Said::from(egret(&["man"]).stdout(full).output().unwrap());

    assert_eq!(said.exit, Some(1));
    assert!(said.stderr.contains("cannot write to standard output"));
}

#[test]
fn every_verb_has_a_man_page() {
    let directory = Directory::new();
    let pages = directory.path("man1");

    let said = run(&["man", "--out", word(&pages)]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    for page in ["egret.1", "egret-flows.1", "egret-watch.1", "egret-bgp.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}
