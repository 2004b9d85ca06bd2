//! What is wrong with a configuration, where, and what to write instead.
//!
//! One text for terminal, log and API: [`Problem`] displays itself the way rustc shows its errors.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// Longest excerpt of a line, in characters. A longer line is cut around the problem, so that
/// neither a terminal nor a response body is flooded by a configuration written in one line.
const EXCERPT_MAX: usize = 120;

/// What stands where an excerpt leaves something out.
const ELLIPSIS: &str = "... ";

/// Whether the configuration can be used in spite of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot be used, and changes nothing.
    Error,
    /// It can be used, but is probably not what was meant.
    Warning,
}

impl Severity {
    /// The word that opens a message.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong, at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Whether the configuration is refused for it.
    pub severity: Severity,
    /// The file, as its reader called it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
    /// The line itself, with what is meant.
    pub excerpt: Excerpt,
    /// The field, `rules[2].pool`; empty for the configuration as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt { text, start, width } = &self.excerpt;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let margin = " ".repeat(shown_length(*start));
        let carets = "^".repeat(shown_length(*width).max(1));

        writeln!(f, "{}: {}", self.severity.label(), printable(&self.message))?;
        writeln!(
            f,
            "{gutter}--> {}:{}:{}",
            printable(&self.file),
            self.line,
            self.column
        )?;
        writeln!(f, "{gutter} |")?;
        writeln!(
            f,
            "{}",
            format!("{number} | {}", printable(text)).trim_end()
        )?;
        writeln!(f, "{gutter} | {margin}{carets}")?;
        write!(f, "{gutter} = help: {}", printable(&self.help))
    }
}

/// The part of a line that is shown, and what of it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Excerpt {
    /// The line, or what surrounds the problem in a very long one.
    pub text: String,
    /// Characters of the text before those that are meant.
    pub start: u32,
    /// Characters that are meant.
    pub width: u32,
}

impl Excerpt {
    /// Cuts an excerpt out of a line: `width` characters are meant, from the `column`th, counted
    /// from 1.
    pub fn of(line: &str, column: u32, width: u32) -> Self {
        let index = usize::try_from(column)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let length = line.chars().count();
        let index = index.min(length);
        let cut = if length > EXCERPT_MAX {
            index.saturating_sub(EXCERPT_MAX / 2)
        } else {
            0
        };

        let shown: String = line.chars().skip(cut).take(EXCERPT_MAX).collect();
        let marked = shown.chars().count().saturating_sub(index - cut);
        let lead = if cut > 0 { ELLIPSIS } else { "" };
        let tail = if cut + EXCERPT_MAX < length {
            ELLIPSIS.trim_end()
        } else {
            ""
        };
        Self {
            text: format!("{lead}{shown}{tail}"),
            start: u32::try_from(lead.len() + index - cut).unwrap_or(u32::MAX),
            width: width.min(u32::try_from(marked).unwrap_or(u32::MAX)),
        }
    }
}

/// Everything that is wrong with one configuration, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problems {
    /// The problems; at least one of them is an error.
    pub problems: Vec<Problem>,
    /// How many more there are than are listed.
    pub omitted: u32,
}

impl Problems {
    /// How many of the listed problems are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}\n")?;
        }
        if let Some(first) = self.problems.first() {
            write!(f, "{}: ", printable(&first.file))?;
        }
        write!(f, "{}", counted(self.count(Severity::Error), "error"))?;
        let warnings = self.count(Severity::Warning);
        if warnings > 0 {
            write!(f, ", {}", counted(warnings, "warning"))?;
        }
        if self.omitted > 0 {
            write!(f, ", and {} more not shown", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A length from a body that may be another's, brought down to what an excerpt can have.
fn shown_length(length: u32) -> usize {
    usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(EXCERPT_MAX + ELLIPSIS.len())
}

/// The text without what would move a terminal's cursor or turn its writing direction: it may come
/// from a file that somebody else wrote. Character for character, so that columns stay true.
fn printable(text: &str) -> String {
    let harmless = |character: char| match character {
        '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests;
