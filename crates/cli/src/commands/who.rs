//! `egret who`: who had an external address and port, now or long ago.

use api::http::{Session, SessionState, Who, path};

use crate::{
    args::WhoArgs,
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, Tone, cell, numbers, toned, words},
    text::{bytes, printable},
};

/// Asks, and says what else is to be known of the answer.
pub async fn run(daemon: &Daemon, output: &mut Output, args: WhoArgs) -> Result<Exit, Failure> {
    let request = Request::query(path::WHO, &args.query());
    if output.is_json() {
        return super::hand_on(daemon, output, request).await;
    }
    let who: Who = daemon.ask(request).await?;
    output.text(&show(&who, output.look()))?;
    for remark in remarks(&who) {
        output.remark(&remark)?;
    }
    Ok(Exit::Fine)
}

/// One line for each flow, and before them one for each block; nothing if there is none.
pub fn show(who: &Who, look: Look) -> String {
    let (blocks, sessions) = (blocks(who, look), sessions(who, look));
    let between = match blocks.is_empty() || sessions.is_empty() {
        true => "",
        false => "\n",
    };
    blocks + between + &sessions
}

/// Whose own the port was.
fn blocks(who: &Who, look: Look) -> String {
    if who.blocks.is_empty() {
        return String::new();
    }
    let titles = ["CLIENT", "BLOCK", "POOL", "SINCE"].map(words);
    let mut table = Table::new(look, &titles);
    for block in &who.blocks {
        table.row([
            cell(block.client.to_string()),
            cell(format!("{}:{}-{}", block.address, block.first, block.last)),
            cell(&block.pool),
            cell(second(&block.since)),
        ]);
    }
    table.show()
}

fn sessions(who: &Who, look: Look) -> String {
    if who.sessions.is_empty() {
        return String::new();
    }
    let mut table = Table::new(
        look,
        &[
            words("CLIENT"),
            words("REMOTE"),
            words("STATE"),
            words("POOL"),
            words("OPENED"),
            words("CLOSED"),
            numbers("OUT"),
            numbers("IN"),
        ],
    );
    for session in &who.sessions {
        let count = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), bytes);
        table.row([
            cell(session.client.to_string()),
            cell(session.remote.to_string()),
            toned(state(session), tone(session.state)),
            cell(session.pool.as_deref().unwrap_or("-")),
            cell(second(&session.opened)),
            cell(session.closed.as_deref().map_or("-".to_owned(), second)),
            cell(count(session.bytes_out)),
            cell(count(session.bytes_in)),
        ]);
    }
    table.show()
}

/// What the table does not say.
pub fn remarks(who: &Who) -> Vec<String> {
    let mut remarks = Vec::new();
    if who.sessions.is_empty() && who.blocks.is_empty() {
        let when = if who.since == who.until {
            format!("at {}", printable(&who.since))
        } else {
            let (since, until) = (printable(&who.since), printable(&who.until));
            format!("from {since} to {until}")
        };
        let (external, protocol) = (who.external, printable(&who.protocol));
        remarks.push(format!(
            "nobody is known to have had {external}/{protocol} {when}"
        ));
    }
    remarks.extend(who.notes.iter().map(|note| printable(note).to_string()));
    remarks
}

/// Open, unknown, or why it ended.
fn state(session: &Session) -> String {
    match (session.state, &session.reason) {
        (SessionState::Closed, Some(reason)) => format!("closed, {reason}"),
        (state, _) => state.label().to_owned(),
    }
}

const fn tone(state: SessionState) -> Tone {
    match state {
        SessionState::Open => Tone::Good,
        SessionState::Closed => Tone::Plain,
        SessionState::Unknown => Tone::Notice,
    }
}

/// A time of RFC 3339 to the second, as `--at` takes it; nobody reads microseconds in a table.
fn second(time: &str) -> String {
    match time.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => time.to_owned(),
    }
}
