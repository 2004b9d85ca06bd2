//! Numbers as people say them, and text that cannot harm a terminal.
//!
//! Only for people: programs read the exact numbers in the JSON.

/// Characters of a foreign text in a message.
const EXCERPT_MAX: usize = 200;

/// A duration by its two largest units: `9s`, `2m5s`, `2h4m`, `3d4h`.
pub fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

    let mut rest = seconds;
    let mut text = String::new();
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit);
    for (unit, name) in UNITS.iter().skip(largest.unwrap_or(3)).take(2) {
        let count = rest / unit;
        rest %= unit;
        if count > 0 || text.is_empty() {
            text += &format!("{count}{name}");
        }
    }
    text
}

/// A span that may be far below a second: `0.4 ms`, `12 ms`, `1.2 s`.
pub fn span(seconds: f64) -> String {
    if seconds < 0.000_95 {
        format!("{:.0} us", seconds * 1e6)
    } else if seconds < 0.009_95 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 0.999_5 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

/// Bytes in binary units: `400 B`, `1.2 KiB`, `9.8 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut name = "B";
    for unit in UNITS {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    format!("{value:.1} {name}")
}

/// A rate in decimal units, three digits: `0`, `0.5`, `830`, `1.25 M`.
pub fn rate(per_second: f64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];

    if per_second < 999.5 {
        return if (0.05..9.95).contains(&per_second) {
            format!("{per_second:.1}")
        } else {
            format!("{per_second:.0}")
        };
    }
    let mut value = per_second;
    let mut name = "";
    for unit in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        name = unit;
    }
    match value {
        value if value < 9.995 => format!("{value:.2} {name}"),
        value if value < 99.95 => format!("{value:.1} {name}"),
        value => format!("{value:.0} {name}"),
    }
}

/// A part of a whole: `0 %`, `3.2 %`, `97 %`. What is not nothing is never shown as nothing, and
/// what is not all never as all.
pub fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    match share {
        share if part >= whole => format!("{share:.0} %"),
        share if share < 0.1 => "<0.1 %".to_owned(),
        share if share < 9.95 => format!("{share:.1} %"),
        share if share < 99.0 => format!("{share:.0} %"),
        share => format!("{:.1} %", share.min(99.9)),
    }
}

/// A number of things: `1 rule`, `2 rules`.
pub fn counted(count: impl Into<u64>, thing: &str) -> String {
    let count = count.into();
    let plural = if count == 1 {
        ""
    } else if thing.ends_with('s') {
        "es"
    } else {
        "s"
    };
    format!("{count} {thing}{plural}")
}

/// A text in one line, without what would move a terminal's cursor or turn its writing direction.
pub fn printable(text: &str) -> String {
    let harmless = |character: char| match character {
        '\n' | '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    text.chars().map(harmless).collect()
}

/// The beginning of a text that may be long.
pub fn excerpt(text: &str) -> String {
    let text = text.trim();
    let mut shown: String = text.chars().take(EXCERPT_MAX).collect();
    if shown.len() < text.len() {
        shown += "...";
    }
    printable(&shown)
}

#[cfg(test)]
mod tests;
