//! Names of pools and rules, and the kernel's names of interfaces.

use super::{Complaint, complaint, quoted};

/// Letters of a name: those of a DNS label, so that a name can be part of one, of a metric's label
/// and of a Kubernetes object.
const NAME_MAX: usize = 63;
const _: () = assert!(
    NAME_MAX < abi::limits::NAME_BYTES,
    "a name ends with a zero in the kernel"
);

/// Bytes of an interface's name: the kernel's `IFNAMSIZ` without the zero at its end.
const INTERFACE_NAME_MAX: usize = 15;

/// The name of a pool or a rule; `what` says of which.
pub(in super::super) fn name(what: &str, word: &str) -> Result<String, Complaint> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = word.starts_with('-') || word.ends_with('-');
    if !word.is_empty() && word.len() <= NAME_MAX && word.chars().all(letter) && !edges {
        return Ok(word.to_owned());
    }
    let message = format!("{} cannot be the name of a {what}", quoted(word));
    let rule = format!("1 to {NAME_MAX} of the letters a-z, digits and `-`, which is at no end");
    let help = match likely(word) {
        near if near.is_empty() => format!("a name has {rule}"),
        near => format!("a name has {rule}: `{near}`"),
    };
    Err(complaint(message, help))
}

/// The name that comes nearest to a word.
fn likely(word: &str) -> String {
    let mut name = String::new();
    for character in word.chars().take(NAME_MAX) {
        let lower = character.to_ascii_lowercase();
        if lower.is_ascii_lowercase() || lower.is_ascii_digit() {
            name.push(lower);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// The kernel's name of an interface.
pub(in super::super) fn interface_name(word: &str) -> Result<String, Complaint> {
    let help = "write it as `ip link` shows it, without what stands behind `@`";
    let illegal = |c: char| matches!(c, '/' | ':' | '@') || c.is_whitespace() || c.is_control();
    if word.is_empty() || matches!(word, "." | "..") || word.contains(illegal) {
        let message = format!("{} cannot be the name of an interface", quoted(word));
        return Err(complaint(message, help));
    }
    if word.len() > INTERFACE_NAME_MAX {
        let message = format!(
            "{} has {} bytes; the name of an interface has at most {INTERFACE_NAME_MAX}",
            quoted(word),
            word.len()
        );
        return Err(complaint(message, help));
    }
    Ok(word.to_owned())
}
