//! Running other programs: said before, checked after.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{stages::Tally, workspace::Workspace};

/// How long to listen after a test program ended for what it printed last.
///
/// What it printed is in the pipe already, so this is short. The limit exists because a process
/// that a test left behind holds the pipe open, and the whole run must not hang on it.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// Returns the cargo that started this program, to be run at the top of the checkout.
///
/// What `cargo run` tells a program about *its own* package is taken away again: a build script
/// that watches such a variable would otherwise run anew whenever a developer changes between
/// `cargo build` and `cargo xtask build`.
pub fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(own_cargo());
    command.current_dir(workspace.root());
    for (name, _) in env::vars_os() {
        if speaks_of_this_package(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn own_cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn speaks_of_this_package(variable: &OsStr) -> bool {
    let Some(name) = variable.to_str() else {
        return false;
    };
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Runs a command, shown as a person would type it.
///
/// # Errors
///
/// If it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    run_quietly(command)
}

/// Runs a command that is one of many, and shown only if it fails.
///
/// # Errors
///
/// As [`run`].
pub fn run_quietly(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs tests, passes on what they print, and returns how many passed and failed.
///
/// # Errors
///
/// As [`run_tests_showing`].
pub fn run_tests(command: &mut Command) -> Result<Tally> {
    run_tests_showing(command, |line| println!("{line}"))
}

/// Runs tests, shows every line that they print, and returns how many passed and failed.
///
/// # Errors
///
/// If the command cannot be started, fails without a failing test (it did not compile), or ran no
/// test at all: a filter or a name that matches nothing must not look like success.
pub fn run_tests_showing(
    command: &mut Command,
    mut show: impl FnMut(&str) + Send + 'static,
) -> Result<Tally> {
    let shown = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let stdout = child
        .stdout
        .take()
        .context("a piped child has a standard output")?;

    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            show(&line);
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;

    let mut tally = Tally::default();
    loop {
        match lines.recv_timeout(LAST_WORDS_MAX) {
            Ok(line) => tally += Tally::of_line(&line).unwrap_or_default(),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("xtask: a test of `{shown}` left a process behind");
                break;
            }
        }
    }

    if !status.success() && tally.failed == 0 {
        bail!("`{shown}` failed: {status}");
    }
    if status.success() && tally.total() == 0 {
        bail!("`{shown}` ran no test");
    }
    Ok(tally)
}

/// Replaces this program by another one, so that signals and the exit status are the other's own.
///
/// # Errors
///
/// Only if it cannot be started; otherwise this does not return.
pub fn become_command(command: &mut Command) -> Result<()> {
    let shown = announce(command);
    Err(command.exec()).with_context(|| format!("cannot start `{shown}`"))
}

/// Prints and returns the command line.
fn announce(command: &Command) -> String {
    let shown = shown(command);
    println!("$ {shown}");
    shown
}

/// A command as it could be typed: variables that were set, program, arguments.
pub fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}={}",
            name.to_string_lossy(),
            quoted(&value?.to_string_lossy())
        ))
    });
    let program = if command.get_program() == own_cargo() {
        "cargo".to_owned()
    } else {
        quoted(&command.get_program().to_string_lossy())
    };
    let arguments = command
        .get_args()
        .map(|argument| quoted(&argument.to_string_lossy()));
    variables
        .chain([program])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_is_shown_as_it_could_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .env("RUSTFLAGS", "-C debuginfo=2")
            .env_remove("CARGO")
            .args(["build", "it's"]);

        assert_eq!(
            shown(&command),
            r"RUSTFLAGS='-C debuginfo=2' /usr/bin/cargo build 'it'\''s'"
        );
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_status() {
        let error = run(&mut shell("exit 3")).expect_err("it fails");

        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed: exit status: 3");
    }

    #[test]
    fn results_of_all_test_binaries_are_summed() {
        let mut tests = shell(
            "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'; echo noise; \
             echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101",
        );

        assert_eq!(
            run_tests(&mut tests).expect("it ran"),
            Tally {
                passed: 4,
                failed: 2
            }
        );
    }

    #[test]
    fn tests_that_did_not_compile_are_an_error_not_an_empty_success() {
        assert!(run_tests(&mut shell("exit 101")).is_err());
    }

    #[test]
    fn a_run_without_any_test_is_an_error() {
        let error = run_tests(&mut shell("echo 'test result: ok. 0 passed; 0 failed'"))
            .expect_err("nothing ran");

        assert!(error.to_string().ends_with("ran no test"), "{error}");
    }

    #[test]
    fn only_what_cargo_says_of_this_package_is_kept_from_children() {
        assert!(speaks_of_this_package(OsStr::new("CARGO_PKG_NAME")));
        assert!(speaks_of_this_package(OsStr::new("CARGO_MANIFEST_DIR")));
        assert!(!speaks_of_this_package(OsStr::new("CARGO_HOME")));
        assert!(!speaks_of_this_package(OsStr::new("CARGO_TARGET_DIR")));
    }
}
