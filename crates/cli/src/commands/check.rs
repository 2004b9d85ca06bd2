//! `egret check`: looks for problems in configurations, without a daemon.

use std::path::PathBuf;

use api::{Problem, Problems};
use gateway::intent::{Intent, Parsed, parse_bytes};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure},
    output::Output,
    text::{counted, printable},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// One entry for each file, in the order of the command line.
    files: Vec<FileReport>,
}

/// What is said about one file.
#[derive(Debug, Serialize)]
struct FileReport {
    /// The file, as the command line calls it.
    file: String,
    /// Whether a daemon would take it.
    valid: bool,
    /// What is wrong with it, or probably not meant.
    problems: Vec<Problem>,
    /// How many more problems there are than are listed.
    omitted: u32,
}

/// Judges files, each by itself. All are read before the first is judged, so that a file that is
/// not there does not look like the only one with a problem.
pub fn run(output: &mut Output, files: &[PathBuf]) -> Result<Exit, Failure> {
    let read = |file: &PathBuf| Ok((super::name(file), super::read(file)?));
    let files: Vec<(String, Vec<u8>)> = files.iter().map(read).collect::<Result<_, Failure>>()?;

    let mut report = Report { files: Vec::new() };
    for (file, bytes) in files {
        let judgement = parse_bytes(&file, &bytes);
        if !output.is_json() {
            if report.files.iter().any(|file| !file.valid) && judgement.is_err() {
                output.remark("")?;
            }
            show(output, &file, &judgement)?;
        }
        report.files.push(FileReport::of(file, judgement));
    }
    if output.is_json() {
        output.json(&report)?;
    }
    let valid = report.files.iter().all(|file| file.valid);
    Ok(if valid { Exit::Fine } else { Exit::Refused })
}

impl FileReport {
    fn of(file: String, judgement: Result<Parsed, Problems>) -> Self {
        match judgement {
            Ok(Parsed { warnings, .. }) => Self {
                file,
                valid: true,
                problems: warnings,
                omitted: 0,
            },
            Err(Problems { problems, omitted }) => Self {
                file,
                valid: false,
                problems,
                omitted,
            },
        }
    }
}

fn show(
    output: &mut Output,
    file: &str,
    judgement: &Result<Parsed, Problems>,
) -> Result<(), Failure> {
    match judgement {
        Ok(Parsed { intent, warnings }) => {
            for warning in warnings {
                output.remark(&format!("{warning}\n"))?;
            }
            output.text(&summary(file, intent, warnings))
        }
        Err(problems) => output.remark(&problems.to_string()),
    }
}

/// What a good configuration holds, in one line.
pub fn summary(file: &str, intent: &Intent, warnings: &[Problem]) -> String {
    let addresses: usize = intent.pools.iter().map(|pool| pool.addresses.len()).sum();
    let parts = [
        (intent.interfaces.len(), "interface"),
        (intent.pools.len(), "pool"),
        (addresses, "external address"),
        (intent.rules.len(), "rule"),
        (warnings.len(), "warning"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, thing)| counted(u64::try_from(*count).unwrap_or(u64::MAX), thing))
        .collect();
    format!("{}: good: {}\n", printable(file), shown.join(", "))
}
