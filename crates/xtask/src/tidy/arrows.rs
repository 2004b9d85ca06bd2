//! Which of our crates may depend on which, as data.
//!
//! A crate earns its place by what it does *not* know, and a dependency is how it would get to
//! know it. So another arrow is a line in this table, made deliberately and seen in a review.

use super::Finding;

/// A crate of ours, by its folder, and the crates of ours that it may name.
struct Crate {
    folder: &'static str,
    may_use: &'static [&'static str],
    /// What its tests may name beside that.
    tests_may_use: &'static [&'static str],
}

/// Every crate of the tree. All arrows point down or inward, none back.
const CRATES: [Crate; 17] = [
    // What is agreed.
    Crate {
        folder: "crates/abi",
        may_use: &[],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/api",
        may_use: &[],
        tests_may_use: &[],
    },
    // What is decided.
    Crate {
        folder: "crates/datapath",
        may_use: &["abi"],
        // Its laws hold for tables that the gateway fills.
        tests_may_use: &["gateway"],
    },
    Crate {
        folder: "crates/bgp",
        may_use: &[],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/bfd",
        may_use: &[],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/replica",
        may_use: &[],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/gateway",
        may_use: &["abi", "api", "bfd", "bgp", "replica"],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/sessions",
        may_use: &[],
        tests_may_use: &[],
    },
    // What is done.
    Crate {
        folder: "crates/ebpf",
        may_use: &["abi", "datapath"],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/kernel",
        may_use: &["abi"],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/daemon",
        may_use: &[
            "abi", "api", "bfd", "bgp", "gateway", "kernel", "replica", "sessions",
        ],
        tests_may_use: &[],
    },
    // `egret check` and the daemon validate with the same code, which is `gateway`'s and does no I/O.
    Crate {
        folder: "crates/cli",
        may_use: &["api", "gateway"],
        tests_may_use: &[],
    },
    // What is proved.
    Crate {
        folder: "crates/lab",
        may_use: &[],
        tests_may_use: &[],
    },
    // The real machines and a packet path in plain memory; what is around them it makes up.
    Crate {
        folder: "crates/sim",
        may_use: &["abi", "bfd", "datapath", "gateway", "replica"],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/e2e",
        may_use: &[
            "abi", "api", "datapath", "gateway", "kernel", "lab", "daemon", "cli",
        ],
        tests_may_use: &[],
    },
    Crate {
        folder: "fuzz",
        may_use: &["abi", "api", "bfd", "bgp", "datapath", "gateway", "replica"],
        tests_may_use: &[],
    },
    Crate {
        folder: "crates/xtask",
        may_use: &[],
        tests_may_use: &[],
    },
];

/// Checks one manifest of the tree.
pub fn findings(path: &str, manifest: &str) -> Vec<Finding> {
    let folder = path
        .strip_suffix("Cargo.toml")
        .unwrap_or(path)
        .trim_end_matches('/');
    if folder.is_empty() {
        // The root lists what there is; it depends on nothing.
        return Vec::new();
    }
    let finding = |line, what| Finding {
        path: path.to_owned(),
        line,
        what,
    };
    let Some(own) = CRATES.iter().find(|known| known.folder == folder) else {
        let what = "this crate is not in the table of arrows (crates/xtask/src/tidy/arrows.rs)";
        return vec![finding(None, what.to_owned())];
    };

    let mut findings = Vec::new();
    for (line, used, by) in dependencies(manifest) {
        let may =
            own.may_use.contains(&used) || by == User::Tests && own.tests_may_use.contains(&used);
        if !may {
            let what = format!("{folder} must not depend on {used}");
            findings.push(finding(Some(line), what));
        }
    }
    findings
}

/// Who needs a dependency.
#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Crate,
    Tests,
}

