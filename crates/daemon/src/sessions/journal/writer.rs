//! The one who writes the journal: appends, rotates, and mends indexes.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sessions::{
    Assignment, Record, Time,
    index::{self, Entry, Packed},
    json, rotation,
    segment::walk,
};

use super::{
    super::{
        Clock,
        outlet::{Health, Said, Unsaid, Write},
        tally::Sink,
    },
    Journal, State,
    files::{Lines, append, write_whole},
    index_path, open_index, said_of,
};

/// After a failure, the next attempt to open or to rotate comes this much later.
const RETRY: Duration = Duration::from_secs(5);

/// See the module.
pub struct Writer {
    journal: Arc<Journal>,
    retry: Option<Instant>,
    /// Files whose index was looked at: from the latest on, this many need no mending.
    mended: usize,
    /// The blocks that are in force: every file says them.
    standing: Option<Arc<Assignment>>,
    /// Blocks that no file says yet.
    unsaid: Unsaid,
    health: Health,
}

impl Writer {
    /// Nothing is opened before its thread runs.
    pub fn new(journal: Arc<Journal>) -> Self {
        let place = journal.path().display().to_string();
        Self {
            journal,
            retry: None,
            mended: 0,
            standing: None,
            unsaid: Unsaid::default(),
            health: Health::new(Sink::File, place),
        }
    }

    /// Opens the journal, unless it is open or that has failed just now.
    fn open(&mut self) {
        let is_open = self.journal.state().is_some();
        if is_open || self.retry.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        match self.journal.open() {
            Ok(state) => {
                *self.journal.state() = Some(state);
                self.retry = None;
                self.stand();
                self.health.good();
            }
            Err(error) => {
                self.retry = Some(Instant::now() + RETRY);
                self.health.bad(&error);
            }
        }
    }

    fn append(&mut self, records: &[Record], now: Time) -> io::Result<()> {
        let journal = Arc::clone(&self.journal);
        let mut held = journal.state();
        let Some(state) = held.as_mut() else {
            return Err(io::Error::other("it is not open"));
        };
        let start = state.rotation.bytes();
        let mut text = Vec::with_capacity(records.len() * 400);
        let mut entries: Vec<Packed> = Vec::with_capacity(records.len());
        for record in records {
            entries.push(Entry::of(record, start + text.len() as u64).pack());
            json::write(record, &mut text);
        }
        put(&mut held, (text, entries), now)?;
        if let Some(state) = held.as_mut() {
            self.rotate(state, now);
        }
        Ok(())
    }

    /// Has the blocks that are in force said by a file that was begun.
    fn stand(&mut self) {
        let standing = self.standing.iter().filter(|it| !it.pools.is_empty());
        for assignment in standing {
            self.unsaid.push(Arc::clone(assignment));
        }
    }

    /// Goes on in a new file if it is time. If that fails, the old one goes on growing.
    fn rotate(&mut self, state: &mut State, now: Time) {
        let is_early = self.retry.is_some_and(|retry| Instant::now() < retry);
        if !state.rotation.is_due(now) || is_early {
            return;
        }
        self.retry = None;
        if let Err(error) = rotate(&self.journal, state, now) {
            self.retry = Some(Instant::now() + RETRY);
            let file = self.journal.path().display();
            tracing::error!(%file, %error, "the session log cannot be rotated; it goes on growing");
            return;
        }
        self.mended = 0;
        self.stand();
    }

    /// Makes the index of one file that has none, if there is such a file.
    fn mend(&mut self) {
        let ended = match self.journal.state().as_ref() {
            Some(state) => state.ended.clone(),
            None => return,
        };
        let Some(time) = ended.iter().rev().nth(self.mended) else {
            return;
        };
        self.mended += 1;
        let path = self.journal.segment(*time);
        if open_index(&path).is_ok() {
            return;
        }
        match make_index(&path) {
            Ok(()) => tracing::info!(file = %path.display(), "a lost index was made anew"),
            Err(error) => tracing::warn!(%error, "a lost index cannot be made anew"),
        }
    }
}

impl Write for Writer {
    fn write(&mut self, records: &[Record]) -> u64 {
        self.open();
        if self.journal.state().is_none() {
            return records.len() as u64;
        }
        match self.append(records, Clock::now().wall()) {
            Ok(()) => {
                self.health.good();
                0
            }
            Err(error) => {
                self.health.bad(&error);
                records.len() as u64
            }
        }
    }

    fn assign(&mut self, assignment: Arc<Assignment>) {
        self.standing = Some(Arc::clone(&assignment));
        self.unsaid.push(assignment);
    }

