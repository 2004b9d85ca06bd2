//! What was asked for on the command line, and the help that says what can be.
//!
//! Written by hand instead of with a parser crate: there are a dozen commands with hardly an
//! option between them, and this program must compile in seconds from nothing.

use std::fmt;

/// What `cargo xtask help` prints.
pub const HELP: &str = "\
cargo xtask: every developer command of Egret

  setup                    install what is missing to build, demonstrate and test; say what and why
  demo [--once]            build a site in network namespaces and show a gateway at work;
                           with --once unattended, every claim asserted
  test [--no-fuzz]         everything that proves the tree: tidy, format, lints, unit and property
                           tests, twins, end to end, a minute of fuzzing          (root)
  check                    the part of `test` that needs neither root nor the BPF toolchain

  ebpf                     build the BPF object into target/bpf/egret.o and print its sizes
  build                    the BPF object, and egretd and egret in release
  e2e [NAME [FILTER…]]     run one end-to-end suite (or all) and print what it measured  (root)
  e2e failover --full      the same in the size that is promised: 6,000 flows, twenty gateways killed   (root)
  e2e --list               name the suites
  kernels [KERNEL]         load every program and run the twins on other kernels, in guests (6.1, 6.12, 7.x)
  guest KERNEL COMMAND …   run a command in a guest, on this machine's root directory
  fuzz [TARGET] [--seconds N]
                           fuzz one target (or all) for N seconds in total (60)
  sim [--seeds N] [--minutes M] [--seed S]
                           a cluster in virtual time, with faults: seed after seed until one breaks a law,
                           or one again
  bench [NAME]             measure; see docs/bench/                               (root)
  lab up|down|list …       a site in network namespaces, to play with             (root)
  tidy                     the rules no compiler checks: arrows between crates, module docs,
                           where unsafe may be, links and named tests in the documents
  help                     this

`demo`, `test` and the others run `setup` first; the second time it installs nothing.
";

/// How long all fuzz targets together run when nobody says otherwise.
pub const FUZZ_SECONDS_DEFAULT: u32 = 60;

/// The suite that has two sizes, and what asks for the larger one.
const SUITE_WITH_SIZES: &str = "failover";
const FULL: &str = "--full";

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Setup,
    Ebpf,
    Build,
    Check,
    /// Everything; without fuzzing if no seconds are given to it.
    Test {
        fuzz_seconds: Option<u32>,
    },
    E2eList,
    /// One suite or all of them; the filter goes to the test binary.
    E2e {
        suite: Option<String>,
        filter: Vec<String>,
        /// In the size that is promised, where a suite has a smaller one for every day.
        is_full: bool,
    },
    /// On all of the other kernels or on one.
    Kernels {
        kernel: Option<String>,
    },
    /// A command, which is not empty, in a guest.
    Guest {
        kernel: String,
        command: Vec<String>,
    },
    Fuzz {
        target: Option<String>,
        seconds: u32,
    },
    Tidy,
    Demo {
        arguments: Vec<String>,
    },
    Lab {
        arguments: Vec<String>,
    },
    Bench {
        arguments: Vec<String>,
    },
    Sim {
        arguments: Vec<String>,
    },
}

/// A command line that means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Misuse {
    UnknownCommand {
        given: String,
    },
    UnexpectedArgument {
        command: &'static str,
        given: String,
    },
    MissingValue {
        option: &'static str,
    },
    NotSeconds {
        option: &'static str,
        given: String,
    },
    NoGuest,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand { given } => write!(f, "there is no command `{given}`"),
            Self::UnexpectedArgument { command, given } => {
                write!(f, "`{command}` does not know what to do with `{given}`")
            }
            Self::MissingValue { option } => write!(f, "`{option}` wants a value after it"),
            Self::NotSeconds { option, given } => {
                write!(
                    f,
                    "`{option}` wants a number of seconds from 1 up, not `{given}`"
                )
            }
            Self::NoGuest => write!(f, "`guest` wants a kernel and a command to run in it"),
        }
    }
}

