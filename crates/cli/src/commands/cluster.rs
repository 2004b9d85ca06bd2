//! `egret cluster`: the gateways that share external addresses.

mod certificates;
mod roll;

pub use certificates::CertificatesError;
pub use roll::RollError;

use api::http::{Cluster, ClusterMember, Copies, path};
use comfy_table::Cell;

use crate::{
    args::ClusterCommand,
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, Tone, cell, numbers, toned, words},
    text::printable,
};

/// What is said while no flow is begun.
const UNSETTLED: &str = "it is not known yet who holds which flows: none is begun until others are heard, or not \
                         for five seconds";

/// Shows them, makes their certificates, or rolls them.
pub fn run(
    daemon: &Daemon,
    output: &mut Output,
    command: Option<ClusterCommand>,
) -> Result<Exit, Failure> {
    match command.unwrap_or(ClusterCommand::Show) {
        ClusterCommand::Show => super::waiting(super::ask(
            daemon,
            output,
            Request::get(path::CLUSTER),
            show,
        )),
        ClusterCommand::Certificates(wanted) => certificates::run(output, &wanted),
        ClusterCommand::Roll(wanted) => super::waiting(roll::run(daemon, output, &wanted)),
    }
}

/// Says which member this is, then one line for each.
pub fn show(cluster: &Cluster, look: Look) -> String {
    let Some(name) = &cluster.name else {
        return "this gateway is alone: it is a member of no cluster\n".to_owned();
    };
    let own = cluster.own.as_deref().unwrap_or("?");
    let mut text = format!("{} of cluster {}\n\n", printable(own), printable(name));
    let mut columns = vec![
        words("MEMBER"),
        words("ADDRESS"),
        words("STATE"),
        numbers("OWNS"),
        numbers("SERVES TOO"),
    ];
    if cluster.copied {
        columns.extend([
            numbers("COPIED TO IT"),
            numbers("LAG"),
            numbers("KEPT FOR IT"),
        ]);
    }
    let mut table = Table::new(look, &columns);
    for member in &cluster.members {
        let mut row = vec![
            cell(&member.name),
            cell(&member.address),
            toned(&member.state, tone(&member.state)),
            cell(share(member.owns, cluster.buckets)),
            cell(share(member.serves, cluster.buckets)),
        ];
        if cluster.copied {
            row.extend(copies(member));
        }
        table.row(row);
    }
    text += &table.wrapped().show();
    if let Some(until) = &cluster.certificate_until {
        text += &format!("\nThis member's certificate is good until {until}.\n");
    }
    if !cluster.settled {
        text += &super::bgp::notes(&[UNSETTLED.to_owned()], look);
    }
    text
}

/// What is copied to a member and from it: in how many buckets all is there, of how many.
fn copies(member: &ClusterMember) -> [Cell; 3] {
    let Some(Copies { sent, kept }) = &member.copies else {
        return [cell("-"), cell("-"), cell("-")];
    };
    let part = |is_connected: bool, complete: u32, buckets: u32| match is_connected {
        true => toned(share(complete, buckets), Tone::Plain),
        false => toned("not connected", Tone::Bad),
    };
    [
        part(sent.connected, sent.complete, sent.buckets),
        cell(format!("{} ms", sent.lag_ms)),
        part(kept.connected, kept.complete, kept.buckets),
    ]
}

/// A part of the buckets.
fn share(held: u32, buckets: u32) -> String {
    format!("{held} of {buckets}")
}

/// How a member's state looks.
pub fn tone(state: &str) -> Tone {
    match state {
        "up" => Tone::Good,
        "leaving" | "starting" | "unknown" => Tone::Notice,
        _ => Tone::Bad,
    }
}
