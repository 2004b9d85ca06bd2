//! Everything that was found wrong, by field, on its way to the operator.

use std::{collections::BTreeSet, fmt};

use api::{Problem, Problems, Severity, problem::Excerpt};

use super::{
    words::Complaint,
    yaml::{self, Kind, Node, Place},
};

/// Errors listed. Whoever has more, corrects these first.
const ERRORS_MAX: usize = 100;

/// The way from the configuration's root to a value, shown as `rules[2].pool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Field(String),
    Item(usize),
}

impl Path {
    /// The configuration as a whole.
    pub const ROOT: Self = Self(Vec::new());

    /// The field of this name in the mapping here.
    pub fn field(&self, name: &str) -> Self {
        self.then(Step::Field(name.to_owned()))
    }

    /// The item of this number in the list here.
    pub fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The value itself, what it is in, and so on to the root.
    fn ancestors(&self) -> impl Iterator<Item = Self> {
        (0..=self.0.len())
            .rev()
            .map(|length| Self(self.0.iter().take(length).cloned().collect()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => write!(f, "{name}")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// The text that problems point into.
struct Source<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            lines: yaml::lines(text).collect(),
        }
    }

    fn problem(&self, severity: Severity, field: &Path, at: Place, what: Complaint) -> Problem {
        let index = usize::try_from(at.line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let line = self.lines.get(index).copied().unwrap_or("");
        Problem {
            severity,
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            excerpt: Excerpt::of(line, at.column, at.width),
            field: field.to_string(),
            message: what.message,
            help: what.help,
        }
    }
}

/// Collects problems.
pub(super) struct Report<'a> {
    source: Source<'a>,
    tree: &'a Node,
    problems: Vec<Problem>,
    errors: usize,
    /// Values of which nothing more is said, because there is no telling what was meant.
    broken: BTreeSet<Path>,
}

impl<'a> Report<'a> {
    /// Nothing is wrong yet.
    pub fn new(file: &'a str, text: &'a str, tree: &'a Node) -> Self {
        Self {
            source: Source::new(file, text),
            tree,
            problems: Vec::new(),
            errors: 0,
            broken: BTreeSet::new(),
        }
    }

    /// The one problem of a text that has no tree.
    pub fn single(file: &str, text: &str, place: Place, complaint: Complaint) -> Problems {
        let problem =
            Source::new(file, text).problem(Severity::Error, &Path::ROOT, place, complaint);
        Problems {
            problems: vec![problem],
            omitted: 0,
        }
    }

    /// The value at `path` cannot be.
    pub fn error(&mut self, path: &Path, complaint: Complaint) {
        self.error_at(self.place(path), path, complaint);
    }

    /// The value at `path` cannot be, and that shows at `place`.
    pub fn error_at(&mut self, place: Place, path: &Path, complaint: Complaint) {
        self.errors += 1;
        if self.errors <= ERRORS_MAX {
            self.push(Severity::Error, place, path, complaint);
        }
    }

    /// The value at `path` is no value of its kind: nothing in it is judged.
    pub fn broken(&mut self, path: &Path, complaint: Complaint) {
        self.error(path, complaint);
        self.distrust(path);
    }

    /// What is wrong with the value at `path` was said elsewhere: nothing in it is judged, and it
    /// is not missed.
    pub fn distrust(&mut self, path: &Path) {
        self.broken.insert(path.clone());
    }

    /// The value at `path` can be, but is probably not meant.
    pub fn warning(&mut self, path: &Path, complaint: Complaint) {
        self.push(Severity::Warning, self.place(path), path, complaint);
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Whether the value at `path`, or what it is in, is [broken](Self::broken).
    pub fn is_broken(&self, path: &Path) -> bool {
        !self.broken.is_empty() && path.ancestors().any(|place| self.broken.contains(&place))
    }

    /// The line of the value at `path`, as messages about another place name it.
    pub fn line(&self, path: &Path) -> u32 {
        self.place(path).line
    }

    /// The warnings if there is nothing worse, and otherwise everything; in the order of lines.
    pub fn finish(mut self) -> Result<Vec<Problem>, Problems> {
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        if self.errors == 0 {
            return Ok(self.problems);
        }
        let omitted = self.errors.saturating_sub(ERRORS_MAX);
        let omitted = u32::try_from(omitted).unwrap_or(u32::MAX);
        Err(Problems {
            problems: self.problems,
            omitted,
        })
    }

    fn push(&mut self, severity: Severity, place: Place, path: &Path, complaint: Complaint) {
        let problem = self.source.problem(severity, path, place, complaint);
        self.problems.push(problem);
    }

    /// Where a value stands; of one that is missing, what it is missing in.
    fn place(&self, path: &Path) -> Place {
        let (mut node, mut place) = (self.tree, self.tree.place);
        for step in &path.0 {
            let (key, value) = match (step, &node.kind) {
                (Step::Field(name), Kind::Mapping(entries)) => {
                    let named = |key: &Node| matches!(&key.kind, Kind::Word(word) if word == name);
                    match entries.iter().find(|(key, _)| named(key)) {
                        Some((key, value)) => (Some(key), value),
                        None => return place,
                    }
                }
                (Step::Item(index), Kind::List(items)) => match items.get(*index) {
                    Some(item) => (None, item),
                    None => return place,
                },
                (Step::Field(_) | Step::Item(_), _) => return place,
            };
            place = match (key, &value.kind) {
                (Some(key), Kind::Null | Kind::List(_) | Kind::Mapping(_)) => key.place,
                (Some(_) | None, _) => value.place,
            };
            node = value;
        }
        place
    }
}
