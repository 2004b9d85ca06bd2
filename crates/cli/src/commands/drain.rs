//! `egret drain` and `egret undrain`: routers send elsewhere, and here again; other members take the flows, and
//! give them back.

mod follow;

use std::time::{Duration, Instant};

use api::http::{Drain, HandOver, Moving, path};

use crate::{
    args::WaitArgs,
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    text::{printable, rate},
};

pub use follow::{Aim, Follow};

/// How far apart the daemon is asked where the drain stands. It looks at traffic no more often.
const LOOK: Duration = Duration::from_millis(500);

/// Begins a drain, and follows it to its end unless nobody wants to wait.
///
/// A drain has no end that is known here: the daemon gives it a time, and ends it by itself.
pub async fn run(daemon: &Daemon, output: &mut Output, wait: &WaitArgs) -> Result<Exit, Failure> {
    let begin = Request::post_nothing(path::DRAIN);
    if wait.no_wait {
        return super::ask(daemon, output, begin, show).await;
    }
    follow(
        daemon,
        output,
        (begin, Follow::new(Aim::Leave, wait.timeout)),
    )
    .await
}

/// Serves again.
pub async fn end(daemon: &Daemon, output: &mut Output, wait: &WaitArgs) -> Result<Exit, Failure> {
    let begin = Request::delete_all(path::DRAIN);
    if wait.no_wait {
        return super::ask(daemon, output, begin, show).await;
    }
    follow(
        daemon,
        output,
        (begin, Follow::new(Aim::Stay, wait.timeout)),
    )
    .await
}

/// Asks for it, and says where it stands until it is done, or it is too late.
async fn follow(
    daemon: &Daemon,
    output: &mut Output,
    (begin, mut follow): (Request, Follow),
) -> Result<Exit, Failure> {
    let mut drain: Drain = daemon.ask(begin).await?;
    let mut told = String::new();
    let end = loop {
        let end = follow.look(&drain, Instant::now());
        let text = show(&drain, output.look());
        if text != told {
            tell(&drain, &text, output)?;
            told = text;
        }
        if let Some(end) = end {
            break end;
        }
        tokio::time::sleep(LOOK).await;
        drain = daemon.ask(Request::get(path::DRAIN)).await?;
    };
    if let Some(remark) = follow.remark(&end, &drain) {
        output.remark(&remark)?;
    }
    Ok(end.exit())
}

/// Prints where the drain stands, at once: somebody waits for it.
fn tell(drain: &Drain, text: &str, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.json(drain)?;
    } else {
        output.text(text)?;
    }
    output.flush()
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
    let moves = drain.hand_over.as_ref();
    let moves = moves.map_or_else(String::new, |it| format!("; {}", moves_of(it)));
    format!("{phase}{packets}{moves}\n")
}

/// What is on its way between this member and others.
fn moves_of(hand_over: &HandOver) -> String {
    let HandOver {
        copied,
        leaving,
        done,
        owns,
        going,
        coming,
    } = hand_over;
    let buckets = |all: &[Moving]| all.iter().map(|it| it.buckets).sum::<u32>();
    let waiting = |all: &[Moving]| all.iter().map(|it| it.waiting).sum::<u64>();
    match (leaving, copied, done) {
        (true, false, _) => {
            "flows are not copied between members, and those that there are stay here".to_owned()
        }
        (false, false, _) => format!("flows are begun in {owns} buckets"),
        (true, true, true) => "all flows are at other members".to_owned(),
        (true, true, false) => {
            let left = owns + buckets(going);
            match waiting(going) {
                0 => format!("{left} buckets are to be handed over"),
                more => format!(
                    "{left} buckets are to be handed over, {more} changes of flows are on their way"
                ),
            }
        }
        (false, true, true) => {
            format!("flows are begun in {owns} buckets, and all that were elsewhere are here")
        }
        (false, true, false) => {
            format!(
                "flows of {} buckets are to come from other members",
                buckets(coming)
            )
        }
    }
}
