//! `egret flows`: the flow table, or a part of it.

use api::http::{Endpoint, Flow, FlowState, Flows, Protocol, path};

use crate::{
    args::FlowsArgs,
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, Tone, cell, numbers, toned, words},
    text::{bytes, duration},
};

/// Flows that are laid out together. In memory a row is many times larger than on the screen.
const PAGE: usize = 1000;

/// Lists flows, or counts them.
pub async fn run(daemon: &Daemon, output: &mut Output, args: FlowsArgs) -> Result<Exit, Failure> {
    let only_count = args.count;
    let request = Request::query(path::FLOWS, &args.query(output.is_json()));
    if output.is_json() {
        return super::hand_on(daemon, output, request).await;
    }
    let flows: Flows = daemon.ask(request).await?;
    if only_count {
        output.text(&format!("{}\n", flows.matched))?;
        return Ok(Exit::Fine);
    }
    for page in pages(&flows, output.look()) {
        output.text(&page)?;
    }
    if let Some(remark) = remark(&flows) {
        output.remark(&remark)?;
    }
    Ok(Exit::Fine)
}

/// One line for each flow, in pages that stand below one another; no page if there is none.
pub fn pages(flows: &Flows, look: Look) -> impl Iterator<Item = String> {
    let mut table = Table::new(
        look,
        &[
            words("PROTOCOL"),
            words("CLIENT"),
            words("EXTERNAL"),
            words("REMOTE"),
            words("STATE"),
            words("POOL"),
            numbers("AGE"),
            numbers("IDLE"),
            numbers("EXPIRES"),
            numbers("OUT"),
            numbers("IN"),
        ],
    );
    flows.flows.chunks(PAGE).map(move |page| {
        for flow in page {
            fill(&mut table, flow);
        }
        let shown = table.show();
        table = table.continued();
        shown
    })
}

fn fill(table: &mut Table, flow: &Flow) {
    table.row([
        cell(flow.protocol.label()),
        cell(flow.client.to_string()),
        cell(flow.external.to_string()),
        cell(remote(flow)),
        toned(flow.state.label(), tone(flow.state)),
        cell(flow.pool.as_deref().unwrap_or("-")),
        cell(duration(flow.age_seconds)),
        cell(duration(flow.idle_seconds)),
        cell(duration(flow.expires_in_seconds)),
        cell(bytes(flow.bytes_out)),
        cell(bytes(flow.bytes_in)),
    ]);
}

/// What the table does not say: that it is not all.
pub fn remark(flows: &Flows) -> Option<String> {
    if flows.truncated {
        return Some(format!(
            "{} of {} flows are listed; --limit 0 lists all",
            flows.flows.len(),
            flows.matched
        ));
    }
    if flows.matched == 0 {
        return Some(format!("no flow matches, of {}", flows.total));
    }
    None
}

/// The remote's endpoint, and in brackets who that is if it is somebody else. An ICMP query has no port
/// there, and GRE and ESP have none at all.
pub fn remote(flow: &Flow) -> String {
    let shown = |endpoint: &Endpoint| match flow.protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => endpoint.to_string(),
        Protocol::Icmp | Protocol::Gre | Protocol::Esp => endpoint.address.to_string(),
    };
    match &flow.target {
        Some(target) => format!("{} ({})", shown(&flow.remote), shown(target)),
        None => shown(&flow.remote),
    }
}

/// What a state says about its flow.
pub const fn tone(state: FlowState) -> Tone {
    match state {
        FlowState::Opening => Tone::Notice,
        FlowState::Established => Tone::Good,
        FlowState::Closing => Tone::Plain,
        FlowState::Active => Tone::Plain,
    }
}
