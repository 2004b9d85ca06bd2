//! The labels of metrics, as types: what a label is called belongs to what its values are.

use std::{borrow::Cow, net::IpAddr};

use api::http::{AttachMode, FlowState, Protocol, Realm, Verdict};

use crate::sessions::tally::{Loss, Sink};

/// A label of one name.
pub trait Label {
    /// The name.
    const NAME: &'static str;
    /// The value, not escaped.
    fn value(&self) -> Cow<'_, str>;
}

/// The labels of one metric, in their order.
pub trait Labels {
    /// Their names.
    const NAMES: &'static [&'static str];
    /// Their values.
    fn values(&self) -> Vec<Cow<'_, str>>;
}

macro_rules! labels {
    ($($($label:ident)*;)*) => {$(
        impl<$($label: Label),*> Labels for ($($label,)*) {
            const NAMES: &'static [&'static str] = &[$($label::NAME),*];
            fn values(&self) -> Vec<Cow<'_, str>> {
                #[expect(non_snake_case, reason = "a tuple's types and its parts share names here")]
                let ($($label,)*) = self;
                vec![$($label.value()),*]
            }
        }
    )*};
}

labels! {
    A;
    A B;
    A B C;
}

impl Labels for () {
    const NAMES: &'static [&'static str] = &[];
    fn values(&self) -> Vec<Cow<'_, str>> {
        Vec::new()
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $label:ident = $name:literal, |$it:ident: $of:ty| $value:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $label(pub $of);

        impl Label for $label {
            const NAME: &'static str = $name;
            fn value(&self) -> Cow<'_, str> {
                let $it = &self.0;
                $value
            }
        }
    )*};
}

words! {
    /// A pool, by its name.
    Pool = "pool", |name: String| name.into();
    /// A rule, by its name.
    Rule = "rule", |name: String| name.into();
    /// How clients are told of refusals.
    How = "how", |told: abi::Told| told.label().into();
    /// An external address.
    Address = "address", |address: IpAddr| address.to_string().into();
    /// A protocol.
    Transport = "protocol", |protocol: Protocol| protocol.label().into();
    /// How far flows are.
    State = "state", |state: FlowState| state.label().into();
    /// Which way packets go.
    Way = "direction", |direction: Direction| direction.label().into();
    /// Why packets left the packet path.
    Why = "reason", |reason: abi::Reason| reason.label().into();
    /// What became of them.
    Fate = "verdict", |verdict: Verdict| verdict.label().into();
    /// A table, by its name in lower case.
    Map = "table", |name: &'static str| name.to_ascii_lowercase().into();
    /// An interface, by its name.
    Interface = "interface", |name: String| name.into();
    /// The realm that it faces.
    Faces = "realm", |realm: Realm| match realm {
        Realm::Internal => "internal",
        Realm::External => "external",
        Realm::Both => "both",
    }.into();
    /// How the program hangs on it.
    Hangs = "mode", |mode: Option<AttachMode>| match mode {
        Some(AttachMode::Native) => "native",
        Some(AttachMode::Generic) => "generic",
        None => "none",
    }.into();
    /// Where the session log goes.
    Goes = "sink", |sink: Sink| sink.label().into();
    /// What it says of a flow.
    Happened = "event", |kind: sessions::Kind| kind.label().into();
    /// Why it lost something.
    Lost = "loss", |loss: Loss| loss.label().into();
    /// What became of a fragment that was held.
    Became = "fate", |fate: HeldFate| fate.label().into();
    /// A BGP peer, by its name.
    Peer = "peer", |name: String| name.into();
    /// A BFD session, by the names of those who want it.
    Watch = "session", |name: String| name.into();
    /// Another member of the cluster, by its name.
    Other = "member", |name: String| name.into();
    /// A version of IP.
    Family = "family", |family: String| family.into();
    /// A kind of BGP message.
    Message = "kind", |kind: String| kind.into();
    /// Whether something was `sent` or `received`.
    Sense = "way", |way: &'static str| (*way).into();
    /// Why a BFD packet was not taken.
    Because = "reason", |reason: String| reason.into();
    /// A version.
    Version = "version", |version: &'static str| (*version).into();
    /// A commit; `unknown` if the build did not know it.
    Commit = "commit", |commit: Option<&'static str>| commit.unwrap_or("unknown").into();
}

/// What became of a fragment that was held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeldFate {
    /// It was sent through the packet path again.
    Released,
    /// Its first one did not come in time.
    Expired,
    /// It made room for others.
    Displaced,
    /// The kernel did not take it back.
    Failed,
}

impl HeldFate {
    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Displaced => "displaced",
            Self::Failed => "failed",
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Towards the external realm.
    Out,
    /// Towards the internal realm.
    In,
}

impl Direction {
    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}
