//! Every way in which a daemon ends or does not even begin: packets go on, and the next one takes
//! over what there is.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::harness::{Gateway, program};
use lab::{Direction, Signal};

use crate::{POLICY, launched, moves_on, of, seen, started};

#[test]
fn packets_go_on_without_a_daemon_and_new_flows_begin() -> Result<()> {
    let (site, mut gateway) = launched("term", POLICY)?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Download)?;
    let flow = gateway.only_flow(&of(&transfer))?;

    let ended = gateway.stop()?;

    assert!(ended.success(), "{ended}");
    moves_on(&transfer)?;
    // The client that has an address keeps it, and the tables need no daemon for a new flow.
    assert_eq!(seen(pod)?, flow.external.address);
    assert!(gateway.status().is_err(), "somebody still answers");
    gateway.start()?;
    let status = gateway.status()?;
    assert!(status.adopted);
    assert_eq!(gateway.only_flow(&of(&transfer))?.external, flow.external);
    assert_eq!(
        gateway.all_flows()?.total,
        2,
        "the flow that began without a daemon is known"
    );
    let received = transfer.finish()?;
    println!(
        "stopped in order and started: longest stall {:?}",
        received.longest_stall
    );
    assert_eq!(received.wrong_at, None);
    gateway.finish()
}

#[test]
fn the_first_start_adopts_nothing_and_the_second_does() -> Result<()> {
    let (_site, mut gateway) = launched("adopted", POLICY)?;
    assert!(!gateway.status()?.adopted);

    gateway.restart()?;

    assert!(gateway.status()?.adopted);
    assert!(gateway.log().contains("adopted=true"), "{}", gateway.log());
    gateway.finish()
}

#[test]
fn a_second_daemon_is_refused_and_the_first_one_does_not_notice() -> Result<()> {
    let (site, gateway) = launched("second", POLICY)?;
    let pid = gateway.status()?.pid;

    let second = gateway.run_egretd(&[])?;
    let uninstall = gateway.run_egretd(&["--uninstall"])?;

    for refused in [&second, &uninstall] {
        let complaint = stderr(refused);
        assert_eq!(refused.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("another egretd holds "), "{complaint}");
        assert!(complaint.contains("egret.lock"), "{complaint}");
    }
    assert_eq!(gateway.status()?.pid, pid);
    assert!(seen(site.host("a1")?)?.to_string().starts_with("192.0.2."));
    gateway.finish()
}

/// Nor does another socket help: what must not be shared is the state.
#[test]
fn a_second_daemon_for_the_same_state_is_refused() -> Result<()> {
    let (site, gateway) = launched("shared", POLICY)?;
    let other = gateway.config_path().with_file_name("other.yaml");
    let config = gateway
        .full_config(POLICY)
        .replace("egret.sock", "other.sock");
    fs::write(&other, config)?;

    for arguments in [&[][..], &["--uninstall"]] {
        let mut command = Command::new(program("egretd")?);
        command.arg("--config").arg(&other).args(arguments);
        let refused = gateway.host().run(command)?;

        let complaint = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("another egretd uses "), "{complaint}");
    }
    seen(site.host("a1")?)?;
    gateway.finish()
}

/// Killed at every moment of its start, over and over: nothing stops, nothing is left lying about.
#[test]
fn a_daemon_that_dies_while_it_starts_harms_nothing() -> Result<()> {
    let (site, mut gateway) = launched("starting", POLICY)?;
    let transfer = started(site.host("a1")?, Direction::Upload)?;
    let flow = gateway.only_flow(&of(&transfer))?;
    let pins = gateway.pinned()?;
    gateway.kill()?;

    for milliseconds in [3, 10, 30, 60, 100, 150, 200, 300, 400, 600, 800] {
        let mut command = Command::new(program("egretd")?);
        command.arg("--config").arg(gateway.config_path());
        command.stderr(Stdio::null());
        let mut daemon = gateway.host().spawn(command)?;
        let ended = daemon.wait(Duration::from_millis(milliseconds))?;
        ensure!(ended.is_none(), "the daemon ended by itself: {ended:?}");
        daemon.kill()?;
        moves_on(&transfer)?;
    }

    // Each load pins its stages until one is attached and lets go of the others'.
    let lasting = |pins: Vec<PathBuf>| -> Vec<PathBuf> {
        let is_stage = |pin: &PathBuf| pin.parent().is_some_and(|it| it.ends_with("stages"));
        pins.into_iter().filter(|pin| !is_stage(pin)).collect()
    };
    let count = pins.len();
    assert_eq!(lasting(gateway.pinned()?), lasting(pins));
    gateway.start()?;
    assert_eq!(gateway.pinned()?.len(), count);
    assert_eq!(gateway.only_flow(&of(&transfer))?.external, flow.external);
    let received = transfer.finish()?;
    println!(
        "killed eleven times at its start: longest stall {:?}",
        received.longest_stall
    );
    assert_eq!(received.wrong_at, None);
    gateway.finish()
}

