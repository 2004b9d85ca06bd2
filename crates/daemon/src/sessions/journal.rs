//! The files of the session log: one that is written to, and those before it, each with its index.
//!
//! ```text
//! sessions.jsonl                                     written to; its index is in memory
//! sessions-20261103T140500.123456Z.jsonl             ended at that time
//! sessions-20261103T140500.123456Z.jsonl.index       made when it ended
//! ```
//!
//! A crash or a full disk may cut the file that is written to: what is cut is taken away when it is
//! opened, so that every line is whole, and said. An index that is missing or damaged is made anew
//! when nothing else is to be done; until then its file is looked through as a whole.

mod files;
mod writer;

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gateway::intent::LogFile;
use sessions::{
    Time,
    blocks::{self, History},
    index::{self, Entry, Index, Key, Packed, Sorted, Source},
    json::Said,
    rotation::{self, Names, Policy, Rotation},
    segment::{said_at, walk},
    who::{self, Answer, Found, Question, Segment},
};

pub use files::Lines;
pub use writer::Writer;

use files::Ended;

/// See the module.
#[derive(Debug)]
pub struct Journal {
    config: LogFile,
    names: Names,
    state: Mutex<Option<State>>,
}

/// What is known of the files once they have been looked at.
#[derive(Debug)]
struct State {
    file: File,
    rotation: Rotation,
    /// The index of the file that is written to.
    entries: BTreeSet<Packed>,
    /// Whether the last blocks that it says, or else the file before it, are some.
    has_blocks: bool,
    /// The times at which the others ended: by them they are named. In order.
    ended: Vec<Time>,
}

/// What a journal answers, and how far back it goes.
#[derive(Debug)]
pub struct Searched {
    /// Who it was.
    pub answer: Answer,
    /// The blocks of ports that were in force then.
    pub history: History,
    /// The earliest second at which a flow of the log began; nothing if the log is empty.
    pub earliest: Option<Time>,
    /// Files without a usable index, which were looked through as a whole.
    pub unindexed: Vec<String>,
}

