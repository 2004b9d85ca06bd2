//! Single values: what a word means, or what is wrong with it and what to write instead.

mod address;
mod duration;
mod name;
mod routing;
mod service;
mod size;

pub(super) use address::{host, host_and_port, pool_addresses, prefix, prefix4, prefix64, router};
pub(super) use duration::{duration, spelled};
pub(super) use name::{interface_name, name};
pub(super) use routing::{community, hops, interval, large_community, remote_system, system};
pub(super) use service::{port, port_range, service};
pub(super) use size::{size, spelled_size};

use abi::{Dependence, Protocol, Refusal};

use super::near;

/// Longest piece of a value that a message repeats, in characters: the excerpt shows the rest.
const QUOTED_MAX: usize = 48;

/// What is wrong with a value, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub message: String,
    pub help: String,
}

/// Makes a complaint.
pub(super) fn complaint(message: impl Into<String>, help: impl Into<String>) -> Complaint {
    Complaint {
        message: message.into(),
        help: help.into(),
    }
}

/// A value as messages show it.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("`{}...`", value.get(..end).unwrap_or("")),
        None => format!("`{value}`"),
    }
}

/// The meaning of one of several words.
pub(super) fn choice<T: Copy>(
    what: &str,
    choices: &[(&str, T)],
    word: &str,
) -> Result<T, Complaint> {
    if let Some((_, meaning)) = choices.iter().find(|(name, _)| *name == word) {
        return Ok(*meaning);
    }
    let message = format!("there is no {what} {}", quoted(word));
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let help = match near::nearest(word, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of `{}`", names.join("`, `")),
    };
    Err(complaint(message, help))
}

/// On or off, or YAML's own words for that.
pub(super) fn switch(word: &str) -> Result<bool, Complaint> {
    match word {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => choice("setting", &[("on", true), ("off", false)], word),
    }
}

/// What of a remote a mapping or a filter depends on, by the RFC's word.
pub(super) fn dependence(word: &str) -> Result<Dependence, Complaint> {
    choice(
        "behaviour",
        &Dependence::ALL.map(|it| (it.label(), it)),
        word,
    )
}

/// How a client is told that there is no room for its flow.
pub(super) fn refusal(word: &str) -> Result<Refusal, Complaint> {
    choice("refusal", &Refusal::ALL.map(|it| (it.label(), it)), word)
}

/// A protocol that may be translated by address.
pub(super) fn by_address(word: &str) -> Result<Protocol, Complaint> {
    let choices = [
        ("sctp", Protocol::Sctp),
        ("gre", Protocol::Gre),
        ("esp", Protocol::Esp),
    ];
    choice("protocol that is translated by address", &choices, word)
}

#[cfg(test)]
mod tests;
