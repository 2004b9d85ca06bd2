//! The tables of `docs/rfc`: every row is judged, every test that is named exists, and the summary
//! counts what the tables say.

use std::{fmt, ops::AddAssign};

use super::Finding;

const FOLDER: &str = "docs/rfc/";
const SUMMARY: &str = "docs/rfc/README.md";
/// A row is: where it stands in the RFC, what it says, its level, what we do, and the test.
const CELLS: usize = 5;
const NO_TEST: &str = "no test";

/// Checks one document; `read` is how it sees the others, by their paths from the root.
pub fn findings(path: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    if !path.starts_with(FOLDER) {
        return Vec::new();
    }
    let mut findings = named_tests(path, text, &read);
    if path == SUMMARY {
        findings.extend(summary(path, text, &read));
    } else {
        let rows = rows(text);
        if rows.is_empty() {
            findings.push(finding(path, None, "a table without a row".to_owned()));
        }
        for (line, row) in rows {
            if let Err(what) = row {
                findings.push(finding(path, Some(line), what));
            }
        }
    }
    findings
}

fn finding(path: &str, line: Option<usize>, what: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        what,
    }
}

/// Looks up every `CRATE/FILE.rs::TEST` of a document.
fn named_tests(path: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2) {
            let Some((file, test)) = word.split_once(".rs::") else {
                continue;
            };
            let file = format!("crates/{file}.rs");
            let what = match read(&file) {
                None => format!("there is no file {file}"),
                Some(source) if !source.contains(&format!("fn {test}(")) => {
                    format!("there is no test `{test}` in {file}")
                }
                Some(_) => continue,
            };
            findings.push(finding(path, Some(index + 1), what));
        }
    }
    findings
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Must,
    Should,
    May,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Held,
    HeldUntested,
    Argued,
    NotYet,
}

/// What a row says, or which rule it breaks.
type Row = Result<(Level, Ours), String>;

/// The rows of a document with their line numbers.
fn rows(text: &str) -> Vec<(usize, Row)> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(inner) = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            continue;
        };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        let is_head = cells.get(1) == Some(&"requirement") || inner.starts_with("---");
        if !is_head {
            rows.push((index + 1, row(&cells)));
        }
    }
    rows
}

fn row(cells: &[&str]) -> Row {
    let &[_, _, level, ours, tests] = cells else {
        return Err(format!("a row has {CELLS} cells, this one {}", cells.len()));
    };
    let level = match level.to_ascii_uppercase().as_str() {
        "MUST" => Level::Must,
        "SHOULD" => Level::Should,
        "MAY" => Level::May,
        _ => return Err(format!("a level is MUST, SHOULD or MAY, not `{level}`")),
    };
    if tests != NO_TEST && !tests.contains(".rs::") {
        return Err(format!("a test is `CRATE/FILE.rs::TEST` or {NO_TEST}"));
    }
    let ours = if ours.starts_with("**held**") {
        if tests == NO_TEST {
            Ours::HeldUntested
        } else {
            Ours::Held
        }
    } else if ours.starts_with("**argued**: ") {
        Ours::Argued
    } else if ours.starts_with("**not yet**") {
        Ours::NotYet
    } else {
        return Err("ours is **held**, **not yet**, or **argued**: with the reason".to_owned());
    };
    Ok((level, ours))
}

/// How many rows of one level there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    held: usize,
    untested: usize,
    argued: usize,
    not_yet: usize,
}

impl Count {
    fn add(&mut self, ours: Ours) {
        match ours {
            Ours::Held => self.held += 1,
            Ours::HeldUntested => {
                self.held += 1;
                self.untested += 1;
            }
            Ours::Argued => self.argued += 1,
            Ours::NotYet => self.not_yet += 1,
        }
    }
}

/// The counts of a table: of what must be and of what should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    must: Count,
    should: Count,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for (level, ours) in rows(text).into_iter().filter_map(|(_, row)| row.ok()) {
            match level {
                Level::Must => counts.must.add(ours),
                Level::Should => counts.should.add(ours),
                Level::May => {}
            }
        }
        counts
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (ours, theirs) in [
            (&mut self.must, other.must),
            (&mut self.should, other.should),
        ] {
            ours.held += theirs.held;
            ours.untested += theirs.untested;
            ours.argued += theirs.argued;
            ours.not_yet += theirs.not_yet;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Count {
            held,
            untested,
            argued,
            not_yet,
        } in [self.must, self.should]
        {
            write!(f, "| {held} | {untested} | {argued} | {not_yet} ")?;
        }
        write!(f, "|")
    }
}

