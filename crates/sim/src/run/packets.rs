//! The way of a frame: from a host by a router to a gateway, perhaps to another one, and to a host.

use abi::Reason;
use datapath::Exit;

use super::{Event, Flight, Run};
use crate::{
    frame::{self, Segment, readdress},
    laws::Law,
    member::Power,
    network::Realm,
    site::{self, INSIDE, OUTSIDE},
    trace::Entry,
};

/// IPv4 in IPv4.
const IPIP: u8 = 4;
/// Gateways that may handle a packet: the first one, and one for each hop.
const HANDLED_MAX: u32 = abi::cluster::HOPS as u32 + 1;
/// Of so many events of the packet path one is lost.
const EVENTS_LOST_ONE_IN: usize = 8;
/// Frames that wait for a gateway that stands still; a ring of its interface has no room for more.
const RING_MAX: usize = 256;

impl Run {
    /// A host sends a segment to whichever gateway its router says.
    pub(super) fn send(&mut self, realm: Realm, segment: &Segment) {
        let (connection, word, number) = said(segment);
        self.note(Entry::Sends(realm, connection, word, number));
        let [inside, outside] = &self.routers;
        let (router, ifindex) = match realm {
            Realm::Inside => (inside, INSIDE),
            Realm::Outside => (outside, OUTSIDE),
        };
        let Some(member) = router.pick(&segment.tuple) else {
            self.note(Entry::NoWay(realm, connection));
            return self.excuse_one(connection, "no gateway was there");
        };
        let flight = Flight {
            bytes: segment.frame(ifindex),
            connection,
            handled: 0,
        };
        for at in self.network.by_router(member, self.now, &mut self.random) {
            self.at(at, Event::Arrive(member, ifindex, flight.clone()));
        }
    }

    /// A frame reaches a gateway.
    pub(super) fn arrive(&mut self, index: usize, ifindex: u32, flight: Flight) {
        let now = self.now;
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        let connection = flight.connection;
        match member.power {
            Power::On => {}
            Power::Off => return self.note(Entry::Unheard(index, connection)),
            Power::Frozen => return self.keep(index, Event::Arrive(index, ifindex, flight)),
        }
        let handled = flight.handled + 1;
        let (exit, reason, bytes) = member.process(flight.bytes, ifindex, now);
        let announces = member.announces();
        self.report.packets += 1;
        // What the packet path cannot tell, a sweep finds.
        let began = member.began();
        let is_told = !self.random.once_in(EVENTS_LOST_ONE_IN);
        if is_told && !began.is_empty() {
            self.grant(index, began);
        }
        self.note(Entry::Took(index, connection, reason));
        let is_excused = self
            .hosts
            .get(connection)
            .is_none_or(|it| it.excuse.is_some() || !it.is_live());
        // A router may not have noticed yet that a gateway was gone which does not announce itself again.
        let is_sought = handled > 1 || announces == Some(true);
        if reason == Reason::NoOwner as usize && is_sought && !is_excused {
            let what =
                format!("gw{index} takes a packet of connection {connection}, and nobody owns it");
            self.breaks(Law::EveryBucketIsOwned, &[connection], what);
        }
        if handled > HANDLED_MAX {
            let what = format!("gw{index} is the {handled}th gateway that handles a packet");
            self.breaks(Law::NoLoops, &[connection], what);
        }
        match exit {
            Exit::Transmit | Exit::Redirect(_) => {}
            // What no gateway wants, its kernel does not forward either.
            Exit::Pass | Exit::Drop => return,
        }
        let flight = Flight {
            bytes,
            connection,
            handled,
        };
        self.leave(index, flight);
    }

    /// A frame leaves a gateway.
    fn leave(&mut self, index: usize, mut flight: Flight) {
        let Some((protocol, target)) = frame::target(&flight.bytes) else {
            return;
        };
        if protocol == IPIP {
            let Some(other) = site::index_of(target) else {
                return;
            };
            readdress(&mut flight.bytes, INSIDE);
            for at in self
                .network
                .between((index, other), self.now, &mut self.random)
            {
                self.at(at, Event::Arrive(other, INSIDE, flight.clone()));
            }
            return;
        }
        // Also what answers a packet that another member handed over: whoever gets it forwards it.
        let realm = match site::is_inside(target) {
            true => Realm::Inside,
            false => Realm::Outside,
        };
        for at in self.network.by_router(index, self.now, &mut self.random) {
            self.at(at, Event::Deliver(realm, flight.clone()));
        }
    }

    /// A frame reaches the hosts of a side.
    pub(super) fn deliver(&mut self, realm: Realm, flight: &Flight) {
        let segment = match Segment::read(&flight.bytes) {
            Ok(segment) => segment,
            Err(problem) => {
                let connections = [flight.connection];
                return self.breaks(Law::RightDelivery, &connections, problem.to_owned());
            }
        };
        let (_, word, number) = said(&segment);
        let port = segment.tuple.source_port.get();
        self.note(Entry::Gets(realm, flight.connection, word, number, port));
        let deeds = self.hosts.get_frame(realm, &segment, self.now);
        self.act(deeds);
    }

    /// Keeps what comes for a gateway that stands still, as long as there is room.
    pub(super) fn keep(&mut self, index: usize, event: Event) {
        if let Some(ring) = self.rings.get_mut(index)
            && ring.len() < RING_MAX
        {
            ring.push(event);
        }
    }
}

fn said(segment: &Segment) -> (u32, Option<frame::Word>, u32) {
    match segment.payload {
        Some(payload) => (payload.connection, Some(payload.word), payload.number),
        None => (0, None, 0),
    }
}
