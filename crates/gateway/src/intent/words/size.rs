//! Sizes of files: `128MiB`, `1GiB`.

use super::{Complaint, complaint, quoted};

/// Units with their bytes; what people also write for them.
const UNITS: [(u64, &str, &[&str]); 3] = [
    (1 << 30, "GiB", &["g", "gb", "gib"]),
    (1 << 20, "MiB", &["m", "mb", "mib"]),
    (1 << 10, "KiB", &["k", "kb", "kib"]),
];

/// Reads a size: a whole number with a unit behind it.
pub(in super::super) fn size(word: &str) -> Result<u64, Complaint> {
    let digits = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let exact = UNITS.iter().find(|(_, name, _)| *name == unit);
    if let Some(size) = exact.and_then(|(unit, ..)| number.parse::<u64>().ok()?.checked_mul(*unit))
    {
        return Ok(size);
    }
    let unit = unit.trim().to_lowercase();
    let meant = UNITS
        .iter()
        .find(|(_, _, words)| words.contains(&unit.as_str()));
    let help = match meant {
        Some((_, name, _)) if !number.is_empty() => format!("write `{number}{name}`"),
        Some(_) | None if !number.is_empty() && unit.is_empty() => {
            format!("say the unit: `{number}MiB`, `{number}GiB`")
        }
        Some(_) | None => "write a whole number with the unit KiB, MiB or GiB: `128MiB`".to_owned(),
    };
    Err(complaint(format!("{} is not a size", quoted(word)), help))
}

/// A size as an operator would write it.
pub(in super::super) fn spelled_size(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(unit, ..)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes} bytes"),
            |(unit, name, _)| format!("{}{name}", bytes / unit),
        )
}
