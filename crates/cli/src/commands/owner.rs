//! `egret owner`: which member of a cluster serves a flow.

use api::http::{Owner, OwnerQuery, path};

use super::cluster::tone;
use crate::{
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, cell, toned, words},
    text::printable,
};

/// Asks by a tuple, which may come in one word or in three, or by an external address and port.
pub async fn run(daemon: &Daemon, output: &mut Output, tuple: &[String]) -> Result<Exit, Failure> {
    let query = OwnerQuery {
        tuple: tuple.join(" "),
    };
    super::ask(daemon, output, Request::query(path::OWNER, &query), show).await
}

/// Whose it is and why, then one line for each member in the order of the bucket.
pub fn show(owner: &Owner, look: Look) -> String {
    if owner.members.is_empty() {
        return "this gateway is alone: it serves every flow\n".to_owned();
    }
    let bucket = owner.bucket;
    let whose = match (&owner.owner, &owner.before) {
        (None, _) => "it is not known yet whose that is".to_owned(),
        (Some(owner), None) => format!("served by {}", printable(owner)),
        (Some(owner), Some(before)) => format!(
            "served by {}, and by {}, which held it before, if that has the flow",
            printable(owner),
            printable(before)
        ),
    };
    let here = match owner.here.as_str() {
        "serves" => "this gateway has the flow, and serves it".to_owned(),
        "copy" => "this gateway keeps a copy of the flow".to_owned(),
        "absent" => "this gateway has no such flow".to_owned(),
        other => printable(other),
    };
    let because = printable(&owner.because);
    let mut text = format!("bucket {bucket}: {whose}\n{because}\n{here}");
    if let Some(flow) = &owner.flow {
        text += &format!(": {} as {} to {}", flow.client, flow.external, flow.remote);
    }
    text += "\n\n";
    let mut table = Table::new(look, &["MEMBER", "STATE", "WHY"].map(words));
    for member in &owner.members {
        table.row([
            cell(&member.name),
            toned(&member.state, tone(&member.state)),
            cell(&member.why),
        ]);
    }
    text + &table.wrapped().show()
}
