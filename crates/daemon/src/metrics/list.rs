//! The list of all metrics. `docs/operate/metrics.md` is made from it.

use std::marker::PhantomData;

use super::label::{
    Address, Became, Because, Commit, Faces, Family, Fate, Goes, Hangs, Happened, How, Interface,
    Labels, Lost, Map, Message, Other, Peer, Pool, Rule, Sense, State, Transport, Version, Watch,
    Way, Why,
};

/// How a value behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only rises, until the tables are removed.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    /// The word of the text format.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Packets.
    Packets,
    /// Bytes of whole frames.
    Bytes,
    /// Flows, each with both its directions.
    Flows,
    /// Ports, or ICMP identifiers.
    Ports,
    /// Entries of a table.
    Entries,
    /// Buckets of flows.
    Buckets,
    /// Changes of flows that members tell each other.
    Changes,
    /// Passes over the tables.
    Passes,
    /// Records of the session log.
    Records,
    /// Fragments of packets.
    Fragments,
    /// Prefixes that routers are told of, or tell.
    Prefixes,
    /// Messages of BGP.
    Messages,
    /// Sessions with routers.
    Sessions,
    /// Seconds.
    Seconds,
    /// Seconds since 1970-01-01 in UTC.
    Time,
    /// 1 if it is so, 0 if not.
    Truth,
}

impl Unit {
    /// The word in the manual.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Flows => "flows",
            Self::Ports => "ports",
            Self::Entries => "entries",
            Self::Buckets => "buckets",
            Self::Changes => "changes",
            Self::Passes => "passes",
            Self::Records => "records",
            Self::Fragments => "fragments",
            Self::Prefixes => "prefixes",
            Self::Messages => "messages",
            Self::Sessions => "sessions",
            Self::Seconds => "seconds",
            Self::Time => "Unix time",
            Self::Truth => "0 or 1",
        }
    }
}

/// A metric whose samples carry the labels `L`.
#[derive(Debug)]
pub struct Metric<L> {
    /// What it is called, what it is.
    pub facts: Facts,
    labels: PhantomData<fn(L)>,
}

/// What there is to know of a metric, whatever its labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The sentence that explains it.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($ident:ident: $labels:ty = $kind:ident of $unit:ident, $name:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Metric<$labels> = Metric {
                facts: Facts {
                    name: $name,
                    kind: Kind::$kind,
                    unit: Unit::$unit,
                    labels: <$labels as Labels>::NAMES,
                    help: $help,
                },
                labels: PhantomData,
            };
        )*

        /// All of them, in the order in which they are shown.
        pub const ALL: &[Facts] = &[$($ident.facts),*];
    };
}

