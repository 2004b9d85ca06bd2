//! What was measured, as text: a screen for people who look, a line for those who collect.

use api::http::Protocol;

use super::rates::{DropRate, Fullest, PoolUse, PortUse, Rates, TrafficRate};
use crate::{
    commands::status::share,
    commands::{pools::fullness, status::by_state},
    output::Look,
    table::{Table, Tone, cell, number, numbers, tinted, toned, words},
    text::{duration, percent, printable, rate},
};

/// Everything, for a terminal.
pub fn screenful(rates: &Rates, missed: Option<&str>, look: Look) -> String {
    let state = match missed {
        Some(why) => tinted(
            &format!("{}; what is shown is old", printable(why)),
            Tone::Bad,
            look,
        ),
        None => format!("up {}", duration(rates.uptime_seconds)),
    };
    let mut text = format!(
        "egretd {}, {state}    q ends\n\n",
        printable(&rates.version)
    );
    text += &traffic(rates, look);
    text += &format!(
        "\nNew flows  {}\nFlows      {}: {}\n\n",
        new_flows(rates),
        share(&rates.flows),
        by_state(&rates.flows)
    );
    text += &pools(&rates.pools, look);
    text.push('\n');
    text += &drops(rates, look);
    text
}

/// Everything that moves, in one line.
pub fn line(rates: &Rates) -> String {
    let direction = |traffic: TrafficRate| {
        format!(
            "{} packets/s {} bit/s",
            rate(traffic.packets_per_second),
            rate(traffic.bits_per_second)
        )
    };
    let pools: Vec<String> = rates
        .pools
        .iter()
        .map(|pool| format!("{} {}", printable(&pool.name), fullest(pool.fullest)))
        .collect();
    let drops: String = rates
        .drops
        .iter()
        .filter(|drop| drop.packets_per_second > 0.0)
        .map(|drop| {
            let reason = printable(&drop.reason);
            format!(", {reason} {}/s", rate(drop.packets_per_second))
        })
        .collect();
    format!(
        "out {} | in {} | new {}/s | flows {}: {} | ports {} | drops {}/s{drops}\n",
        direction(rates.out),
        direction(rates.inward),
        rate(rates.all_new_flows_per_second()),
        rates.flows.active,
        by_state(&rates.flows),
        pools.join(", "),
        rate(rates.drops_per_second())
    )
}

/// A rate, or a dash while there is only one sample.
fn measured(rates: &Rates, per_second: f64) -> String {
    if rates.interval_seconds > 0.0 {
        rate(per_second)
    } else {
        "-".to_owned()
    }
}

fn traffic(rates: &Rates, look: Look) -> String {
    let columns = [words("TRAFFIC"), numbers("PACKETS/S"), numbers("BITS/S")];
    let mut table = Table::new(look, &columns);
    for (direction, traffic) in [("out", rates.out), ("in", rates.inward)] {
        table.row([
            cell(direction),
            cell(measured(rates, traffic.packets_per_second)),
            cell(measured(rates, traffic.bits_per_second)),
        ]);
    }
    table.show()
}

fn new_flows(rates: &Rates) -> String {
    let of = |protocol| measured(rates, *rates.new_flows_per_second.of(protocol));
    let by_address: f64 = [Protocol::Sctp, Protocol::Gre, Protocol::Esp]
        .map(|protocol| *rates.new_flows_per_second.of(protocol))
        .iter()
        .sum();
    format!(
        "{}/s: tcp {}, udp {}, icmp {}, others {}",
        measured(rates, rates.all_new_flows_per_second()),
        of(Protocol::Tcp),
        of(Protocol::Udp),
        of(Protocol::Icmp),
        measured(rates, by_address)
    )
}

fn pools(pools: &[PoolUse], look: Look) -> String {
    let columns = [
        words("POOL"),
        numbers("FLOWS"),
        numbers("TCP-PORTS"),
        numbers("UDP-PORTS"),
        numbers("ICMP-IDS"),
        words("FULLEST"),
    ];
    let mut table = Table::new(look, &columns);
    for pool in pools {
        let used = |ports: PortUse| {
            let share = percent(ports.used, ports.all());
            toned(
                format!("{} ({share})", ports.used),
                fullness(ports.used, ports.free),
            )
        };
        let tone = pool.fullest.map_or(Tone::Plain, |fullest| {
            fullness(fullest.ports.used, fullest.ports.free)
        });
        table.row([
            cell(&pool.name),
            number(pool.flows),
            used(pool.ports.tcp),
            used(pool.ports.udp),
            used(pool.ports.icmp),
            toned(fullest(pool.fullest), tone),
        ]);
    }
    table.show()
}

/// The address that runs out first, of those that a pool has.
fn fullest(fullest: Option<Fullest>) -> String {
    let Some(Fullest {
        address,
        protocol,
        ports,
    }) = fullest
    else {
        return "-".to_owned();
    };
    format!(
        "{address} {} {}",
        protocol.label(),
        percent(ports.used, ports.all())
    )
}

fn drops(rates: &Rates, look: Look) -> String {
    if rates.drops.is_empty() {
        return "No packet was dropped.\n".to_owned();
    }
    let columns = [words("DROPS"), numbers("PACKETS/S"), numbers("TOTAL")];
    let mut table = Table::new(look, &columns);
    for drop in &rates.drops {
        let DropRate {
            reason,
            packets_per_second,
            packets,
        } = drop;
        let tone = if *packets_per_second > 0.0 {
            Tone::Notice
        } else {
            Tone::Plain
        };
        table.row([
            cell(reason),
            toned(measured(rates, *packets_per_second), tone),
            number(*packets),
        ]);
    }
    table.show()
}