    fn say_blocks(&mut self) -> Said {
        if self.unsaid.is_empty() {
            return Said::default();
        }
        self.open();
        let journal = Arc::clone(&self.journal);
        let mut held = journal.state();
        if held.is_none() {
            return Said::default();
        }
        let (said, result) = self.unsaid.say(|assignment| say(&mut held, assignment));
        if let Err(error) = result {
            self.health.bad(&error);
        }
        said
    }

    fn idle(&mut self) {
        self.open();
        let journal = Arc::clone(&self.journal);
        let mut held = journal.state();
        if held.as_ref().is_some_and(|state| is_gone(&journal, state)) {
            let file = journal.path().display();
            tracing::warn!(%file, "the session log was moved or removed; it begins anew");
            *held = None;
        }
        if let Some(state) = held.as_mut() {
            self.rotate(state, Clock::now().wall());
        }
        drop(held);
        self.mend();
    }
}

/// Appends lines, or nothing.
fn put(
    held: &mut Option<State>,
    (text, entries): (Vec<u8>, Vec<Packed>),
    now: Time,
) -> io::Result<()> {
    let Some(state) = held.as_mut() else {
        return Err(io::Error::other("it is not open"));
    };
    let start = state.rotation.bytes();
    if let Err(error) = state.file.write_all(&text) {
        // A piece of a batch ends in a piece of a line: away with it, as if nothing had been written.
        // If not even that can be done, it is when the file is opened again.
        if state.file.set_len(start).is_err() {
            *held = None;
        }
        return Err(error);
    }
    state.entries.extend(entries);
    state.rotation.wrote(text.len() as u64, now);
    Ok(())
}

/// Says blocks, unless there are none and the file says of none.
fn say(held: &mut Option<State>, assignment: &Assignment) -> io::Result<u64> {
    let has_blocks = !assignment.pools.is_empty();
    let Some(state) = held.as_mut().filter(|it| has_blocks || it.has_blocks) else {
        return Ok(0);
    };
    let (start, mut text) = (state.rotation.bytes(), Vec::new());
    let places = json::write_blocks(assignment, &mut text).into_iter();
    let entry = |place| Entry::of_blocks(assignment.time, start + place as u64).pack();
    let entries: Vec<Packed> = places.map(entry).collect();
    let records = entries.len() as u64;
    put(held, (text, entries), Clock::now().wall())?;
    if let Some(state) = held.as_mut() {
        state.has_blocks = has_blocks;
    }
    Ok(records)
}

/// Whether somebody moved or removed the file: then nobody would find what is written to it.
fn is_gone(journal: &Journal, state: &State) -> bool {
    let (Ok(there), Ok(ours)) = (fs::metadata(journal.path()), state.file.metadata()) else {
        return true;
    };
    (there.dev(), there.ino()) != (ours.dev(), ours.ino())
}

/// Names the file after this moment, its index first, and begins a new one.
fn rotate(journal: &Journal, state: &mut State, now: Time) -> io::Result<()> {
    let mut rotation = state.rotation.clone();
    let bytes = rotation.bytes();
    let ended = rotation.rotate(now);
    let path = journal.segment(ended);
    write_whole(&index_path(&path), &index::whole(&state.entries, bytes))?;
    // Who waits for a lock on the old name must find the new file locked.
    fs::rename(journal.path(), &path)?;
    let file = append(journal.path()).and_then(|file| {
        file.try_lock()?;
        Ok(file)
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            fs::rename(&path, journal.path())?;
            return Err(error);
        }
    };
    *state = State {
        file,
        rotation,
        entries: Default::default(),
        has_blocks: state.has_blocks,
        ended: std::mem::take(&mut state.ended),
    };
    state.ended.push(ended);
    remove_surplus(journal, state);
    Ok(())
}

/// Removes the oldest files. One that cannot be removed is tried again at the next rotation.
fn remove_surplus(journal: &Journal, state: &mut State) {
    let surplus = rotation::surplus(&state.ended, journal.config.keep).to_vec();
    for time in surplus {
        let path = journal.segment(time);
        match remove(&path) {
            Ok(()) => state.ended.retain(|ended| *ended != time),
            Err(error) => tracing::warn!(%error, "an old session log cannot be removed"),
        }
    }
}

fn remove(segment: &Path) -> io::Result<()> {
    for path in [segment.to_owned(), index_path(segment)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(said_of(&path, &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn make_index(segment: &Path) -> io::Result<()> {
    let lines = File::open(segment).map_err(|error| said_of(segment, &error))?;
    let walked = walk(&Lines(lines)).map_err(|error| said_of(segment, &error))?;
    write_whole(
        &index_path(segment),
        &index::whole(&walked.entries, walked.whole),
    )
}