/// Compares the summary's rows, one for each table and one for all, with what the tables say.
fn summary(path: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sum = Counts::default();
    for (index, line) in text.lines().enumerate() {
        let counts = if line.starts_with("| all |") {
            sum
        } else {
            let target = line.strip_prefix("| [").and_then(|line| {
                let (_, rest) = line.split_once("](")?;
                Some(rest.split_once(')')?.0)
            });
            let Some(table) = target.and_then(|name| read(&format!("{FOLDER}{name}"))) else {
                continue;
            };
            let counts = Counts::of(&table);
            sum += counts;
            counts
        };
        if !line.ends_with(&counts.to_string()) {
            let what = format!("the tables say: {counts}");
            findings.push(finding(path, Some(index + 1), what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "`nat/tests/ports.rs::a_port_is_kept`";

    fn read(path: &str) -> Option<String> {
        match path {
            "crates/nat/tests/ports.rs" => Some("#[test]\nfn a_port_is_kept() {}\n".to_owned()),
            "docs/rfc/1.md" => Some(table(&[
                &format!("| 1 | x | MUST | **held** | {TEST} |"),
                "| 2 | x | must | **held**: by itself | no test |",
                "| 3 | x | MUST | **not yet** | no test |",
                "| 4 | x | SHOULD | **argued**: nobody wants it | no test |",
                "| 5 | x | MAY | **not yet** | no test |",
            ])),
            _ => None,
        }
    }

    fn table(rows: &[&str]) -> String {
        let head = "| | requirement | level | ours | test |\n|---|---|---|---|---|\n";
        format!("# RFC 1\n\n{head}{}\n", rows.join("\n"))
    }

    #[track_caller]
    fn check(row: &str, wanted: Option<&str>) {
        let found = findings("docs/rfc/1.md", &table(&[row]), read);
        assert_eq!(found.len(), usize::from(wanted.is_some()), "{found:?}");
        if let (Some(found), Some(wanted)) = (found.first(), wanted) {
            assert_eq!(found.line, Some(5));
            assert!(found.what.contains(wanted), "{found}");
        }
    }

    #[test]
    fn a_row_says_where_we_stand_and_by_which_test() {
        check(&format!("| 1 | x | MUST | **held** | {TEST} |"), None);
        check("| 1 | x | should | **not yet**: soon | no test |", None);
        check("| 1 | x | OUGHT | **held** | no test |", Some("a level is"));
        check("| 1 | x | MUST | done | no test |", Some("ours is"));
        check("| 1 | x | MUST | **argued** | no test |", Some("ours is"));
        check("| 1 | x | MUST | **held** | none |", Some("a test is"));
        check("| 1 | x | MUST | **held** |", Some("5 cells"));
    }

    #[test]
    fn a_test_that_is_named_exists_in_the_file_that_is_named() {
        let row = |test: &str| format!("| 1 | x | MUST | **held** | `{test}` |");

        check(
            &row("nat/tests/ports.rs::a_port"),
            Some("no test `a_port` in"),
        );
        check(
            &row("nat/tests/gone.rs::a_port_is_kept"),
            Some("no file crates/nat/tests/gone.rs"),
        );
    }

    #[test]
    fn the_summary_counts_what_the_tables_say() {
        let wanted = "| 2 | 1 | 0 | 1 | 0 | 0 | 1 | 0 |";
        let right = format!("| [RFC 1](1.md) | first {wanted}\n| all | {wanted}\n");
        let wrong = right.replace("| 2 |", "| 3 |");

        assert_eq!(findings(SUMMARY, &right, read), []);
        let found = findings(SUMMARY, &wrong, read);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].what.ends_with(wanted), "{}", found[0]);
    }

    #[test]
    fn other_documents_are_none_of_its_business() {
        assert_eq!(findings("docs/bench/README.md", "| a |\n", read), []);
    }
}
