//! Sends records to an IPFIX collector, over UDP.

use std::{io, net::UdpSocket};

use gateway::intent::Collector;
use sessions::{Record, ipfix::Exporter};

use super::{
    Clock,
    outlet::{Health, Write},
    syslog::udp,
    tally::Sink,
};

/// See the module.
pub struct Writer {
    collector: Collector,
    exporter: Exporter,
    socket: Option<UdpSocket>,
    health: Health,
}

impl Writer {
    /// Nothing is opened before the first record.
    pub fn new(collector: Collector) -> Self {
        Self {
            collector,
            exporter: Exporter::new(collector.domain),
            socket: None,
            health: Health::new(Sink::Ipfix, collector.address.to_string()),
        }
    }

    fn socket(&mut self) -> io::Result<&UdpSocket> {
        if self.socket.is_none() {
            self.socket = Some(udp(self.collector.address)?);
        }
        self.socket
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Write for Writer {
    fn write(&mut self, records: &[Record]) -> u64 {
        let messages = self.exporter.messages(records, Clock::now().wall());
        let mut lost = 0;
        for message in &messages {
            let sent = self.socket().and_then(|socket| socket.send(&message.bytes));
            if let Err(error) = sent {
                self.health.bad(&error);
                lost += u64::from(message.records);
            }
        }
        if lost == 0 {
            self.health.good();
        } else {
            // Whoever listens there later has heard no template.
            self.exporter.forget_templates();
        }
        lost
    }
}
