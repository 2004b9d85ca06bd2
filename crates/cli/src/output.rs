//! Where answers are printed: text for people, JSON for programs, remarks beside both.
//!
//! Nothing here panics when whoever reads the output goes away: that is
//! [`Failure::Output`](crate::failure::Failure::Output), and ends the command well.

use std::{
    ffi::OsStr,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
};

use serde::Serialize;

use crate::{daemon::Answer, failure::Failure, json::Indenter};

/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether there may be colours.
    pub colour: bool,
    /// Columns of the screen; absent if the text is not for one.
    pub width: Option<u16>,
}

/// Whether the user wants colours where they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// They do.
    Welcome,
    /// They do not.
    Unwanted,
}

impl Colour {
    /// What `NO_COLOR` says: it counts when it is set and not empty (<https://no-color.org>).
    pub fn from_variable(no_color: Option<&OsStr>) -> Self {
        match no_color {
            Some(value) if !value.is_empty() => Self::Unwanted,
            Some(_) | None => Self::Welcome,
        }
    }
}

/// Standard output and error, for the whole run.
pub struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    json: bool,
    terminal: bool,
    look: Look,
}

impl Output {
    /// Finds out what standard output is.
    pub fn new(json: bool, colour: Colour) -> Self {
        let stdout = io::stdout().lock();
        let terminal = stdout.is_terminal();
        let width = crossterm::terminal::size().ok().map(|(width, _)| width);
        Self {
            stdout: BufWriter::new(stdout),
            json,
            terminal,
            look: Look {
                colour: terminal && colour == Colour::Welcome,
                width: width.filter(|_| terminal),
            },
        }
    }

    /// Whether JSON is asked for.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person looks at the output as it comes.
    pub const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// How text may look here.
    pub const fn look(&self) -> Look {
        self.look
    }

    /// Prints text.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints what needs not be text.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::Output)
    }

    /// Prints a value of our own as JSON, in one line or indented for a person.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let result = if self.terminal {
            serde_json::to_writer_pretty(&mut self.stdout, value)
        } else {
            serde_json::to_writer(&mut self.stdout, value)
        };
        result.map_err(|error| Failure::Output(error.into()))?;
        self.bytes(b"\n")
    }

    /// Prints the daemon's JSON as it arrives: unchanged, or indented for a person.
    pub async fn json_answer(&mut self, mut answer: Answer) -> Result<(), Failure> {
        let mut indenter = Indenter::default();
        let mut indented = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if self.terminal {
                indented.clear();
                indenter.push(&chunk, &mut indented);
                self.bytes(&indented)?;
            } else {
                self.bytes(&chunk)?;
            }
        }
        self.bytes(b"\n")
    }

    /// Prints the daemon's text as it arrives.
    pub async fn text_answer(&mut self, mut answer: Answer) -> Result<(), Failure> {
        while let Some(chunk) = answer.chunk().await? {
            self.bytes(&chunk)?;
        }
        Ok(())
    }

    /// Prints a remark beside the output, where it is in no program's way.
    pub fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.flush()?;
        // Standard error may be closed, and a remark is no reason to fail.
        let _ = writeln!(io::stderr().lock(), "{text}");
        Ok(())
    }

    /// Prints why the command fails.
    pub fn failure(&mut self, failure: &Failure) {
        // What was answered before goes before; what cannot be printed is not worth another error.
        let _ = self.stdout.flush();
        let _ = io::stderr().lock().write_all(failure.message().as_bytes());
    }

    /// Hands everything over to whoever reads.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::Output)
    }
}
