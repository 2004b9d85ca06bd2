//! The YAML parser's errors in an operator's words, with what to do about them.

use serde_saphyr::{Error, budget::BudgetBreach};

use super::{
    super::words::{Complaint, complaint, quoted},
    ALIASES_MAX, ANCHORS_MAX, NODES_MAX, Place, REPEATED_MAX, SyntaxError, index, lines, saturated,
};

pub(super) fn explain(error: &Error, text: &str) -> SyntaxError {
    let location = error.location().filter(|location| location.line() > 0);
    let place = location.map_or(Place::START, |location| Place {
        line: saturated(index(location.line())),
        column: saturated(index(location.column()).max(1)),
        width: 1,
    });
    let above = index(u64::from(place.line)).saturating_sub(1);
    let line = lines(text).nth(above).unwrap_or("");
    SyntaxError {
        place,
        complaint: reworded(error, line),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's errors may grow"
)]
fn reworded(error: &Error, line: &str) -> Complaint {
    match error {
        Error::AliasError { error, .. } => reworded(error, line),
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => complaint(NESTED, UNNESTED),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => complaint(
            "up to here there are more values, or more anchors and aliases, than are read",
            format!(
                "write at most {NODES_MAX} values, {ANCHORS_MAX} anchors and {ALIASES_MAX} \
                 aliases, which together repeat at most {REPEATED_MAX} values"
            ),
        ),
        Error::MultipleDocuments { .. } => complaint(
            "a second document begins here",
            "remove the `---`: one file is one configuration",
        ),
        Error::MergeKeyNotAllowed { .. } => complaint(
            "merge keys (`<<`) are not read here",
            "write the fields out; a list can be named with `&name` and used again with `*name`",
        ),
        Error::UnsupportedTag { tag, .. } => complaint(
            format!("the tag {} means nothing here", quoted(tag)),
            "remove it; a value that begins with `!` belongs in quotes",
        ),
        Error::UnknownAnchor { .. } => complaint(
            "this alias names an anchor that stands nowhere above it",
            "name a list with `&name` before using it as `*name`; a value that begins with `*` \
             belongs in quotes",
        ),
        Error::ExternalMessage { msg, .. } | Error::Message { msg, .. } => advised(msg, line),
        other => advised(&other.to_string(), line),
    }
}

const NESTED: &str = "this is nested more deeply than anything in a configuration";
const UNNESTED: &str = "check the indentation, and close brackets that were opened above";

/// A message of the parser with what to do about it.
fn advised(said: &str, line: &str) -> Complaint {
    let lead = line
        .split(|c: char| !c.is_whitespace())
        .next()
        .unwrap_or("");
    if lead.contains('\t') {
        return complaint("this line is indented with a tab", "indent with spaces");
    }
    if said.contains("recursion limit") {
        return complaint(NESTED, UNNESTED);
    }
    let advice = ADVICE.iter().find(|(words, _)| said.contains(words));
    let help = advice.map_or("compare with an example in deploy/examples", |(_, help)| {
        help
    });
    complaint(format!("this is not YAML: {said}"), help)
}

/// What to do about a message, by words in it.
const ADVICE: [(&str, &str); 10] = [
    (
        "mapping values are not allowed",
        "one `field: value` stands on a line: check that the line above has its `:`, that both are \
         indented alike, and put a value with `: ` in it in quotes",
    ),
    (
        "did not find expected key",
        "indent this line exactly like the fields it belongs to",
    ),
    (
        "did not find expected '-'",
        "indent this line like the fields of the entry above, or begin a new entry with `- `",
    ),
    ("quote", "close the quote on the line where it was opened"),
    (
        "flow",
        "close the `[` or `{` that was opened above, with commas between its values",
    ),
    (
        "':' indicator",
        "close the `[` or `{` that was opened above",
    ),
    ("`\\u{", "remove this character, which cannot be seen"),
    (
        "unexpected character",
        "put a value that begins with this character in quotes",
    ),
    ("tabs", "indent with spaces"),
    ("simple key", "end the line with `: value`, or remove it"),
];
