//! The commands that show something: a table for people, and JSON that the API's types can read.

use anyhow::{Context, Result, ensure};
use api::http::{Counters, Drops, Flow, FlowState, Flows, Pools, Protocol, Status, Verdict, path};
use e2e::harness::Gateway;
use lab::{Direction, Site, Transfer};

use crate::{DATAGRAMS, DB, egret, launched};

/// A gateway that has something to show: a connection, a datagram, a ping, and something refused.
fn busy(test: &str) -> Result<(Site, Gateway, Transfer)> {
    let (site, gateway) = launched(test)?;
    let pod = site.host("a1")?;
    let stream = std::net::SocketAddrV4::new(DB, 9000);
    let transfer = Transfer::start(pod, stream, Direction::Download, Some(1 << 20))?;
    pod.ask(DATAGRAMS, b"?")?;
    ensure!(pod.ping(DB)?, "no answer");
    // Nobody asked for this one.
    let outsider = site.host("db")?;
    ensure!(
        !outsider.ping([192, 0, 2, 10])?,
        "an external address answers"
    );
    Ok((site, gateway, transfer))
}

#[test]
fn the_status_is_shown() -> Result<()> {
    let (_site, gateway, _transfer) = busy("status")?;

    let table = egret(&gateway, 0, &["status"])?.out;
    let json: Status = gateway.egret_json(&["status"])?;

    println!("{table}");
    let file = gateway.config_path().display().to_string();
    for word in [
        &format!("process {}", json.pid),
        "egretd 0.1.0",
        &file,
        "in0",
        "out0",
    ] {
        assert!(table.contains(word), "no {word} in\n{table}");
    }
    assert_eq!(table.matches("native").count(), 2, "{table}");
    assert_eq!(json.config.source, file);
    assert!(json.config.saved && json.notes.is_empty(), "{json:?}");
    assert_eq!((json.pools, json.rules), (1, 1));
    assert!(
        json.interfaces.iter().all(|it| it.attached && it.pinned),
        "{json:?}"
    );
    assert!(
        json.program.instructions > Some(1000) && json.program.tag.len() == 16,
        "{json:?}"
    );
    gateway.finish()
}

#[test]
fn flows_are_listed_filtered_and_counted() -> Result<()> {
    let (_site, gateway, transfer) = busy("flows")?;

    let table = egret(&gateway, 0, &["flows"])?.out;
    println!("{table}");
    assert_eq!(
        table.lines().count(),
        1 + 3,
        "a header and three flows\n{table}"
    );
    let all: Flows = gateway.egret_json(&["flows"])?;
    assert_eq!((all.matched, all.total, all.truncated), (3, 3, false));
    let tcp = all.flows.iter().find(|flow| flow.protocol == Protocol::Tcp);
    let tcp = tcp.context("the connection is listed")?.clone();
    let external = tcp.external.to_string();

    let client = transfer.local().to_string();
    for (args, matched) in [
        (vec!["--protocol", "tcp"], 1),
        (vec!["--protocol", "udp"], 1),
        (vec!["--state", "established"], 1),
        (vec!["--state", "active"], 2),
        (vec!["--client", &client], 1),
        (vec!["--client", "10.1.0.11"], 3),
        (vec!["--client", "10.1.0.12"], 0),
        (vec!["--client", "10.1.0.0/24"], 3),
        (vec!["--external", &external], 1),
        (vec!["--remote", ":53"], 1),
        (vec!["--remote", "198.51.100.11:9000"], 1),
        (vec!["--pool", "team-a"], 3),
        (
            vec![
                "--pool",
                "team-a",
                "--protocol",
                "icmp",
                "--remote",
                "198.51.100.0/24",
            ],
            1,
        ),
    ] {
        let found: Flows = gateway.egret_json(&[&["flows"], args.as_slice()].concat())?;
        assert_eq!(found.matched, matched, "{args:?}");
        assert_eq!(found.flows.len() as u64, matched, "{args:?}");
        let counted = egret(
            &gateway,
            0,
            &[&["flows", "--count"], args.as_slice()].concat(),
        )?
        .out;
        assert!(
            counted.contains(&matched.to_string()),
            "{args:?}: {counted}"
        );
    }
    let limited: Flows = gateway.egret_json(&["flows", "--limit", "2"])?;
    assert_eq!(
        (limited.flows.len(), limited.matched, limited.truncated),
        (2, 3, true)
    );
    for (args, word) in [
        (["flows", "--pool", "team-z"], "team-z"),
        (["flows", "--remote", "nobody"], "nobody"),
    ] {
        let said = gateway.run_egret(&args)?;
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        println!("{args:?}: {:?} {}", said.status.code(), text.trim());
        assert!(text.contains(word), "{args:?}: {text}");
    }
    gateway.finish()
}