/// Killed while it puts a policy in force: the old one or the new one is in force, never a mixture,
/// and the next daemon finishes.
#[test]
fn a_daemon_that_dies_while_it_reloads_leaves_one_whole_policy() -> Result<()> {
    let (site, mut gateway) = launched("reloading", POLICY)?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Download)?;

    for round in 0..6_u64 {
        let address = 10 + round % 4;
        gateway.write_policy(&many_rules(&format!("192.0.2.{address}")))?;
        gateway.signal(Signal::SIGHUP)?;
        // A little later each time: before, while and after the tables are written.
        let alive = lab::until(Duration::from_millis(4 * round), || None::<()>);
        assert_eq!(alive, None);
        gateway.kill()?;

        let between = seen(pod)?;
        moves_on(&transfer)?;
        gateway.start()?;

        let after = seen(pod)?;
        println!(
            "killed {} ms after SIGHUP: {between}, then {after}",
            4 * round
        );
        assert!(between.to_string().starts_with("192.0.2."), "{between}");
        assert_eq!(after.to_string(), format!("192.0.2.{address}"));
    }

    assert_eq!(transfer.finish()?.wrong_at, None);
    gateway.finish()
}

/// A policy that takes a while to write: a thousand rules, of which the last is the one that counts.
fn many_rules(address: &str) -> String {
    let mut policy = format!("pools:\n  - {{name: team-a, addresses: [{address}]}}\nrules:\n");
    for number in 0..1000 {
        let (high, low) = (number / 250, number % 250);
        policy += &format!(
            "  - {{name: r{number}, sources: [10.9.{high}.{low}], services: [tcp/{}], pool: team-a}}\n",
            1000 + number
        );
    }
    policy + "  - {name: out, sources: [10.1.0.0/24], pool: team-a}\n"
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is pinned is enough for packets; without it there is no gateway.
#[test]
fn uninstalling_removes_every_trace() -> Result<()> {
    let (site, mut gateway) = launched("uninstall", POLICY)?;
    let (pod, gw) = (site.host("a1")?, site.host("gw")?);
    seen(pod)?;
    let pinned = gateway.pinned()?.len();
    assert!(pinned >= 12, "{pinned} pins");
    gateway.stop()?;

    let output = gateway.run_egretd(&["--uninstall"])?;

    assert!(output.status.success(), "{}", stderr(&output));
    println!("{}", stderr(&output).trim());
    assert!(
        !gateway.state().exists(),
        "{} is still there",
        gateway.state().display()
    );
    let links = gw.succeed("ip", ["-details", "link", "show"])?;
    assert!(!links.contains("xdp"), "{links}");
    let socket = gateway.socket();
    assert!(!socket.exists(), "the socket is still there");
    assert!(
        !socket.with_extension("lock").exists(),
        "the lock is still there"
    );
    let error = seen(pod).expect_err("without a gateway the target refuses the pod");
    println!("{error}");
    // Twice is once, and then it begins anew.
    gateway.uninstall()?;
    gateway.start()?;
    let status = gateway.status()?;
    assert!(!status.adopted);
    assert_eq!(gateway.all_flows()?.total, 0);
    seen(pod)?;
    gateway.finish()
}

/// The configuration says where the state is; a broken one must not make people remove another.
#[test]
fn uninstalling_with_a_broken_configuration_touches_nothing() -> Result<()> {
    let (_site, mut gateway) = launched("broken", POLICY)?;
    gateway.stop()?;
    let pins = gateway.pinned()?;
    gateway.write_config("interfaces: [\n")?;

    let output = gateway.run_egretd(&["--uninstall"])?;

    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("where the state is"),
        "{}",
        stderr(&output)
    );
    assert_eq!(gateway.pinned()?, pins);
    gateway.write_policy(POLICY)?;
    gateway.finish()
}

/// A configuration that is broken at the start keeps the daemon from starting, and nothing else.
#[test]
fn a_daemon_with_a_broken_configuration_does_not_start_and_packets_go_on() -> Result<()> {
    let (site, mut gateway) = launched("unusable", POLICY)?;
    let transfer = started(site.host("a1")?, Direction::Upload)?;
    gateway.stop()?;
    let pins = gateway.pinned()?;
    gateway.write_policy("pools: [{name: team-a, addresses: [192.0.2.300]}]\n")?;

    let output = gateway.run_egretd(&[])?;

    assert_eq!(output.status.code(), Some(1));
    let complaint = stderr(&output);
    assert!(complaint.contains("192.0.2.300"), "{complaint}");
    assert!(complaint.contains("gateway.yaml:"), "{complaint}");
    assert_eq!(gateway.pinned()?, pins);
    moves_on(&transfer)?;
    gateway.write_policy(POLICY)?;
    gateway.start()?;
    assert!(gateway.status()?.adopted);
    assert_eq!(transfer.finish()?.wrong_at, None);
    check_running(gateway)
}

fn check_running(mut gateway: Gateway) -> Result<()> {
    assert!(gateway.is_running()?);
    gateway.finish()
}
