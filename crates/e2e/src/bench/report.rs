//! The report: tables for people and, below them, every sample in plain rows.

use std::fmt;
use std::time::Duration;

use super::figures::Samples;
use super::machine::Machine;

/// Percent of all cores that others may use on a machine that is called quiet.
const QUIET_PERCENT_MAX: f64 = 10.0;

/// One part of the measurements, measured.
#[derive(Debug)]
pub struct Section {
    pub(super) title: &'static str,
    /// What was done, and how to read the table.
    pub(super) text: String,
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    pub(super) series: Vec<Series>,
}

/// All samples of one quantity.
#[derive(Debug)]
pub(super) struct Series {
    /// The part, the case and the contender.
    pub(super) name: [String; 3],
    pub(super) unit: &'static str,
    pub(super) samples: Samples,
}

/// Everything that was measured in one run.
#[derive(Debug)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// In which mode Egret's program ran, as its daemon says.
    pub mode: String,
    /// How many rounds.
    pub rounds: usize,
    /// Whether the rounds were too few and too short to mean anything.
    pub is_quick: bool,
    /// The parts.
    pub sections: Vec<Section>,
    /// How long it all took.
    pub took: Duration,
}

impl Section {
    /// Adds a series to the plain rows.
    pub(super) fn record(&mut self, name: [&str; 3], unit: &'static str, samples: &Samples) {
        self.series.push(Series {
            name: name.map(str::to_owned),
            unit,
            samples: samples.clone(),
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            day,
            kernel,
            processor,
            cores,
            commit,
            others_percent,
            load,
        } = &self.machine;
        writeln!(f, "# What one core does, {day}\n")?;
        if self.is_quick {
            writeln!(
                f,
                "**This was a quick run, which shows that the benchmark works. Its figures mean \
                 nothing.**\n"
            )?;
        }
        writeln!(
            f,
            "A first figure, not a target: what this build does on this rig, beside the same \
             traffic through the\nkernel's own NAT in the same run. Written by `cargo xtask \
             bench`; [how it is measured](README.md) says\nwhat the figures mean and what they do \
             not.\n"
        )?;
        writeln!(f, "| measured on | |\n|---|---|")?;
        writeln!(f, "| commit | {commit} |")?;
        writeln!(f, "| kernel | {kernel} |")?;
        writeln!(f, "| processor | {processor}; {cores} cores |")?;
        writeln!(f, "| Egret's XDP mode | {} |", self.mode)?;
        writeln!(
            f,
            "| what shares a core | with a packet socket or live frames: generator, device under \
             test and sink share core {}; TCP: everything shares all cores |",
            self.machine.core()
        )?;
        writeln!(
            f,
            "| what else ran | {others_percent:.0} % of all cores just before the run, load \
             {load} in the minute before{} |",
            if *others_percent > QUIET_PERCENT_MAX {
                "; **the machine was not quiet**, compare only what stands in one table"
            } else {
                ""
            }
        )?;
        writeln!(
            f,
            "| rounds | {}, contenders in turn; cells show the median (least–most) |",
            self.rounds
        )?;
        writeln!(f, "| whole run | {:.0} s |", self.took.as_secs_f64())?;
        for section in &self.sections {
            write!(f, "\n{section}")?;
        }
        writeln!(f, "\n## Every sample\n\n```text")?;
        let all: Vec<&Series> = self.sections.iter().flat_map(|it| &it.series).collect();
        let width = |column: usize| {
            let widths = all.iter().map(|it| it.name[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let [part, case, contender] = [0, 1, 2].map(width);
        for Series {
            name: [one, two, three],
            unit,
            samples,
        } in &all
        {
            write!(f, "{one:part$}  {two:case$}  {three:contender$}  {unit:9}")?;
            for sample in samples.rounds() {
                write!(f, " {sample:.1}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "```")
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n", self.title, self.text.trim())?;
        writeln!(f, "| {} |", self.header.join(" | "))?;
        // What stands to the right of the names is numbers.
        let names = self.header.len().min(2);
        let numbers = self.header.len() - names;
        writeln!(f, "|{}{}", "---|".repeat(names), "---:|".repeat(numbers))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}
