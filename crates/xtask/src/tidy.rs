//! The rules that no compiler checks, checked by text.
//!
//! [`arrows`]: which of our crates may depend on which. [`sources`]: what every Rust file owes its
//! reader, where `unsafe` may stand, and what the pure crates must not know. [`links`]: that the
//! documents point at files that exist. [`rfcs`]: that the tables of RFCs name tests that exist.

mod arrows;
mod links;
mod rfcs;
mod sources;
mod text;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// How deep folders may nest. The tree has six levels; a loop of mounts has no end.
const DEPTH_MAX: u32 = 16;

/// Something that breaks a rule, with its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    pub line: Option<usize>,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what } = self;
        match line {
            Some(line) => write!(f, "{path}:{line}: {what}"),
            None => write!(f, "{path}: {what}"),
        }
    }
}

/// Checks the whole tree and prints what it finds.
///
/// # Errors
///
/// If a rule is broken or a file cannot be read.
pub fn run(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let mut findings = Vec::new();
    let mut seen = 0;
    for path in files(root).with_context(|| format!("cannot list {}", root.display()))? {
        let name = path.to_string_lossy().into_owned();
        let rule: fn(&Path, &str, &str) -> Vec<Finding> = match path.extension() {
            Some(extension) if extension == "rs" => |_, name, text| sources::findings(name, text),
            Some(extension) if extension == "md" => document,
            _ if path.ends_with("Cargo.toml") => |_, name, text| arrows::findings(name, text),
            _ => continue,
        };
        let text =
            fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {name}"))?;
        findings.extend(rule(root, &name, &text));
        seen += 1;
    }

    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {seen} files, nothing to say"),
        count => bail!("{count} things are not tidy"),
    }
    Ok(())
}

fn document(root: &Path, name: &str, text: &str) -> Vec<Finding> {
    let mut findings = links::findings(name, text, |target| root.join(target).exists());
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    findings.extend(rfcs::findings(name, text, read));
    findings
}

/// Lists the files of the tree, relative to its root and sorted; not what is hidden or built.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(root, Path::new(""), DEPTH_MAX, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(root: &Path, folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(io::Error::other(format!(
            "{} nests too deep",
            folder.display()
        )));
    };
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = folder.join(&name);
        let kind = entry.file_type()?;
        let hidden = name.to_string_lossy().starts_with('.');
        if kind.is_file() {
            found.push(path);
        } else if kind.is_dir() && !hidden && name != "target" && name != "node_modules" {
            walk(root, &path, depth, found)?;
        }
    }
    Ok(())
}
