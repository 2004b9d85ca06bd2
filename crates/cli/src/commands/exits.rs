//! `egret drops` and `egret counters`: what became of packets, and why.

use std::cmp::Reverse;

use api::http::{Counters, Drops, Exit as Way, Verdict, path};

use crate::{
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, Tone, cell, number, numbers, toned, words},
    text::bytes,
};

/// Shows dropped packets by reason, those that never occurred only if `all` are wanted.
pub async fn drops(daemon: &Daemon, output: &mut Output, all: bool) -> Result<Exit, Failure> {
    let request = Request::get(path::DROPS);
    if output.is_json() {
        return super::hand_on(daemon, output, request).await;
    }
    let drops: Drops = daemon.ask(request).await?;
    match show_drops(&drops, all, output.look()) {
        Some(text) => output.text(&text)?,
        None => output.remark("no packet was dropped; --all shows every reason there is")?,
    }
    Ok(Exit::Fine)
}

/// Shows every way out of the packet path.
pub async fn counters(daemon: &Daemon, output: &mut Output) -> Result<Exit, Failure> {
    super::ask(daemon, output, Request::get(path::COUNTERS), show_counters).await
}

/// One line for each reason, the most frequent first; nothing if there is none to show.
pub fn show_drops(drops: &Drops, all: bool, look: Look) -> Option<String> {
    let mut shown: Vec<&Way> = drops
        .drops
        .iter()
        .filter(|drop| all || drop.packets > 0)
        .collect();
    if shown.is_empty() {
        return None;
    }
    shown.sort_by_key(|drop| Reverse(drop.packets));

    let columns = [
        words("REASON"),
        numbers("PACKETS"),
        numbers("BYTES"),
        words("EXPLANATION"),
    ];
    let mut table = Table::new(look, &columns).wrapped();
    for drop in shown {
        table.row([
            cell(&drop.reason),
            number(drop.packets),
            cell(bytes(drop.bytes)),
            cell(&drop.explanation),
        ]);
    }
    Some(table.show())
}

/// One line for each way out, in the daemon's order.
pub fn show_counters(counters: &Counters, look: Look) -> String {
    let columns = [
        words("VERDICT"),
        words("REASON"),
        numbers("PACKETS"),
        numbers("BYTES"),
        words("EXPLANATION"),
    ];
    let mut table = Table::new(look, &columns).wrapped();
    for way in &counters.counters {
        let tone = match way.verdict {
            Verdict::Send => Tone::Good,
            Verdict::Pass => Tone::Plain,
            Verdict::Drop => Tone::Notice,
        };
        table.row([
            toned(way.verdict.label(), tone),
            cell(&way.reason),
            number(way.packets),
            cell(bytes(way.bytes)),
            cell(&way.explanation),
        ]);
    }
    table.show()
}
