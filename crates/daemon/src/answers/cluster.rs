//! The cluster, as the API shows it.

use std::collections::BTreeMap;

use abi::cluster::{BUCKETS, Holder};
use api::http::{Cluster, ClusterMember, Copies, HandOver, Kept, Moving, Sent};
use gateway::copies::exchange::Standing;
use jiff::Timestamp;

use crate::{replication::Picture, ways::Members};

/// The members and what each holds, and how flows are copied between them.
pub fn cluster(members: Option<&Members>, copies: Option<&Picture>) -> Cluster {
    let Some(found) = members else {
        return Cluster::default();
    };
    let count = |is_held: &dyn Fn(&Holder) -> bool| {
        let holders = found.holders.iter().flatten();
        u32::try_from(holders.filter(|it| is_held(it)).count()).unwrap_or(u32::MAX)
    };
    let all = found.members.iter().enumerate();
    let members = all.map(|(number, (member, standing))| ClusterMember {
        name: member.name.clone(),
        address: member.address.to_string(),
        state: standing.word().to_owned(),
        owns: count(&|it| usize::from(it.owner) == number),
        serves: count(&|it| usize::from(it.before) == number),
        copies: copies
            .and_then(|it| it.peers.get(&member.name))
            .map(self::copies),
    });
    let until = copies.and_then(|it| it.valid_until);
    let until = until.and_then(|at| Timestamp::try_from(at).ok());
    Cluster {
        name: Some(found.name.clone()),
        own: found
            .members
            .get(found.me)
            .map(|(member, _)| member.name.clone()),
        settled: found.holders.is_some(),
        buckets: u32::try_from(BUCKETS).unwrap_or(u32::MAX),
        copied: copies.is_some_and(|it| !it.peers.is_empty()),
        certificate_until: until.map(|at| at.to_string()),
        members: members.collect(),
    }
}

/// How far flows are on their way between this gateway and the others; nothing where it is alone.
pub fn hand_over(members: Option<&Members>, copies: Option<&Picture>) -> Option<HandOver> {
    let found = members?;
    let moves = &found.moves;
    let moving = |buckets: &BTreeMap<u8, u32>, is_going: bool| -> Vec<Moving> {
        let each = buckets.iter().map(|(number, buckets)| {
            let member = found.members.get(usize::from(*number));
            let name = member.map(|(member, _)| member.name.clone());
            let copies = name.as_ref().and_then(|it| copies?.peers.get(it));
            let version = copies.map(|it| match is_going {
                true => it.sending.version,
                false => it.receiving.version,
            });
            Moving {
                state: member.map_or(String::new(), |(_, standing)| standing.word().to_owned()),
                buckets: *buckets,
                connected: version.flatten().is_some(),
                waiting: match is_going {
                    true => copies.map_or(0, |it| it.sending.lag.changes),
                    false => 0,
                },
                member: name,
            }
        });
        each.collect()
    };
    Some(HandOver {
        copied: moves.are_copied,
        leaving: moves.is_leaving,
        done: match moves.is_leaving {
            true => moves.has_left(),
            false => moves.has_arrived(),
        },
        owns: moves.owned,
        going: moving(&moves.going, true),
        coming: moving(&moves.coming, false),
    })
}

/// How flows are copied between this gateway and another.
fn copies(standing: &Standing) -> Copies {
    let (sending, receiving) = (&standing.sending, &standing.receiving);
    let adopted = &standing.adopted;
    let age = sending.lag.age.as_millis();
    Copies {
        sent: Sent {
            connected: sending.version.is_some(),
            buckets: sending.assigned.len(),
            complete: sending.complete.len(),
            lag: sending.lag.changes,
            lag_ms: u64::try_from(age).unwrap_or(u64::MAX),
            changes: sending.acknowledged,
            skipped: sending.skipped,
        },
        kept: Kept {
            connected: receiving.version.is_some(),
            buckets: receiving.begun.len(),
            complete: receiving.complete.len(),
            changes: receiving.changes,
            bytes: receiving.bytes,
            flows: adopted.kept,
            refused: adopted.refused,
            contradicted: adopted.contradicted,
            full: adopted.full,
            malformed: adopted.malformed,
        },
    }
}
