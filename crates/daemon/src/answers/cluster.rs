//! The cluster, as the API shows it.

use abi::cluster::{BUCKETS, Holder};
use api::http::{Cluster, ClusterMember, Copies, Kept, Sent};
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
