//! Who had an external address and port at a time, from all that is known: ends and beginnings in
//! the log, and the flows there are.
//!
//! A record of an end says everything. A record of a beginning without an end is a flow that is
//! still open, and then it is among the flows there are; or one whose end was not written, which is
//! told as such. Beginnings and ends of one flow are recognised by client, remote and the second at
//! which it began, in the indexes alone: a record is read only if it is part of the answer.

use std::{collections::HashMap, io, ops::ControlFlow};

use crate::{
    Closed, Event, Flow, Record, Time,
    index::{self, Entry, Key, Sorted, Source, digest},
    segment::record_at,
};

/// Flows of one answer.
pub const FLOWS_MAX: usize = 1000;

/// Beginnings that are looked at, the latest before the end of the question. Only an endpoint that
/// one client has for very many flows has more.
pub const BEGINNINGS_MAX: usize = 1 << 16;

/// Flows without a known end that began before the question, the latest.
pub const UNENDED_MAX: usize = 16;

/// Seconds by which two records may tell the same beginning differently: the packet path's clock
/// ticks once a second.
const SLACK: u32 = 2;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Which endpoint.
    pub key: Key,
    /// From when on; the same as `until` for one moment.
    pub since: Time,
    /// Until when, included.
    pub until: Time,
}

/// Who it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Client, remote and pool.
    pub flow: Flow,
    /// When it began.
    pub opened: Time,
    /// How it went on.
    pub end: End,
}

/// What is known of a flow's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It goes on.
    Open,
    /// It ended, at this time.
    Closed(Time, Closed),
    /// The log does not say, and it is not among the flows there are.
    Unknown,
}

/// A part of the log.
pub struct Segment<'a> {
    /// Its index.
    pub entries: &'a dyn Sorted,
    /// Its lines.
    pub lines: &'a dyn Source,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// By their beginning.
    pub found: Vec<Found>,
    /// Whether more were found than [`FLOWS_MAX`].
    pub truncated: bool,
    /// Records that the indexes name and that are not there: the log was cut, or is damaged.
    pub missing: u64,
}

