//! The answer beside a naive one: a list of flows that is looked through.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    Endpoint, Protocol, Reason, Traffic,
    index::{Index, Packed, whole},
    json,
    segment::walk,
};

/// The beginning of time here.
const START: u64 = 1_800_000_000;

/// A flow's whole life.
#[derive(Clone, Debug)]
struct Life {
    client: u8,
    port: u16,
    remote: u8,
    opened: u64,
    lasted: u64,
    /// It never ends, or its end is not written.
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Ended,
    Open,
    EndLost,
    BeginningLost,
}

impl Life {
    fn flow(&self) -> Flow {
        Flow {
            protocol: Protocol(17),
            client: Endpoint::new([10, 1, 0, self.client], 5000),
            external: Endpoint::new([192, 0, 2, 1], self.port),
            remote: Endpoint::new([198, 51, 100, self.remote], 443),
            pool: None,
        }
    }

    fn opened(&self) -> Time {
        Time::from_secs(START + self.opened)
    }

    fn ended(&self) -> Time {
        Time::from_secs(START + self.opened + self.lasted)
    }

    fn end(&self) -> Record {
        Record {
            time: self.ended(),
            flow: self.flow(),
            event: Event::Closed(Closed {
                opened: self.opened(),
                last_packet: self.ended(),
                out: Traffic::default(),
                inward: Traffic::default(),
                reason: Reason::Idle,
            }),
        }
    }

    fn records(&self) -> Vec<Record> {
        let beginning = Record {
            time: self.opened(),
            flow: self.flow(),
            event: Event::Opened,
        };
        match self.fate {
            Fate::Ended => vec![beginning, self.end()],
            Fate::Open | Fate::EndLost => vec![beginning],
            Fate::BeginningLost => vec![self.end()],
        }
    }

    fn found(&self) -> Found {
        let end = match (self.fate, self.end().event) {
            (Fate::Ended | Fate::BeginningLost, Event::Closed(closed)) => {
                End::Closed(self.ended(), closed)
            }
            (Fate::Open, _) => End::Open,
            (Fate::EndLost | Fate::Ended | Fate::BeginningLost, _) => End::Unknown,
        };
        Found {
            flow: self.flow(),
            opened: self.opened(),
            end,
        }
    }

    /// Whether it is part of the answer.
    fn is_wanted(&self, question: &Question) -> bool {
        let has_key = self.port == question.key.external.port;
        let has_ended = match self.fate {
            Fate::Ended | Fate::BeginningLost => self.ended() < question.since,
            Fate::Open | Fate::EndLost => false,
        };
        has_key && self.opened() <= question.until && !has_ended
    }
}

/// Segments in memory, with their indexes: of all but the last in a file, as the log has them.
struct Log {
    texts: Vec<Vec<u8>>,
    files: Vec<Vec<u8>>,
    last: BTreeSet<Packed>,
}

impl Log {
    fn of(lives: &[Life], per_segment: usize) -> Self {
        let mut records: Vec<Record> = lives.iter().flat_map(Life::records).collect();
        records.sort_by_key(|record| record.time);
        let mut texts: Vec<Vec<u8>> = records
            .chunks(per_segment)
            .map(|records| {
                let mut text = Vec::new();
                records
                    .iter()
                    .for_each(|record| json::write(record, &mut text));
                text
            })
            .collect();
        if texts.is_empty() {
            texts.push(Vec::new());
        }
        let mut sets: Vec<BTreeSet<Packed>> = texts
            .iter()
            .map(|text| walk(&text.as_slice()).unwrap().entries)
            .collect();
        let last = sets.pop().unwrap_or_default();
        let files = sets.iter().map(|set| whole(set, 0)).collect();
        Self { texts, files, last }
    }

    fn search(&self, question: &Question, open: Vec<Found>) -> Answer {
        let indexes: Vec<Index<&[u8]>> = self
            .files
            .iter()
            .map(|file| Index::open(file.as_slice()).unwrap())
            .collect();
        let ended = indexes.iter().map(|index| index as &dyn Sorted);
        let entries = ended.chain([&self.last as &dyn Sorted]);
        let texts: Vec<&[u8]> = self.texts.iter().map(Vec::as_slice).collect();
        let segments: Vec<Segment<'_>> = entries
            .zip(&texts)
            .map(|(entries, lines)| Segment { entries, lines })
            .collect();
        search(question, &segments, open).unwrap()
    }
}

fn question(port: u16, since: u64, until: u64) -> Question {
    Question {
        key: Key {
            external: Endpoint::new([192, 0, 2, 1], port),
            protocol: Protocol(17),
        },
        since: Time::from_secs(START + since),
        until: Time::from_secs(START + until),
    }
}

fn open(lives: &[Life], port: u16) -> Vec<Found> {
    let is_open = |life: &&Life| life.fate == Fate::Open && life.port == port;
    lives.iter().filter(is_open).map(Life::found).collect()
}

