//! Waiting for something to become true, with a limit.

use std::time::{Duration, Instant};

/// How long to rest between two looks at a condition that nothing announces.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until `look` finds something or `limit` has passed; looks at least once.
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
