//! `egret-bench`: what one core does, beside the kernel's own NAT; `cargo xtask bench` runs it.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use e2e::bench::{self, Options, Request, USAGE};
use e2e::demo::Interrupted;

/// The exit status for a command line that makes no sense.
const MISUSED: u8 = 2;

/// The exit status of what somebody has interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = match Request::parse(std::env::args().skip(1)) {
        Ok(Request::Measure(options)) => options,
        Ok(Request::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("egret-bench: {error:#}\n\n{USAGE}");
            return ExitCode::from(MISUSED);
        }
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "egret-bench: it makes network namespaces and loads BPF programs, which needs root"
        );
        return ExitCode::FAILURE;
    }
    match report(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("\ninterrupted; everything is removed");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("\negret-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, shows the report and keeps it if that is wanted.
fn report(options: &Options) -> Result<()> {
    let report = bench::run(options)?.to_string();
    print!("{report}");
    if let Some(path) = &options.write {
        fs::write(path, &report).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written to {}", path.display());
    }
    Ok(())
}
