//! Holds fragments that came before the first one of their packet: the world of
//! [`gateway::fragments`].
//!
//! A thread of its own, so that a flood of fragments takes nothing from the driver, and one that rests
//! as long as it worked whenever it cannot keep up, so that it takes no more than half a CPU. What
//! comes meanwhile waits in the ring between the packet path and here; what finds no room in that is
//! dropped there, and counted.
//!
//! ```text
//! packet path ─ HELD ring ─► here ─► Holder::handle ─► the packet path again
//! ```

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use abi::{FragmentKey, Held, Ip6, Tick, limits::HELD_SHARES};
use gateway::{
    Holder,
    fragments::{Event, Frame, Tally},
};
use kernel::{
    LoadError, Tables,
    held::{Injector, Records, Ring},
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use crate::alarms;

/// Records taken in before the clock is looked at again, and what came of them is shown.
const AT_ONCE: usize = 256;
/// How long a sender's share lasts.
const SHARE: Duration = Duration::from_secs(1);

/// What became of fragments that were held, for everybody who asks.
#[derive(Clone, Debug, Default)]
pub struct Holding(Arc<Mutex<Fates>>);

/// See [`Holding`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fates {
    /// What the holder decided.
    pub held: Tally,
    /// Of those that were let go, how many the kernel did not take.
    pub failed: u64,
}

impl Holding {
    /// Until now.
    pub fn fates(&self) -> Fates {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Fates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the holder's thread acts on.
pub struct World {
    /// Where fragments come from.
    pub ring: Ring,
    /// Where they go.
    pub injector: Injector,
    /// What is known of first ones, and the shares of senders.
    pub tables: Arc<Tables>,
}

/// The thread that holds; it ends with this.
pub struct Keeper {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it. Threads have the capabilities that their maker has at that time.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub fn start(world: World, holding: Holding) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let act = move || {
            if let Err(error) = runtime.block_on(keep(world, &holding, stopped)) {
                tracing::error!(
                    %error,
                    "fragments that come before the first one of their packet are lost from now on"
                );
            }
        };
        let thread = thread::Builder::new().name("fragments".to_owned());
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.spawn(act)?),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why nobody holds fragments any more.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Ring(#[from] LoadError),
    #[error("cannot wait for fragments")]
    Wait(#[source] io::Error),
    #[error("cannot look up whether the first fragment of a packet has come")]
    LookUp(#[source] io::Error),
    #[error("cannot give senders new shares")]
    Shares(#[source] io::Error),
}

/// Until somebody says stop, or does not want to know any more.
async fn keep(
    world: World,
    holding: &Holding,
    mut stop: oneshot::Receiver<()>,
) -> Result<(), KeepError> {
    let World {
        ring,
        injector,
        tables,
    } = world;
    let mut records: Records = ring.watch()?;
    let mut holder = Holder::default();
    let mut told = Told::default();
    // What a predecessor left is over.
    let mut shares_end = Some(Instant::now());
    loop {
        let deadline = holder.deadline().map(instant);
        let taken = tokio::select! {
            _ = &mut stop => return Ok(()),
            taken = records.take(AT_ONCE) => taken.map_err(KeepError::Wait)?,
            () = until(deadline) => Vec::new(),
            () = until(shares_end) => {
                shares_end = None;
                renew(&tables).map_err(KeepError::Shares)?;
                continue;
            }
        };
        let (began, count) = (Instant::now(), taken.len());
        if count > 0 {
            shares_end = shares_end.or(Some(began + SHARE));
        }
        let mut released = holder.handle(Event::Tick, kernel::now());
        for (record, frame) in taken {
            let event = event(&tables, record, frame).map_err(KeepError::LookUp)?;
            released.extend(holder.handle(event, kernel::now()));
        }
        let failed = inject(&injector, &released);
        let fates = {
            let mut fates = holding.lock();
            fates.held = holder.tally();
            fates.failed += failed;
            *fates
        };
        told.tell(&fates);
        if count == AT_ONCE {
            sleep(began.elapsed()).await;
        }
    }
}

fn event(tables: &Tables, record: Held, bytes: Vec<u8>) -> io::Result<Event> {
    let Held {
        key,
        at,
        ingress,
        mtu,
        ..
    } = record;
    if record.length == 0 {
        return Ok(Event::First(key));
    }
    let frame = Frame { ingress, bytes };
    if mtu != 0 {
        return Ok(Event::TooLong { frame, mtu });
    }
    Ok(Event::Early {
        key,
        at,
        frame,
        // Asked after the fragment was awaited: from then on, its first one says when it comes.
        is_known: is_known(tables, &key)?,
    })
}

fn is_known(tables: &Tables, key: &FragmentKey<Ip6>) -> io::Result<bool> {
    let known = match key.narrow() {
        Some(key) => tables.fragments.get(&key)?,
        None => tables.fragments6.get(key)?,
    };
    let now = Tick::from_nanos(kernel::now());
    Ok(known.is_some_and(|known| !known.is_old(now)))
}

/// Sends frames through the packet path again; returns how many the kernel refused.
fn inject(injector: &Injector, frames: &[Frame]) -> u64 {
    let mut failed = 0;
    for Frame { ingress, bytes } in frames {
        if let Err(error) = injector.send(*ingress, bytes) {
            failed += 1;
            tracing::debug!(ingress, %error, "a fragment was not sent through again");
        }
    }
    failed
}

/// Gives every sender its whole share again.
fn renew(tables: &Tables) -> io::Result<()> {
    let senders: Vec<u32> = (0..HELD_SHARES as u32).collect();
    tables.held_by.put_all(&senders, &vec![0; senders.len()])
}

/// The moment of a time of the tables' clock.
fn instant(at: u64) -> Instant {
    Instant::now() + Duration::from_nanos(at.saturating_sub(kernel::now()))
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What was told of fragments that were lost here, so that it is told once for each interval.
#[derive(Default)]
struct Told {
    lost: u64,
    quiet_until: Option<Instant>,
}

impl Told {
    fn tell(&mut self, fates: &Fates) {
        let lost = fates.held.displaced + fates.failed;
        let now = Instant::now();
        if lost == self.lost || self.quiet_until.is_some_and(|until| now < until) {
            return;
        }
        tracing::warn!(
            fragments = lost - self.lost,
            held = fates.held.fragments,
            failed = fates.failed,
            "fragments that came before the first one of their packet were given up: too many are \
             held, or the kernel did not take them back"
        );
        self.lost = lost;
        self.quiet_until = Some(now + alarms::INTERVAL);
    }
}