/// Lives of few endpoints, so that they meet; no two flows of one tuple at once, as in the tables.
fn any_lives() -> impl Strategy<Value = Vec<Life>> {
    let fate = prop_oneof![
        8 => Just(Fate::Ended),
        2 => Just(Fate::Open),
        1 => Just(Fate::BeginningLost),
        1 => Just(Fate::EndLost),
    ];
    let life = (
        1..4_u8,
        1000..1003_u16,
        1..4_u8,
        0..1000_u64,
        1..200_u64,
        fate,
    )
        .prop_map(|(client, port, remote, opened, lasted, fate)| Life {
            client,
            port,
            remote,
            opened,
            lasted,
            fate,
        });
    prop::collection::vec(life, 0..60).prop_map(|mut lives| {
        lives.sort_by_key(|life| life.opened);
        let mut free = std::collections::HashMap::new();
        lives.retain(|life| {
            let until = free
                .entry((life.client, life.port, life.remote))
                .or_insert(0);
            let is_free = *until < life.opened;
            if is_free {
                let end = match life.fate {
                    Fate::Open => u64::MAX,
                    Fate::Ended | Fate::EndLost | Fate::BeginningLost => {
                        life.opened + life.lasted + u64::from(2 * SLACK)
                    }
                };
                *until = end;
            }
            is_free
        });
        lives
    })
}

proptest! {
    #[test]
    fn the_answer_is_that_of_a_list_that_is_looked_through(
        lives in any_lives(),
        per_segment in 1..20_usize,
        port in 1000..1003_u16,
        since in 0..1200_u64,
        more in 0..300_u64,
    ) {
        let question = question(port, since, since + more);
        let log = Log::of(&lives, per_segment);

        let answer = log.search(&question, open(&lives, port));

        let mut wanted: Vec<Found> =
            lives.iter().filter(|life| life.is_wanted(&question)).map(Life::found).collect();
        wanted.sort_by_key(|found| (found.opened, found.flow.client, found.flow.remote));
        // Of those without an end that began before, the latest are told.
        let is_old = |found: &Found| found.end == End::Unknown && found.opened < question.since;
        let mut surplus = wanted.iter().filter(|found| is_old(found)).count().saturating_sub(UNENDED_MAX);
        wanted.retain(|found| {
            let drop = is_old(found) && surplus > 0;
            surplus -= usize::from(drop);
            !drop
        });
        prop_assert_eq!(answer.found, wanted);
        prop_assert_eq!((answer.truncated, answer.missing), (false, 0));
    }
}

fn ended(opened: u64, lasted: u64) -> Life {
    Life {
        client: 1,
        port: 1000,
        remote: 1,
        opened,
        lasted,
        fate: Fate::Ended,
    }
}

#[test]
fn a_log_that_was_cut_loses_what_was_cut_and_says_so() {
    let lives: Vec<Life> = (0..10).map(|number| ended(number * 100, 50)).collect();
    let mut log = Log::of(&lives, 7);
    let lines: Vec<usize> = log.texts[0]
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at)
        .collect();
    // In the middle of the fifth line: the end of the third flow's beginning stays, its end is cut.
    log.texts[0].truncate(lines[4] + 20);

    let answer = log.search(&question(1000, 0, 2000), Vec::new());

    assert_eq!(answer.found.len(), 9, "{answer:#?}");
    assert!(answer.missing > 0);
}

#[test]
fn a_damaged_line_costs_that_line() {
    let lives: Vec<Life> = (0..10).map(|number| ended(number * 100, 50)).collect();
    let mut log = Log::of(&lives, 100);
    let end = log.texts[0].iter().position(|byte| *byte == b'\n').unwrap();
    log.texts[0][end / 2] = 0xff;

    let walked = walk(&log.texts[0].as_slice()).unwrap();

    assert_eq!((walked.damaged, walked.entries.len()), (1, 19));
    assert_eq!(walked.whole, log.texts[0].len() as u64);
}

#[test]
fn an_unfinished_line_is_no_record_and_no_damage() {
    let mut log = Log::of(&[ended(0, 50)], 100);
    let whole = log.texts[0].len() as u64;
    log.texts[0].extend(b"{\"time\":\"2026");

    let walked = walk(&log.texts[0].as_slice()).unwrap();

    assert_eq!(
        (walked.whole, walked.damaged, walked.entries.len()),
        (whole, 0, 2)
    );
}

#[test]
fn more_flows_than_an_answer_has_room_for_are_told_as_such() {
    let lives: Vec<Life> = (0..1001).map(|number| ended(number * 60, 50)).collect();
    let log = Log::of(&lives, 300);

    let answer = log.search(&question(1000, 0, 100_000), Vec::new());

    assert_eq!((answer.found.len(), answer.truncated), (FLOWS_MAX, true));
}
