//! `egret flow`: everything about one flow.

use api::http::Flow;
use serde::Serialize;

use super::flows::{remote, tone};
use crate::{
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::tinted,
    text::{bytes, counted, duration, printable},
};

/// Where one flow is found.
const FLOW: &str = "/v1/flow";

/// Which one.
#[derive(Serialize)]
struct Query {
    /// Protocol, source and destination, apart by blanks.
    tuple: String,
}

/// Finds a flow by its tuple, which may come in one word or in three.
pub async fn run(daemon: &Daemon, output: &mut Output, tuple: &[String]) -> Result<Exit, Failure> {
    let query = Query {
        tuple: tuple.join(" "),
    };
    super::ask(daemon, output, Request::query(FLOW, &query), show).await
}

/// One line for each thing that is known about a flow.
pub fn show(flow: &Flow, look: Look) -> String {
    let by = |interface: &Option<String>| {
        interface.as_ref().map_or_else(
            || ", next hop not known".to_owned(),
            |name| format!(", by {}", printable(name)),
        )
    };
    let pool = flow.pool.as_ref().map_or_else(
        || "of a pool that is gone".to_owned(),
        |pool| format!("of pool {}", printable(pool)),
    );
    let rule = flow.rule.as_ref();
    let rule = rule.map_or_else(|| "gone".to_owned(), |rule| printable(rule));
    let facts = [
        ("Protocol", flow.protocol.label().to_owned()),
        ("State", tinted(flow.state.label(), tone(flow.state), look)),
        (
            "Client",
            format!("{}{}", flow.client, by(&flow.interface_in)),
        ),
        ("External", format!("{} {pool}", flow.external)),
        (
            "Remote",
            format!("{}{}", remote(flow), by(&flow.interface_out)),
        ),
        ("Rule", rule),
        ("Age", duration(flow.age_seconds)),
        ("Idle", duration(flow.idle_seconds)),
        (
            "Expires",
            format!(
                "in {}, if no packet comes",
                duration(flow.expires_in_seconds)
            ),
        ),
        ("Out", traffic(flow.packets_out, flow.bytes_out)),
        ("In", traffic(flow.packets_in, flow.bytes_in)),
    ];
    facts
        .iter()
        .map(|(name, value)| format!("{name:<10}{value}\n"))
        .collect()
}

fn traffic(packets: u64, octets: u64) -> String {
    format!("{}, {}", counted(packets, "packet"), bytes(octets))
}
