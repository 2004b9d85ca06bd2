//! `egret mappings`: external ports that somebody asked for.

use api::http::{Mapping, MappingRequest, Mappings, WithdrawQuery, path};

use crate::{
    args::{AddArgs, MappingsCommand, RemoveArgs},
    daemon::{Daemon, Request},
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, Tone, cell, toned, words},
    text::{duration, printable},
};

/// Lists, asks or withdraws.
pub async fn run(
    daemon: &Daemon,
    output: &mut Output,
    command: Option<MappingsCommand>,
) -> Result<Exit, Failure> {
    match command.unwrap_or(MappingsCommand::List) {
        MappingsCommand::List => {
            super::ask(daemon, output, Request::get(path::MAPPINGS), show).await
        }
        MappingsCommand::Add(add) => {
            let request = Request::post(path::MAPPINGS, &asked(add));
            super::ask(daemon, output, request, show_granted).await
        }
        MappingsCommand::Remove(remove) => {
            let request = Request::delete(path::MAPPINGS, &withdrawn(remove));
            super::ask(daemon, output, request, show_withdrawn).await
        }
    }
}

fn asked(add: AddArgs) -> MappingRequest {
    MappingRequest {
        protocol: add.protocol,
        internal: add.internal,
        external: add.external,
        prefer_failure: add.only,
        lifetime_seconds: add.lifetime.map(|lifetime| lifetime.as_secs()),
        owner: add.owner,
    }
}

fn withdrawn(remove: RemoveArgs) -> WithdrawQuery {
    WithdrawQuery {
        protocol: remove.protocol,
        internal: remove.internal,
        owner: remove.owner,
    }
}

/// One line for each.
pub fn show(mappings: &Mappings, look: Look) -> String {
    if mappings.mappings.is_empty() {
        return "no external port was asked for\n".to_owned();
    }
    let mut table = Table::new(
        look,
        &[
            words("PROTOCOL"),
            words("EXTERNAL"),
            words("INTERNAL"),
            words("POOL"),
            words("FROM"),
            words("BY"),
            words("ENDS"),
        ],
    );
    for mapping in &mappings.mappings {
        let from = match mapping.from.as_slice() {
            [] => "anybody".to_owned(),
            prefixes => prefixes.join(","),
        };
        let by = match (&mapping.forward, &mapping.owner) {
            (Some(forward), _) => format!("forward {forward}"),
            (None, Some(owner)) => format!("owner {owner}"),
            (None, None) => "asked for".to_owned(),
        };
        let ends = mapping.expires_in_seconds;
        let ends = ends.map_or_else(
            || "never".to_owned(),
            |left| format!("in {}", duration(left)),
        );
        table.row([
            cell(mapping.protocol.label()),
            cell(ports(&mapping.external.to_string(), mapping)),
            cell(ports(&mapping.internal.to_string(), mapping)),
            cell(mapping.pool.as_deref().unwrap_or("-")),
            cell(from),
            cell(by),
            match mapping.standing {
                true => cell(ends),
                false => toned("no room", Tone::Bad),
            },
        ]);
    }
    table.show()
}

/// An endpoint, or those of a range.
fn ports(endpoint: &str, mapping: &Mapping) -> String {
    let more = mapping.ports.saturating_sub(1);
    match endpoint.rsplit_once(':') {
        Some((_, first)) if more > 0 => {
            let first: u32 = first.parse().unwrap_or_default();
            format!("{endpoint}-{}", first.saturating_add(more))
        }
        Some(_) | None => endpoint.to_owned(),
    }
}

/// What was granted.
pub fn show_granted(mapping: &Mapping, _: Look) -> String {
    let lifetime = duration(mapping.expires_in_seconds.unwrap_or_default());
    format!("{} for {lifetime}, unless it is renewed\n", way(mapping))
}

/// What was withdrawn.
pub fn show_withdrawn(mapping: &Mapping, _: Look) -> String {
    format!(
        "{} no longer; its flows go on until they end\n",
        way(mapping)
    )
}

fn way(mapping: &Mapping) -> String {
    let (external, internal) = (mapping.external, mapping.internal);
    let pool = mapping.pool.as_deref().map(printable);
    let pool = pool.map_or_else(String::new, |pool| format!(" of pool {pool}"));
    format!(
        "{} {external}{pool} leads to {internal}",
        mapping.protocol.label()
    )
}
