//! `egret bgp`: the routers that are told where the external addresses are.

use api::http::{Announced, Bgp, BgpAsk, BgpPeer, BgpRequest, Drain, path};

use super::drain;
use crate::{
    args::BgpCommand,
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, Tone, cell, number, numbers, tinted, toned, words},
    text::{counted, duration, printable},
};

/// The state of a session in which routes are exchanged (RFC 4271 §8.2.2).
const ESTABLISHED: &str = "established";

/// Lists, shows one, or asks something of a session.
pub async fn run(
    daemon: &Daemon,
    output: &mut Output,
    command: Option<BgpCommand>,
) -> Result<Exit, Failure> {
    match command.unwrap_or(BgpCommand::List) {
        BgpCommand::List => super::ask(daemon, output, Request::get(path::BGP), show).await,
        BgpCommand::Show { peer } => one(daemon, output, peer).await,
        BgpCommand::Reset { peer } => {
            let ask = BgpAsk::Reset;
            let request = Request::post(path::BGP, &BgpRequest { peer, ask });
            super::ask(daemon, output, request, show).await
        }
        BgpCommand::Refresh { peer } => {
            let ask = BgpAsk::Refresh;
            let request = Request::post(path::BGP, &BgpRequest { peer, ask });
            super::ask(daemon, output, request, show).await
        }
    }
}

async fn one(daemon: &Daemon, output: &mut Output, name: String) -> Result<Exit, Failure> {
    let bgp: Bgp = daemon.ask(Request::get(path::BGP)).await?;
    let peers = named(&bgp, &name);
    if peers.is_empty() {
        return Err(Failure::NoPeer { peer: name });
    }
    for (index, peer) in peers.into_iter().enumerate() {
        if output.is_json() {
            output.json(peer)?;
            continue;
        }
        if index > 0 {
            output.text("\n")?;
        }
        output.text(&show_peer(peer, output.look()))?;
    }
    Ok(Exit::Fine)
}

/// The peers of a name: that of the configuration, or with the address behind it.
pub fn named<'a>(bgp: &'a Bgp, name: &str) -> Vec<&'a BgpPeer> {
    let is_named = |peer: &&BgpPeer| {
        let rest = peer.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    bgp.peers.iter().filter(is_named).collect()
}

/// One line for each peer, then what an operator should know.
pub fn show(bgp: &Bgp, look: Look) -> String {
    let mut text = match bgp.asn {
        None => "the configuration has no `bgp`\n".to_owned(),
        Some(asn) => {
            let id = bgp.router_id.as_deref().map(printable);
            let id = id.map_or_else(String::new, |id| format!(", router {id}"));
            format!("AS {asn}{id}\n")
        }
    };
    text += &standing(&bgp.drain, look);
    if !bgp.peers.is_empty() {
        text += &format!("\n{}", peers(&bgp.peers, look));
    }
    text += &notes(&bgp.notes, look);
    text
}

/// Why less is announced than the configuration says, if less is.
fn standing(drain: &Drain, look: Look) -> String {
    let mut text = String::new();
    if drain.phase != "serving" {
        let line = drain::show(drain, look);
        text += &format!("{}\n", tinted(line.trim_end(), Tone::Notice, look));
    }
    if !drain.ready {
        let line = "the packet path is not ready: no route is announced";
        text += &format!("{}\n", tinted(line, Tone::Bad, look));
    }
    text
}

fn peers(peers: &[BgpPeer], look: Look) -> String {
    let mut table = Table::new(
        look,
        &[
            words("PEER"),
            numbers("AS"),
            words("STATE"),
            words("SINCE"),
            numbers("IPV4"),
            numbers("IPV6"),
            words("BFD"),
            words("WHY NOT ESTABLISHED"),
        ],
    );
    for peer in peers {
        let why = match peer.state.as_str() {
            ESTABLISHED => "",
            _ => peer.last_down.as_deref().unwrap_or("-"),
        };
        table.row([
            cell(&peer.name),
            peer.asn.map_or_else(|| cell("-"), number),
            toned(&peer.state, tone(&peer.state)),
            cell(duration(peer.since_seconds)),
            cell(exchanged(peer, "ipv4")),
            cell(exchanged(peer, "ipv6")),
            cell(peer.bfd.as_deref().unwrap_or("-")),
            cell(why),
        ]);
    }
    table.wrapped().show()
}

