//! What must be true of every run, and which of it is demanded.

use std::{fmt, time::Duration};

use crate::{
    plan::{Plan, Profile},
    planted::Planted,
};

/// Which laws are demanded beside those that always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laws {
    /// Established connections survive that one gateway dies, where gateways copy flows to each other.
    pub survives_crash: bool,
    /// Connections survive that a member comes back with its tables which was out of reach. Not before one that stood
    /// still looks at its clock before it takes what had come for it.
    pub survives_rejoin: bool,
    /// Connections survive two changes of who holds what in a row, of which the second comes before the first
    /// is over.
    pub survives_overlap: bool,
    /// Connections survive whose flows are on a gateway that knows nothing of it: by what it was told it neither
    /// owns their buckets nor did before. Not before what such a gateway hands on keeps its realm.
    pub survives_as_guest: bool,
    /// Connections survive the return of a member that was drained while something happened to another one. Not
    /// before a member that drains hears of others.
    pub survives_stale_drain: bool,
    /// The packet may be lost by which a member says that it goes. Not before that is said more than once within
    /// the time in which others would find it dead.
    pub loses_last_words: bool,
    /// Clients keep their ports also in the very moment in which an owner changes. Not before a packet that was on
    /// its way between two members then is shown to whoever knows its client.
    pub keeps_ports_at_once: bool,
    /// A port whose connection ended while members did not hear each other is not given again as long as one of them
    /// may have a copy that it takes to be alive.
    pub agrees_on_ended: bool,
    /// BFD's control packets may overtake each other. Not before a session that goes up and down at once costs
    /// nothing: who held a bucket before is forgotten by that.
    pub reorders_control: bool,
}

impl Laws {
    /// What is true today.
    pub const TODAY: Self = Self {
        survives_crash: true,
        survives_rejoin: false,
        survives_overlap: false,
        survives_as_guest: true,
        survives_stale_drain: false,
        loses_last_words: false,
        keeps_ports_at_once: false,
        agrees_on_ended: false,
        reorders_control: false,
    };

    /// The names of the switches.
    pub const NAMES: [&str; 9] = [
        "survives_crash",
        "survives_rejoin",
        "survives_overlap",
        "survives_as_guest",
        "survives_stale_drain",
        "loses_last_words",
        "keeps_ports_at_once",
        "agrees_on_ended",
        "reorders_control",
    ];

    /// The same, demanding also what has this name; nothing if there is no such switch.
    pub fn demanding(self, name: &str) -> Option<Self> {
        let mut laws = self;
        let switch = match name {
            "survives_crash" => &mut laws.survives_crash,
            "survives_rejoin" => &mut laws.survives_rejoin,
            "survives_overlap" => &mut laws.survives_overlap,
            "survives_as_guest" => &mut laws.survives_as_guest,
            "survives_stale_drain" => &mut laws.survives_stale_drain,
            "loses_last_words" => &mut laws.loses_last_words,
            "keeps_ports_at_once" => &mut laws.keeps_ports_at_once,
            "agrees_on_ended" => &mut laws.agrees_on_ended,
            "reorders_control" => &mut laws.reorders_control,
            _ => return None,
        };
        *switch = true;
        Some(laws)
    }
}

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// No external tuple is two live connections' at one time, and no external port two clients'.
    OneTupleOneConnection,
    /// No packet is delivered to whom it is not for, or untranslated, or damaged.
    RightDelivery,
    /// No packet is handled by more gateways than hops allow.
    NoLoops,
    /// When all connections are over, no flow, mapping or port is left.
    EverythingEnds,
    /// Tables stay within bounds and agree with each other.
    SoundTables,
    /// What does not touch a connection's flow does not end it.
    ConnectionsSurvive,
    /// Once it is known who is there, new connections work.
    NewConnectionsWork,
    /// Every bucket has an owner.
    EveryBucketIsOwned,
    /// A client keeps its external port while it uses it (RFC 4787 REQ-1).
    ClientsKeepPorts,
}

impl Law {
    /// The law in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::OneTupleOneConnection => "an external port is one client's at one time",
            Self::RightDelivery => "a packet reaches whom it is for, translated and whole",
            Self::NoLoops => "a packet is handled by few gateways",
            Self::EverythingEnds => "when all is over, no flow, mapping or port is left",
            Self::SoundTables => "tables stay within bounds and agree",
            Self::ConnectionsSurvive => "established connections survive",
            Self::NewConnectionsWork => "new connections work",
            Self::EveryBucketIsOwned => "every bucket has an owner",
            Self::ClientsKeepPorts => "clients keep their external ports",
        }
    }
}

/// A law that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub law: Law,
    /// When.
    pub at: Duration,
    /// By what.
    pub what: String,
    /// Of which run.
    pub seed: u64,
    /// Of which kind.
    pub profile: Profile,
    /// What is demanded.
    pub laws: Laws,
    /// What was put into it that is wrong.
    pub planted: Option<Planted>,
    /// The site in one line.
    pub site: String,
    /// What happened before.
    pub story: Vec<String>,
}

impl Broken {
    /// Which run broke which law by what, in one line.
    pub fn brief(&self) -> String {
        let (seed, profile, words) = (self.seed, self.profile, self.law.words());
        format!("seed {seed} ({profile:?}): {words}: {}", self.what)
    }

    /// The site of a plan in one line.
    pub fn site(plan: &Plan) -> String {
        format!(
            "{} gateways, ports to {}, BFD every {:?}, routers detect in {:?} and learn in {:?}, loss {} in a million",
            plan.members,
            plan.last_port,
            plan.interval,
            plan.detection,
            plan.learning,
            plan.quality.loss
        )
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} ({:?}; {})", self.seed, self.profile, self.site)?;
        writeln!(
            f,
            "broken at {:.4} s: {}",
            self.at.as_secs_f64(),
            self.law.words()
        )?;
        writeln!(f, "{}", self.what)?;
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "again: cargo xtask sim --seed {}", self.seed)?;
        if self.profile != Plan::of(self.seed, None).profile {
            write!(f, " --profile {}", self.profile.name())?;
        }
        for name in Laws::NAMES {
            if self.laws != Laws::TODAY && self.laws.demanding(name) == Some(self.laws) {
                write!(f, " --demand {name}")?;
            }
        }
        match self.planted {
            Some(planted) => write!(f, " --planted {}", planted.name()),
            None => Ok(()),
        }
    }
}
