//! Runs the system's own network tools (`ip`, `nft`, `ethtool`), inside a namespace or outside.
//!
//! Shelling out is deliberate: what the lab did can be read and repeated by hand.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::Error;
use crate::namespace::Namespace;
use crate::process::tie_to_lab;

/// The Debian packages the lab needs.
pub const PACKAGES: &[&str] = &["iproute2", "nftables", "ethtool", "iputils-ping", "curl"];

/// Which of [`PACKAGES`] each program comes with.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("curl", "curl"),
];

/// Where a tool runs.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In the namespace of whoever calls.
    Here,
    In(&'a Namespace),
}

/// Runs a program to its end and returns what it printed; a failure carries what it complained.
pub(crate) fn run(
    place: Place,
    program: &str,
    args: &[&str],
    input: &str,
) -> Result<String, Error> {
    let mut command = Command::new(program);
    command.args(args);
    let text = describe(&command);
    let output = finish(place, command, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failure(text, &output))
}

/// Runs lines of `ip` commands in one process.
pub(crate) fn ip_batch(place: Place, lines: &[String]) -> Result<(), Error> {
    batch(place, &["-batch", "-"], lines)
}

/// The same of lines that are about IPv6.
pub(crate) fn ip6_batch(place: Place, lines: &[String]) -> Result<(), Error> {
    batch(place, &["-6", "-batch", "-"], lines)
}

fn batch(place: Place, args: &[&str], lines: &[String]) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    match run(place, "ip", args, &(lines.join("\n") + "\n")) {
        Ok(_) => Ok(()),
        Err(Error::Tool {
            command,
            status,
            stderr,
        }) => {
            let line = failed_line(&stderr).and_then(|number| lines.get(number.checked_sub(1)?));
            let command = line.map_or(command, |line| format!("ip {line}"));
            Err(Error::Tool {
                command,
                status,
                stderr,
            })
        }
        Err(other) => Err(other),
    }
}

/// Runs a command to its end, feeding it `input`.
pub(crate) fn finish(place: Place, mut command: Command, input: &str) -> Result<Output, Error> {
    let text = describe(&command);
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A tool that outlived a killed lab would go on making things that a sweep has just removed.
    tie_to_lab(&mut command);
    let child = match place {
        Place::Here => command.spawn(),
        Place::In(namespace) => namespace.spawn(command),
    };
    let mut child = child.map_err(|source| spawn_failure(&program, &text, source))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything says why on its own stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().map_err(|source| Error::ToolSpawn {
        command: text,
        source,
    })
}

/// Turns a command that could not be started into an error that says what to install.
pub(crate) fn spawn_failure(program: &str, command: &str, source: io::Error) -> Error {
    let package = PROGRAMS
        .iter()
        .find(|(name, _)| *name == program)
        .map(|(_, package)| *package);
    match package {
        Some(package) if source.kind() == io::ErrorKind::NotFound => Error::ToolMissing {
            program: program.to_owned(),
            package,
        },
        Some(_) | None => Error::ToolSpawn {
            command: command.to_owned(),
            source,
        },
    }
}

/// Turns an unsuccessful end into an error that says what was complained.
pub(crate) fn failure(command: String, output: &Output) -> Error {
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Error::Tool {
        command,
        status: output.status,
        stderr,
    }
}

/// Returns a command as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Finds the line number in `Command failed -:7`.
fn failed_line(stderr: &str) -> Option<usize> {
    let (_, rest) = stderr.split_once("Command failed -:")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