impl Journal {
    /// Opens nothing yet: the thread that writes does.
    pub fn new(config: LogFile) -> Self {
        let name = config.path.file_name().unwrap_or_default();
        let names = Names::beside(&name.to_string_lossy());
        Self {
            config,
            names,
            state: Mutex::new(None),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// Answers a question from all files, and from the flows that are open now.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn search(&self, question: &Question, open: Vec<Found>) -> io::Result<Searched> {
        // What may change is taken along first; a file that is removed meanwhile is not missed.
        let (last, lines, ended) = self.snapshot(question.key)?;
        let mut unindexed = Vec::new();
        let mut segments: Vec<(Entries, Box<dyn Source>)> = Vec::new();
        let mut earliest = last.earliest;
        for time in ended {
            let path = self.segment(time);
            let entries = match open_index(&path) {
                Ok(index) => {
                    let header = index.header();
                    if header.entries > 0 {
                        earliest = Some(earliest.unwrap_or(u32::MAX).min(header.earliest));
                    }
                    if header.earliest > question.until.secs() {
                        continue;
                    }
                    Entries::File(path.clone())
                }
                Err(_) => {
                    let said = |error| said_of(&path, &error);
                    let Some(file) = still_there(File::open(&path)).map_err(said)? else {
                        continue;
                    };
                    unindexed.push(name(&path));
                    Entries::Memory(walk(&Lines(file)).map_err(said)?.entries)
                }
            };
            segments.push((entries, Box::new(Ended(path))));
        }
        segments.push((Entries::Memory(last.entries), Box::new(lines)));
        let parts: Vec<Segment<'_>> = segments
            .iter()
            .map(|(entries, lines)| Segment {
                entries,
                lines: lines.as_ref(),
            })
            .collect();
        Ok(Searched {
            answer: who::search(question, &parts, open)?,
            history: blocks::history(question, &parts)?,
            earliest: earliest.map(|second| Time::from_secs(second.into())),
            unindexed,
        })
    }

    fn snapshot(&self, key: Key) -> io::Result<(Last, Lines, Vec<Time>)> {
        let state = self.state();
        let Some(state) = state.as_ref() else {
            let what = format!(
                "{} is not open; the daemon's log says why",
                self.path().display()
            );
            return Err(io::Error::other(what));
        };
        let file = state.file.try_clone()?;
        let last = Last {
            entries: index::of_key(&state.entries, key),
            earliest: (!state.entries.is_empty())
                .then(|| state.rotation.began().map(Time::secs))
                .flatten(),
        };
        Ok((last, Lines(file), state.ended.clone()))
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segment(&self, ended: Time) -> PathBuf {
        self.config.path.with_file_name(self.names.segment(ended))
    }

    fn directory(&self) -> &Path {
        self.config.path.parent().unwrap_or(Path::new("/"))
    }

    const fn policy(&self) -> Policy {
        Policy {
            size: self.config.size,
            age: self.config.age,
            keep: self.config.keep,
        }
    }

    /// Opens the file that is written to, and lists the others.
    fn open(&self) -> io::Result<State> {
        fs::create_dir_all(self.directory())?;
        let file = files::append(self.path())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process writes to it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let walked = walk(&Lines(file.try_clone()?))?;
        let cut = file.metadata()?.len().saturating_sub(walked.whole);
        let path = self.path().display();
        if cut > 0 {
            file.set_len(walked.whole)?;
            tracing::warn!(
                file = %path, bytes = cut,
                "the session log ended in the middle of a record, which is taken away"
            );
        }
        if walked.damaged > 0 {
            tracing::warn!(
                file = %path, lines = walked.damaged,
                "the session log has lines that are no records; they are skipped"
            );
        }
        let ended = self.ended()?;
        let before = || ended.last().is_some_and(|time| self.had_blocks(*time));
        let has_blocks = walked.has_blocks.unwrap_or_else(before);
        let mut rotation = Rotation::new(self.policy(), walked.first, walked.whole);
        if let Some(last) = ended.last() {
            rotation.named(*last);
        }
        Ok(State {
            file,
            rotation,
            entries: walked.entries,
            has_blocks,
            ended,
        })
    }

    /// Whether the last blocks that a file says are some. If that cannot be told they may be, and it does
    /// no harm to say that there are none.
    fn had_blocks(&self, ended: Time) -> bool {
        let path = self.segment(ended);
        let last = open_index(&path).and_then(|index| {
            let lines = index::blocks_until(&index, u32::MAX, 1)?;
            let read = |entry: &Entry| said_at(&Ended(path), entry.offset);
            lines.last().map(read).transpose()
        });
        match last {
            Ok(Some(Said::Blocks(_, blocks))) => blocks.is_some(),
            Ok(Some(Said::Flow(_)) | None) => false,
            Err(_) => true,
        }
    }

    /// Lists the files that are written to no more. An index whose file was never named, because the
    /// daemon was killed between the two, is removed.
    fn ended(&self) -> io::Result<Vec<Time>> {
        let mut ended = Vec::new();
        let mut indexes = Vec::new();
        for entry in fs::read_dir(self.directory())? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            match name.strip_suffix(rotation::INDEX) {
                Some(of) => indexes.extend(self.names.ended(of)),
                None => ended.extend(self.names.ended(&name)),
            }
        }
        ended.sort_unstable();
        for time in indexes {
            if ended.binary_search(&time).is_err() {
                fs::remove_file(index_path(&self.segment(time)))?;
            }
        }
        Ok(ended)
    }
}

/// What is taken along of the file that is written to.
struct Last {
    entries: BTreeSet<Packed>,
    earliest: Option<u32>,
}

/// The entries of a file, wherever they are.
///
/// An index is opened for as long as it is looked into, and no longer: there may be thousands, and a
/// process may have a thousand files open.
enum Entries {
    File(PathBuf),
    Memory(BTreeSet<Packed>),
}

impl Sorted for Entries {
    fn between(&self, from: &Packed, to: &Packed, show: &mut index::Show<'_>) -> io::Result<()> {
        match self {
            Self::File(path) => match still_there(open_index(path))? {
                Some(index) => index.between(from, to, show),
                None => Ok(()),
            },
            Self::Memory(entries) => entries.between(from, to, show),
        }
    }

    fn last_between(
        &self,
        from: &Packed,
        to: &Packed,
        max: usize,
    ) -> io::Result<Vec<index::Entry>> {
        match self {
            Self::File(path) => match still_there(open_index(path))? {
                Some(index) => index.last_between(from, to, max),
                None => Ok(Vec::new()),
            },
            Self::Memory(entries) => entries.last_between(from, to, max),
        }
    }
}

/// Nothing of a file that was removed meanwhile because it is too old.
fn still_there<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_index(segment: &Path) -> io::Result<Index<Lines>> {
    Index::open(Lines(File::open(index_path(segment))?))
}

fn index_path(segment: &Path) -> PathBuf {
    let mut path = segment.as_os_str().to_owned();
    path.push(rotation::INDEX);
    PathBuf::from(path)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The same error, with the file that it is of.
fn said_of(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
