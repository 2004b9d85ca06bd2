//! Ctrl-C and its relatives, turned into a question that can be asked at any time.
//!
//! The process must not die of a signal, because it has a site to remove.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Somebody wants the end.
#[derive(Clone, Debug)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    /// Its other end is dropped when the end is requested.
    wake: Arc<Mutex<Receiver<()>>>,
}

/// The error of what was broken off for that reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl Interrupt {
    /// From here on SIGINT, SIGTERM and SIGHUP only ask.
    ///
    /// # Errors
    ///
    /// If they cannot be caught.
    pub fn catch() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let (waker, wake) = channel::<()>();
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot start an event loop for signals")?;
        let mut signals = {
            let _inside = runtime.enter();
            let open = |kind| signal(kind).context("cannot catch signals");
            let kinds = [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
            ];
            kinds.into_iter().map(open).collect::<Result<Vec<_>>>()?
        };
        let asked = Arc::clone(&requested);
        let listen = move || {
            let [one, two, three] = signals.as_mut_slice() else {
                return;
            };
            runtime.block_on(async {
                tokio::select! {
                    _ = one.recv() => {}
                    _ = two.recv() => {}
                    _ = three.recv() => {}
                }
            });
            asked.store(true, Ordering::Relaxed);
            drop(waker);
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .context("cannot start a thread for signals")?;
        Ok(Self {
            requested,
            wake: Arc::new(Mutex::new(wake)),
        })
    }

    /// Says whether the end is wanted.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Takes note that the end has begun: nothing that it takes is to be broken off.
    pub fn forget(&self) {
        self.requested.store(false, Ordering::Relaxed);
    }

    /// Waits until the end is wanted, at most `limit`; says whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        match wake.recv_timeout(limit) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
