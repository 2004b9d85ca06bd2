//! From text to a tree of words, each with its place. Knows YAML; knows no field.
//!
//! Scalars stay as they were written: `007`, `1e3` and `yes` are words, not numbers, because a name
//! may look like that. Anchors and aliases work within narrow budgets; merge keys, tags of
//! applications and several documents in one file do not.

mod explain;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::words::Complaint;

/// Nesting of lists and mappings. The model needs five.
const DEPTH_MAX: usize = 16;
/// Words, lists and mappings, those that aliases repeat among them. With this, a file of
/// [`super::CONFIG_BYTES_MAX`] cannot become a tree of more than some tens of megabytes.
const NODES_MAX: usize = 200_000;
/// Events of the parser: each list and mapping has two.
const EVENTS_MAX: usize = 2 * NODES_MAX;
/// Lists that are named to be used again. More of them is a program's output, not a person's.
const ANCHORS_MAX: usize = 256;
/// Uses of them: one for each field of each rule that can have a list.
const ALIASES_MAX: usize = 3 * abi::limits::RULES_MAX;
/// Events that the uses repeat, together: some tens for each.
const REPEATED_MAX: usize = 1 << 16;

/// Where something stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// In characters, at least 1.
    pub width: u32,
}

impl Place {
    /// The first character.
    pub const START: Self = Self {
        line: 1,
        column: 1,
        width: 1,
    };

    /// Behind the last character of a text.
    pub fn end_of(text: &str) -> Self {
        let column = lines(text).last().unwrap_or("").chars().count() + 1;
        Self {
            line: saturated(lines(text).count()),
            column: saturated(column),
            width: 1,
        }
    }
}

/// The lines of a text as YAML counts them: a lone carriage return ends one, too.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// A piece of the text.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it stands; a mapping stands where its first key does.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a piece of the text is.
#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing, or one of the words for it.
    Null,
    /// A word, as it was written; of a quoted one, what is between the quotes.
    Word(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order in which it was written, repeated keys and all.
    Mapping(Vec<(Node, Node)>),
}

/// Why a text is not YAML that we read.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub place: Place,
    pub complaint: Complaint,
}

/// Reads a text.
pub(super) fn read(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: EVENTS_MAX,
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            // The second is refused by a message of its own.
            max_documents: 2,
            max_anchors: ANCHORS_MAX,
            max_aliases: ALIASES_MAX,
            max_recorded_anchor_events: REPEATED_MAX,
            max_recorded_anchor_bytes: super::CONFIG_BYTES_MAX,
            max_total_scalar_bytes: 16 * super::CONFIG_BYTES_MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(located(raw, text)),
        Err(error) => Err(explain::explain(error.without_snippet(), text)),
    }
}

/// A piece of the text as the parser hands it over.
enum Raw {
    Null,
    Text(String),
    /// A number or a truth value; the text is only the parser's reading of it.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word, a list or a mapping")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}

fn located(raw: Spanned<Raw>, text: &str) -> Node {
    // What an alias repeats is to be changed where it was first written.
    let location = raw.defined;
    let span = location.span();
    let written = span
        .byte_offset()
        .zip(span.byte_len())
        .and_then(|(start, length)| text.get(index(start)..index(start.saturating_add(length))))
        .unwrap_or("");
    let first_line = lines(written).next().unwrap_or("").trim_end();
    let place = Place {
        line: saturated(index(location.line()).max(1)),
        column: saturated(index(location.column()).max(1)),
        width: saturated(first_line.chars().count().max(1)),
    };
    match raw.value {
        Raw::Null => Node {
            place,
            kind: Kind::Null,
        },
        Raw::Text(word) => Node {
            place,
            kind: Kind::Word(word),
        },
        Raw::Typed(reading) => {
            let plain = written.trim();
            let quoted = plain.is_empty() || plain.starts_with(['"', '\'', '|', '>']);
            let word = if quoted { reading } else { plain.to_owned() };
            Node {
                place,
                kind: Kind::Word(word),
            }
        }
        Raw::List(items) => {
            let items = items.into_iter().map(|item| located(item, text)).collect();
            Node {
                place,
                kind: Kind::List(items),
            }
        }
        Raw::Mapping(entries) => {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| (located(key, text), located(value, text)))
                .collect();
            let place = entries.first().map_or(place, |(key, _)| key.place);
            Node {
                place,
                kind: Kind::Mapping(entries),
            }
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
