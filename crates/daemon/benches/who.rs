//! How long `egret who` takes over ten million records: writes them as the daemon does, with real
//! rotation and real indexes, and asks a thousand questions of which the answers are known.
//!
//! `cargo bench -p egret-daemon --bench who [-- RECORDS]`; needs 3 GiB in the temporary directory
//! for the usual ten million, which are removed again.

use std::{
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use daemon::sessions::journal::{Journal, Writer};
use gateway::intent::LogFile;
use sessions::{
    Closed, Endpoint, Event, Flow, Protocol, Reason, Record, Time, Traffic, index::Key,
    who::Question,
};

/// Records unless the command line says otherwise.
const RECORDS: u64 = 10_000_000;

/// Questions that are asked.
const QUESTIONS: u64 = 1000;

/// When the first flow begins, in seconds.
const START: u64 = 1_800_000_000;

/// Flows that begin in a second.
const RATE: u64 = 1000;

/// How long each lasts, in seconds.
const LASTS: u64 = 30;

fn main() {
    let records = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(RECORDS);
    let flows = records / 2;
    let folder = Folder(std::env::temp_dir().join(format!("egret-who-{}", std::process::id())));
    let journal = Arc::new(Journal::new(LogFile {
        path: folder.0.join("sessions.jsonl"),
        size: 128 << 20,
        age: Duration::from_secs(366 * 86_400),
        keep: 4096,
    }));

    let began = Instant::now();
    write(&journal, flows);
    let took = began.elapsed();
    let (files, bytes, indexes) = folder.sizes();
    println!(
        "{records} records written in {took:.1?}: {files} files, {bytes} bytes, and {indexes} of indexes"
    );

    let mut times: Vec<Duration> = (0..QUESTIONS)
        .map(|question| ask(&journal, question * (flows / QUESTIONS).max(1)))
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "{QUESTIONS} questions: median {:.2?}, 99 of 100 below {:.2?}, slowest {:.2?}",
        at(50),
        at(99),
        at(100)
    );
    assert!(at(100) < Duration::from_secs(1), "a question took too long");
}

/// A flow by its number: endpoints come again when their port is free again.
fn flow(number: u64) -> Flow {
    let port = 1024 + (number % 60_000) as u16;
    let external = Ipv4Addr::from(0xc000_0200 + (number / 60_000 % 16) as u32);
    Flow {
        protocol: Protocol(6),
        client: Endpoint::new(Ipv4Addr::from(0x0a00_0000 + number as u32), 40_000),
        external: Endpoint::new(external, port),
        remote: Endpoint::new(Ipv4Addr::from(0xc633_6400 + (number % 256) as u32), 443),
        pool: Some("team-a".into()),
    }
}

fn opened(number: u64) -> Time {
    Time::from_micros(START * 1_000_000 + number * 1_000_000 / RATE)
}

fn beginning(number: u64) -> Record {
    Record {
        time: opened(number),
        flow: flow(number),
        event: Event::Opened,
    }
}

fn end(number: u64) -> Record {
    let opened = opened(number);
    let time = opened.plus(Duration::from_secs(LASTS));
    Record {
        time,
        flow: flow(number),
        event: Event::Closed(Closed {
            opened,
            last_packet: time,
            out: Traffic {
                packets: 7,
                bytes: 812,
            },
            inward: Traffic {
                packets: 5,
                bytes: 4096,
            },
            reason: Reason::Idle,
        }),
    }
}

fn write(journal: &Arc<Journal>, flows: u64) {
    let mut writer = Writer::new(Arc::clone(journal));
    let mut batch = Vec::new();
    let mut hand_on = |batch: &mut Vec<Record>, least: usize| {
        if batch.len() >= least {
            assert_eq!(daemon::sessions::Write::write(&mut writer, batch), 0);
            batch.clear();
        }
    };
    let behind = LASTS * RATE;
    for number in 0..flows + behind {
        if number < flows {
            batch.push(beginning(number));
        }
        if number >= behind {
            batch.push(end(number - behind));
        }
        hand_on(&mut batch, 4096);
    }
    hand_on(&mut batch, 1);
}

/// Asks who had a flow's endpoint in its middle; returns how long the answer took.
fn ask(journal: &Journal, number: u64) -> Duration {
    let wanted = flow(number);
    let at = opened(number).plus(Duration::from_secs(LASTS / 2));
    let question = Question {
        key: Key {
            external: wanted.external,
            protocol: wanted.protocol,
        },
        since: at,
        until: at,
    };
    let began = Instant::now();
    let searched = journal
        .search(&question, Vec::new())
        .expect("it is readable");
    let took = began.elapsed();
    let found = &searched.answer.found;
    assert_eq!(found.len(), 1, "flow {number}: {found:?}");
    assert_eq!(found[0].flow, wanted);
    took
}

/// A directory, gone at the end.
struct Folder(PathBuf);

impl Folder {
    /// Files, bytes of records, bytes of indexes.
    fn sizes(&self) -> (usize, u64, u64) {
        let (mut files, mut bytes, mut indexes) = (0, 0, 0);
        for entry in fs::read_dir(&self.0).expect("it is there").flatten() {
            let size = entry.metadata().map_or(0, |it| it.len());
            if entry.path().extension().is_some_and(|it| it == "index") {
                indexes += size;
            } else {
                files += 1;
                bytes += size;
            }
        }
        (files, bytes, indexes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
