//! What every Rust file owes its reader, and what some crates must not know.

use super::{
    Finding,
    text::{self, Line},
};

/// A file this long is several files. Tests apart: a table of cases may be as long as it likes.
const LINES_MAX: usize = 800;

/// Where `unsafe` may stand: whole folders, and single files of crates that otherwise deny it.
const UNSAFE_ALLOWED: [&str; 7] = [
    "crates/abi/src/shared.rs",
    "crates/abi/src/lib.rs",
    "crates/datapath/src/frame.rs",
    "crates/ebpf/",
    "crates/kernel/",
    "crates/lab/",
    "crates/e2e/",
];

/// The crates that decide and do not act. They get time, chance and bytes as arguments, and so
/// run under tests, fuzzers and in virtual time exactly as they do in production.
const PURE: [&str; 4] = [
    "crates/abi/",
    "crates/api/",
    "crates/datapath/",
    "crates/gateway/",
];

/// Code that is nowhere in the tree, and what to do instead.
const NOWHERE: [(&str, &str); 5] = [
    ("todo!", "finish it, or leave it out and file an issue"),
    (
        "unimplemented!",
        "finish it, or leave it out and file an issue",
    ),
    ("#[ignore", "assert what is true today and say why"),
    ("#[should_panic", "assert on the error"),
    (
        "[allow(",
        "use #[expect(…, reason = \"…\")], which complains when it is no longer needed",
    ),
];

/// Words that say in a comment that something is not finished.
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Names that no pure crate may use, and what to do instead.
const IMPURE: [(&str, &str); 10] = [
    ("Instant::now", "time is an argument"),
    ("SystemTime::now", "time is an argument"),
    ("rand::", "chance is an argument"),
    ("tokio", "a pure crate waits for nothing"),
    ("TcpStream", "a pure crate has no sockets"),
    ("TcpListener", "a pure crate has no sockets"),
    ("UdpSocket", "a pure crate has no sockets"),
    ("UnixStream", "a pure crate has no sockets"),
    ("println!", "return it; printing is for programs"),
    ("eprintln!", "return it; printing is for programs"),
];

/// Checks one Rust file.
pub fn findings(path: &str, source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |line, what| {
        findings.push(Finding {
            path: path.to_owned(),
            line,
            what,
        })
    };

    if !source.trim_start().starts_with("//!") {
        add(
            Some(1),
            "a file starts with a `//!` comment that says what it is for".to_owned(),
        );
    }

    let lines = text::lines(source);
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    let tests_from = if is_test {
        0
    } else {
        inline_tests(&lines).unwrap_or(lines.len())
    };
    if tests_from > LINES_MAX {
        add(
            None,
            format!("{tests_from} lines; more than {LINES_MAX} are several files"),
        );
    }

    let is_pure = PURE.iter().any(|folder| path.starts_with(folder));
    let unsafe_allowed = UNSAFE_ALLOWED
        .iter()
        .any(|allowed| path.starts_with(allowed));
    for (index, Line { code, comment }) in lines.iter().enumerate() {
        let line = Some(index + 1);
        for (name, instead) in NOWHERE {
            if text::contains(code, name) {
                add(line, format!("`{name}` is nowhere in this tree: {instead}"));
            }
        }
        for word in UNFINISHED {
            if text::contains(comment, word) {
                add(
                    line,
                    format!("{word}: finish it, or leave it out and file an issue"),
                );
            }
        }
        if !unsafe_allowed && text::contains(code, "unsafe") {
            add(
                line,
                "`unsafe` lives behind a few doors, and this is none of them".to_owned(),
            );
        }
        for (name, instead) in IMPURE {
            if is_pure && index < tests_from && text::contains(code, name) {
                add(line, format!("`{name}` in a pure crate: {instead}"));
            }
        }
    }
    findings
}