fn tone(state: &str) -> Tone {
    match state {
        ESTABLISHED => Tone::Good,
        "open-sent" | "open-confirm" => Tone::Notice,
        _ => Tone::Bad,
    }
}

/// Prefixes that a peer is told and that it told.
fn exchanged(peer: &BgpPeer, family: &str) -> String {
    let family = peer.families.iter().find(|it| it.family == family);
    family.map_or_else(
        || "-".to_owned(),
        |it| format!("{}/{}", it.announced, it.received),
    )
}

/// Everything about a peer.
pub fn show_peer(peer: &BgpPeer, look: Look) -> String {
    let mut text = facts(peer, look);
    if !peer.messages.is_empty() {
        text += &format!("\n{}", messages(peer, look));
    }
    for (title, prefixes) in [("Announced", &peer.announced), ("Received", &peer.received)] {
        if !prefixes.is_empty() {
            let count = counted(u64::try_from(prefixes.len()).unwrap_or(u64::MAX), "route");
            text += &format!("\n{title}, {count}:\n{}", routes(prefixes, look));
        }
    }
    if !peer.history.is_empty() {
        text += "\nHistory:\n";
    }
    for moment in &peer.history {
        let (at, what) = (printable(&moment.at), printable(&moment.what));
        text += &format!("  {at}  {what}\n");
    }
    text
}

fn facts(peer: &BgpPeer, look: Look) -> String {
    let known = |word: &Option<String>| word.as_deref().map_or_else(|| "-".to_owned(), printable);
    let asn = peer.asn.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let state = tinted(&printable(&peer.state), tone(&peer.state), look);
    let hold = match peer.hold_time_seconds {
        None => "-".to_owned(),
        Some(0) => "for ever".to_owned(),
        Some(seconds) => duration(seconds),
    };
    let families = peer.families.iter().map(|it| {
        let family = printable(&it.family);
        format!("{family} {} told, {} received", it.announced, it.received)
    });
    let families = match families.collect::<Vec<String>>().join("; ") {
        none if none.is_empty() => "-".to_owned(),
        some => some,
    };
    let capabilities: Vec<String> = peer.capabilities.iter().map(|it| printable(it)).collect();
    let facts = [
        ("Peer", printable(&peer.name)),
        ("Address", known(&peer.address)),
        ("AS", asn),
        ("Router", known(&peer.router_id)),
        (
            "State",
            format!("{state} for {}", duration(peer.since_seconds)),
        ),
        (
            "Sessions",
            format!("{} since the daemon started", peer.established_times),
        ),
        ("Hold time", hold),
        ("Can", or_none(&capabilities)),
        ("Prefixes", families),
        ("BFD", known(&peer.bfd)),
        ("Last down", known(&peer.last_down)),
        ("It said", known(&peer.notification_received)),
        ("We said", known(&peer.notification_sent)),
    ];
    facts
        .iter()
        .map(|(name, value)| format!("{name:<11}{value}\n"))
        .collect()
}

fn or_none(list: &[String]) -> String {
    match list {
        [] => "-".to_owned(),
        list => list.join(", "),
    }
}

fn messages(peer: &BgpPeer, look: Look) -> String {
    let columns = [words("MESSAGE"), numbers("SENT"), numbers("RECEIVED")];
    let mut table = Table::new(look, &columns);
    for kind in &peer.messages {
        table.row([cell(&kind.kind), number(kind.sent), number(kind.received)]);
    }
    table.show()
}

fn routes(prefixes: &[Announced], look: Look) -> String {
    let mut table = Table::new(
        look,
        &[
            words("PREFIX"),
            words("NEXT HOP"),
            words("PATH"),
            numbers("MED"),
            numbers("PREFERENCE"),
            words("COMMUNITIES"),
        ],
    );
    for route in prefixes {
        table.row([
            cell(&route.prefix),
            cell(route.next_hop.as_deref().unwrap_or("self")),
            cell(route.as_path.as_deref().unwrap_or("-")),
            route.med.map_or_else(|| cell("-"), number),
            route.local_preference.map_or_else(|| cell("-"), number),
            cell(or_none(&route.communities)),
        ]);
    }
    table.show()
}

/// What an operator should know, each behind an empty line.
pub(super) fn notes(notes: &[String], look: Look) -> String {
    let shown = notes.iter().map(|note| {
        let head = tinted("note:", Tone::Notice, look);
        format!("\n{head} {}\n", printable(note))
    });
    shown.collect()
}
