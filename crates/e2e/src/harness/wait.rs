//! Waiting for a condition, with an error that says which one did not come true.

use std::time::Duration;

use anyhow::{Result, bail};

/// Looks until `look` finds something, at most `limit`; looks at least once. An error of `look`
/// ends the wait.
///
/// # Errors
///
/// When `look` fails, or when `what` has not come true in time.
pub fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    match lab::until(limit, || look().transpose()) {
        Some(found) => found,
        None => bail!("{what}: not within {} ms", limit.as_millis()),
    }
}