/// Reads a command line, without the program's name.
pub fn parse(given: &[String]) -> Result<Command, Misuse> {
    let Some((name, rest)) = given.split_first() else {
        return Ok(Command::Help);
    };
    match name.as_str() {
        "help" | "--help" | "-h" => Ok(Command::Help),
        "setup" => alone("setup", rest, Command::Setup),
        "ebpf" => alone("ebpf", rest, Command::Ebpf),
        "build" => alone("build", rest, Command::Build),
        "check" => alone("check", rest, Command::Check),
        "tidy" => alone("tidy", rest, Command::Tidy),
        "test" => test(rest),
        "e2e" => e2e(rest),
        "kernels" => kernels(rest),
        "guest" => guest(rest),
        "fuzz" => fuzz(rest),
        // These programs read their own arguments; to read them here too would be a second copy.
        "demo" => Ok(Command::Demo {
            arguments: rest.to_vec(),
        }),
        "lab" => Ok(Command::Lab {
            arguments: rest.to_vec(),
        }),
        "bench" => Ok(Command::Bench {
            arguments: rest.to_vec(),
        }),
        "sim" => Ok(Command::Sim {
            arguments: rest.to_vec(),
        }),
        _ => Err(Misuse::UnknownCommand {
            given: name.clone(),
        }),
    }
}

fn alone(name: &'static str, rest: &[String], command: Command) -> Result<Command, Misuse> {
    match rest.first() {
        None => Ok(command),
        Some(extra) => Err(Misuse::UnexpectedArgument {
            command: name,
            given: extra.clone(),
        }),
    }
}

fn test(rest: &[String]) -> Result<Command, Misuse> {
    match rest.split_first() {
        None => Ok(Command::Test {
            fuzz_seconds: Some(FUZZ_SECONDS_DEFAULT),
        }),
        Some((option, more)) if option == "--no-fuzz" => {
            alone("test", more, Command::Test { fuzz_seconds: None })
        }
        Some((given, _)) => Err(Misuse::UnexpectedArgument {
            command: "test",
            given: given.clone(),
        }),
    }
}

fn e2e(rest: &[String]) -> Result<Command, Misuse> {
    match rest.split_first() {
        None => Ok(Command::E2e {
            suite: None,
            filter: Vec::new(),
            is_full: false,
        }),
        Some((option, more)) if option == "--list" => alone("e2e --list", more, Command::E2eList),
        Some((given, _)) if given.starts_with('-') => Err(Misuse::UnexpectedArgument {
            command: "e2e",
            given: given.clone(),
        }),
        Some((suite, filter)) => {
            let is_full = suite == SUITE_WITH_SIZES && filter.iter().any(|it| it == FULL);
            let filter = filter.iter().filter(|it| !is_full || *it != FULL);
            Ok(Command::E2e {
                suite: Some(suite.clone()),
                filter: filter.cloned().collect(),
                is_full,
            })
        }
    }
}

fn kernels(rest: &[String]) -> Result<Command, Misuse> {
    match rest.split_first() {
        None => Ok(Command::Kernels { kernel: None }),
        Some((kernel, more)) => {
            let kernel = Some(kernel.clone());
            alone("kernels", more, Command::Kernels { kernel })
        }
    }
}

fn guest(rest: &[String]) -> Result<Command, Misuse> {
    match rest.split_first() {
        Some((kernel, command)) if !command.is_empty() => Ok(Command::Guest {
            kernel: kernel.clone(),
            command: command.to_vec(),
        }),
        Some(_) | None => Err(Misuse::NoGuest),
    }
}

fn fuzz(rest: &[String]) -> Result<Command, Misuse> {
    let mut target = None;
    let mut seconds = FUZZ_SECONDS_DEFAULT;
    let mut rest = rest.iter();
    while let Some(given) = rest.next() {
        if given == "--seconds" {
            seconds = parse_seconds("--seconds", rest.next())?;
        } else if target.is_none() && !given.starts_with('-') {
            target = Some(given.clone());
        } else {
            return Err(Misuse::UnexpectedArgument {
                command: "fuzz",
                given: given.clone(),
            });
        }
    }
    Ok(Command::Fuzz { target, seconds })
}

