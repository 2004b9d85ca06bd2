//! Real files: written, rotated, cut, moved, and asked.

use std::{io::Write as _, sync::Arc, time::Duration};

use sessions::{
    Assignment, Blocks, Closed, Endpoint, Event, Flow, Protocol, Reason, Record, Traffic, who::End,
};

use super::{super::outlet::Write, *};

/// A directory of a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("egret-journal-{test}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn file(&self) -> PathBuf {
        self.0.join("log/sessions.jsonl")
    }

    fn journal(&self, size: u64, keep: usize) -> Arc<Journal> {
        Arc::new(Journal::new(LogFile {
            path: self.file(),
            size,
            age: Duration::from_secs(86_400),
            keep,
        }))
    }

    /// A journal that is open, and who writes it.
    fn opened(&self, size: u64, keep: usize) -> (Arc<Journal>, Writer) {
        let journal = self.journal(size, keep);
        let mut writer = Writer::new(Arc::clone(&journal));
        writer.idle();
        assert!(journal.state().is_some());
        (journal, writer)
    }

    /// The names of the files there are, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("log")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The files that are written to no more, in order.
    fn ended(&self) -> Vec<PathBuf> {
        let names = self.names().into_iter();
        let ended = names.filter(|name| name.starts_with("sessions-") && name.ends_with("jsonl"));
        ended.map(|name| self.0.join("log").join(name)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const START: u64 = 1_800_000_000;

/// The end of a client's flow that lasted ten seconds, one after the other on one port.
fn record(number: u8) -> Record {
    let opened = Time::from_secs(START + u64::from(number) * 20);
    Record {
        time: opened.plus(Duration::from_secs(10)),
        flow: Flow {
            protocol: Protocol(6),
            client: Endpoint::new([10, 1, 0, number], 5000),
            external: Endpoint::new([192, 0, 2, 10], 40000),
            remote: Endpoint::new([198, 51, 100, 9], 443),
            pool: Some("team-a".into()),
        },
        event: Event::Closed(Closed {
            opened,
            last_packet: opened,
            out: Traffic::default(),
            inward: Traffic::default(),
            reason: Reason::Finished,
        }),
    }
}

/// Who had the port at a second.
#[track_caller]
fn clients(journal: &Journal, second: u64) -> Vec<String> {
    let searched = ask(journal, second, second);
    let found = searched.answer.found.iter();
    found
        .map(|found| {
            assert!(matches!(found.end, End::Closed(..)));
            found.flow.client.address.to_string()
        })
        .collect()
}

fn ask(journal: &Journal, since: u64, until: u64) -> Searched {
    let question = Question {
        key: Key::of(&record(0)),
        since: Time::from_secs(START + since),
        until: Time::from_secs(START + until),
    };
    journal.search(&question, Vec::new()).unwrap()
}

#[test]
fn what_was_written_is_found_before_and_after_rotation_and_restart() {
    let folder = Folder::new("found");
    let (journal, mut writer) = folder.opened(1000, 64);

    for number in 0..20 {
        assert_eq!(writer.write(&[record(number)]), 0);
    }

    assert!(folder.ended().len() > 3, "{:?}", folder.names());
    let everyone = |journal: &Journal| {
        for number in 0..20_u8 {
            let second = u64::from(number) * 20;
            let client = format!("10.1.0.{number}");
            assert_eq!(clients(journal, second + 5), [client]);
            assert_eq!(clients(journal, second + 15), [""; 0]);
        }
    };
    everyone(&journal);
    drop((journal, writer));
    let (journal, _writer) = folder.opened(1000, 64);
    everyone(&journal);
    assert_eq!(
        ask(&journal, 0, 0).earliest,
        Some(Time::from_secs(START)),
        "the log knows how far it goes back"
    );
}

#[test]
fn the_oldest_files_are_removed_with_their_indexes() {
    let folder = Folder::new("surplus");
    let (journal, mut writer) = folder.opened(1, 2);

    (0..5).for_each(|number| assert_eq!(writer.write(&[record(number)]), 0));

    assert_eq!(folder.ended().len(), 2);
    assert_eq!(folder.names().len(), 5, "{:?}", folder.names());
    assert_eq!(clients(&journal, 45), [""; 0]);
    assert_eq!(clients(&journal, 65), ["10.1.0.3"]);
}

#[test]
fn a_record_that_a_crash_cut_is_taken_away_and_the_others_stay() {
    let folder = Folder::new("cut");
    let (journal, mut writer) = folder.opened(1 << 20, 2);
    writer.write(&[record(0), record(1)]);
    drop((journal, writer));
    let whole = fs::read(folder.file()).unwrap();
    let mut file = File::options().append(true).open(folder.file()).unwrap();
    file.write_all(b"{\"time\":\"2027-01-").unwrap();

    let (journal, mut writer) = folder.opened(1 << 20, 2);
    writer.write(&[record(2)]);

    assert!(fs::read(folder.file()).unwrap().starts_with(&whole));
    for number in 0..3_u8 {
        let second = u64::from(number) * 20 + 5;
        assert_eq!(clients(&journal, second), [format!("10.1.0.{number}")]);
    }
}

#[test]
fn an_index_that_is_lost_or_damaged_is_done_without_and_made_anew() {
    let folder = Folder::new("index");
    let (journal, mut writer) = folder.opened(1, 64);
    writer.write(&[record(0)]);
    writer.write(&[record(1)]);
    let ended = folder.ended();
    let indexes: Vec<PathBuf> = ended.iter().map(|path| index_path(path)).collect();
    let intact: Vec<Vec<u8>> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::remove_file(&indexes[0]).unwrap();
    fs::write(&indexes[1], b"rubbish").unwrap();

    assert_eq!(clients(&journal, 5), ["10.1.0.0"]);
    assert_eq!(clients(&journal, 25), ["10.1.0.1"]);
    assert_eq!(ask(&journal, 0, 0).unindexed.len(), 2);
    (0..2).for_each(|_| writer.idle());

    let made: Vec<Vec<u8>> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(made == intact);
    assert_eq!(ask(&journal, 0, 0).unindexed, [""; 0]);
}

#[test]
fn an_index_whose_file_was_never_named_is_removed() {
    let folder = Folder::new("orphan");
    fs::create_dir_all(folder.0.join("log")).unwrap();
    let names = Names::beside("sessions.jsonl");
    let orphan = folder
        .0
        .join("log")
        .join(names.segment(Time::from_secs(START)));
    fs::write(index_path(&orphan), b"").unwrap();

    let _opened = folder.opened(1000, 2);

    assert_eq!(folder.names(), ["sessions.jsonl"]);
}

#[test]
fn a_file_that_somebody_moved_away_is_begun_anew() {
    let folder = Folder::new("moved");
    let (journal, mut writer) = folder.opened(1 << 20, 2);
    writer.write(&[record(0)]);
    fs::rename(folder.file(), folder.0.join("elsewhere")).unwrap();

    writer.idle();
    writer.write(&[record(1)]);

    assert_eq!(clients(&journal, 5), [""; 0]);
    assert_eq!(clients(&journal, 25), ["10.1.0.1"]);
    assert!(folder.file().exists());
}

/// A process may have a thousand files open; a log may have more.
#[test]
fn a_question_holds_no_file_open_for_each_that_there_is() {
    let folder = Folder::new("many");
    let (journal, mut writer) = folder.opened(1, 4096);
    for number in 0..1500_u32 {
        let mut record = record(0);
        record.time = record.time.plus(Duration::from_secs(number.into()));
        assert_eq!(writer.write(&[record]), 0);
    }
    assert_eq!(folder.ended().len(), 1500);

    let searched = ask(&journal, 5, 5);

    assert_eq!(searched.answer.found.len(), sessions::who::FLOWS_MAX);
    assert!(searched.answer.truncated);
    assert_eq!(searched.unindexed, [""; 0]);
}

#[test]
fn two_daemons_do_not_write_to_one_file() {
    let folder = Folder::new("two");
    let _first = folder.opened(1000, 2);
    let journal = folder.journal(1000, 2);
    let mut second = Writer::new(Arc::clone(&journal));

    assert_eq!(second.write(&[record(0), record(1)]), 2);

    let error = journal.open().unwrap_err();
    assert_eq!(error.to_string(), "another process writes to it");
}

#[test]
fn the_files_are_for_their_owners_eyes() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new("mode");
    let (_journal, mut writer) = folder.opened(1, 2);
    writer.write(&[record(0)]);

    for name in folder.names() {
        let path = folder.0.join("log").join(&name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0, "{name}");
    }
}

fn blocks(client: &str) -> Blocks {
    Blocks {
        pool: "homes".into(),
        clients: vec![client.parse().unwrap()],
        addresses: vec!["192.0.2.10/32".parse().unwrap()],
        sharing: 1,
        first: 39_936,
        size: 512,
    }
}

fn assignment(time: u64, pools: Vec<Blocks>) -> Arc<Assignment> {
    let time = Time::from_secs(START + time);
    Arc::new(Assignment { time, pools })
}

fn owner(journal: &Journal, time: u64) -> Option<String> {
    let at = Time::from_secs(START + time);
    let key = Key::of(&record(1));
    let question = Question {
        key,
        since: at,
        until: at,
    };
    let found = journal.search(&question, Vec::new()).unwrap();
    let owners = found.history.owners(&question);
    owners.first().map(|it| it.owner.client.to_string())
}

/// Files are rotated all the time, and a daemon comes after another, without blocks.
#[test]
fn every_file_says_the_blocks_that_are_in_force_and_the_last_one_says_that_there_are_none() {
    let folder = Folder::new("blocks");
    let (journal, mut writer) = folder.opened(1, 9);
    writer.assign(assignment(0, Vec::new()));
    assert_eq!(writer.say_blocks().written, 0, "there were none before");

    writer.assign(assignment(100, vec![blocks("10.1.0.1/32")]));
    assert_eq!(writer.say_blocks().written, 1);
    writer.write(&[record(1)]);
    assert_eq!(writer.say_blocks().written, 1, "in the next file");
    writer.assign(assignment(200, vec![blocks("10.1.0.2/32")]));
    assert_eq!(writer.say_blocks().written, 1);
    writer.write(&[record(2)]);
    writer.say_blocks();
    writer.write(&[record(3)]);
    writer.say_blocks();
    assert_eq!(folder.ended().len(), 3);
    for file in folder.ended() {
        assert!(fs::read_to_string(file).unwrap().contains("\"blocks\""));
    }
    assert_eq!(owner(&journal, 99), None);
    assert_eq!(owner(&journal, 100).as_deref(), Some("10.1.0.1"));
    assert_eq!(owner(&journal, 250).as_deref(), Some("10.1.0.2"));
    drop((journal, writer));

    let (journal, mut writer) = folder.opened(1, 9);
    writer.assign(assignment(300, Vec::new()));
    assert_eq!(writer.say_blocks().written, 1);
    assert_eq!(owner(&journal, 299).as_deref(), Some("10.1.0.2"));
    assert_eq!(owner(&journal, 300), None);
}
