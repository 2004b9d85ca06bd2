//! Single values: what a word means, or what is wrong with it and what to write instead.

mod address;
mod duration;
mod name;
mod service;
mod size;

pub(super) use address::{pool_addresses, prefix};
pub(super) use duration::{duration, spelled};
pub(super) use name::{interface_name, name};
pub(super) use service::{port_range, service};
pub(super) use size::{size, spelled_size};

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

#[cfg(test)]
mod tests;
