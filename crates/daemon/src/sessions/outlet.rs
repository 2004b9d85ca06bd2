//! One sink with its queue and its thread.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use sessions::{Queue, Record};

use super::tally::{Loss, Sink, Tally};

/// Records that may wait for a sink: what a flood of new flows leaves in half a second. 45 MiB at
/// most.
const QUEUE_MAX: usize = 1 << 18;

/// Records that are written at once.
const BATCH: usize = 4096;

/// After which time without a record a sink may do what it has put off.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Writes records somewhere, on a thread of its own.
pub trait Write: Send + 'static {
    /// Writes records; returns how many of them were lost. Says why itself.
    fn write(&mut self, records: &[Record]) -> u64;

    /// Does what was put off: nothing has come for a while, or ever.
    fn idle(&mut self) {}
}

/// See the module.
pub struct Outlet {
    sink: Sink,
    tally: Arc<Tally>,
    line: Arc<Line>,
    thread: JoinHandle<()>,
}

/// What the thread waits for.
struct Line {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

struct Waiting {
    queue: Queue<Record>,
    ending: bool,
}

impl Outlet {
    /// Starts the thread.
    pub fn start(sink: Sink, tally: &Arc<Tally>, mut writer: impl Write) -> Self {
        let line = Arc::new(Line {
            waiting: Mutex::new(Waiting {
                queue: Queue::new(QUEUE_MAX),
                ending: false,
            }),
            news: Condvar::new(),
        });
        let thread = thread::spawn({
            let (line, tally) = (Arc::clone(&line), Arc::clone(tally));
            move || {
                writer.idle();
                while let Some(records) = line.next() {
                    if records.is_empty() {
                        writer.idle();
                        continue;
                    }
                    let lost = writer.write(&records);
                    let kept = records.len().saturating_sub(lost as usize);
                    tally.write(sink, records.get(..kept).unwrap_or_default());
                    tally.lose(sink, Loss::Write, lost);
                }
            }
        });
        Self {
            sink,
            tally: Arc::clone(tally),
            line,
            thread,
        }
    }

    /// Gives it records. Never waits for the sink: what finds no room is counted.
    pub fn push(&self, records: &[Record]) {
        let lost = {
            let mut waiting = self.line.waiting();
            let records = records.iter().cloned();
            records
                .filter(|record| !waiting.queue.push(record.clone()))
                .count()
        };
        self.tally.lose(self.sink, Loss::Queue, lost as u64);
        self.line.news.notify_one();
    }

    /// Tells the thread to write what waits, and to end.
    pub fn begin_to_end(&self) {
        self.line.waiting().ending = true;
        self.line.news.notify_one();
    }

    /// The same, and waits until it has.
    pub fn end(self) {
        self.begin_to_end();
        if self.thread.join().is_err() {
            tracing::error!(
                sink = self.sink.label(),
                "the session log's thread broke off"
            );
        }
    }
}

impl Line {
    /// The next records; none of them if nothing came for a while; nothing when it ends.
    fn next(&self) -> Option<Vec<Record>> {
        let is_quiet = |waiting: &mut Waiting| waiting.queue.is_empty() && !waiting.ending;
        let waited = self
            .news
            .wait_timeout_while(self.waiting(), IDLE_AFTER, is_quiet);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.queue.is_empty() && waiting.ending {
            return None;
        }
        Some(waiting.queue.take(BATCH))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a sink works, said once each time that changes.
#[derive(Debug)]
pub struct Health {
    sink: Sink,
    place: String,
    is_well: bool,
}

impl Health {
    /// Of a sink at a place, of which nothing bad is known.
    pub const fn new(sink: Sink, place: String) -> Self {
        Self {
            sink,
            place,
            is_well: true,
        }
    }

    /// It worked.
    pub fn good(&mut self) {
        if !self.is_well {
            let (sink, place) = (self.sink.label(), &self.place);
            tracing::info!(sink, %place, "the session log is written again");
        }
        self.is_well = true;
    }

    /// It did not.
    pub fn bad(&mut self, error: &dyn std::fmt::Display) {
        if self.is_well {
            let (sink, place) = (self.sink.label(), &self.place);
            tracing::error!(
                sink, %place, %error,
                "the session log cannot be written; lost records are counted in \
                 egret_session_records_lost_total"
            );
        }
        self.is_well = false;
    }
}
