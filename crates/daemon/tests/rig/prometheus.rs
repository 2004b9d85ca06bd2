//! Reads the Prometheus text format, version 0.0.4, and takes nothing that it does not demand or
//! that its conventions advise against.

use std::collections::{BTreeMap, BTreeSet};

/// A metric of a page.
#[derive(Clone, Debug, Default)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its sentence.
    pub help: String,
    /// Its type.
    pub kind: String,
    /// Its samples.
    pub samples: Vec<(Labels, f64)>,
}

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

impl Metric {
    /// The value with these labels.
    #[track_caller]
    pub fn value(&self, labels: &[(&str, &str)]) -> f64 {
        let owned = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let labels: Labels = owned.collect();
        let found = self.samples.iter().find(|(found, _)| *found == labels);
        found
            .unwrap_or_else(|| panic!("{} has no sample {labels:?}", self.name))
            .1
    }
}

/// The metrics of a page, in their order.
///
/// # Panics
///
/// With the line, if anything is not as it should be.
#[track_caller]
pub fn read(page: &str) -> Vec<Metric> {
    assert!(page.ends_with('\n'), "the last line has an end");
    let mut metrics: Vec<Metric> = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = comment(line, "# HELP ");
        assert!(help.ends_with('.'), "a sentence ends: {line}");
        let (typed, kind) = comment(lines.next().unwrap_or_default(), "# TYPE ");
        assert_eq!(name, typed, "HELP and TYPE are of one metric: {line}");
        assert!(
            metrics.iter().all(|other| other.name != name),
            "{name} is there twice"
        );
        let mut metric = Metric {
            name: name.to_owned(),
            help: help.to_owned(),
            kind: kind.to_owned(),
            samples: Vec::new(),
        };
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            metric.samples.push(sample(name, line));
        }
        check(&metric);
        metrics.push(metric);
    }
    metrics
}

fn comment<'a>(line: &'a str, lead: &str) -> (&'a str, &'a str) {
    let rest = line.strip_prefix(lead);
    let parts = rest.and_then(|rest| rest.split_once(' '));
    parts.unwrap_or_else(|| panic!("this line should begin with `{lead}`: {line}"))
}

fn check(metric: &Metric) {
    let Metric {
        name,
        kind,
        samples,
        ..
    } = metric;
    assert!(is_name(name), "{name} is no name");
    match kind.as_str() {
        "counter" => assert!(name.ends_with("_total"), "counters end in _total: {name}"),
        "gauge" => assert!(
            !name.ends_with("_total"),
            "only counters end in _total: {name}"
        ),
        other => panic!("{name} is of type {other}"),
    }
    let mut seen = BTreeSet::new();
    for (labels, value) in samples {
        assert!(seen.insert(labels), "{name} has {labels:?} twice");
        assert!(*value >= 0.0, "{name} is never negative");
        assert!(
            labels.keys().eq(samples[0].0.keys()),
            "{name} has always the same labels"
        );
    }
}

fn sample(name: &str, line: &str) -> (Labels, f64) {
    let rest = line
        .strip_prefix(name)
        .unwrap_or_else(|| panic!("no sample of {name}: {line}"));
    let (labels, number) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest, line),
        None => (Labels::new(), rest),
    };
    let number = number
        .strip_prefix(' ')
        .unwrap_or_else(|| panic!("no blank: {line}"));
    (
        labels,
        number
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}")),
    )
}

/// Reads labels behind their brace; returns what stands behind the closing one.
fn labels<'a>(text: &'a str, line: &str) -> (Labels, &'a str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, value) = rest
            .split_once("=\"")
            .unwrap_or_else(|| panic!("no label: {line}"));
        assert!(
            is_name(name) && !name.contains(':'),
            "{name} is no label: {line}"
        );
        let (value, behind) = quoted(value, line);
        let is_new = labels.insert(name.to_owned(), value).is_none();
        assert!(is_new, "{name} is there twice: {line}");
        rest = match behind.split_at_checked(1) {
            Some((",", more)) => more,
            Some(("}", end)) => return (labels, end),
            Some(_) | None => panic!("labels do not end: {line}"),
        };
    }
}

/// Reads up to the closing quote; returns what stands behind it.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &text[index + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => panic!("{other:?} is not escaped: {line}"),
            },
            other => value.push(other),
        }
    }
    panic!("a value does not end: {line}")
}

fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
}
