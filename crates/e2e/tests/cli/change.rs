//! The commands that change something, or say what would change.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use api::{Problems, http::Applied};
use e2e::harness::program;

use crate::{OTHER, POLICY, Said, egret, launched};

#[test]
fn a_configuration_is_checked_tried_applied_and_saved() -> Result<()> {
    let (site, mut gateway) = launched("apply")?;
    let pod = site.host("a1")?;
    let file = gateway.config_path().with_file_name("other.yaml");
    fs::write(&file, gateway.full_config(OTHER))?;
    let path = file.display().to_string();
    let before = gateway.status()?.config;
    let seen = || -> Result<String> {
        let body = pod.curl("http://198.51.100.11/")?;
        Ok(body.split(':').next().unwrap_or_default().to_owned())
    };
    let old = seen()?;
    let config = |name: &str| egret(&gateway, 0, &[name]).map(|said| said.out);

    let checked = egret(&gateway, 0, &["check", &path])?.out;
    println!("{checked}");
    assert!(checked.contains("good"), "{checked}");

    let tried = egret(&gateway, 0, &["apply", "--dry-run", &path])?.out;
    println!("{tried}");
    assert!(tried.contains("nothing was changed now"), "{tried}");
    assert!(
        tried.contains("team-a") && tried.contains("team-b"),
        "{tried}"
    );
    let tried: Applied = gateway.egret_json(&["apply", "--dry-run", &path])?;
    assert!(
        !tried.applied && !tried.saved && !tried.changes.is_empty(),
        "{tried:?}"
    );
    assert_eq!(gateway.status()?.config, before);
    assert_eq!(seen()?, old);

    let applied = egret(&gateway, 0, &["apply", &path])?.out;
    println!("{applied}");
    assert!(
        applied.contains("is in force") && applied.contains("not saved"),
        "{applied}"
    );
    assert_eq!(seen()?, "192.0.2.12");
    assert_eq!(config("config")?, gateway.full_config(OTHER));
    assert_eq!(
        fs::read_to_string(gateway.config_path())?,
        gateway.full_config(POLICY)
    );
    let status = gateway.status()?.config;
    assert!(
        !status.saved && status.digest != before.digest,
        "{status:?}"
    );
    let again: Applied = gateway.egret_json(&["apply", &path])?;
    assert_eq!(again.changes, [""; 0]);

    let saved: Applied = gateway.egret_json(&["apply", "--save", &path])?;
    assert!(saved.applied && saved.saved, "{saved:?}");
    assert_eq!(
        fs::read_to_string(gateway.config_path())?,
        gateway.full_config(OTHER)
    );
    gateway.restart()?;
    let status = gateway.status()?.config;
    assert!(status.saved, "{status:?}");
    assert_eq!(seen()?, "192.0.2.12");
    gateway.finish()
}

#[test]
fn a_configuration_comes_from_standard_input_too() -> Result<()> {
    let (_site, gateway) = launched("stdin")?;
    let mut command = Command::new(program("egret")?);
    command
        .arg("--socket")
        .arg(gateway.socket())
        .args(["apply", "-"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());

    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("it was piped")?;
    stdin.write_all(gateway.full_config(OTHER).as_bytes())?;
    drop(stdin);
    let said = Said::from(child.wait_with_output()?);

    assert_eq!(said.status, Some(0), "{}", said.err);
    assert_eq!(gateway.pool("team-b")?.name, "team-b");
    gateway.finish()
}

#[test]
fn a_configuration_that_is_refused_says_why_and_changes_nothing() -> Result<()> {
    let (_site, gateway) = launched("refused")?;
    let file = gateway.config_path().with_file_name("bad.yaml");
    let path = file.display().to_string();
    let before = gateway.status()?.config;

    fs::write(
        &file,
        "pools:\n  - {name: x, addresses: [192.0.2.10], port: 1-2}\nrules: 7\n",
    )?;
    for args in [
        &["apply", &path][..],
        &["apply", "--dry-run", &path],
        &["apply", "--save", &path],
    ] {
        let said = egret(&gateway, 1, args)?;
        assert!(
            said.err.contains("there is no field `port`"),
            "{}",
            said.err
        );
        assert!(said.err.contains(&format!("{path}:2:")), "{}", said.err);
        assert_eq!(said.out, "");
    }
    let said = egret(&gateway, 1, &["--json", "apply", &path])?;
    let problems: Problems = serde_json::from_str(&said.out)?;
    assert!(problems.problems.len() >= 2, "{problems:?}");
    let config = gateway.status()?.config;
    assert_eq!(
        (&config.digest, &config.loaded_at),
        (&before.digest, &before.loaded_at)
    );
    assert_eq!(config.last_error, Some(problems));
    assert_eq!(
        fs::read_to_string(gateway.config_path())?,
        gateway.full_config(POLICY)
    );

    // Valid, but not possible while the daemon runs.
    let moved = gateway
        .full_config(OTHER)
        .replace("/bpf/egret", "/bpf/elsewhere");
    fs::write(&file, moved)?;
    for args in [&["apply", &path][..], &["apply", "--save", &path]] {
        let said = egret(&gateway, 1, args)?;
        println!("{}", said.err.trim());
        assert!(
            said.err.contains("the state directory cannot move"),
            "{}",
            said.err
        );
    }
    assert_eq!(gateway.status()?.config.digest, before.digest);
    assert_eq!(
        fs::read_to_string(gateway.config_path())?,
        gateway.full_config(POLICY),
        "what was refused was saved"
    );
    let said = egret(&gateway, 2, &["apply", "/nowhere/at/all.yaml"])?;
    assert!(said.err.contains("/nowhere/at/all.yaml"), "{}", said.err);
    gateway.finish()
}

/// What is saved is in force, and what is in force after `--save` is what a restart finds: also if
/// the file cannot be written.
#[test]
fn what_cannot_be_saved_is_not_applied() -> Result<()> {
    let (_site, gateway) = launched("unsaveable")?;
    let file = gateway.config_path().with_file_name("other.yaml");
    fs::write(&file, gateway.full_config(OTHER))?;
    let before = gateway.status()?.config;
    // Where the new file would be put together stands something else.
    let in_the_way = gateway.config_path().with_file_name(".gateway.yaml.new");
    fs::create_dir(&in_the_way)?;

    let said = egret(
        &gateway,
        1,
        &["apply", "--save", &file.display().to_string()],
    )?;

    println!("{}", said.err.trim());
    assert!(said.err.contains("cannot save"), "{}", said.err);
    let config = gateway.status()?.config;
    assert_eq!(config.digest, before.digest);
    fs::remove_dir(in_the_way)?;
    gateway.finish()
}