/// Returns which of our crates a manifest depends on, in any way, on which line it says so, and for
/// whom.
///
/// Reads TOML by the line, which is enough: an inline table may not span lines.
fn dependencies(manifest: &str) -> Vec<(usize, &'static str, User)> {
    let mut section = "";
    let mut found = Vec::new();
    for (number, line) in (1..).zip(manifest.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').trim();
            // `[dependencies.abi]` is a dependency by itself.
            let (kind, name) = section.rsplit_once('.').unwrap_or((section, ""));
            if is_dependencies(kind) {
                found.extend(ours(name).map(|name| (number, name, user(section))));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if is_dependencies(section) {
            let key = key.split('.').next().unwrap_or_default();
            found.extend(
                ours(key)
                    .or_else(|| renamed(value))
                    .map(|name| (number, name, user(section))),
            );
        } else if section
            .rsplit_once('.')
            .is_some_and(|(kind, _)| is_dependencies(kind))
            && key.trim() == "package"
        {
            found.extend(ours(value).map(|name| (number, name, user(section))));
        }
    }
    found
}

fn user(section: &str) -> User {
    if section.split('.').any(|part| part == "dev-dependencies") {
        User::Tests
    } else {
        User::Crate
    }
}

fn is_dependencies(section: &str) -> bool {
    let kind = section.rsplit('.').next().unwrap_or_default();
    ["dependencies", "dev-dependencies", "build-dependencies"].contains(&kind)
}

/// What a dependency under another name really is: `{ package = "egret-abi", … }`.
fn renamed(value: &str) -> Option<&'static str> {
    let (_, package) = value.split_once("package")?;
    ours(package.split('"').nth(1)?)
}

/// The folder name of one of our crates, by that name or by its package's.
fn ours(name: &str) -> Option<&'static str> {
    let name = name.trim().trim_matches('"');
    let name = name.strip_prefix("egret-").unwrap_or(name);
    let folders = CRATES
        .iter()
        .filter_map(|known| known.folder.strip_prefix("crates/"));
    folders.into_iter().find(|folder| *folder == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, manifest: &str, wanted: &[(usize, &str)]) {
        let found: Vec<(usize, String)> = findings(path, manifest)
            .into_iter()
            .map(|finding| (finding.line.unwrap_or(0), finding.what))
            .collect();
        let wanted: Vec<(usize, String)> = wanted
            .iter()
            .map(|(line, what)| (*line, (*what).to_owned()))
            .collect();
        assert_eq!(found, wanted, "{manifest}");
    }

    #[test]
    fn an_arrow_of_the_table_is_fine_in_every_spelling() {
        for line in [
            "abi.workspace = true",
            "abi = { workspace = true }",
            "egret-abi = { path = \"../abi\" }",
            "layouts = { package = \"egret-abi\", path = \"../abi\" }",
        ] {
            check(
                "crates/datapath/Cargo.toml",
                &format!("[dependencies]\n{line}\n"),
                &[],
            );
        }
    }

    #[test]
    fn any_other_arrow_is_found_in_every_spelling() {
        let wrong = |line| [(line, "crates/abi must not depend on datapath")];
        for line in [
            "datapath.workspace = true",
            "datapath = { workspace = true }",
            "egret-datapath = { path = \"../datapath\" }",
            "packets = { path = \"../datapath\", package = \"egret-datapath\" }",
        ] {
            check(
                "crates/abi/Cargo.toml",
                &format!("[dependencies]\n{line}\n"),
                &wrong(2),
            );
        }
        check(
            "crates/abi/Cargo.toml",
            "[dependencies.datapath]\nworkspace = true\n",
            &wrong(1),
        );
        check(
            "crates/abi/Cargo.toml",
            "[dependencies.x]\npackage = \"egret-datapath\"",
            &wrong(2),
        );
    }

    #[test]
    fn tests_builds_and_platforms_do_not_excuse_an_arrow() {
        for section in [
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            let manifest = format!("[{section}]\nkernel.workspace = true\n");
            check(
                "crates/gateway/Cargo.toml",
                &manifest,
                &[(2, "crates/gateway must not depend on kernel")],
            );
        }
    }

    #[test]
    fn what_is_not_ours_and_what_is_no_dependency_is_nobodys_business() {
        check(
            "crates/gateway/Cargo.toml",
            "[package]\nname = \"egret-gateway\"\n[lib]\nname = \"gateway\"\n\
             [dependencies]\nserde.workspace = true # not kernel\n[features]\nkernel = []\n",
            &[],
        );
    }

    #[test]
    fn a_crate_that_nobody_placed_is_found() {
        let what = "this crate is not in the table of arrows (crates/xtask/src/tidy/arrows.rs)";

        check("crates/surprise/Cargo.toml", "", &[(0, what)]);
        check(
            "Cargo.toml",
            "[workspace.dependencies]\nabi = { path = \"crates/abi\" }",
            &[],
        );
    }

    #[test]
    fn no_arrow_of_the_table_points_back() {
        for (place, user) in CRATES.iter().enumerate() {
            for used in user.may_use {
                let folder = format!("crates/{used}");
                let used = CRATES.iter().position(|known| known.folder == folder);
                assert!(
                    used.is_some_and(|used| used < place),
                    "{} → {folder}",
                    user.folder
                );
            }
        }
    }
}
