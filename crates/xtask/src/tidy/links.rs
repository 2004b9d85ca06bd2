//! That the documents point at files that exist.

use std::path::{Component, Path, PathBuf};

use super::Finding;

/// Checks the relative links of one Markdown file.
pub fn findings(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (line, target) in links(text) {
        let reached = within(&folder.join(target));
        if !reached.is_some_and(|reached| exists(&reached)) {
            let what = format!("the link leads to `{target}`, and there is no such file");
            findings.push(Finding {
                path: path.to_owned(),
                line: Some(line),
                what,
            });
        }
    }
    findings
}

/// Returns the targets that are files, with their lines; links to elsewhere and into the same
/// page are not ours to follow, and what stands in a block of code is no link.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            in_code = !in_code;
        } else if !in_code {
            let inline = line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            let definition = start
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]: "));
            let targets = inline.chain(definition.map(|(_, target)| target.trim()));
            found.extend(targets.filter_map(file).map(|target| (number, target)));
        }
    }
    found
}

/// The file part of a link's target, if it has one.
fn file(target: &str) -> Option<&str> {
    let target = target.split_whitespace().next()?.trim_matches(['<', '>']);
    let file = target.split('#').next()?;
    let elsewhere = file.contains("://") || file.starts_with("mailto:");
    (!file.is_empty() && !elsewhere).then_some(file)
}

/// Takes the dots out of a path; nothing if it leads out of the tree.
fn within(path: &Path) -> Option<PathBuf> {
    let mut reached = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => reached.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !reached.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `docs/guide.md` whose links lead nowhere, in a tree of two files.
    #[track_caller]
    fn check(text: &str, wanted: &[usize]) {
        let tree = ["docs/guide.md", "docs/bench/today.md", "README.md"];
        let exists = |path: &Path| tree.iter().any(|file| Path::new(file) == path);
        let found = findings("docs/guide.md", text, exists);
        let lines: Vec<usize> = found.iter().filter_map(|finding| finding.line).collect();
        assert_eq!(lines, wanted, "{found:?}");
    }

    #[test]
    fn links_are_followed_from_the_file_they_stand_in() {
        check(
            "See [today](bench/today.md), [that](../README.md) and [this](./guide.md).",
            &[],
        );
        check("See [today](today.md)\nand [that](README.md).", &[1, 2]);
    }

    #[test]
    fn only_the_file_of_a_link_is_looked_up() {
        check(
            "[a](bench/today.md#ratio) [b](#here) [c](../README.md \"title\")",
            &[],
        );
        check(
            "[a](https://example.org/x.md) [b](mailto:a@example.org)",
            &[],
        );
    }

    #[test]
    fn a_definition_is_a_link_too() {
        check("[good]: bench/today.md\n[bad]: gone.md\n", &[2]);
    }

    #[test]
    fn a_link_out_of_the_tree_leads_nowhere() {
        check("[a](../../README.md) [b](/etc/passwd)", &[1, 1]);
    }

    #[test]
    fn code_is_not_read_as_links() {
        check("```\nlet x = list[i](gone.md);\n```\n[a](gone.md)", &[4]);
    }
}
