//! Durations: `2h4m`, `90s`.

use std::time::Duration;

use super::{Complaint, complaint, quoted};

/// Units with their seconds and the other words people have for them; the first is ours.
const UNITS: [(u64, &[&str]); 4] = [
    (86_400, &["d", "day", "days"]),
    (3_600, &["h", "hr", "hrs", "hour", "hours"]),
    (60, &["m", "min", "mins", "minute", "minutes"]),
    (1, &["s", "sec", "secs", "second", "seconds"]),
];

/// How much is forgiven.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Units by our word for them, and nothing between the parts.
    Strict,
    /// Units by any of their words, capitals, spaces and commas.
    Loose,
}

/// Reads a duration: numbers, each with a unit behind it.
pub(in super::super) fn duration(word: &str) -> Result<Duration, Complaint> {
    if let Some(duration) = read(word, Spelling::Strict) {
        return Ok(duration);
    }
    let message = format!("{} is not a duration", quoted(word));
    let help = if let Some(meant) = read(word, Spelling::Loose) {
        format!("write `{}`", spelled(meant))
    } else if word.parse::<u32>().is_ok() {
        format!("say the unit: `{word}s` is seconds, `{word}m` minutes")
    } else {
        "write numbers with the units d, h, m and s: `2h4m`, `90s`".to_owned()
    };
    Err(complaint(message, help))
}

fn read(word: &str, spelling: Spelling) -> Option<Duration> {
    let loose = word.to_lowercase().replace([' ', ',', '\t'], "");
    let mut rest = match spelling {
        Spelling::Strict => word,
        Spelling::Loose => loose.as_str(),
    };
    let mut seconds = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = behind
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(behind.len());
        let (unit, after) = behind.split_at(end);
        let size = size(unit, spelling)?;
        seconds = number
            .parse::<u64>()
            .ok()?
            .checked_mul(size)?
            .checked_add(seconds)?;
        rest = after;
    }
    Some(Duration::from_secs(seconds))
}

/// The seconds of a unit.
fn size(unit: &str, spelling: Spelling) -> Option<u64> {
    let known = |names: &[&str]| match spelling {
        Spelling::Strict => names.first() == Some(&unit),
        Spelling::Loose => names.contains(&unit),
    };
    UNITS
        .iter()
        .find(|(_, names)| known(names))
        .map(|(size, _)| *size)
}

/// A duration as an operator would write it.
pub(in super::super) fn spelled(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    for (size, names) in UNITS {
        if rest >= size {
            text += &format!("{}{}", rest / size, names.first().unwrap_or(&""));
            rest %= size;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}
