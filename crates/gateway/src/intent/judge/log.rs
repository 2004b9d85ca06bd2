//! Which events of flows are written down, and where.

use std::{net::SocketAddr, time::Duration};

use api::{
    Config,
    config::{self, Rotate},
};

use super::{
    super::{
        Collector, LogFile, SessionLog, Syslog, near,
        report::{Path, Report},
        words::{self, Complaint, complaint, quoted, spelled, spelled_size},
    },
    accept, each, given, required,
    settings::{PATH_MAX, SOCKET_PATH_MAX, absolute},
};

/// The file that examples name.
const FILE: &str = "/var/log/egret/sessions.jsonl";

/// Below this a file is rotated faster than anybody reads it.
const SIZE_MIN: u64 = 1 << 20;
/// The index of the file that is written to is in memory: 60 bytes for a record of 250.
const SIZE_MAX: u64 = 1 << 30;
const SIZE_DEFAULT: u64 = 128 << 20;

const AGE_MIN: Duration = Duration::from_secs(60);
const AGE_MAX: Duration = Duration::from_secs(366 * 86_400);
const AGE_DEFAULT: Duration = Duration::from_secs(86_400);

/// A question looks into every file that is kept.
const KEEP_MAX: u64 = 4096;
const KEEP_DEFAULT: usize = 64;

const DOMAIN_DEFAULT: u32 = 1;

/// An event that can be written down.
#[derive(Clone, Copy, PartialEq)]
enum Event {
    Opened,
    Closed,
}

const EVENTS: [(&str, Event); 2] = [("opened", Event::Opened), ("closed", Event::Closed)];

pub(super) fn judge(config: &Config, report: &mut Report<'_>) -> Option<SessionLog> {
    let section = Path::ROOT.field("log");
    let (path, written) = given(report, &section, "sessions", &config.log.sessions)?;
    let (opened, closed) = events(written, &path, report);
    let log = SessionLog {
        opened,
        closed,
        file: file(written, &path, report),
        syslog: given(report, &path, "syslog", &written.syslog)
            .and_then(|(path, word)| accept(report, &path, syslog(word))),
        ipfix: given(report, &path, "ipfix", &written.ipfix)
            .and_then(|(path, ipfix)| collector(ipfix, &path, report)),
    };
    let is_written_anywhere =
        written.file.is_some() || written.syslog.is_some() || written.ipfix.is_some();
    if !is_written_anywhere && !report.is_broken(&path) {
        let help = format!("add `file: {FILE}`, or `syslog` or `ipfix`");
        let what = "the session log is written nowhere";
        report.error(&path, complaint(what, help));
    }
    Some(log)
}

fn events(written: &config::SessionLog, path: &Path, report: &mut Report<'_>) -> (bool, bool) {
    let Some((path, list)) = given(report, path, "events", &written.events) else {
        return (true, true);
    };
    if list.is_empty() {
        let help = "leave it out for both, or write `[closed]`";
        report.error(&path, complaint("a log of no events says nothing", help));
    }
    let events = each(report, &path, list, event);
    let has = |wanted| events.iter().any(|(_, event)| *event == wanted);
    (has(Event::Opened), has(Event::Closed))
}

