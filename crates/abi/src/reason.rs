//! Why a packet left the packet path: one list feeds the kernel's counters, the metric labels, the
//! command and the manual.

use crate::limits::REASONS_MAX;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// We send it, or an answer to it.
    Send,
    /// The kernel gets it.
    Pass,
    /// It ends here.
    Drop,
}

impl Verdict {
    /// The word in metrics and tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

macro_rules! reasons {
    ($($name:ident = $index:literal, $verdict:ident, $label:literal, $help:literal;)*) => {
        /// Why a packet left, and with that what became of it.
        ///
        /// The numbers are indices of the counter map: append, never renumber.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason { $(#[doc = $help] $name = $index,)* }

        impl Reason {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What becomes of a packet that leaves for this reason.
            #[inline(always)]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)* }
            }

            /// The word in metrics and tables.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The sentence that explains it to an operator.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

reasons! {
    TranslatedOut = 0, Send, "translated_out", "Translated and sent on towards the external realm.";
    TranslatedIn = 1, Send, "translated_in", "A reply, translated back and sent on towards the internal realm.";
    ResetSent = 2, Send, "reset_sent", "A TCP segment that belongs to no flow; its sender was answered with RST so that it reconnects at once.";
    TimeExceededSent = 3, Send, "time_exceeded_sent", "The packet's TTL ran out here; its sender was told by ICMP (RFC 792, type 11).";
    TooBigSent = 4, Send, "too_big_sent", "Larger than the next link's MTU with Don't Fragment set; its sender was told the MTU by ICMP (RFC 1191).";
    Unconfigured = 5, Pass, "unconfigured", "No policy is in force yet; the kernel has the packet.";
    NotIp = 6, Pass, "not_ip", "ARP or another protocol that is not IP; the kernel has it.";
    VlanTagged = 7, Pass, "vlan_tagged", "The frame carries a VLAN tag; the kernel has it. Attach to an interface that shows the frames untagged to have them translated.";
    NotForUs = 8, Pass, "not_for_us", "Not addressed to this interface's MAC address (broadcast, multicast, or flooded by a switch), or of the link alone (IPv6 neighbour discovery, link-local addresses); the kernel decides.";
    Malformed = 9, Pass, "malformed", "The headers contradict each other or the frame's length; left to the kernel, which drops and counts it.";
    NoRule = 10, Pass, "no_rule", "No rule wants the packet; the kernel has it, untouched.";
    RulePass = 11, Pass, "rule_pass", "A rule says to leave the packet to the kernel.";
    ExternalRealm = 12, Pass, "external_realm", "A rule would want the packet, but it came by an interface that faces the external realm only; the kernel has it, untouched.";
    LocalDestination = 13, Pass, "local_destination", "For an address of this host itself; the kernel has it, untouched.";
    NotOurPort = 14, Pass, "not_our_port", "For an external address that is also this host's own, but a port outside its pool's range; the kernel has it, untouched.";
    Unresolved = 15, Pass, "unresolved", "Translated, but the next hop's MAC address is not known yet; the kernel sends it on and resolves the neighbour.";
    Fragmenting = 16, Pass, "fragmenting", "Translated, but larger than the next link's MTU; the kernel fragments it and sends it on.";
    Unsolicited = 17, Drop, "unsolicited", "For an external address, but nobody inside asked for it.";
    NoFlow = 18, Drop, "no_flow", "A TCP segment that belongs to no flow and cannot be answered: an RST, or one that contradicts itself.";
    PortsExhausted = 19, Drop, "ports_exhausted", "The client's external address has no free port left; the flow was refused.";
    FlowTableFull = 20, Drop, "flow_table_full", "The flow table is full; the flow was refused. Raise limits.flows.";
    PoolEmpty = 21, Drop, "pool_empty", "The rule's pool has no address to give.";
    NoRoute = 22, Drop, "no_route", "The kernel has no route to the destination, or forbids it, or does not forward on this interface.";
    Fragment = 23, Drop, "fragment", "A fragment of a packet that a rule wants or for an external address, whose first fragment was dropped, which has no whole transport header where one must be, or which came before its first one and is too large to be held.";
    Protocol = 24, Drop, "protocol", "A rule wants the packet, but its protocol cannot be translated, or is none of those that the pool translates; sent on untranslated it would show the wrong address.";
    IcmpError = 25, Drop, "icmp_error", "An ICMP error for an external address or from a client, which is about no flow there is, or damaged.";
    NotAQuery = 26, Drop, "not_a_query", "An ICMP message from inside that starts no exchange (only echo and timestamp requests do).";
    Hairpin = 27, Drop, "hairpin", "From an internal client to an external address of this gateway, whose pool does not allow hairpinning; or to the client's own external port.";
    Collision = 28, Drop, "collision", "Two packets began the same flow at the same moment on two CPUs; the later one was dropped and its resend will pass.";
    TtlExceeded = 29, Drop, "ttl_exceeded", "The packet's TTL ran out here, and no ICMP message could be sent about it.";
    TooBig = 30, Drop, "too_big", "Larger than the next link's MTU, and no ICMP message could be sent about it.";
    Internal = 31, Drop, "internal", "A table of this gateway contradicts itself. This is a defect: please report it.";
    KernelSends = 32, Pass, "kernel_sends", "Translated, but the way out is an interface that takes no frames from XDP (a VLAN, bridge or tunnel, one that is not listed, or one in generic mode); the kernel sends it on.";
    Filtered = 33, Drop, "filtered", "For an external port that an internal client has, but its pool's filtering lets in only remotes the client has sent to.";
    MappingTableFull = 34, Drop, "mapping_table_full", "The mapping table is full; the flow was refused. Raise limits.flows.";
    ErrorTranslated = 35, Send, "icmp_error_translated", "An ICMP error about a flow or about a packet of one of the `prefixes`, translated with the packet it quotes and sent on.";
    ErrorKernelSends = 36, Pass, "icmp_error_kernel_sends", "An ICMP error about a flow or about a packet of one of the `prefixes`, translated; the kernel sends it on, because the way out takes no frames from XDP or the next hop's MAC address is not known yet.";
    FragmentOverlap = 37, Drop, "fragment_overlap", "A fragment that repeats or overlaps what came before of the same packet; such packets are made to get past filters (RFC 1858, RFC 5722).";
    FragmentGaps = 38, Drop, "fragment_gaps", "A fragment of a packet that comes with more gaps at one time than are remembered.";
    FragmentHeld = 39, Drop, "fragment_held", "A fragment that came before the first one of its packet, handed to the daemon; it comes again, and is counted again, when that one has come. So are all fragments of a UDP packet without a checksum from IPv4 to IPv6, until it is whole and has one. The metrics of held fragments say what became of them.";
    FragmentsFull = 40, Drop, "fragments_full", "A fragment that came before the first one of its packet and could not be held, or an IPv4 packet that could not be handed over to be cut up: its sender has had more than its share of this second, or the daemon does not run or has too much to do.";
    QuotaFlows = 41, Drop, "quota_flows", "The client, or all clients of its rule together, have as many flows as the rule's quota allows; the flow was refused.";
    QuotaPorts = 42, Drop, "quota_ports", "The client, or all clients of its rule together, have as many external ports as the rule's quota allows; the flow was refused.";
    QuotaRate = 43, Drop, "quota_rate", "The client begins flows faster than its rule's quota allows; the flow was refused.";
    QuotaTableFull = 44, Drop, "quota_table_full", "The table of clients with a quota is full; the flow was refused, because it could not be counted. Give quotas per client to fewer clients.";
    IcmpFragment = 45, Drop, "icmp_fragment", "A fragment of an ICMP message between IPv4 and IPv6: its checksum covers the length of the whole, which nobody knows (RFC 7915 §1.2).";
    NoChecksum = 46, Drop, "no_checksum", "UDP without a checksum from IPv4 to IPv6, which wants one (RFC 7915 §4.5), in a frame that is too large to be summed up, or to be held until all fragments of its packet are there.";
    OwnPrefix = 47, Drop, "own_prefix", "From an IPv6 address that stands for an IPv4 one: only this gateway sends such packets, and one that comes back would go round for ever (RFC 6146 §3.5).";
    Ipv6 = 48, Pass, "ipv6", "IPv6, of which nothing is configured; the kernel has it.";
    CutUp = 49, Drop, "cut_up", "An IPv4 packet that as IPv6 is longer than nat64.lowest_mtu, and that its sender allows to be fragmented: handed to the daemon, which cuts it up; its pieces come, and are counted, by themselves.";
    SourceRoute = 50, Drop, "source_route", "An IPv4 packet with a source route that is not at its end yet, for somebody who has IPv6, which has nothing like it (RFC 7915 §4.1).";
    NotGlobal = 51, Drop, "not_global", "To an IPv4 address that is private, or else not the same in every network, by the well-known prefix 64:ff9b::/96, which must not stand for such (RFC 6052 §3.1). Give the network a prefix of its own in nat64.prefixes.";
    IllegalSource = 52, Drop, "illegal_source", "From an address that no host can have (this host, loopback, multicast or broadcast); answers would go nowhere, or to many (RFC 1812 §5.3.7).";
    PrefixOut = 53, Send, "prefix_out", "From an internal address of one of the `prefixes`: sent on towards the external realm, from the external address that belongs to it.";
    PrefixIn = 54, Send, "prefix_in", "For an external address of one of the `prefixes`: sent on to the internal address that belongs to it.";
    PrefixKernelSends = 55, Pass, "prefix_kernel_sends", "Translated by one of the `prefixes`; the kernel sends it on, because the next hop's MAC address is not known yet, the way out takes no frames from XDP, or the packet must be fragmented.";
    PrefixUnmapped = 56, Drop, "prefix_unmapped", "To or from an IPv6 address of one of the `prefixes` that has no counterpart, because the bits that make up for the other prefix are all ones (RFC 6296 §3.2); its sender was told by ICMP, unless it has been told enough.";
    PrefixZero = 57, Drop, "prefix_zero", "To or from an IPv6 address of one of the `prefixes` whose interface identifier is zero, which is that of a link's routers (RFC 6296 §3.7); its sender was told by ICMP, unless it has been told enough.";
    NoSpareAddress = 58, Drop, "no_spare_address", "SCTP, GRE or ESP, of which addresses alone are translated: another client has such a flow with the same remote on every external address of the pool; the flow was refused. Add an address to the pool.";
    Relayed = 59, Send, "relayed", "Of a flow that another member of the cluster holds, or is to begin: handed to it.";
    RelayHops = 60, Drop, "relay_hops", "Handed from member to member until its hops ran out: for a moment they did not agree whose it is, as when one comes or goes; or their configurations differ.";
    RelayTooBig = 61, Drop, "relay_too_big", "For another member of the cluster, too large for the way there with its outer header, and its sender could not be told. Give the network between the members an MTU that is 20 bytes larger than the clients', 40 where it is IPv6.";
    RelayUnreachable = 62, Drop, "relay_unreachable", "For another member of the cluster, but there is no way to it: no route, or its MAC address is not known.";
    NoOwner = 63, Drop, "no_owner", "No member of the cluster holds such flows at this moment: this one has just started and does not know yet whether others do.";
    RelayUnwanted = 64, Drop, "relay_unwanted", "Handed over by another member of the cluster whose rules want it, and ours do not: their configurations differ. The kernel does not get it, because it would send it on untranslated.";
    Moving = 65, Drop, "moving", "A new flow in the very moment in which its bucket moved from one member of the cluster to another: the one begins no more flows of it, and the other does not know yet which ports are in use, or the one has none left of the few that are its own until then. The sender tries again.";
    StateUnknown = 66, Drop, "state_unknown", "A TCP segment of no flow that this member of the cluster knows, but another one may: that one fell silent, and had not copied all of its flows to this one. If it has died, its flows are gone, and are answered with RST after five minutes; if it has only lost sight of this one, they go on when it is seen again.";
}

impl Reason {
    /// Whether the kernel gets a packet that leaves for this reason before anybody translated it.
    #[inline(always)]
    pub const fn is_left_alone(self) -> bool {
        matches!(
            self,
            Self::NoRule
                | Self::RulePass
                | Self::ExternalRealm
                | Self::LocalDestination
                | Self::NotOurPort
        )
    }

    /// Whether a flow was refused for want of something that there may be later: what a client is
    /// told (RFC 5508 REQ-8).
    #[inline(always)]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::PortsExhausted
                | Self::FlowTableFull
                | Self::MappingTableFull
                | Self::PoolEmpty
                | Self::QuotaFlows
                | Self::QuotaPorts
                | Self::QuotaRate
                | Self::QuotaTableFull
                | Self::NoSpareAddress
        )
    }
}

const _: () = {
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!(Reason::ALL[i] as usize == i, "numbers must be dense");
        i += 1;
    }
    assert!(Reason::ALL.len() <= REASONS_MAX);
};
