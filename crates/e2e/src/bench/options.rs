//! The command line of `egret-bench`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How it is called.
pub const USAGE: &str = "\
cargo xtask bench [PART…] [--quick] [--write FILE]

Measures Egret beside the kernel's own NAT, in one run, and prints a report in Markdown.

Parts, all of them if none is named:
  packets  packets a second through one core, from a packet socket
  frames   the same from frames that are made in the driver: XDP alone
  flows    new flows a second
  tcp      real TCP transfers
  program  nanoseconds a packet of the XDP program by itself

  --quick       fewer rounds, shorter: whether it works, not how fast it is
  --write FILE  write the report to this file too
";

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Packets of established flows, from a packet socket.
    Packets,
    /// Packets of established flows, as live frames.
    Frames,
    /// First packets of flows.
    Flows,
    /// Real TCP.
    Tcp,
    /// The program by itself.
    Program,
}

impl Part {
    /// In the order in which they are measured. The program comes last: it is measured in tables
    /// that no daemon watches any more.
    const ALL: [Self; 5] = [
        Self::Packets,
        Self::Frames,
        Self::Flows,
        Self::Tcp,
        Self::Program,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Frames => "frames",
            Self::Flows => "flows",
            Self::Tcp => "tcp",
            Self::Program => "program",
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How often each contender's turn comes.
    pub rounds: usize,
    /// How long a turn lasts.
    pub window: Duration,
    /// How long a turn of real TCP lasts, which has to find its pace first.
    pub transfer: Duration,
    /// Live frames in one call of the kernel. A call costs 25 ms by itself, which is not counted,
    /// but has to be waited for.
    pub frames: u32,
    /// Calls of the program's own measurement in one turn.
    pub calls: u32,
}

impl Effort {
    /// Below four minutes for everything.
    const FULL: Self = Self {
        rounds: 7,
        window: Duration::from_millis(500),
        transfer: Duration::from_secs(1),
        frames: 1 << 20,
        calls: 2_000,
    };

    /// Below forty seconds.
    const QUICK: Self = Self {
        rounds: 3,
        window: Duration::from_millis(100),
        transfer: Duration::from_millis(200),
        frames: 1 << 17,
        calls: 400,
    };
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How it is called.
    Help,
    /// To measure.
    Measure(Options),
}

/// What to measure, and where to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The parts, in the order in which they are measured.
    pub parts: Vec<Part>,
    /// How much.
    pub effort: Effort,
    /// Whether the effort is too small for the figures to mean anything.
    pub is_quick: bool,
    /// A file for the report.
    pub write: Option<PathBuf>,
}

impl Request {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// If one is not understood.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let (mut named, mut is_quick, mut write) = (Vec::new(), false, None);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-h" | "--help" => return Ok(Self::Help),
                "--quick" => is_quick = true,
                "--write" => {
                    write = Some(
                        arguments
                            .next()
                            .context("--write wants the name of a file")?,
                    );
                }
                name => match Part::ALL.into_iter().find(|part| part.name() == name) {
                    Some(part) => named.push(part),
                    None => bail!("{name:?} is neither a part nor an option"),
                },
            }
        }
        let is_wanted = |part: &Part| named.is_empty() || named.contains(part);
        Ok(Self::Measure(Options {
            parts: Part::ALL.into_iter().filter(is_wanted).collect(),
            effort: if is_quick {
                Effort::QUICK
            } else {
                Effort::FULL
            },
            is_quick,
            write: write.map(PathBuf::from),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        match Request::parse(line.split_whitespace().map(str::to_owned))? {
            Request::Measure(options) => Ok(options),
            Request::Help => bail!("help"),
        }
    }

    #[test]
    fn nothing_named_is_everything() {
        let options = options("").unwrap();

        assert_eq!(options.parts.len(), Part::ALL.len());
        assert_eq!(options.effort, Effort::FULL);
    }

    #[test]
    fn parts_are_measured_in_their_own_order() {
        let options = options("program packets --quick --write a.md").unwrap();

        assert_eq!(options.parts, [Part::Packets, Part::Program]);
        assert!(options.is_quick);
        assert_eq!(options.write, Some(PathBuf::from("a.md")));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let error = options("packet").unwrap_err().to_string();

        assert!(error.contains("\"packet\""), "{error}");
        assert!(options("--write").is_err());
    }
}
