//! What is reported of a run in several stages: each with its time, and one sum at the end.
//!
//! A stage that fails does not stop the run, only the stages that need it: a developer wants to
//! hear of a badly formatted file and of a failing test in one go.

use std::{
    fmt,
    ops::AddAssign,
    time::{Duration, Instant},
};

use anyhow::Result;

/// How much of a reason stands in the summary: with name and time beside it, about one line.
const REASON_MAX: usize = 72;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    /// One thing was proved.
    pub const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
    };

    /// One thing was not.
    pub const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
    };

    pub fn total(self) -> u64 {
        self.passed + self.failed
    }

    /// Reads the line that ends the output of every Rust test binary.
    pub fn of_line(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            let part = counts
                .split(';')
                .find_map(|part| part.trim().strip_suffix(what))?;
            part.trim().parse().ok()
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// How a stage ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Its tests failed, and have said so themselves.
    TestsFailed,
    /// It could not do what it is for.
    Broken(String),
    /// A stage that it needs did not pass.
    NotRun {
        needs: &'static str,
    },
}

#[derive(Debug)]
struct Stage {
    name: String,
    took: Duration,
    tally: Tally,
    outcome: Outcome,
}

/// Something did not pass, and the report has said what. There is nothing to add to it: its last
/// line stays the last line.
#[derive(Debug, PartialEq, Eq)]
pub struct NotPassed;

impl std::error::Error for NotPassed {}

impl fmt::Display for NotPassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not everything passed")
    }
}

/// The stages of one run, in the order they ran.
#[derive(Debug, Default)]
pub struct Report {
    stages: Vec<Stage>,
}

impl Report {
    /// Runs a stage, unless one that it needs did not pass.
    pub fn stage(
        &mut self,
        name: &str,
        needs: &[&'static str],
        work: impl FnOnce() -> Result<Tally>,
    ) {
        let absent = needs.iter().find(|needed| !self.passed(needed));
        if let Some(needs) = absent {
            self.record(
                name,
                Duration::ZERO,
                Tally::default(),
                Outcome::NotRun { needs },
            );
            return;
        }

        println!("\n── {name} ──");
        let start = Instant::now();
        let (tally, outcome) = match work() {
            Ok(tally) if tally.failed == 0 => (tally, Outcome::Passed),
            Ok(tally) => (tally, Outcome::TestsFailed),
            Err(error) => {
                eprintln!("xtask: {error:#}");
                (Tally::default(), Outcome::Broken(format!("{error:#}")))
            }
        };
        self.record(name, start.elapsed(), tally, outcome);
    }

    /// Runs a stage that proves nothing by itself but makes what others need.
    pub fn step<T>(
        &mut self,
        name: &str,
        needs: &[&'static str],
        work: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        let mut made = None;
        self.stage(name, needs, || {
            made = Some(work()?);
            Ok(Tally::default())
        });
        made
    }

    /// Prints the summary; its last line is `N passed, N failed`.
    ///
    /// # Errors
    ///
    /// If anything at all did not pass.
    pub fn finish(self) -> Result<()> {
        print!("\n{self}");
        if self.sum().failed > 0 {
            return Err(NotPassed.into());
        }
        Ok(())
    }

    fn passed(&self, name: &str) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.name == name && stage.outcome == Outcome::Passed)
    }

    fn record(&mut self, name: &str, took: Duration, tally: Tally, outcome: Outcome) {
        self.stages.push(Stage {
            name: name.to_owned(),
            took,
            tally,
            outcome,
        });
    }

    /// The sum of all stages. A stage that broke, or could not even run, counts as one failure:
    /// `0 failed` says that nothing is wrong, not that nothing was tried.
    fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        for stage in &self.stages {
            sum += stage.tally;
            sum += match &stage.outcome {
                Outcome::Passed => Tally::default(),
                Outcome::TestsFailed => Tally::default(),
                Outcome::Broken(_) => Tally::ONE_FAILED,
                Outcome::NotRun { .. } => Tally::ONE_FAILED,
            };
        }
        sum
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .stages
            .iter()
            .map(|stage| stage.name.chars().count())
            .max()
            .unwrap_or(0);
        for Stage {
            name,
            took,
            tally,
            outcome,
        } in &self.stages
        {
            let said = match outcome {
                Outcome::Passed if tally.passed == 0 => "ok".to_owned(),
                Outcome::Passed => format!("ok       {:>5} passed", tally.passed),
                Outcome::TestsFailed => {
                    format!(
                        "FAILED   {:>5} passed, {} failed",
                        tally.passed, tally.failed
                    )
                }
                Outcome::Broken(why) => format!("FAILED   {}", shortened(why)),
                Outcome::NotRun { needs } => format!("NOT RUN  because `{needs}` did not pass"),
            };
            writeln!(f, "{name:width$}  {:>12}  {said}", spoken(*took))?;
        }
        let Tally { passed, failed } = self.sum();
        writeln!(f, "\n{passed} passed, {failed} failed")
    }
}

/// The first line, as far as it fits: the whole was printed where it happened.
fn shortened(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    match line.char_indices().nth(REASON_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A time as people say it.
pub fn spoken(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_last_line_of_a_test_binary_is_understood() {
        let ok = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; \
                  finished in 0.02s";
        let bad = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";

        assert_eq!(
            Tally::of_line(ok),
            Some(Tally {
                passed: 12,
                failed: 0
            })
        );
        assert_eq!(
            Tally::of_line(bad),
            Some(Tally {
                passed: 1,
                failed: 2
            })
        );
    }

    #[test]
    fn other_lines_are_no_result() {
        for line in [
            "",
            "test a_reply ... ok",
            "test result: ",
            "running 12 tests",
            "12 passed",
        ] {
            assert_eq!(Tally::of_line(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_report_ends_with_the_sum_of_all_stages() {
        let mut report = Report::default();
        report.step("build", &[], || Ok(()));
        report.stage("unit", &["build"], || {
            Ok(Tally {
                passed: 40,
                failed: 0,
            })
        });
        report.stage("tidy", &[], || Ok(Tally::ONE_PASSED));

        assert!(
            report.to_string().ends_with("\n\n41 passed, 0 failed\n"),
            "{report}"
        );
        assert!(report.finish().is_ok());
    }

    #[test]
    fn a_failing_stage_stops_only_the_stages_that_need_it() {
        let mut report = Report::default();
        let object: Option<()> = report.step("object", &[], || bail!("the verifier said no"));
        report.stage("twins", &["object"], || unreachable!("it needs the object"));
        report.stage("unit", &[], || {
            Ok(Tally {
                passed: 1,
                failed: 1,
            })
        });

        let text = report.to_string();
        assert_eq!(object, None);
        assert!(text.contains("FAILED   the verifier said no"), "{text}");
        assert!(
            text.contains("NOT RUN  because `object` did not pass"),
            "{text}"
        );
        assert!(text.ends_with("\n1 passed, 3 failed\n"), "{text}");
        let error = report.finish().expect_err("two failed, one did not run");
        assert!(error.is::<NotPassed>(), "{error}");
    }

    #[test]
    fn a_long_reason_is_cut_and_a_short_one_kept() {
        assert_eq!(shortened("no object\nbuild it"), "no object");
        assert_eq!(shortened(&"é".repeat(100)).chars().count(), REASON_MAX + 1);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        assert_eq!(spoken(Duration::from_millis(1_230)), "1.2 s");
        assert_eq!(spoken(Duration::from_secs(125)), "2 min 05 s");
    }
}