/// Where the tests at the end of a file begin, if they are in the file itself.
fn inline_tests(lines: &[Line]) -> Option<usize> {
    lines.windows(2).position(|pair| {
        let [attribute, item] = pair else {
            return false;
        };
        let item = item.code.trim();
        attribute.code.trim() == "#[cfg(test)]" && item.starts_with("mod ") && item.ends_with('{')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, source: &str, wanted: &[(usize, &str)]) {
        let found = findings(path, source);
        let places: Vec<usize> = found
            .iter()
            .map(|finding| finding.line.unwrap_or(0))
            .collect();
        let wanted_places: Vec<usize> = wanted.iter().map(|(line, _)| *line).collect();
        assert_eq!(places, wanted_places, "{found:?}");
        for (finding, (_, word)) in found.iter().zip(wanted) {
            assert!(finding.what.contains(word), "{finding} does not say {word}");
        }
    }

    #[test]
    fn a_file_says_first_what_it_is_for() {
        check(
            "crates/cli/src/main.rs",
            "//! The command.\nfn main() {}\n",
            &[],
        );
        check(
            "crates/cli/src/main.rs",
            "fn main() {}\n",
            &[(1, "what it is for")],
        );
        check(
            "crates/cli/src/main.rs",
            "// The command.\n",
            &[(1, "what it is for")],
        );
    }

    #[test]
    fn unfinished_things_are_found_in_code_and_comments_but_not_in_strings() {
        let path = "crates/cli/src/main.rs";

        check(path, "//! x\nfn f() { todo!() }\n", &[(2, "todo!")]);
        check(path, "//! x\n#[ignore = \"slow\"]\n", &[(2, "#[ignore")]);
        check(path, "//! x\n#![allow(dead_code)]\n", &[(2, "#[expect")]);
        check(path, "//! x\nf(); // TODO: later\n", &[(2, "TODO")]);
        check(path, "//! x\nf(\"TODO todo!() FIXME\");\n", &[]);
        check(path, "//! x\n// Nothing is said about mastodons.\n", &[]);
    }

    #[test]
    fn unsafe_stands_behind_its_doors_only() {
        let source = "//! x\nlet y = unsafe { *x };\n";

        check("crates/kernel/src/maps.rs", source, &[]);
        check("crates/datapath/src/frame.rs", source, &[]);
        check("crates/datapath/src/flow.rs", source, &[(2, "unsafe")]);
        check(
            "crates/datapath/src/flow.rs",
            "//! No unsafe.\n#![forbid(unsafe_code)]\n",
            &[],
        );
    }

    #[test]
    fn a_pure_crate_knows_no_clock_and_no_sockets() {
        let source = "//! x\nlet now = Instant::now();\n";

        check(
            "crates/gateway/src/machine.rs",
            source,
            &[(2, "time is an argument")],
        );
        check("crates/daemon/src/driver.rs", source, &[]);
    }

    #[test]
    fn tests_of_a_pure_crate_may_measure_time() {
        let source = "//! x\n#[cfg(test)]\nmod tests {\n    let now = Instant::now();\n}\n";
        let beside = "//! x\n#[cfg(test)]\nmod tests;\nlet now = Instant::now();\n";

        check("crates/gateway/src/machine.rs", source, &[]);
        check(
            "crates/gateway/src/machine/tests.rs",
            "//! x\nInstant::now();\n",
            &[],
        );
        check(
            "crates/gateway/tests/main.rs",
            "//! x\nInstant::now();\n",
            &[],
        );
        check(
            "crates/gateway/src/machine.rs",
            beside,
            &[(4, "Instant::now")],
        );
    }

    #[test]
    fn a_long_file_is_found_its_tests_apart() {
        let long = format!("//! x\n{}", "fn f() {}\n".repeat(LINES_MAX));
        let tests = format!("//! x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");

        check("crates/cli/src/main.rs", &long, &[(0, "several files")]);
        check("crates/cli/src/main.rs", &tests, &[]);
        check("crates/cli/tests/main.rs", &long, &[]);
    }
}