/// Whichever packet of it somebody has in hand, the flow is found by it.
#[test]
fn a_flow_is_found_by_the_tuple_of_any_of_its_packets() -> Result<()> {
    let (_site, gateway, transfer) = busy("flow")?;
    let all: Flows = gateway.egret_json(&["flows", "--protocol", "tcp"])?;
    let [flow] = all.flows.as_slice() else {
        anyhow::bail!("{all:#?}")
    };
    let (client, external) = (flow.client.to_string(), flow.external.to_string());
    let remote = flow.remote.to_string();
    assert_eq!(client, transfer.local().to_string());

    for (source, target) in [
        (&client, &remote),
        (&remote, &client),
        (&external, &remote),
        (&remote, &external),
    ] {
        let found: Flow = gateway.egret_json(&["flow", "tcp", source, target])?;
        assert_eq!(found.external, flow.external, "{source} {target}");
        let quoted = format!("tcp {source} {target}");
        let shown = egret(&gateway, 0, &["flow", &quoted])?.out;
        assert!(
            shown.contains(&external) && shown.contains(&client),
            "{shown}"
        );
    }
    let icmp: Flows = gateway.egret_json(&["flows", "--protocol", "icmp"])?;
    let ping = icmp.flows.first().context("the ping is listed")?;
    let tuple = [
        "flow",
        "icmp",
        &ping.client.to_string(),
        &ping.remote.address.to_string(),
    ];
    let found: Flow = gateway.egret_json(&tuple)?;
    assert_eq!(found.external, ping.external);

    let missing = egret(
        &gateway,
        1,
        &["flow", "tcp", "10.1.0.11:1", "198.51.100.11:1"],
    )?;
    assert!(missing.err.contains("there is no flow"), "{}", missing.err);
    gateway.finish()
}

#[test]
fn pools_drops_and_counters_are_shown() -> Result<()> {
    let (_site, gateway, _transfer) = busy("pools")?;

    let table = egret(&gateway, 0, &["pools"])?.out;
    println!("{table}");
    let pools: Pools = gateway.egret_json(&["pools"])?;
    let [pool] = pools.pools.as_slice() else {
        anyhow::bail!("{pools:#?}")
    };
    assert_eq!((pool.name.as_str(), pool.addresses.len()), ("team-a", 2));
    let used = |of: fn(&api::http::PoolAddress) -> u32| pool.addresses.iter().map(of).sum::<u32>();
    let used = (
        used(|it| it.tcp.used),
        used(|it| it.udp.used),
        used(|it| it.icmp.used),
    );
    assert_eq!(used, (1, 1, 1), "{pools:#?}");
    for address in &pool.addresses {
        assert!(table.contains(&address.address.to_string()), "{table}");
    }
    let new = pool.new_flows_total;
    assert_eq!((new.tcp, new.udp, new.icmp), (1, 1, 1));

    let table = egret(&gateway, 0, &["drops"])?.out;
    println!("{table}");
    let drops: Drops = gateway.egret_json(&["drops"])?;
    let unsolicited = drops.drops.iter().find(|it| it.reason == "unsolicited");
    assert_eq!(
        unsolicited.map(|it| (it.packets, it.verdict)),
        Some((1, Verdict::Drop))
    );
    assert_eq!(
        table.lines().count(),
        1 + 1,
        "a header and what was dropped\n{table}"
    );
    assert!(table.contains("nobody inside asked for it"), "{table}");
    let everything = egret(&gateway, 0, &["drops", "--all"])?.out;
    for drop in &drops.drops {
        assert_eq!(drop.verdict, Verdict::Drop);
        assert!(everything.contains(&drop.reason), "{everything}");
        assert!(drop.explanation.ends_with('.'), "{drop:?}");
    }

    let table = egret(&gateway, 0, &["counters"])?.out;
    let counters: Counters = gateway.egret_json(&["counters"])?;
    for exit in &counters.counters {
        assert!(
            table.contains(&exit.reason),
            "no {} in\n{table}",
            exit.reason
        );
    }
    assert!(counters.counters.len() > drops.drops.len());
    gateway.finish()
}

#[test]
fn what_is_watched_is_printed_line_by_line() -> Result<()> {
    let (_site, gateway, _transfer) = busy("watch")?;

    let lines = egret(&gateway, 0, &["watch", "--count", "3", "--interval", "0.3"])?.out;
    let json = egret(
        &gateway,
        0,
        &["--json", "watch", "--count", "3", "--interval", "0.3"],
    )?
    .out;

    println!("{lines}{json}");
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let last = lines.lines().last().context("a line")?;
    assert!(
        last.contains("packets/s") && last.contains("established 1"),
        "{last}"
    );
    let objects: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&json)
        .into_iter()
        .collect::<Result<_, _>>()?;
    assert_eq!(objects.len(), 3, "{json}");
    gateway.finish()
}

/// The flows that a list has and the answers of the API are the same, whoever asks.
#[test]
fn the_command_prints_the_daemons_json_unchanged() -> Result<()> {
    let (_site, gateway, transfer) = busy("unchanged")?;
    transfer.finish()?;

    for (args, target) in [(["pools"], path::POOLS), (["counters"], path::COUNTERS)] {
        let printed: serde_json::Value = gateway.egret_json(&args)?;
        let answered: serde_json::Value = gateway.http().get(target)?.json()?;
        assert_eq!(printed, answered, "{args:?}");
    }
    let closed: Flows = gateway.egret_json(&["flows", "--state", "closing"])?;
    assert_eq!(
        closed.flows.first().map(|it| it.state),
        Some(FlowState::Closing),
        "{closed:#?}"
    );
    gateway.finish()
}

/// Who asks a daemon that is not there is told which socket that was, and what to do.
#[test]
fn a_daemon_that_is_not_there_is_exit_status_three() -> Result<()> {
    let (_site, mut gateway) = launched("absent")?;
    gateway.stop()?;

    let socket = gateway.socket().display().to_string();
    for args in [
        &["status"][..],
        &["flows"],
        &["pools"],
        &["drops"],
        &["counters"],
        &["config"],
    ] {
        let said = egret(&gateway, 3, args)?;
        assert!(said.err.contains(&socket), "{}", said.err);
        assert_eq!(said.out, "");
    }
    let said = egret(&gateway, 2, &["flowz"])?;
    assert!(said.err.contains("flows"), "{}", said.err);
    gateway.finish()
}