fn parse_seconds(option: &'static str, value: Option<&String>) -> Result<u32, Misuse> {
    let value = value.ok_or(Misuse::MissingValue { option })?;
    match value.parse() {
        Ok(0) | Err(_) => Err(Misuse::NotSeconds {
            option,
            given: value.clone(),
        }),
        Ok(seconds) => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wanted: Result<Command, Misuse>) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(parse(&words), wanted, "{line:?}");
    }

    fn unexpected(command: &'static str, given: &str) -> Result<Command, Misuse> {
        Err(Misuse::UnexpectedArgument {
            command,
            given: given.to_owned(),
        })
    }

    #[test]
    fn nothing_asked_is_answered_with_help() {
        check("", Ok(Command::Help));
        check("help", Ok(Command::Help));
        check("--help", Ok(Command::Help));
    }

    #[test]
    fn the_help_names_every_command() {
        for name in [
            "setup", "demo", "test", "check", "ebpf", "build", "e2e", "kernels", "guest", "fuzz",
            "bench", "lab", "tidy", "help",
        ] {
            assert!(
                HELP.lines().any(|line| line.trim_start().starts_with(name)),
                "{name}"
            );
            let parsed = parse(&[name.to_owned()]);
            assert!(
                !matches!(parsed, Err(Misuse::UnknownCommand { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_word_nobody_knows_is_refused_by_name() {
        check(
            "tests",
            Err(Misuse::UnknownCommand {
                given: "tests".to_owned(),
            }),
        );
    }

    #[test]
    fn a_plain_command_refuses_arguments_it_would_ignore() {
        check("setup --force", unexpected("setup", "--force"));
        check("tidy crates", unexpected("tidy", "crates"));
    }

    #[test]
    fn the_whole_test_fuzzes_for_a_minute_unless_told_not_to() {
        check(
            "test",
            Ok(Command::Test {
                fuzz_seconds: Some(60),
            }),
        );
        check("test --no-fuzz", Ok(Command::Test { fuzz_seconds: None }));
        check("test nat", unexpected("test", "nat"));
        check("test --no-fuzz --quick", unexpected("test", "--quick"));
    }

    #[test]
    fn one_suite_takes_a_filter_and_no_suite_means_all() {
        check(
            "e2e",
            Ok(Command::E2e {
                suite: None,
                filter: Vec::new(),
                is_full: false,
            }),
        );
        check("e2e --list", Ok(Command::E2eList));
        check("e2e --all", unexpected("e2e", "--all"));
        check(
            "e2e nat a_reply --exact",
            Ok(Command::E2e {
                suite: Some("nat".to_owned()),
                filter: vec!["a_reply".to_owned(), "--exact".to_owned()],
                is_full: false,
            }),
        );
        check(
            "e2e failover --full killed",
            Ok(Command::E2e {
                suite: Some("failover".to_owned()),
                filter: vec!["killed".to_owned()],
                is_full: true,
            }),
        );
    }

    #[test]
    fn one_kernel_or_all_of_them() {
        let kernels = |kernel: Option<&str>| {
            Ok(Command::Kernels {
                kernel: kernel.map(str::to_owned),
            })
        };

        check("kernels", kernels(None));
        check("kernels 6.1", kernels(Some("6.1")));
        check("kernels 6.1 6.12", unexpected("kernels", "6.12"));
    }

    #[test]
    fn a_guest_wants_a_command_and_hands_it_on_unread() {
        check(
            "guest 6.1 uname -r",
            Ok(Command::Guest {
                kernel: "6.1".to_owned(),
                command: vec!["uname".to_owned(), "-r".to_owned()],
            }),
        );
        check("guest", Err(Misuse::NoGuest));
        check("guest 6.1", Err(Misuse::NoGuest));
    }

    #[test]
    fn fuzzing_takes_a_target_and_a_time_in_either_order() {
        let frames = |seconds| {
            Ok(Command::Fuzz {
                target: Some("frames".to_owned()),
                seconds,
            })
        };

        check(
            "fuzz",
            Ok(Command::Fuzz {
                target: None,
                seconds: 60,
            }),
        );
        check("fuzz frames", frames(60));
        check("fuzz frames --seconds 5", frames(5));
        check("fuzz --seconds 5 frames", frames(5));
        check("fuzz frames config", unexpected("fuzz", "config"));
    }

    #[test]
    fn a_time_that_is_no_time_is_refused() {
        check(
            "fuzz --seconds",
            Err(Misuse::MissingValue {
                option: "--seconds",
            }),
        );
        for given in ["0", "-1", "ten"] {
            let wanted = Misuse::NotSeconds {
                option: "--seconds",
                given: given.to_owned(),
            };
            check(&format!("fuzz --seconds {given}"), Err(wanted));
        }
    }

    #[test]
    fn programs_get_their_own_arguments_unread() {
        check(
            "demo --once",
            Ok(Command::Demo {
                arguments: vec!["--once".to_owned()],
            }),
        );
        check(
            "lab up",
            Ok(Command::Lab {
                arguments: vec!["up".to_owned()],
            }),
        );
        check(
            "bench nat",
            Ok(Command::Bench {
                arguments: vec!["nat".to_owned()],
            }),
        );
        check(
            "sim --seed 7",
            Ok(Command::Sim {
                arguments: vec!["--seed".to_owned(), "7".to_owned()],
            }),
        );
    }
}