/// Answers a question from the segments, oldest first, and the flows that are open now.
///
/// # Errors
///
/// If the log cannot be read.
pub fn search(
    question: &Question,
    segments: &[Segment<'_>],
    open: Vec<Found>,
) -> io::Result<Answer> {
    let mut search = Search {
        question: *question,
        answer: Answer::default(),
        begun: Begun::default(),
    };
    search.beginnings(segments)?;
    for flow in &open {
        let digest = digest(&flow.flow.client, &flow.flow.remote);
        search.begun.ends(digest, flow.opened.secs());
    }
    search.ends(segments)?;
    search.unended(segments)?;
    let is_asked = |flow: &Found| flow.opened <= question.until;
    for flow in open.into_iter().filter(is_asked) {
        search.take(flow);
    }
    Ok(search.finish())
}

struct Search {
    question: Question,
    answer: Answer,
    begun: Begun,
}

/// Beginnings whose end is not known yet, by the digest of their flow.
#[derive(Default)]
struct Begun {
    places: HashMap<u32, Vec<Place>>,
    /// The second of the earliest.
    earliest: Option<u32>,
}

/// Where a beginning stands.
#[derive(Clone, Copy)]
struct Place {
    opened: u32,
    segment: usize,
    offset: u64,
}

impl Begun {
    fn insert(&mut self, entry: &Entry, segment: usize) {
        let earliest = self.earliest.unwrap_or(u32::MAX);
        self.earliest = Some(earliest.min(entry.opened));
        self.places.entry(entry.flow).or_default().push(Place {
            opened: entry.opened,
            segment,
            offset: entry.offset,
        });
    }

    /// Takes out the beginning of a flow whose end is known.
    fn ends(&mut self, flow: u32, opened: u32) {
        let Some(places) = self.places.get_mut(&flow) else {
            return;
        };
        let nearest = (0..places.len())
            .filter_map(|index| Some((places.get(index)?.opened.abs_diff(opened), index)))
            .min()
            .filter(|(apart, _)| *apart <= SLACK);
        if let Some((_, index)) = nearest {
            places.swap_remove(index);
        }
    }
}

impl Search {
    /// Collects the latest beginnings, from the last segment to the first.
    fn beginnings(&mut self, segments: &[Segment<'_>]) -> io::Result<()> {
        let Question { key, until, .. } = self.question;
        let mut room = BEGINNINGS_MAX;
        for (number, segment) in segments.iter().enumerate().rev() {
            let begun = index::opened_until(segment.entries, key, until.secs(), room)?;
            begun
                .iter()
                .for_each(|entry| self.begun.insert(entry, number));
            room -= begun.len();
            if room == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Looks through the ends: those that are asked for, and those of the beginnings.
    fn ends(&mut self, segments: &[Segment<'_>]) -> io::Result<()> {
        let Question { key, since, until } = self.question;
        let (since, until) = (since.secs(), until.secs());
        let from = self
            .begun
            .earliest
            .map_or(since, |second| second.saturating_sub(SLACK).min(since));
        for segment in segments {
            let mut wanted = Vec::new();
            let (begun, answer) = (&mut self.begun, &mut self.answer);
            let room = FLOWS_MAX - answer.found.len();
            index::closed_since(segment.entries, key, from, &mut |entry| {
                begun.ends(entry.flow, entry.opened);
                if entry.second >= since && entry.opened <= until {
                    if wanted.len() < room {
                        wanted.push(*entry);
                    } else {
                        answer.truncated = true;
                    }
                }
                ControlFlow::Continue(())
            })?;
            for entry in wanted {
                if let Some(record) = self.read(segment, entry.offset)? {
                    self.take_end(record);
                }
            }
        }
        Ok(())
    }

    fn take_end(&mut self, record: Record) {
        let Question { since, until, .. } = self.question;
        let (ended, opened) = (record.time, record.opened());
        if let Event::Closed(closed) = record.event
            && ended >= since
            && opened <= until
        {
            self.take(Found {
                flow: record.flow,
                opened,
                end: End::Closed(ended, closed),
            });
        }
    }

    /// Reads the beginnings that no end was found for, the latest first.
    fn unended(&mut self, segments: &[Segment<'_>]) -> io::Result<()> {
        let Question { since, until, .. } = self.question;
        let places = std::mem::take(&mut self.begun.places);
        let mut places: Vec<Place> = places.into_values().flatten().collect();
        places.sort_unstable_by_key(|place| (place.opened, place.segment, place.offset));
        let mut before = 0;
        for place in places.iter().rev() {
            let Some(segment) = segments.get(place.segment) else {
                continue;
            };
            let Some(record) = self.read(segment, place.offset)? else {
                continue;
            };
            if record.time > until {
                continue;
            }
            before += usize::from(record.time < since);
            if before > UNENDED_MAX {
                break;
            }
            self.take(Found {
                flow: record.flow,
                opened: record.time,
                end: End::Unknown,
            });
        }
        Ok(())
    }

    /// Reads a record, which must be of the endpoint that is asked for: an index is believed only
    /// as far as its segment agrees.
    fn read(&mut self, segment: &Segment<'_>, offset: u64) -> io::Result<Option<Record>> {
        match record_at(segment.lines, offset) {
            Ok(record) if Key::of(&record) == self.question.key => Ok(Some(record)),
            Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(error),
            Ok(_) | Err(_) => {
                self.answer.missing += 1;
                Ok(None)
            }
        }
    }

    fn take(&mut self, found: Found) {
        if self.answer.found.len() < FLOWS_MAX {
            self.answer.found.push(found);
        } else {
            self.answer.truncated = true;
        }
    }

    fn finish(mut self) -> Answer {
        let order = |flow: &Found| (flow.opened, flow.flow.client, flow.flow.remote);
        self.answer.found.sort_by_key(order);
        // A daemon that was killed at the wrong moment may have written an end twice.
        self.answer.found.dedup();
        self.answer
    }
}

#[cfg(test)]
mod tests;
