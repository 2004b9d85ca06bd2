//! Why a kernel refused what it was given: what Egret needs of it, asked for one by one.
//!
//! Asked only then. Whether a kernel can do what is needed, its verifier judges best, and the numbers
//! of distributions' kernels say little about what is in them.

use std::fmt;

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};

use crate::sys;

/// The oldest kernel that the tests run on (major, minor).
const OLDEST: (u32, u32) = (6, 1);

/// Something that not every kernel can do.
struct Feature {
    what: &'static str,
    /// The first Linux with it.
    since: &'static str,
    /// Whether it is missing, as far as can be told.
    is_missing: fn() -> bool,
}

static FEATURES: [Feature; 5] = [
    Feature {
        what: "route look-ups by XDP programs",
        since: "4.18",
        is_missing: || is_without(BpfHelper::BPF_FUNC_fib_lookup),
    },
    Feature {
        what: "tables mapped into a process's memory",
        since: "5.5",
        is_missing: || sys::make_mapped_array().is_err(),
    },
    Feature {
        what: "the coarse clock in programs",
        since: "5.11",
        is_missing: || is_without(BpfHelper::BPF_FUNC_ktime_get_coarse_ns),
    },
    Feature {
        what: "atomic instructions that return the old value",
        since: "5.12",
        is_missing: || sys::load_atomic_fetch().is_err(),
    },
    Feature {
        what: "copies of whole frames by XDP programs, and frames sent through them again",
        since: "5.18",
        is_missing: || is_without(BpfHelper::BPF_FUNC_xdp_load_bytes),
    },
];

fn is_without(helper: BpfHelper) -> bool {
    matches!(is_helper_supported(ProgramType::Xdp, helper), Ok(false))
}

/// What there is to say about a kernel that refused something; nothing, if it is new enough and
/// lacks nothing: then the defect is ours, and the cause says which.
#[derive(Debug)]
pub struct Advice {
    release: String,
    missing: Vec<(&'static str, &'static str)>,
}

impl Advice {
    /// Asks the kernel.
    pub(crate) fn ask() -> Self {
        let missing = FEATURES.iter().filter(|feature| (feature.is_missing)());
        Self {
            release: sys::release(),
            missing: missing
                .map(|feature| (feature.what, feature.since))
                .collect(),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, missing } = self;
        if missing.is_empty() && number(release).is_none_or(|number| number >= OLDEST) {
            return Ok(());
        }
        let (major, minor) = OLDEST;
        write!(
            f,
            ": this is Linux {release}, and Egret needs {major}.{minor} or later"
        )?;
        for (index, (what, since)) in missing.iter().enumerate() {
            let before = if index == 0 { "; it lacks" } else { "," };
            write!(f, "{before} {what} (since {since})")?;
        }
        Ok(())
    }
}

/// The first two numbers of what `uname -r` says.
fn number(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(release: &str, missing: &[(&'static str, &'static str)], wanted: &str) {
        let advice = Advice {
            release: release.to_owned(),
            missing: missing.to_vec(),
        };
        assert_eq!(advice.to_string(), wanted);
    }

    #[test]
    fn a_kernel_that_is_too_old_is_told_apart_from_a_defect_of_ours() {
        check("6.1.0-56-amd64", &[], "");
        check("6.12.117+deb13-amd64", &[], "");
        check("7.3", &[], "");
        check("unheard-of", &[], "");
        check(
            "5.15.0-91-generic",
            &[],
            ": this is Linux 5.15.0-91-generic, and Egret needs 6.1 or later",
        );
        check(
            "5.10.0-46-amd64",
            &[("clocks", "5.11"), ("atomics", "5.12")],
            ": this is Linux 5.10.0-46-amd64, and Egret needs 6.1 or later; \
             it lacks clocks (since 5.11), atomics (since 5.12)",
        );
    }
}
