//! `egret check`, which needs no daemon.

use std::{fs, io::Write, path::PathBuf, process::Stdio};

use crate::{Directory, Said, egret, run};

const GOOD: &str = "\
interfaces: [{ name: eth0, realm: both }]
pools: [{ name: team-a, addresses: [192.0.2.10] }]
rules: [{ name: all, sources: [10.0.0.0/8], pool: team-a }]
";

fn below_the_workspace(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../..", path].iter().collect()
}

#[test]
fn every_example_is_good() {
    let mut command = egret(&["check"]);
    for entry in fs::read_dir(below_the_workspace("deploy/examples")).unwrap() {
        command.arg(entry.unwrap().path());
    }

    let said = Said::from(command.output().unwrap());

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert!(said.stdout.lines().count() >= 3);
    assert!(said.stdout.lines().all(|line| line.contains(": good: ")));
    assert_eq!(said.stderr, "");
}

#[test]
fn a_malformed_file_is_shown_as_the_gateway_shows_it() {
    let directory = below_the_workspace("crates/gateway/tests/malformed");
    let mut seen = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();

        let said = egret(&["check", name])
            .current_dir(&directory)
            .output()
            .unwrap();

        let said = Said::from(said);
        assert_eq!(said.exit, Some(1), "{name}");
        assert_eq!(said.stdout, "", "{name}");
        let expected = fs::read_to_string(path.with_extension("stderr")).unwrap();
        assert_eq!(said.stderr, expected, "{name}");
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} files");
}

#[test]
fn one_bad_file_among_good_ones_is_enough() {
    let directory = Directory::new();
    let good = directory.file("good.yaml", GOOD.as_bytes());
    let bad = directory.file("bad.yaml", b"rules: 7\n");

    let said = run(&["check", &good, &bad, &good]);

    assert_eq!(said.exit, Some(1));
    assert_eq!(said.stdout.lines().count(), 2);
    assert!(said.stderr.contains("bad.yaml"));
}

#[test]
fn json_says_for_each_file_whether_it_is_good_and_what_is_wrong() {
    let directory = Directory::new();
    let good = directory.file("good.yaml", GOOD.as_bytes());
    let bad = directory.file("bad.yaml", b"rules: 7\n");

    let said = run(&["check", "--json", &good, &bad]);

    assert_eq!(said.exit, Some(1));
    assert_eq!(said.stderr, "");
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["files"][0]["file"], good);
    assert_eq!(report["files"][0]["valid"], true);
    assert_eq!(report["files"][1]["valid"], false);
    assert_eq!(report["files"][1]["problems"][0]["severity"], "error");
}

#[test]
fn standard_input_is_a_file() {
    let mut child = egret(&["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(GOOD.as_bytes())
        .unwrap();

    let said = Said::from(child.wait_with_output().unwrap());

    assert_eq!(said.exit, Some(0));
    assert!(said.stdout.starts_with("<stdin>: good: 1 interface, "));
}

#[test]
fn a_file_without_an_end_is_read_only_as_far_as_a_configuration_goes() {
    let said = run(&["check", "/dev/zero"]);

    assert_eq!(said.exit, Some(1));
    assert!(said.stderr.contains("bytes"), "{}", said.stderr);
}
