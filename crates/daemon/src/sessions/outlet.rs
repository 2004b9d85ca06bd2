//! One sink with its queue and its thread.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use sessions::{Assignment, Queue, Record};

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

    /// Takes blocks that are to be said before any record that comes later.
    fn assign(&mut self, _assignment: Arc<Assignment>) {}

    /// Says the blocks that it took and has not said yet, or tries again.
    fn say_blocks(&mut self) -> Said {
        Said::default()
    }

    /// Does what was put off: nothing has come for a while, or ever.
    fn idle(&mut self) {}
}

/// Records of blocks that were written, and that were given up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// Those that were written.
    pub written: u64,
    /// Those that were given up.
    pub lost: u64,
}

/// Blocks that a sink has still to say: more than so many changes of the configuration while it cannot
/// write, and the oldest are given up.
#[derive(Debug, Default)]
pub struct Unsaid {
    waiting: VecDeque<Arc<Assignment>>,
    lost: u64,
}

/// See [`Unsaid`].
const UNSAID_MAX: usize = 64;

impl Unsaid {
    /// Takes blocks.
    pub fn push(&mut self, assignment: Arc<Assignment>) {
        if self.waiting.len() >= UNSAID_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.lost += lines(&oldest);
        }
        self.waiting.push_back(assignment);
    }

    /// Says one after the other, until that fails; `say` returns how many records that were.
    pub fn say(
        &mut self,
        mut say: impl FnMut(&Assignment) -> io::Result<u64>,
    ) -> (Said, io::Result<()>) {
        let mut said = Said {
            written: 0,
            lost: std::mem::take(&mut self.lost),
        };
        while let Some(next) = self.waiting.front() {
            match say(next) {
                Ok(records) => said.written += records,
                Err(error) => return (said, Err(error)),
            }
            self.waiting.pop_front();
        }
        (said, Ok(()))
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0
    }
}

/// Records that blocks are: one for each pool, or one that says that there are none.
fn lines(assignment: &Assignment) -> u64 {
    assignment.pools.len().max(1) as u64
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
    /// Blocks that the writer has not taken yet.
    assignments: Vec<Arc<Assignment>>,
    ending: bool,
}

impl Outlet {
    /// Starts the thread.
    pub fn start(sink: Sink, tally: &Arc<Tally>, mut writer: impl Write) -> Self {
        let line = Arc::new(Line {
            waiting: Mutex::new(Waiting {
                queue: Queue::new(QUEUE_MAX),
                assignments: Vec::new(),
                ending: false,
            }),
            news: Condvar::new(),
        });
        let thread = thread::spawn({
            let (line, tally) = (Arc::clone(&line), Arc::clone(tally));
            move || {
                writer.idle();
                while let Some((assignments, records)) = line.next() {
                    for assignment in assignments {
                        writer.assign(assignment);
                    }
                    let said = writer.say_blocks();
                    tally.write_blocks(sink, said.written);
                    tally.lose(sink, Loss::Write, said.lost);
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

    /// Gives it blocks, to be said before any record that comes later. There is one for each change of
    /// the configuration, so they are kept for as long as the thread is busy.
    pub fn assign(&self, assignment: &Arc<Assignment>) {
        self.line.waiting().assignments.push(Arc::clone(assignment));
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
    /// The next blocks and records; none of them if nothing came for a while; nothing when it ends.
    fn next(&self) -> Option<(Vec<Arc<Assignment>>, Vec<Record>)> {
        let is_empty = |it: &Waiting| it.queue.is_empty() && it.assignments.is_empty();
        let is_quiet = |waiting: &mut Waiting| is_empty(waiting) && !waiting.ending;
        let waited = self
            .news
            .wait_timeout_while(self.waiting(), IDLE_AFTER, is_quiet);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_empty(&waiting) && waiting.ending {
            return None;
        }
        let assignments = std::mem::take(&mut waiting.assignments);
        Some((assignments, waiting.queue.take(BATCH)))
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
