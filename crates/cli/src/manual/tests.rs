//! `docs/operate/cli.md` is what the command line says of itself.

use std::path::PathBuf;

use clap::{Arg, Command};

use super::*;

/// Columns of the help in the manual.
const WIDTH: usize = 96;

const HEAD: &str = "\
# The command `egret`

Generated from `egret --help` by the tests of `egret-cli`; do not edit. After a change of the
command line, `EGRET_BLESS=1 cargo test -p egret-cli` writes it anew.

The global options stand under `egret` alone; every verb has them.
";

/// `docs/operate/cli.md`: the help of the command and of each verb.
fn manual() -> String {
    let mut command = Cli::command()
        .disable_help_subcommand(true)
        .term_width(WIDTH)
        .color(clap::ColorChoice::Never);
    command.build();
    let mut manual = HEAD.to_owned();
    add(&mut manual, &mut command, "");
    manual
}

fn add(manual: &mut String, command: &mut Command, parent: &str) {
    let name = format!("{parent}{}", command.get_name());
    let help: String = command
        .render_long_help()
        .to_string()
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    *manual += &format!("\n## `{name}`\n\n```text\n{help}```\n");
    for verb in command.get_subcommands() {
        let own = |argument: Arg| {
            let global = argument.is_global_set();
            argument.hide(global)
        };
        add(manual, &mut verb.clone().mut_args(own), &format!("{name} "));
    }
}

#[test]
fn the_manual_says_what_the_command_can() {
    let shown = manual();
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../docs/operate/cli.md"]
        .iter()
        .collect();

    if std::env::var_os("EGRET_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &shown).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == shown,
        "docs/operate/cli.md is stale: `EGRET_BLESS=1 cargo test -p egret-cli` writes it anew"
    );
}

#[test]
fn every_option_is_explained() {
    fn explained(command: &Command) {
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} of {} has no help",
                argument.get_id(),
                command.get_name()
            );
        }
        command.get_subcommands().for_each(explained);
    }
    explained(&Cli::command());
}

#[test]
fn every_shell_has_completions_that_know_every_verb() {
    for shell in [
        Shell::Bash,
        Shell::Zsh,
        Shell::Fish,
        Shell::Elvish,
        Shell::PowerShell,
    ] {
        let script = String::from_utf8(completions(shell)).unwrap();
        for verb in Cli::command().get_subcommands() {
            assert!(
                script.contains(verb.get_name()),
                "{shell}: {}",
                verb.get_name()
            );
        }
    }
}
