//! What the sinks wrote and what they lost, since the daemon started.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sessions::{Event, Kind, Record};

/// Where records go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sink {
    /// A file of JSON lines.
    File,
    /// A receiver of syslog messages.
    Syslog,
    /// An IPFIX collector.
    Ipfix,
}

impl Sink {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::File, Self::Syslog, Self::Ipfix];

    /// The word in metrics and messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Syslog => "syslog",
            Self::Ipfix => "ipfix",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::File => 0,
            Self::Syslog => 1,
            Self::Ipfix => 2,
        }
    }
}

/// Why a record was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The sink was slower than the flows, and its queue full.
    Queue,
    /// It could not be written or sent.
    Write,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Queue, Self::Write];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Write => "write",
        }
    }
}

/// The counts of all sinks.
#[derive(Debug, Default)]
pub struct Tally {
    sinks: [Counts; 3],
    spared: Spared,
}

/// Records that nobody wrote, because a block of ports says whose the flow was.
#[derive(Debug, Default)]
struct Spared {
    opened: AtomicU64,
    closed: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    blocks: AtomicU64,
    queue: AtomicU64,
    write: AtomicU64,
}

impl Tally {
    /// Records that a sink wrote.
    pub fn written(&self, sink: Sink, kind: Kind) -> u64 {
        self.written_cell(sink, kind).load(Relaxed)
    }

    /// Records that a sink lost.
    pub fn lost(&self, sink: Sink, loss: Loss) -> u64 {
        self.lost_cell(sink, loss).load(Relaxed)
    }

    /// Counts records that a sink wrote.
    pub fn write(&self, sink: Sink, records: &[Record]) {
        for kind in Kind::ALL {
            let count = records.iter().filter(|record| record.kind() == kind);
            let cell = self.written_cell(sink, kind);
            cell.fetch_add(count.count() as u64, Relaxed);
        }
    }

    /// Counts records of blocks that a sink wrote.
    pub fn write_blocks(&self, sink: Sink, records: u64) {
        let cell = self.written_cell(sink, Kind::Blocks);
        cell.fetch_add(records, Relaxed);
    }

    /// Records of beginnings and of ends that were not written.
    pub fn spared(&self) -> [(Kind, u64); 2] {
        let Spared { opened, closed } = &self.spared;
        [(Kind::Opened, opened), (Kind::Closed, closed)]
            .map(|(kind, count)| (kind, count.load(Relaxed)))
    }

    /// Counts a record that is not written.
    pub fn spare(&self, record: &Record) {
        let cell = match record.event {
            Event::Opened => &self.spared.opened,
            Event::Closed(_) => &self.spared.closed,
        };
        cell.fetch_add(1, Relaxed);
    }

    /// Counts records that a sink lost.
    pub fn lose(&self, sink: Sink, loss: Loss, records: u64) {
        self.lost_cell(sink, loss).fetch_add(records, Relaxed);
    }

    fn written_cell(&self, sink: Sink, kind: Kind) -> &AtomicU64 {
        let counts = self.of(sink);
        match kind {
            Kind::Opened => &counts.opened,
            Kind::Closed => &counts.closed,
            Kind::Blocks => &counts.blocks,
        }
    }

    fn lost_cell(&self, sink: Sink, loss: Loss) -> &AtomicU64 {
        let counts = self.of(sink);
        match loss {
            Loss::Queue => &counts.queue,
            Loss::Write => &counts.write,
        }
    }

    fn of(&self, sink: Sink) -> &Counts {
        &self.sinks[sink.index()]
    }
}
