//! Laws of indentation: readable, and the same JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A text indented, in pieces of the given length.
fn indented(text: &str, piece: usize) -> String {
    let (mut indenter, mut output) = (Indenter::default(), Vec::new());
    for piece in text.as_bytes().chunks(piece) {
        indenter.push(piece, &mut output);
    }
    String::from_utf8(output).unwrap()
}

#[test]
fn each_value_has_its_line_and_empty_brackets_stay_together() {
    let shown = indented(r#"{"a":[1,2.50],"b":{ },"c":[],"d":"x, {y}\"]"}"#, 3);

    let expected = r#"{
  "a": [
    1,
    2.50
  ],
  "b": {},
  "c": [],
  "d": "x, {y}\"]"
}"#;
    assert_eq!(shown, expected);
}

#[test]
fn numbers_and_the_order_of_fields_stay_as_they_are() {
    let shown = indented(r#"{"z":18446744073709551615,"a":1e400,"z":0.10}"#, 64);

    let words: String = shown.split_whitespace().collect();
    assert_eq!(words, r#"{"z":18446744073709551615,"a":1e400,"z":0.10}"#);
}

#[test]
fn what_is_indented_already_stays_so() {
    let once = indented(r#"{"a":[{"b":null}]}"#, 1);

    assert_eq!(indented(&once, 5), once);
}

#[test]
fn a_body_of_brackets_alone_does_not_fill_the_memory() {
    let brackets = "[".repeat(10_000);

    assert!(indented(&brackets, 4096).len() < 100 * brackets.len());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn indented_json_is_the_same_json_and_looks_like_serdes(value in value(), piece in 1usize..40) {
        let shown = indented(&value.to_string(), piece);

        prop_assert_eq!(&shown, &serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn what_is_no_json_is_indented_without_a_panic(bytes: Vec<u8>) {
        Indenter::default().push(&bytes, &mut Vec::new());
    }
}
