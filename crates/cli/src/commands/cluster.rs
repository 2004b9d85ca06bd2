//! `egret cluster`: the gateways that share external addresses.

mod certificates;

pub use certificates::CertificatesError;

#[cfg(test)]
use api::http::ClusterMember;
use api::http::{Cluster, path};

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

/// Shows them, or makes their certificates.
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
    }
}

/// Says which member this is, then one line for each.
pub fn show(cluster: &Cluster, look: Look) -> String {
    let Some(name) = &cluster.name else {
        return "this gateway is alone: it is a member of no cluster\n".to_owned();
    };
    let own = cluster.own.as_deref().unwrap_or("?");
    let mut text = format!("{} of cluster {}\n\n", printable(own), printable(name));
    let mut table = Table::new(
        look,
        &[
            words("MEMBER"),
            words("ADDRESS"),
            words("STATE"),
            numbers("OWNS"),
            numbers("SERVES TOO"),
        ],
    );
    for member in &cluster.members {
        table.row([
            cell(&member.name),
            cell(&member.address),
            toned(&member.state, tone(&member.state)),
            cell(share(member.owns, cluster.buckets)),
            cell(share(member.serves, cluster.buckets)),
        ]);
    }
    text += &table.wrapped().show();
    if !cluster.settled {
        text += &super::bgp::notes(&[UNSETTLED.to_owned()], look);
    }
    text
}

/// A part of the buckets.
fn share(held: u32, buckets: u32) -> String {
    format!("{held} of {buckets}")
}

fn tone(state: &str) -> Tone {
    match state {
        "up" => Tone::Good,
        "leaving" | "unknown" => Tone::Notice,
        _ => Tone::Bad,
    }
}

/// A member as `egret` tests show it.
#[cfg(test)]
pub fn sample() -> Cluster {
    let member = |name: &str, last: u8, state: &str, owns, serves| ClusterMember {
        name: name.to_owned(),
        address: format!("172.31.1.{last}"),
        state: state.to_owned(),
        owns,
        serves,
    };
    Cluster {
        name: Some("west".to_owned()),
        own: Some("gw1".to_owned()),
        settled: true,
        buckets: 256,
        members: vec![
            member("gw1", 11, "up", 171, 0),
            member("gw2", 12, "leaving", 0, 88),
            member("gw3", 13, "up", 85, 0),
            member("gw4", 14, "down", 0, 0),
        ],
    }
}