fn event(word: &str) -> Result<Event, Complaint> {
    let known = EVENTS.iter().find(|(name, _)| *name == word);
    known.map(|(_, event)| *event).ok_or_else(|| {
        let help = near::nearest(word, EVENTS.iter().map(|(name, _)| *name)).map_or_else(
            || "write `opened`, `closed`, or both".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        complaint(format!("{} is not an event", quoted(word)), help)
    })
}

fn file(written: &config::SessionLog, path: &Path, report: &mut Report<'_>) -> Option<LogFile> {
    let rotation = rotation(&written.rotate, &path.field("rotate"), report);
    let (path, word) = given(report, path, "file", &written.file)?;
    let file = accept(report, &path, absolute(word, PATH_MAX, FILE))?;
    let (size, age, keep) = rotation;
    Some(LogFile {
        path: file,
        size,
        age,
        keep,
    })
}

fn rotation(written: &Rotate, path: &Path, report: &mut Report<'_>) -> (u64, Duration, usize) {
    let size = given(report, path, "size", &written.size)
        .and_then(|(path, word)| accept(report, &path, size(word)))
        .unwrap_or(SIZE_DEFAULT);
    let age = given(report, path, "age", &written.age)
        .and_then(|(path, word)| accept(report, &path, age(word)))
        .unwrap_or(AGE_DEFAULT);
    let keep = given(report, path, "keep", &written.keep)
        .and_then(|(path, number)| accept(report, &path, keep(*number)))
        .unwrap_or(KEEP_DEFAULT);
    (size, age, keep)
}

fn size(word: &str) -> Result<u64, Complaint> {
    let size = words::size(word)?;
    if (SIZE_MIN..=SIZE_MAX).contains(&size) {
        return Ok(size);
    }
    let (min, max) = (spelled_size(SIZE_MIN), spelled_size(SIZE_MAX));
    let message = format!("{} is not from {min} to {max}", quoted(word));
    let help = format!("leave it out for `{}`", spelled_size(SIZE_DEFAULT));
    Err(complaint(message, help))
}

fn age(word: &str) -> Result<Duration, Complaint> {
    let age = words::duration(word)?;
    if (AGE_MIN..=AGE_MAX).contains(&age) {
        return Ok(age);
    }
    let (min, max) = (spelled(AGE_MIN), spelled(AGE_MAX));
    let message = format!("{} is not from {min} to {max}", quoted(word));
    let help = format!("leave it out for `{}`", spelled(AGE_DEFAULT));
    Err(complaint(message, help))
}

fn keep(number: u64) -> Result<usize, Complaint> {
    usize::try_from(number)
        .ok()
        .filter(|_| (1..=KEEP_MAX).contains(&number))
        .ok_or_else(|| {
            complaint(
                format!("{number} old files cannot be kept"),
                format!("write a number from 1 to {KEEP_MAX}, or leave it out for {KEEP_DEFAULT}"),
            )
        })
}

fn syslog(word: &str) -> Result<Syslog, Complaint> {
    let help = "write `udp://192.0.2.5:514`, `tcp://192.0.2.5:601` or `unix:///dev/log`";
    let Some((scheme, rest)) = word.split_once("://") else {
        return Err(complaint(
            format!("{} does not say how messages are sent", quoted(word)),
            help,
        ));
    };
    let remote = || endpoint(rest, 514);
    match scheme {
        "udp" => remote().map(Syslog::Udp),
        "tcp" => remote().map(Syslog::Tcp),
        "unix" => absolute(rest, SOCKET_PATH_MAX, "unix:///dev/log").map(Syslog::Unix),
        _ => Err(complaint(
            format!("{} is not a way to send messages", quoted(scheme)),
            help,
        )),
    }
}

fn collector(written: &config::Ipfix, path: &Path, report: &mut Report<'_>) -> Option<Collector> {
    let help = "add `collector: 192.0.2.6:4739`";
    let address = required(report, path, "collector", &written.collector, help)
        .and_then(|(path, word)| accept(report, &path, endpoint(word, 4739)));
    let domain = given(report, path, "domain", &written.domain)
        .map_or(Some(DOMAIN_DEFAULT), |(path, number)| {
            accept(report, &path, domain(*number))
        });
    Some(Collector {
        address: address?,
        domain: domain?,
    })
}

fn domain(number: u64) -> Result<u32, Complaint> {
    u32::try_from(number).map_err(|_| {
        complaint(
            format!("{number} is not an observation domain"),
            format!("write a number from 0 to {}", u32::MAX),
        )
    })
}

/// An address and a port of somebody else.
fn endpoint(word: &str, usual: u16) -> Result<SocketAddr, Complaint> {
    let message = format!("{} is not an address and a port", quoted(word));
    match word.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(complaint(
            "nobody listens on port 0",
            format!("write a number, such as {usual}"),
        )),
        Ok(address) if address.ip().is_unspecified() => Err(complaint(
            format!("{} is nobody's address", quoted(word)),
            format!("write the receiver's, such as `192.0.2.5:{usual}`"),
        )),
        Ok(address) => Ok(address),
        Err(_) if word.parse::<std::net::Ipv4Addr>().is_ok() => Err(complaint(
            message,
            format!("add the port: `{word}:{usual}`"),
        )),
        Err(_) => Err(complaint(
            message,
            format!("write `192.0.2.5:{usual}`: names are not looked up"),
        )),
    }
}
