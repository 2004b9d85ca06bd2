//! `egret status`: how the gateway is.

use api::http::{
    ActiveFlows, AttachMode, ConfigStatus, InterfaceStatus, Protocol, Realm, Status, Sweep,
};

use crate::{
    output::Look,
    table::{Table, Tone, cell, number, numbers, tinted, toned, words},
    text::{counted, duration, percent, printable, span},
};

/// The gateway on one screen, what is wrong at its end.
pub fn show(status: &Status, look: Look) -> String {
    let mut text = facts(status);
    text.push('\n');
    text += &interfaces(&status.interfaces, look);
    for note in &status.notes {
        text += &format!(
            "\n{} {}\n",
            tinted("note:", Tone::Notice, look),
            printable(note)
        );
    }
    if let Some(problems) = &status.config.last_error {
        let head = "The last attempt to change the configuration changed nothing:";
        text += &format!("\n{}\n\n{problems}\n", tinted(head, Tone::Bad, look));
    }
    text
}

fn facts(status: &Status) -> String {
    let build = status
        .build
        .as_ref()
        .map_or_else(String::new, |build| format!(" ({build})"));
    let adopted = if status.adopted {
        ", took over the flows of the process before it"
    } else {
        ""
    };
    let verified = status
        .program
        .instructions
        .map_or_else(String::new, |count| {
            format!(", {count} instructions verified")
        });
    let facts = [
        (
            "Daemon",
            format!("egretd {}{build}, process {}", status.version, status.pid),
        ),
        (
            "Running",
            format!(
                "{}, since {}{adopted}",
                duration(status.uptime_seconds),
                status.started_at
            ),
        ),
        ("Config", config(&status.config)),
        ("Digest", status.config.digest.clone()),
        (
            "Policy",
            format!(
                "{}, {}",
                counted(status.pools, "pool"),
                counted(status.rules, "rule")
            ),
        ),
        ("Flows", share(&status.flows)),
        ("", by_protocol(&status.flows)),
        ("", by_state(&status.flows)),
        ("Expiry", sweep(&status.sweep)),
        ("Program", format!("tag {}{verified}", status.program.tag)),
    ];
    facts
        .iter()
        .map(|(name, value)| format!("{name:<9}{}\n", printable(value)))
        .collect()
}

/// How full the tables are: that of IPv4 flows, and that of flows with an IPv6 address.
pub(super) fn share(flows: &ActiveFlows) -> String {
    let active4 = flows.active.saturating_sub(flows.active6);
    format!(
        "{active4} of {} ({}), with IPv6 {} of {} ({})",
        flows.max,
        percent(active4, flows.max),
        flows.active6,
        flows.max6,
        percent(flows.active6, flows.max6)
    )
}

fn config(config: &ConfigStatus) -> String {
    let saved = if config.saved {
        ""
    } else {
        ", not saved: a restart would not find it"
    };
    format!(
        "{}, in force since {}{saved}",
        config.source, config.loaded_at
    )
}

/// The active flows by protocol, in one line.
pub fn by_protocol(flows: &ActiveFlows) -> String {
    let by = &flows.by_protocol;
    let counted = Protocol::ALL.map(|protocol| (protocol, *by.of(protocol)));
    // Most gateways see none of those that are translated by address.
    let shown = counted
        .into_iter()
        .filter(|(protocol, flows)| match protocol {
            Protocol::Tcp | Protocol::Udp | Protocol::Icmp => true,
            Protocol::Sctp | Protocol::Gre | Protocol::Esp => *flows > 0,
        });
    let shown: Vec<String> = shown
        .map(|(protocol, flows)| format!("{} {flows}", protocol.label()))
        .collect();
    shown.join(", ")
}

/// The active flows by state, in one line.
pub fn by_state(flows: &ActiveFlows) -> String {
    let by = &flows.by_state;
    format!(
        "opening {}, established {}, closing {}, active {}",
        by.opening, by.established, by.closing, by.active
    )
}

fn sweep(sweep: &Sweep) -> String {
    let Some(took) = sweep.last_duration_seconds else {
        return "no pass yet".to_owned();
    };
    format!(
        "{}, the last took {}; {} removed, at most {} late",
        counted(sweep.passes_total, "pass"),
        span(took),
        counted(sweep.expired_total, "flow"),
        span(sweep.lag_seconds)
    )
}

fn interfaces(interfaces: &[InterfaceStatus], look: Look) -> String {
    let mut table = Table::new(
        look,
        &[
            words("INTERFACE"),
            numbers("INDEX"),
            words("REALM"),
            words("XDP"),
            words("PINNED"),
            words("ADDRESSES"),
        ],
    );
    for interface in interfaces {
        let (xdp, tone) = match (interface.attached, interface.mode) {
            (false, _) => ("not attached", Tone::Bad),
            (true, None) => ("attached", Tone::Good),
            (true, Some(AttachMode::Native)) => ("native", Tone::Good),
            (true, Some(AttachMode::Generic)) => ("generic", Tone::Notice),
        };
        let addresses: Vec<String> = interface
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        table.row([
            cell(&interface.name),
            interface.ifindex.map_or_else(|| cell("-"), number),
            cell(realm(interface.realm)),
            toned(xdp, tone),
            if interface.pinned {
                cell("yes")
            } else {
                toned("no", Tone::Notice)
            },
            cell(if addresses.is_empty() {
                "-".to_owned()
            } else {
                addresses.join(",")
            }),
        ]);
    }
    table.show()
}

const fn realm(realm: Realm) -> &'static str {
    match realm {
        Realm::Internal => "internal",
        Realm::External => "external",
        Realm::Both => "both",
    }
}
