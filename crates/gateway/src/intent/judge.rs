//! From the model to the intent: what values mean, alone and together.

mod bfd;
mod bgp;
mod cluster;
mod endpoints;
mod interfaces;
mod kinds;
mod log;
mod nat64;
mod pools;
mod prefixes;
mod rules;
mod settings;
mod tcp_ao;

use std::collections::BTreeMap;

pub use settings::STATE_DEFAULT;

use api::Config;

use super::{
    Intent,
    report::{Path, Report},
    words::{Complaint, complaint},
};

/// Judges the whole configuration. What it returns is of use only if nothing was reported as an
/// error: something has to stand in for what is wrong, so that everything else is judged too.
pub(super) fn judge(config: &Config, report: &mut Report<'_>) -> Intent {
    let interfaces = interfaces::judge(config, report);
    let timeouts = settings::timeouts(config, report);
    let mut pools = pools::judge(config, &timeouts, report);
    let prefixes = nat64::judge(config, &pools.owners, report);
    pools::forwards::judge(config, &prefixes, &mut pools, report);
    let lowest_mtu6 = nat64::lowest_mtu(config, report);
    let fixed = prefixes::judge(config, &pools.owners, &prefixes, report);
    let bfd = bfd::judge(config, report);
    let around = bgp::Surroundings {
        pools: &pools.pools,
        fixed: &fixed,
        profiles: &bfd.profiles,
    };
    let bgp = bgp::judge(config, &around, report);
    let cluster = cluster::judge(config, &bfd.profiles, report);
    let rules = rules::judge(config, &pools, &prefixes, &fixed, report);
    let limits = settings::limits(config, &pools.pools, &prefixes, report);
    pools::forwards::room(&pools.pools, limits, report);
    Intent {
        interfaces,
        pools: pools.pools,
        rules,
        fixed,
        prefixes,
        lowest_mtu6,
        cluster,
        bgp,
        bfd,
        timeouts,
        services: settings::services(&config.timeouts, &Path::ROOT.field("timeouts"), report),
        limits,
        api_socket: settings::api_socket(config, report),
        metrics: settings::metrics(config, report),
        log: log::judge(config, report),
        state: settings::state(config, report),
    }
}

/// A field's value, if it was given and is of the right kind, and the way to it.
fn given<'c, T>(
    report: &Report<'_>,
    parent: &Path,
    name: &str,
    value: &'c Option<T>,
) -> Option<(Path, &'c T)> {
    let path = parent.field(name);
    match value {
        Some(value) if !report.is_broken(&path) => Some((path, value)),
        Some(_) | None => None,
    }
}

/// The same of a field that must be given; `help` is an example of it.
fn required<'c, T>(
    report: &mut Report<'_>,
    parent: &Path,
    name: &str,
    value: &'c Option<T>,
    help: &str,
) -> Option<(Path, &'c T)> {
    let path = parent.field(name);
    if value.is_none() && !report.is_broken(&path) {
        let message = match parent.to_string() {
            root if root.is_empty() => format!("`{name}` is missing"),
            parent => format!("`{parent}` has no `{name}`"),
        };
        report.error(&path, complaint(message, help));
    }
    given(report, parent, name, value)
}

/// The good values of a list of words.
fn each<T>(
    report: &mut Report<'_>,
    path: &Path,
    words: &[String],
    read: impl Fn(&str) -> Result<T, Complaint>,
) -> Vec<(Path, T)> {
    let mut good = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let path = path.item(index);
        if report.is_broken(&path) {
            continue;
        }
        if let Some(value) = accept(report, &path, read(word)) {
            good.push((path, value));
        }
    }
    good
}

/// A good value; of a bad one, its complaint is reported.
fn accept<T>(report: &mut Report<'_>, path: &Path, result: Result<T, Complaint>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(complaint) => {
            report.error(path, complaint);
            None
        }
    }
}

/// The names of one kind of thing, which must differ.
struct Names {
    what: &'static str,
    first: BTreeMap<String, Path>,
}

impl Names {
    fn of(what: &'static str) -> Self {
        Self {
            what,
            first: BTreeMap::new(),
        }
    }

    /// Takes a name that nothing had before.
    fn take(&mut self, report: &mut Report<'_>, name: &str, path: &Path) {
        let Some(first) = self.first.get(name) else {
            self.first.insert(name.to_owned(), path.clone());
            return;
        };
        let what = self.what;
        let line = report.line(first);
        let message = format!("a second {what} is named `{name}`; the first is in line {line}");
        report.error(
            path,
            complaint(
                message,
                format!("rename one of them, or make one {what} of both"),
            ),
        );
    }
}
