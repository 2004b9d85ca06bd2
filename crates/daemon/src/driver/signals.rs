//! What the daemon is told by signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DriverError;

/// The signals that mean something to us.
pub struct Signals {
    /// SIGTERM: drain, then end.
    pub end: Signal,
    /// SIGINT: end.
    pub interrupt: Signal,
    /// SIGHUP: read the configuration again.
    pub reload: Signal,
    /// SIGUSR1: end, because another daemon takes over.
    pub hand_over: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn open() -> Result<Self, DriverError> {
        let open = |kind| signal(kind).map_err(DriverError::Signals);
        Ok(Self {
            end: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            reload: open(SignalKind::hangup())?,
            hand_over: open(SignalKind::user_defined1())?,
        })
    }
}
