//! `egret`, the command: asks the daemon over its unix socket and explains what it answers.
//!
//! The way of a question:
//!
//! ```text
//! argv ─ args ─► commands (one file per verb) ─ daemon ─► api bodies ─ text, table ─► output
//! ```
//!
//! Decides nothing about packets or configurations: what a configuration means is
//! `gateway::intent`'s to say, the rest is the daemon's. Everything between an answer and the text
//! that is printed is a pure function.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod daemon;
mod failure;
mod json;
mod manual;
mod output;
mod table;
mod text;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use failure::Exit;
use output::{Colour, Output};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version come this way too. If it cannot be printed, nobody is left to tell.
            let _ = answer.print();
            let exit = if answer.use_stderr() {
                Exit::Usage
            } else {
                Exit::Fine
            };
            return exit.into();
        }
    };

    let colour = Colour::from_variable(std::env::var_os("NO_COLOR").as_deref());
    let mut output = Output::new(cli.json, colour);
    let done = commands::run(cli, &mut output).and_then(|exit| output.flush().map(|()| exit));
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit().into()
        }
    }
}
