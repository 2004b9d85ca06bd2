//! `egret bfd`: the ways that are watched.

use api::http::{Bfd, BfdSession};

use crate::{
    output::Look,
    table::{Table, Tone, cell, number, numbers, tinted, toned, words},
    text::{counted, duration, printable},
};

/// What is said of a daemon that the kernel does not run first.
const NOT_REALTIME: &str = "the daemon has no real-time priority: on a busy machine it may be late, and take \
                            a way for lost that is not";

/// One line for each session, then what an operator should know.
pub fn show(bfd: &Bfd, look: Look) -> String {
    let mut text = if bfd.sessions.is_empty() {
        "no way is watched by BFD\n".to_owned()
    } else {
        sessions(&bfd.sessions, look)
    };
    if !bfd.realtime && !bfd.sessions.is_empty() {
        text += &super::bgp::notes(&[NOT_REALTIME.to_owned()], look);
    }
    text += &super::bgp::notes(&bfd.notes, look);
    if !bfd.refused.is_empty() {
        text += &format!("\n{}\n", tinted("Refused datagrams:", Tone::Notice, look));
    }
    for refused in &bfd.refused {
        let count = counted(refused.packets, "packet");
        text += &format!("  {count}: {}\n", printable(&refused.reason));
    }
    text
}

fn sessions(sessions: &[BfdSession], look: Look) -> String {
    let mut table = Table::new(
        look,
        &[
            words("NAME"),
            words("ADDRESS"),
            words("STATE"),
            words("REMOTE"),
            words("SINCE"),
            numbers("TX ms"),
            numbers("RX ms"),
            numbers("DETECT ms"),
            numbers("GAP ms"),
            numbers("DOWNS"),
            words("WHY NOT UP"),
        ],
    );
    for session in sessions {
        table.row([
            cell(&session.name),
            cell(&session.address),
            toned(&session.state, tone(&session.state)),
            cell(&session.remote_state),
            cell(duration(session.since_seconds)),
            cell(milliseconds(session.transmit_ms)),
            cell(milliseconds(session.receive_ms)),
            cell(milliseconds(session.detection_ms)),
            cell(
                session
                    .longest_gap_ms
                    .map_or_else(|| "-".to_owned(), milliseconds),
            ),
            number(session.downs),
            cell(why(session)),
        ]);
    }
    table.wrapped().show()
}

fn tone(state: &str) -> Tone {
    match state {
        "up" => Tone::Good,
        "init" | "admin-down" => Tone::Notice,
        _ => Tone::Bad,
    }
}

/// What both sides say of a session that is not up.
fn why(session: &BfdSession) -> String {
    if session.state == "up" {
        return String::new();
    }
    format!(
        "{}; the other side: {}",
        session.diagnostic, session.remote_diagnostic
    )
}

/// Whole milliseconds without a fraction, others with one digit of it.
fn milliseconds(time: f64) -> String {
    let text = format!("{time:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}
