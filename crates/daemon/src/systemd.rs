//! Tells systemd how we are; does nothing under anything else.

use std::time::Duration;

use sd_notify::NotifyState;

/// We serve.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// We reload the configuration; [`ready`] ends it.
pub fn reloading() {
    let micros = kernel::now() / 1000;
    notify(&[
        NotifyState::Reloading,
        NotifyState::MonotonicUsec(i128::from(micros)),
    ]);
}

/// We end.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// We wait until nothing comes any more, and end then.
pub fn draining() {
    notify(&[NotifyState::Status("draining: routers send elsewhere")]);
}

/// We live.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is to be said: half of what systemd waits.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|interval| interval / 2)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd how we are");
    }
}
