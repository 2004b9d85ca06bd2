//! What routers are told, and how it is with them, as the API says it.

use std::time::{Duration, Instant};

use api::http::{
    Announced, Bfd, BfdSession, Bgp, BgpPeer, Drain, Family, Messages, Moment, Refused,
};
use bfd::{Hops, Status};
use bgp::{Kept, PeerSnapshot};
use gateway::{intent::routing::Place, routing::drain::Ended};
use jiff::{SignedDuration, Timestamp};

use crate::{routing::Picture, ways};

/// All peers.
pub fn bgp(picture: &Picture) -> Bgp {
    let clock = Clock::at(picture.now);
    let peers = picture.peers.iter().flat_map(|(name, place, bfd, each)| {
        let one = |it: &PeerSnapshot| {
            let at = it.address.or(match place {
                Place::Address(address) => Some(*address),
                Place::Interface(_) | Place::Range(_) => None,
            });
            let name = match it.address {
                Some(address) => format!("{name} {address}"),
                None => name.clone(),
            };
            BgpPeer {
                name,
                address: at.map(|it| it.to_string()),
                bfd: bfd.clone(),
                ..peer(it, &clock)
            }
        };
        each.iter().map(one).collect::<Vec<BgpPeer>>()
    });
    Bgp {
        asn: picture.config.as_ref().map(|it| it.asn),
        router_id: picture.config.as_ref().map(|it| it.id.to_string()),
        drain: drain(picture),
        peers: peers.collect(),
        notes: picture.notes.clone(),
    }
}

/// All ways that are watched.
pub fn bfd(picture: &ways::Picture) -> Bfd {
    let clock = Clock::at(picture.now);
    let refused = picture.refused.iter();
    let mut sessions: Vec<BfdSession> = picture
        .sessions
        .iter()
        .map(|(name, key, status)| BfdSession {
            name: name.clone(),
            address: key.peer.to_string(),
            source: key.local.map(|it| it.to_string()),
            multihop: key.hops == Hops::Multi,
            ..watched(status, &clock)
        })
        .collect();
    sessions.sort_by(|one, other| one.name.cmp(&other.name));
    Bfd {
        sessions,
        realtime: picture.is_realtime,
        refused: refused
            .map(|(reason, packets)| Refused {
                reason: reason.to_string(),
                packets: *packets,
            })
            .collect(),
        notes: picture.notes.clone(),
    }
}

fn watched(status: &Status, clock: &Clock) -> BfdSession {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    BfdSession {
        state: status.state.label().to_owned(),
        remote_state: status.remote_state.label().to_owned(),
        since_seconds: clock.age(status.since).as_secs(),
        diagnostic: status.diagnostic.words().to_owned(),
        remote_diagnostic: status.remote_diagnostic.words().to_owned(),
        downs: status.downs,
        transmit_ms: milliseconds(status.transmit),
        receive_ms: milliseconds(status.receive),
        detection_ms: milliseconds(status.detection),
        sent: status.sent,
        received: status.received,
        longest_gap_ms: status.longest_gap.map(milliseconds),
        late_ticks: status.late_ticks,
        discriminators: status.discriminators,
        ..BfdSession::default()
    }
}

/// Where the drain stands.
pub fn drain(picture: &Picture) -> Drain {
    let drain = &picture.drain;
    Drain {
        phase: drain.phase().label().to_owned(),
        ready: picture.is_serving,
        packets_per_second: drain.rate(),
        ended: drain.ended().map(|it| match it {
            Ended::Ebbed => "ebbed".to_owned(),
            Ended::TimeOver => "time over".to_owned(),
        }),
        hand_over: None,
    }
}

fn peer(it: &PeerSnapshot, clock: &Clock) -> BgpPeer {
    BgpPeer {
        asn: it.remote_as,
        router_id: it.remote_id.map(|id| id.to_string()),
        state: it.state.label().to_owned(),
        since_seconds: clock.age(it.since).as_secs(),
        established_times: it.established_times,
        last_down: it.last_down.as_ref().map(|(_, why)| why.clone()),
        notification_received: it.notification_received.clone(),
        notification_sent: it.notification_sent.clone(),
        hold_time_seconds: it.hold_time.map(|time| time.as_secs()),
        capabilities: it.capabilities.clone(),
        families: it
            .families
            .iter()
            .map(|family| Family {
                family: family.family.label().to_owned(),
                announced: count(family.announced),
                received: count(family.received),
            })
            .collect(),
        messages: it
            .messages
            .iter()
            .map(|counted| Messages {
                kind: counted.kind.label().to_owned(),
                sent: counted.sent,
                received: counted.received,
            })
            .collect(),
        announced: it.announced.iter().map(said).collect(),
        received: it.received.iter().map(said).collect(),
        history: it
            .history
            .iter()
            .map(|moment| Moment {
                at: clock.time(moment.at),
                what: moment.what.clone(),
            })
            .collect(),
        ..BgpPeer::default()
    }
}

fn said(kept: &Kept) -> Announced {
    Announced {
        prefix: kept.prefix.to_string(),
        next_hop: kept.next_hop.map(|it| it.to_string()),
        as_path: (!kept.as_path.is_empty()).then(|| kept.as_path.clone()),
        communities: kept.communities.clone(),
        med: kept.med,
        local_preference: kept.local_preference,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The time of day of moments of the monotonic clock.
struct Clock {
    now: Instant,
    wall: Timestamp,
}

impl Clock {
    fn at(now: Instant) -> Self {
        Self {
            now,
            wall: Timestamp::now(),
        }
    }

    fn age(&self, at: Instant) -> Duration {
        self.now.saturating_duration_since(at)
    }

    fn time(&self, at: Instant) -> String {
        let age = SignedDuration::try_from(self.age(at)).unwrap_or_default();
        let time = self.wall.checked_sub(age).unwrap_or(self.wall);
        format!("{time:.3}")
    }
}