metrics! {
    POOL_PACKETS: (Pool, Way) = Counter of Packets, "egret_pool_packets_total",
        "Packets translated and sent on, by pool.";
    POOL_BYTES: (Pool, Way) = Counter of Bytes, "egret_pool_bytes_total",
        "Bytes of whole frames translated and sent on, by pool.";
    POOL_FLOWS_OPENED: (Pool, Transport) = Counter of Flows, "egret_pool_flows_opened_total",
        "Flows begun; its rate is the new flows each second.";
    POOL_FLOWS_EXPIRED: (Pool, Transport) = Counter of Flows, "egret_pool_flows_expired_total",
        "Flows removed, because they were silent for longer than their timeout.";
    POOL_FLOWS: (Pool,) = Gauge of Flows, "egret_pool_flows",
        "Flows that the pool's addresses have at present, as the last sweep counted them.";
    RULE_FLOWS: (Rule,) = Gauge of Flows, "egret_rule_flows",
        "Flows that began under the rule and are there, as the last sweep counted them.";
    RULE_PORTS: (Rule,) = Gauge of Ports, "egret_rule_ports_used",
        "External ports that were claimed under the rule and are mapped, as the last sweep counted \
         them; identifiers for ICMP.";
    RULE_REFUSED: (Rule,) = Counter of Packets, "egret_rule_refused_packets_total",
        "Packets whose flows were refused because of the rule's quota.";
    REFUSALS_TOLD: (How,) = Counter of Packets, "egret_refusals_told_packets_total",
        "Packets whose flows were refused for want of something, and whose senders were told so by \
         `icmp` or by `reset`, or were to be told and were not (`withheld`), because enough was sent \
         already. Those of pools with `refusal: silent` are in none of them.";
    FLOWS: (Transport, State) = Gauge of Flows, "egret_flows",
        "Flows at present, as the last sweep counted them.";
    PORTS_USED: (Pool, Address, Transport) = Gauge of Ports, "egret_ports_used",
        "Ports taken on an external address; identifiers for ICMP.";
    PORTS_FREE: (Pool, Address, Transport) = Gauge of Ports, "egret_ports_free",
        "Ports left on an external address; identifiers for ICMP. An address that drains has none \
         to give and is left out.";
    PORTS_HELD: (Pool, Address, Transport) = Gauge of Ports, "egret_ports_held",
        "Ports left on an external address that were freed lately and go behind all others.";
    ADDRESS_FLOWS: (Pool, Address) = Gauge of Flows, "egret_address_flows",
        "Flows that leave from an external address at present, as the last sweep counted them.";
    EXIT_PACKETS: (Why, Fate) = Counter of Packets, "egret_exit_packets_total",
        "Packets by what became of them and why; drops have the verdict `drop`.";
    EXIT_BYTES: (Why, Fate) = Counter of Bytes, "egret_exit_bytes_total",
        "Bytes of whole frames by what became of them and why.";
    TABLE_ENTRIES: (Map,) = Gauge of Entries, "egret_table_entries",
        "Entries that a table holds; a flow has two in `flows`.";
    TABLE_ENTRIES_MAX: (Map,) = Gauge of Entries, "egret_table_entries_max",
        "Entries that a table has room for.";
    SWEEP_PASSES: () = Counter of Passes, "egret_sweep_passes_total",
        "Passes over the tables in search of flows that have ended, since the daemon started.";
    SWEEP_DURATION: () = Gauge of Seconds, "egret_sweep_duration_seconds",
        "How long the last pass took; absent before the first.";
    EXPIRY_LAG: () = Gauge of Seconds, "egret_expiry_lag_seconds",
        "How long after its timeout the latest flow was removed in the last pass.";
    HALF_FLOWS_REMOVED: () = Counter of Entries, "egret_half_flows_removed_total",
        "Entries without their other direction that were removed since the daemon started. More \
         than a few are a defect: please report it.";
    SESSION_RECORDS: (Goes, Happened) = Counter of Records, "egret_session_records_total",
        "Records of the session log that were written or sent, since the daemon started.";
    SESSION_RECORDS_LOST: (Goes, Lost) = Counter of Records, "egret_session_records_lost_total",
        "Records of the session log that a sink lost since the daemon started: its `queue` was \
         full, or it could not `write` them.";
    SESSION_RECORDS_SPARED: (Happened,) = Counter of Records, "egret_session_records_spared_total",
        "Records of the session log that neither file nor syslog was given since the daemon started, \
         because the flow's external port is in its client's own block.";
    SESSION_EVENTS_LOST: () = Counter of Records, "egret_session_events_lost_total",
        "Flows that began while the ring between the kernel and the session log was full. Their \
         end is logged all the same, with the time of their beginning.";
    HELD_FRAGMENTS_DONE: (Became,) = Counter of Fragments, "egret_held_fragments_total",
        "Fragments that came before the first one of their packet, by what became of them since the \
         daemon started: `released` behind the first one, `expired` because that did not come in two \
         seconds, `displaced` because too many were held, or `failed` because the kernel did not take \
         them back.";
    CUT_PIECES: () = Counter of Fragments, "egret_cut_fragments_total",
        "Fragments that were cut from IPv4 packets that as IPv6 were longer than `nat64.lowest_mtu`, since \
         the daemon started.";
    HELD_FRAGMENTS: () = Gauge of Fragments, "egret_held_fragments",
        "Fragments that are held until the first one of their packet comes.";
    HELD_BYTES: () = Gauge of Bytes, "egret_held_bytes",
        "Bytes of memory that held fragments take.";
    HELD_BYTES_MAX: () = Gauge of Bytes, "egret_held_max_bytes",
        "Bytes of memory that held fragments may take.";
    BGP_UP: (Peer,) = Gauge of Truth, "egret_bgp_peer_up",
        "Whether the BGP session with a peer is established.";
    BGP_ESTABLISHED: (Peer,) = Counter of Sessions, "egret_bgp_sessions_established_total",
        "BGP sessions with a peer that were established, since the daemon started; more than one is a \
         session that ended.";
    BGP_ANNOUNCED: (Peer, Family) = Gauge of Prefixes, "egret_bgp_announced_prefixes",
        "Prefixes that a peer is told of.";
    BGP_RECEIVED: (Peer, Family) = Gauge of Prefixes, "egret_bgp_received_prefixes",
        "Prefixes that a peer announces to us; they are counted and not used.";
    BGP_MESSAGES: (Peer, Message, Sense) = Counter of Messages, "egret_bgp_messages_total",
        "Messages of BGP by kind, since the daemon started.";
    ROUTES_READY: () = Gauge of Truth, "egret_routes_ready",
        "Whether packets from both realms can be served; while they cannot, nothing is announced.";
    DRAINING: () = Gauge of Truth, "egret_draining",
        "Whether this gateway is on its way out, or drained.";
    BFD_UP: (Watch,) = Gauge of Truth, "egret_bfd_session_up",
        "Whether the BFD session is up.";
    BFD_DOWNS: (Watch,) = Counter of Sessions, "egret_bfd_sessions_down_total",
        "How often the BFD session went down from up.";
    BFD_PACKETS: (Watch, Sense) = Counter of Packets, "egret_bfd_packets_total",
        "BFD packets of the session; those that were not taken are not in it.";
    BFD_REFUSED: (Because,) = Counter of Packets, "egret_bfd_refused_packets_total",
        "BFD packets that were not taken, since the daemon started.";
    MEMBER_UP: (Other,) = Gauge of Truth, "egret_cluster_member_up",
        "Whether a member of the cluster is up, as this one sees it; one that leaves is not.";
    MEMBER_OWNS: (Other,) = Gauge of Buckets, "egret_cluster_owned_buckets",
        "In how many buckets of 256 a member begins flows, as this one sees it.";
    COPIES_ASSIGNED: (Other, Sense) = Gauge of Buckets, "egret_cluster_copied_buckets",
        "Of how many buckets another member is told the flows, or tells them.";
    COPIES_COMPLETE: (Other, Sense) = Gauge of Buckets, "egret_cluster_complete_buckets",
        "Of how many of these all flows are there, but for what lags behind.";
    COPIES_LAG: (Other,) = Gauge of Changes, "egret_cluster_copies_lag_changes",
        "Changes of flows that another member has not acknowledged.";
    COPIES_LATE: (Other,) = Gauge of Seconds, "egret_cluster_copies_lag_seconds",
        "For how long the oldest of these has waited.";
    COPIES_CHANGES: (Other, Sense) = Counter of Changes, "egret_cluster_copies_changes_total",
        "Changes of flows that another member was told, or told, since the daemon started.";
    COPIES_SKIPPED: (Other,) = Counter of Changes, "egret_cluster_copies_skipped_total",
        "Changes that were left out because too many waited; their buckets are told anew then.";
    COPIES_REFUSED: (Other, Because) = Counter of Flows, "egret_cluster_refused_flows_total",
        "Flows that another member told and this one could not take in.";
    CERTIFICATE_UNTIL: () = Gauge of Time, "egret_cluster_certificate_expiry_timestamp_seconds",
        "Until when this member's certificate is good; zero if it has none.";
    INTERFACE_ATTACHED: (Interface, Faces, Hangs) = Gauge of Truth, "egret_interface_attached",
        "Whether the packet path hangs on an interface of the configuration, and how.";
    CONFIG_LOADED: () = Gauge of Time, "egret_config_loaded_timestamp_seconds",
        "When the configuration in force took effect.";
    CONFIG_LAST_RELOAD: () = Gauge of Truth, "egret_config_last_reload_successful",
        "Whether the last attempt to replace the configuration succeeded.";
    CONFIG_SAVED: () = Gauge of Truth, "egret_config_saved",
        "Whether the daemon's file holds the configuration in force, so that a restart finds it.";
    ADOPTED: () = Gauge of Truth, "egret_adopted",
        "Whether this process took over the flows and counters of one before it.";
    PROCESS_START: () = Gauge of Time, "egret_process_start_time_seconds",
        "When the daemon's process started.";
    BUILD_INFO: (Version, Commit) = Gauge of Truth, "egret_build_info",
        "Always 1; the labels say which build of the daemon runs.";
}
