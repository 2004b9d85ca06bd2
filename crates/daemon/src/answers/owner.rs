//! Which member of the cluster serves a flow, as the packet path finds it: by the same functions, from the same tables.

use std::net::SocketAddr;

use abi::{
    Address, FlowKey, Ip4, Ip6, MappingKey, Port, Protocol,
    cluster::{Holder, NOBODY, bucket_of, start},
    map,
};
use api::http::{ApiError, Flow, Owner, OwnerMember};
use gateway::cluster::Standing;
use kernel::{Tables, tables::In};

use crate::{view::View, ways::Members};

use super::{ReadError, flows, of, tuple};

/// What somebody asked about.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Whatever has this external port.
    External(Port),
    /// The flow of a packet with this tuple.
    Flow(FlowKey<Ip6>),
}

/// In which bucket a flow is.
#[derive(Clone, Debug)]
pub struct Placed {
    bucket: u8,
    because: String,
    flow: Option<Flow>,
}

/// Understands a tuple, or an external address and port.
///
/// # Errors
///
/// Says what is wrong and how it is written.
pub fn parse(text: &str) -> Result<Asked, ApiError> {
    let text = text.trim();
    match text.parse::<SocketAddr>() {
        Ok(external) => Ok(Asked::External(Port::new(external.port()))),
        Err(_) if text.split_whitespace().count() == 1 => Err(ApiError {
            error: format!("`{text}` is no address and port, and no tuple"),
            help: "write an external address and port, `192.0.2.10:40000`, or a protocol and two endpoints: \
                   `tcp 10.0.0.1:4242 198.51.100.9:5432`"
                .to_owned(),
        }),
        Err(_) => tuple::parse(text).map(Asked::Flow),
    }
}

/// Finds the bucket.
///
/// # Errors
///
/// If a table cannot be read.
pub fn place(tables: &Tables, view: &View, asked: &Asked) -> Result<Placed, ReadError> {
    let by_port = |port: Port, what: &str, flow: Option<Flow>| Placed {
        bucket: bucket_of(port),
        because: format!("{what} {}", port.get()),
        flow,
    };
    let key = match asked {
        Asked::External(port) => return Ok(by_port(*port, "it has the external port", None)),
        Asked::Flow(key) => key,
    };
    let flow = flows::find(tables, view, *key)?;
    let protocol = Protocol::from_number(key.protocol);
    let Some(protocol) = protocol.filter(|it| !it.is_by_address()) else {
        let because = "flows of protocols whose ports are not translated are all in one bucket";
        return Ok(Placed {
            because: because.to_owned(),
            ..by_port(Port::new(0), "", flow)
        });
    };
    if let Some(external) = flow.as_ref().map(|it| it.external.port) {
        let what = "there is such a flow, with the external port";
        return Ok(by_port(Port::new(external), what, flow));
    }
    let is_external = |address: &Ip6| view.numbers.externals.contains_key(address);
    let tuple = &key.tuple;
    if is_external(&tuple.target) {
        return Ok(by_port(
            tuple.target_port,
            "it is for the external port",
            flow,
        ));
    }
    if is_external(&tuple.source) {
        return Ok(by_port(tuple.source_port, "it has the external port", flow));
    }
    let client = (tuple.source, tuple.source_port);
    if let Some(port) = known(tables, view, (protocol, client))? {
        let what = "other flows of the client's address and port have the external port";
        return Ok(by_port(port, what, flow));
    }
    let config = of(map::CONFIG, tables.config.get(&0))?.unwrap_or_default();
    let began = match client.0.ip4() {
        Some(address) => start(config.key, (address, client.1), protocol, true),
        None => start(config.key, client, protocol, true),
    };
    Ok(Placed {
        bucket: began as u8,
        because: "the client's address and port have no external port here: one of this bucket is looked for first"
            .to_owned(),
        flow,
    })
}

