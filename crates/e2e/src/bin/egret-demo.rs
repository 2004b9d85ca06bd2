//! `egret-demo`: a gateway at work, shown and asserted; `cargo xtask demo` runs it.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use e2e::demo::{self, Interrupt, Interrupted, Narrator, Options};

const USAGE: &str = "\
A NAT gateway at work, on a site of network namespaces on this machine.

  cargo xtask demo           show it, and leave it running until Ctrl-C
  cargo xtask demo --once    show it and end; fails if a claim does not hold

  --name NAME                what the site is called (demo); only one can have a name
";

/// The exit status for a command line that makes no sense.
const MISUSED: u8 = 2;

/// The exit status of what somebody has interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let options = match parse(&given) {
        Some(Order::Play(options)) => options,
        Some(Order::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        None => {
            eprint!(
                "egret-demo: cannot make sense of `{}`\n\n{USAGE}",
                given.join(" ")
            );
            return ExitCode::from(MISUSED);
        }
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "egret-demo: it makes network namespaces and loads BPF programs, which needs root.\n\
             Type: sudo cargo xtask demo {}",
            given.join(" ")
        );
        return ExitCode::FAILURE;
    }
    match show(&options) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("\ninterrupted; everything is removed");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("\negret-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Order {
    Play(Options),
    Help,
}

fn parse(mut given: &[String]) -> Option<Order> {
    let mut options = Options {
        once: false,
        name: "demo".to_owned(),
    };
    loop {
        match given {
            [] => return Some(Order::Play(options)),
            [option, rest @ ..] if option == "--once" => (options.once, given) = (true, rest),
            [option, name, rest @ ..] if option == "--name" => {
                (options.name, given) = (name.clone(), rest);
            }
            [option, ..] if ["--help", "-h", "help"].contains(&option.as_str()) => {
                return Some(Order::Help);
            }
            [..] => return None,
        }
    }
}

fn show(options: &Options) -> Result<ExitCode> {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut narrator = Narrator::new(Interrupt::catch()?, colours);
    demo::play(options, &mut narrator)?;

    let (held, broken) = (narrator.held(), narrator.broken());
    println!();
    if broken == 0 {
        println!("demo: ok, {held} claims held");
        Ok(ExitCode::SUCCESS)
    } else {
        println!(
            "demo: failed, {broken} of {} claims did not hold",
            held + broken
        );
        Ok(ExitCode::FAILURE)
    }
}
