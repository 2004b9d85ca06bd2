//! `egret-lab`, the command: a site that stays, and goes when it is told to.

use std::process::{Command, Output};

use anyhow::Result;

use crate::{name, remains};

#[test]
fn a_site_stays_until_it_is_taken_down_and_its_guide_is_true() -> Result<()> {
    for shape in ["two-arm", "one-arm"] {
        let site = name(&format!("cmd-{shape}"));
        let _removed = Removed(&site);

        let guide = text(&run(&["up", shape, "--name", &site])?);
        let list = text(&run(&["list"])?);

        assert!(list.contains(&site), "{list}");
        assert!(list.contains("198.51.100.11"), "{list}");
        let typed = typed(&guide, "curl");
        let [answered, refused] = typed.as_slice() else {
            panic!("there should be two commands with curl in {guide}");
        };
        assert!(text(&sh(answered)?).starts_with("10.1.0.11:"));
        assert!(!sh(refused)?.status.success());
        let config = format!("{}/{site}/gw/gateway.yaml", lab::ROOT);
        assert!(guide.contains(&config), "{guide}");
        assert!(std::fs::read_to_string(config)?.contains("realm:"));

        let down = run(&["down", &site])?;

        assert!(down.status.success(), "{}", text(&down));
        assert_eq!(remains(&site), [""; 0]);
    }
    Ok(())
}

#[test]
fn a_wrong_word_is_answered_with_the_right_ones() -> Result<()> {
    for line in ["", "up three-arm", "down one two", "list all"] {
        let words: Vec<&str> = line.split_whitespace().collect();

        let output = run(&words)?;

        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("lab up [SHAPE]"));
    }
    Ok(())
}

#[test]
fn a_site_that_is_not_there_cannot_be_taken_down() -> Result<()> {
    let output = run(&["down", &name("never")])?;

    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("there is no site"), "{complaint}");
    Ok(())
}

/// Takes a site down also if a test has failed.
struct Removed<'a>(&'a str);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // There is none after a test that went well.
        let _ = lab::down(self.0);
    }
}

fn run(words: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_egret-lab"))
        .args(words)
        .output()?)
}

fn sh(command: &str) -> Result<Output> {
    Ok(Command::new("sh").args(["-c", command]).output()?)
}

/// The lines of a guide that are commands with that word.
fn typed<'a>(guide: &'a str, word: &str) -> Vec<&'a str> {
    let commands = guide
        .lines()
        .map(str::trim)
        .filter(|it| it.starts_with("nsenter"));
    commands.filter(|it| it.contains(word)).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