/// The external port that a client's endpoint has whomever it talks to, if it has one.
fn known(
    tables: &Tables,
    view: &View,
    (protocol, (client, port)): (Protocol, (Ip6, Port)),
) -> Result<Option<Port>, ReadError> {
    for external in view.numbers.externals.keys() {
        let found = match (client.ip4(), external.ip4()) {
            (Some(client), Some(external)) => {
                mapped::<Ip4>(tables, protocol, ((client, port), external))?
            }
            _ => mapped::<Ip6>(tables, protocol, ((client, port), *external))?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn mapped<A: In>(
    tables: &Tables,
    protocol: Protocol,
    (client, external): ((A, Port), A),
) -> Result<Option<Port>, ReadError> {
    let key = MappingKey::outward(protocol, client, external, <A as Address>::NONE);
    let found = of(map::MAPPINGS, A::mappings(tables).get(&key))?;
    Ok(found.map(|it| it.port))
}

/// Says what a gateway serves that is alone: everything.
pub fn alone(placed: Placed) -> Owner {
    let here = match placed.flow {
        Some(_) => "serves",
        None => "absent",
    };
    Owner {
        bucket: placed.bucket,
        because: placed.because,
        here: here.to_owned(),
        flow: placed.flow,
        ..Owner::default()
    }
}

/// Says who serves what is in that bucket.
pub fn owner(placed: Placed, members: &Members) -> Owner {
    let Placed {
        bucket,
        because,
        flow,
    } = placed;
    let holders = members.holders.as_ref();
    let holder = holders.and_then(|it| it.get(usize::from(bucket)).copied());
    let Holder { owner, before } = holder.unwrap_or(Holder::NONE);
    let name = |number: u8| {
        let member = members.members.get(usize::from(number));
        member.map(|(member, _)| member.name.clone())
    };
    let is_ours = [owner, before].map(usize::from).contains(&members.me);
    let here = match (&flow, is_ours) {
        (None, _) => "absent",
        (Some(_), true) => "serves",
        (Some(_), false) => "copy",
    };
    let order = members.orders.get(usize::from(bucket));
    let order = order.map_or(&[][..], Vec::as_slice);
    let place = order.iter().position(|it| *it == owner);
    let each = order.iter().enumerate().filter_map(|(index, number)| {
        let (member, standing) = members.members.get(usize::from(*number))?;
        let part = Part {
            is_owner: *number == owner,
            is_before: *number == before,
            is_passed: place.is_some_and(|it| index < it),
            is_known: owner != NOBODY,
        };
        Some(OwnerMember {
            name: member.name.clone(),
            state: standing.word().to_owned(),
            why: part.why(*standing).to_owned(),
        })
    });
    Owner {
        bucket,
        because,
        owner: name(owner),
        before: name(before),
        here: here.to_owned(),
        members: each.collect(),
        flow,
    }
}

/// What a member has to do with a bucket.
#[derive(Clone, Copy)]
struct Part {
    is_owner: bool,
    is_before: bool,
    /// Whether the owner comes behind it in the order.
    is_passed: bool,
    /// Whether there is an owner.
    is_known: bool,
}

impl Part {
    fn why(self, standing: Standing) -> &'static str {
        let is_up = matches!(standing, Standing::Up);
        match self {
            Self {
                is_known: false, ..
            } => "it is not known yet who owns the bucket",
            Self { is_owner: true, .. } if is_up => "owns it: the first in the order that is up",
            Self { is_owner: true, .. } => "owns it: none is up, and it is the first that forwards",
            Self {
                is_before: true, ..
            } => "held it before, and serves the flows that it has until the owner has them all",
            Self {
                is_passed: true, ..
            } => match standing {
                Standing::Unknown => "comes before the owner, and nothing was heard of it yet",
                Standing::Starting => {
                    "comes before the owner, and has just started: it does not know yet who owns what"
                }
                Standing::Up => "comes before the owner, and has just come up",
                Standing::Leaving => {
                    "comes before the owner, and takes no new flows: it drains or is replaced"
                }
                Standing::Down | Standing::Gone => "comes before the owner, and is down",
            },
            Self { .. } if is_up => "owns it when those before it do not",
            Self { .. } => "comes behind the owner",
        }
    }
}

#[cfg(test)]
mod tests;
