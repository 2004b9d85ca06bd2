//! A policy that changes: what is wrong with a new one, and what becomes of flows under it.

use std::{fs, net::IpAddr};

use anyhow::Result;
use api::http::AttachMode;
use lab::Direction;

use crate::{A1, POLICY, launched, moves_on, of, seen, started};

#[test]
fn a_bad_configuration_changes_nothing_and_the_status_says_why() -> Result<()> {
    let (site, mut gateway) = launched("bad", POLICY)?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Download)?;
    let (before, address) = (gateway.status()?.config, seen(pod)?);
    assert_eq!(before.last_error, None);

    gateway.write_policy("pools: [{name: b, adresses: [192.0.2.12]}]\nrules: []\n")?;
    gateway.reload()?;

    let config = gateway.status()?.config;
    let error = config
        .last_error
        .clone()
        .expect("the status says what was wrong");
    println!("{error}");
    assert!(error.to_string().contains("adresses"), "{error}");
    assert!(
        error.to_string().contains("did you mean `addresses`?"),
        "{error}"
    );
    assert_eq!(
        (config.digest, config.loaded_at),
        (before.digest, before.loaded_at)
    );
    assert_eq!(seen(pod)?, address);
    moves_on(&transfer)?;
    assert!(gateway.log().contains("nothing has changed"));

    gateway.write_policy(POLICY)?;
    gateway.reload()?;

    assert_eq!(gateway.status()?.config.last_error, None);
    assert_eq!(transfer.finish()?.wrong_at, None);
    gateway.finish()
}

#[test]
fn a_configuration_that_cannot_be_read_changes_nothing_and_the_status_says_so() -> Result<()> {
    let (site, mut gateway) = launched("gone", POLICY)?;
    let pod = site.host("a1")?;
    let address = seen(pod)?;

    fs::remove_file(gateway.config_path())?;
    gateway.reload()?;

    let error = gateway
        .status()?
        .config
        .last_error
        .expect("the status says what was wrong");
    println!("{error}");
    assert!(error.to_string().contains("gateway.yaml"), "{error}");
    assert_eq!(seen(pod)?, address);
    gateway.write_policy(POLICY)?;
    gateway.finish()
}

/// A rule is asked when a flow begins, and never again.
#[test]
fn a_flow_goes_on_under_a_policy_that_would_not_begin_it() -> Result<()> {
    let (site, mut gateway) = launched("removed", POLICY)?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Upload)?;
    let external = gateway.only_flow(&of(&transfer))?.external;

    gateway.write_policy("pools: []\nrules: []\n")?;
    gateway.reload()?;
    moves_on(&transfer)?;
    let refused = seen(pod).expect_err("no rule wants it, so the target sees the pod itself");
    println!("{refused}");

    let other = "
pools:
  - {name: team-b, addresses: [192.0.2.12]}
rules:
  - {name: other, sources: [10.1.0.0/24], pool: team-b}
";
    let applied = gateway.apply(other)?;
    println!("{}", applied.changes.join("\n"));
    moves_on(&transfer)?;
    assert_eq!(seen(pod)?.to_string(), "192.0.2.12");

    let flow = gateway.only_flow(&of(&transfer))?;
    assert_eq!(
        (flow.external, flow.client.address),
        (external, IpAddr::V4(A1))
    );
    let received = transfer.finish()?;
    println!(
        "two policies later: longest stall {:?}",
        received.longest_stall
    );
    assert_eq!(received.wrong_at, None);
    gateway.finish()
}

/// What was applied without `--save` is gone with the daemon; the file is what counts then.
#[test]
fn a_restart_takes_the_file_and_not_what_was_applied() -> Result<()> {
    let (site, mut gateway) = launched("unsaved", POLICY)?;
    let pod = site.host("a1")?;
    let other = "
pools:
  - {name: team-b, addresses: [192.0.2.12]}
rules:
  - {name: other, sources: [10.1.0.0/24], pool: team-b}
";

    gateway.apply(other)?;
    let config = gateway.status()?.config;
    assert_eq!((config.source.as_str(), config.saved), ("api", false));
    assert_eq!(seen(pod)?.to_string(), "192.0.2.12");
    gateway.restart()?;

    let config = gateway.status()?.config;
    assert!(config.saved, "{config:?}");
    assert!(["192.0.2.10", "192.0.2.11"].contains(&seen(pod)?.to_string().as_str()));
    gateway.finish()
}

/// Native and generic are two ways to attach, of which one must be off before the other is on. What
/// there is in the tables has nothing to do with either.
#[test]
fn another_mode_is_attached_in_place_of_the_one_before() -> Result<()> {
    let (site, mut gateway) = launched("mode", POLICY)?;
    let pod = site.host("a1")?;
    let address = seen(pod)?;

    for (mode, expected, flows) in [
        ("generic", AttachMode::Generic, 2),
        ("native", AttachMode::Native, 3),
    ] {
        let interfaces = format!(
            "interfaces:\n  - {{name: in0, realm: internal, mode: {mode}}}\n  \
             - {{name: out0, realm: external, mode: {mode}}}\n"
        );
        gateway.write_policy(&format!("{interfaces}{POLICY}"))?;
        gateway.reload()?;

        for interface in gateway.status()?.interfaces {
            assert_eq!(interface.mode, Some(expected), "{interface:?}");
        }
        assert_eq!(gateway.status()?.notes, [""; 0]);
        assert_eq!(seen(pod)?, address);
        assert_eq!(gateway.all_flows()?.total, flows);
    }
    gateway.finish()
}
