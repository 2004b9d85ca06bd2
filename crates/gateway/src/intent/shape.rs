//! From the tree to the model, [`api::Config`]: finds fields that are unknown, repeated, empty, or
//! of the wrong kind, all of them in one pass.
//!
//! The model's own `Deserialize` says which fields there are, so they are written down once. Where
//! a value cannot be what the model wants, the problem is reported, the value is marked as broken
//! and something harmless stands in for it, so that serde goes on to the next.

use std::fmt;

use api::Config;
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::StrDeserializer,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{
    near,
    report::{Path, Report},
    words::{Complaint, complaint, quoted},
    yaml::{Kind, Node},
};

/// Fills the model from the tree.
pub(super) fn fill(tree: &Node, report: &mut Report<'_>) -> Config {
    match Config::deserialize(Value {
        node: tree,
        path: Path::ROOT,
        report,
    }) {
        Ok(config) => config,
        Err(Unfillable(why)) => {
            let help = "this is a defect of egret: please report it with the file";
            report.broken(
                &Path::ROOT,
                complaint(format!("the model cannot be filled: {why}"), help),
            );
            Config::default()
        }
    }
}

/// The model asked for a kind of value that this file does not know: our own mistake.
#[derive(Debug)]
struct Unfillable(String);

impl fmt::Display for Unfillable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfillable {}

impl de::Error for Unfillable {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

/// A piece of the tree that is to become a piece of the model.
struct Value<'r, 'a> {
    node: &'r Node,
    path: Path,
    report: &'r mut Report<'a>,
}

impl Value<'_, '_> {
    fn broken(&mut self, complaint: Complaint) {
        self.report.broken(&self.path, complaint);
    }

    /// How messages name it.
    fn name(&self) -> String {
        match self.path.to_string() {
            root if root.is_empty() => "the configuration".to_owned(),
            path => quoted(&path),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = Unfillable;

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfillable> {
        let known = match &self.node.kind {
            Kind::Mapping(entries) => known_entries(&self.path, entries, fields, self.report),
            // A section of which every line is commented out.
            Kind::Null => Vec::new(),
            Kind::Word(_) | Kind::List(_) => {
                let what = format!("{} is not a group of fields", self.name());
                let help = format!("write `field: value` lines below it; {}", listed(fields));
                self.broken(complaint(what, help));
                Vec::new()
            }
        };
        visitor.visit_map(Fields {
            entries: known.into_iter(),
            value: None,
            parent: self,
        })
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfillable> {
        match &self.node.kind {
            Kind::Null => {
                let what = format!("{} has no value", self.name());
                self.broken(complaint(what, "write a value, or remove the line"));
                visitor.visit_none()
            }
            Kind::Word(_) | Kind::List(_) | Kind::Mapping(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfillable> {
        let items = match &self.node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Null => &[],
            Kind::Word(word) => {
                let help = format!("write a list, even of one: `[{}]`", cropped(word));
                self.broken(complaint(format!("{} is not a list", self.name()), help));
                &[]
            }
            Kind::Mapping(_) => {
                let help = "begin each entry with `- `";
                self.broken(complaint(format!("{} is not a list", self.name()), help));
                &[]
            }
        };
        visitor.visit_seq(Items {
            items: items.iter().enumerate(),
            parent: self,
        })
    }

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfillable> {
        match &self.node.kind {
            Kind::Word(word) => visitor.visit_str(word),
            Kind::Null => {
                let help = "write a value behind the `-`, or remove the line";
                self.broken(complaint(format!("{} has no value", self.name()), help));
                visitor.visit_str("")
            }
            Kind::List(_) => {
                let help = "write one value, without `[` and `-`";
                self.broken(complaint(
                    format!("{} is one value, not a list", self.name()),
                    help,
                ));
                visitor.visit_str("")
            }
            Kind::Mapping(_) => {
                let help = "write one value; in quotes, if it has `: ` in it";
                self.broken(complaint(
                    format!("{} is one value, not fields", self.name()),
                    help,
                ));
                visitor.visit_str("")
            }
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfillable> {
        let number = match &self.node.kind {
            Kind::Word(word) => word.parse().ok(),
            Kind::Null | Kind::List(_) | Kind::Mapping(_) => None,
        };
        if number.is_none() {
            let what = format!("{} is not a whole number", self.name());
            self.broken(complaint(what, "write digits only, such as `262144`"));
        }
        visitor.visit_u64(number.unwrap_or(0))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfillable> {
        Err(de::Error::custom(format_args!(
            "no field can hold {}",
            Expected(&visitor)
        )))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct map enum identifier ignored_any
    }
}

/// What a visitor waits for.
struct Expected<'v, V>(&'v V);

impl<'de, V: Visitor<'de>> fmt::Display for Expected<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// The entries whose keys are fields, each once; reports the others.
fn known_entries<'r>(
    path: &Path,
    entries: &'r [(Node, Node)],
    fields: &'static [&'static str],
    report: &mut Report<'_>,
) -> Vec<(&'static str, &'r Node)> {
    let mut known: Vec<(&'static str, &Node)> = Vec::new();
    let (mut lines, mut meant) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        let Kind::Word(word) = &key.kind else {
            let help = format!("write `field: value`; {}", listed(fields));
            report.error_at(key.place, path, complaint("this is no field", help));
            continue;
        };
        let Some(&field) = fields.iter().find(|field| *field == word) else {
            let near = near::nearest(word, fields.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => listed(fields),
            };
            meant.extend(near);
            let what = format!("there is no field {}", quoted(word));
            report.error_at(key.place, &path.field(word), complaint(what, help));
            continue;
        };
        if let Some(index) = known.iter().position(|(name, _)| *name == field) {
            let line = lines.get(index).copied().unwrap_or(key.place.line);
            let what = format!("`{field}` is given twice; first in line {line}");
            let help = "keep one of the two; values of lists go into one list";
            report.error_at(key.place, &path.field(field), complaint(what, help));
            continue;
        }
        known.push((field, value));
        lines.push(key.place.line);
    }
    // A field that is there by a wrong name is not missing as well.
    let given = |field: &&str| known.iter().any(|(name, _)| name == field);
    for field in meant.iter().filter(|field| !given(field)) {
        report.distrust(&path.field(field));
    }
    known
}

fn listed(fields: &[&str]) -> String {
    let names: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    format!("the fields here are {}", names.join(", "))
}

/// A word that fits into a message as it is.
fn cropped(word: &str) -> &str {
    if word.len() <= 40 { word } else { "..." }
}

/// The known fields of a mapping.
struct Fields<'r, 'a> {
    entries: std::vec::IntoIter<(&'static str, &'r Node)>,
    value: Option<(&'static str, &'r Node)>,
    parent: Value<'r, 'a>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Unfillable;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unfillable> {
        self.value = self.entries.next();
        let key = |(name, _): (&'static str, &Node)| {
            let name: StrDeserializer<'_, Unfillable> = name.into_deserializer();
            seed.deserialize(name)
        };
        self.value.map(key).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Unfillable> {
        let Some((name, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let path = self.parent.path.field(name);
        seed.deserialize(Value {
            node,
            path,
            report: self.parent.report,
        })
    }
}

/// The items of a list.
struct Items<'r, 'a> {
    items: std::iter::Enumerate<std::slice::Iter<'r, Node>>,
    parent: Value<'r, 'a>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Unfillable;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unfillable> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let path = self.parent.path.item(index);
        seed.deserialize(Value {
            node,
            path,
            report: self.parent.report,
        })
        .map(Some)
    }
}
