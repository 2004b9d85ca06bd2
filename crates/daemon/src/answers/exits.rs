//! What became of every packet, over all CPUs.

use abi::{Counter, Reason, Verdict, map};
use api::http::{Counters, Drops, Exit};
use kernel::Tables;

use super::{ReadError, of, words};

/// Every way out of the packet path with what took it, those that nothing took too.
///
/// # Errors
///
/// If the counters cannot be read.
pub fn counted(tables: &Tables) -> Result<Vec<(Reason, Counter)>, ReadError> {
    let all = Reason::ALL.iter().map(|reason| {
        let values = of(map::COUNTERS, tables.counters.get(*reason as u32))?;
        let sum = values.into_iter().fold(Counter::default(), Counter::plus);
        Ok((*reason, sum))
    });
    all.collect()
}

/// All of them, as the API shows them.
///
/// # Errors
///
/// As [`counted`].
pub fn counters(tables: &Tables) -> Result<Counters, ReadError> {
    let all = counted(tables)?.into_iter().map(exit);
    Ok(Counters {
        counters: all.collect(),
    })
}

/// Those that end a packet, as the API shows them.
///
/// # Errors
///
/// As [`counted`].
pub fn drops(tables: &Tables) -> Result<Drops, ReadError> {
    let all = counted(tables)?.into_iter();
    let drops = all.filter(|(reason, _)| reason.verdict() == Verdict::Drop);
    Ok(Drops {
        drops: drops.map(exit).collect(),
    })
}

fn exit((reason, counter): (Reason, Counter)) -> Exit {
    Exit {
        reason: reason.label().to_owned(),
        verdict: words::verdict(reason.verdict()),
        packets: counter.packets,
        bytes: counter.bytes,
        explanation: reason.help().to_owned(),
    }
}
