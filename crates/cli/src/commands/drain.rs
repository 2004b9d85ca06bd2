//! `egret drain` and `egret undrain`: routers send elsewhere, and here again.

use std::time::Duration;

use api::http::{Drain, path};

use crate::{
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    text::{printable, rate},
};

/// How far apart the daemon is asked where the drain stands. It looks at traffic no more often.
const LOOK: Duration = Duration::from_millis(500);

/// Begins a drain, and follows it to its end unless nobody wants to wait.
///
/// A drain has no end that is known here: the daemon gives it a time, and ends it by itself.
pub async fn run(daemon: &Daemon, output: &mut Output, no_wait: bool) -> Result<Exit, Failure> {
    let begin = Request::post_nothing(path::DRAIN);
    if no_wait {
        return super::ask(daemon, output, begin, show).await;
    }
    let mut drain: Drain = daemon.ask(begin).await?;
    tell(&drain, output)?;
    let end = loop {
        if let Some(end) = end_of(&drain) {
            break end;
        }
        tokio::time::sleep(LOOK).await;
        let now: Drain = daemon.ask(Request::get(path::DRAIN)).await?;
        if now != drain {
            tell(&now, output)?;
        }
        drain = now;
    };
    if let Some(remark) = remark(&drain) {
        output.remark(&remark)?;
    }
    Ok(end)
}

/// Serves again.
pub async fn end(daemon: &Daemon, output: &mut Output) -> Result<Exit, Failure> {
    super::ask(daemon, output, Request::delete_all(path::DRAIN), show).await
}

/// Prints where the drain stands, at once: somebody waits for it.
fn tell(drain: &Drain, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.json(drain)?;
    } else {
        output.text(&show(drain, output.look()))?;
    }
    output.flush()
}

/// How the command ends, if the drain has ended.
fn end_of(drain: &Drain) -> Option<Exit> {
    match (drain.phase.as_str(), drain.ended.as_deref()) {
        ("drained", Some("ebbed")) => Some(Exit::Fine),
        // Over, or ended by somebody who wants to serve again.
        ("drained" | "serving", _) => Some(Exit::Refused),
        _ => None,
    }
}

/// Why a drain that has ended did not do what it was for.
pub fn remark(drain: &Drain) -> Option<String> {
    match (drain.phase.as_str(), drain.ended.as_deref()) {
        ("drained", Some("time over")) => {
            let left = drain.packets_per_second.unwrap_or_default();
            Some(format!(
                "the time was over while {} packets a second still came",
                rate(left)
            ))
        }
        ("serving", _) => Some("the drain was ended: this gateway serves again".to_owned()),
        _ => None,
    }
}

/// Where the drain stands, in one line.
pub fn show(drain: &Drain, _: Look) -> String {
    let packets = drain.packets_per_second;
    let packets = packets.map_or_else(String::new, |it| format!(", {} packets a second", rate(it)));
    let ended = drain.ended.as_deref().map(printable);
    let ended = ended.map_or_else(String::new, |it| format!(" ({it})"));
    let phase = match drain.phase.as_str() {
        "serving" if drain.ready => "serving: routes are announced".to_owned(),
        "serving" => "serving, but the packet path is not ready: no route is announced".to_owned(),
        "ebbing" => "ebbing: routers are asked to prefer others".to_owned(),
        "withdrawing" => format!("withdrawing{ended}: routes are gone"),
        "drained" => format!("drained{ended}: no route is announced"),
        other => printable(other),
    };
    format!("{phase}{packets}\n")
}
