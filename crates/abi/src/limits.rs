//! Every bound of the packet path's tables, with the reason for its size.

/// Rules of one policy.
///
/// A rule is a bit in a [`RuleSet`](crate::RuleSet), and the packet path ands three sets for a new
/// flow: sixteen words are two cache lines each.
pub const RULES_MAX: usize = 1024;

/// Words of 64 rules in a rule set.
pub const RULE_WORDS: usize = RULES_MAX / 64;

/// Numbers of rules: those of a policy, and as many again that are gone while flows of them are left.
/// Number zero is no rule's.
pub const RULE_NUMBERS: usize = 2 * RULES_MAX;

/// Clients that are counted at one time, over all rules whose quotas speak of clients: those that have
/// a flow or a port, or had one some seconds ago. They take 13 MiB of kernel memory.
pub const CLIENTS_MAX: usize = 1 << 16;

/// Slots that clients are counted in. Twice as many as clients, so that a free one is soon found.
pub const CLIENT_SLOTS: usize = 2 * CLIENTS_MAX;

/// ICMP errors of our own to all senders, by one CPU in one tick of 1.07 s, unless the configuration
/// says otherwise (RFC 1812 §4.3.2.8): 340 kB on the wire.
pub const ERRORS_PER_TICK: u32 = 4_000;

/// The share of these that one sender gets: a fortieth.
pub const ERRORS_SHARE: u32 = 40;

/// Senders of which a CPU remembers how many errors they got in this tick; those whose addresses hash
/// alike share their share.
pub const ERROR_BUCKETS: usize = 1024;

/// Prefixes that stand for IPv4 addresses: the well-known one, an operator's own, and one of each to
/// move to.
pub const PREFIXES64_MAX: usize = 4;

/// Prefixes whose addresses are translated one to one.
pub const FIXED_MAX: usize = 256;

/// Prefixes of remotes with whom these are not translated, of all of them together.
pub const FIXED_EXCEPTIONS_MAX: usize = 1024;

/// Entries of a table of such prefixes: both ends of each, and two versions, because the old one is in
/// use while the new one is written.
pub const FIXED_ENTRIES_MAX: usize = 2 * (2 * FIXED_MAX + FIXED_EXCEPTIONS_MAX);

/// Pools at one time. A pool's number shares a byte with a flow's direction.
pub const POOLS_MAX: usize = 64;

/// External addresses of one gateway, over all pools. Each has 64 KiB of port bitmaps.
pub const ADDRESSES_MAX: usize = 256;

/// External addresses of pools with `overload`. Each has 256 KiB of port bitmaps beside those that
/// every address has, so these are 8 MiB of kernel memory whether they are used or not.
pub const OVERLOADED_MAX: usize = 32;

/// Slots over which a pool's addresses are spread, so that a client finds its address with one
/// index. Four times [`ADDRESSES_MAX`], so that shares differ little even in the largest pool.
pub const SLOTS: usize = 1024;

/// External addresses that are tried for a flow that is translated by address: one client after the other
/// with the same remote gets another one, and the verifier of Linux 6.1 has no room for more.
pub const SPARE_TRIES: usize = 64;

/// Prefixes of clients that have blocks of ports in a pool. The packet path looks at all of them for a
/// flow that begins.
pub const BLOCK_PREFIXES_MAX: usize = 8;

/// Gateways of one cluster. A packet of whichever bucket finds its owner by one byte, and each of them is
/// watched by all others.
pub const MEMBERS_MAX: usize = 16;

/// Interfaces one gateway listens on.
pub const INTERFACES_MAX: usize = 64;

/// Prefixes of a policy, in all dimensions together and for two versions: while a new version is
/// written, the old one is in use.
pub const CLASSES_MAX: usize = 1 << 17;

/// External ports that configured forwards have, over all pools. Each is two entries of the mapping
/// table that packets cannot have.
pub const FORWARDED_MAX: usize = 4096;

/// External ports that were asked for while the gateway runs, at one time: as many as configured ones.
pub const LEASES_MAX: usize = 4096;

/// Of these, those of one client. A host that wants more ports than this is a server, and is better
/// forwarded to by the configuration.
pub const LEASES_OF_CLIENT_MAX: usize = 64;

/// Prefixes of callers of all forwards together. Old and new ones stand side by side while they change.
pub const CALLERS_MAX: usize = 4096;

/// Bytes of the name by which the owner of a mapping that was asked for is known again. RFC 6887's
/// nonce has twelve.
pub const OWNER_BYTES: usize = 32;

/// The smallest flow table: below this the kernel's per-CPU free lists starve each other.
pub const FLOWS_MIN: u32 = 1024;

/// The largest flow table: 16 million flows are 4.5 GiB of kernel memory.
pub const FLOWS_MAX: u32 = 1 << 24;

/// Flows if the operator says nothing.
pub const FLOWS_DEFAULT: u32 = 262_144;

/// Flows with IPv6 addresses if the configuration has none: the tables must be of some size.
pub const FLOWS6_UNUSED: u32 = FLOWS_MIN;

/// Bytes of a packet that every IPv6 link takes (RFC 8200 §5).
pub const MTU6_MIN: u16 = 1280;

/// Packets of which fragments are awaited at one time: at 1,500 bytes each, more than half a second of
/// 10 Gbit/s of nothing but fragmented packets. A flood of first fragments displaces others' and
/// takes no more memory than this.
pub const FRAGMENTS_MAX: usize = 1 << 16;

/// Packets whose first fragment is awaited because another came before it, at one time. A flood of
/// such fragments displaces others', in a table of its own: what comes in order is in another.
pub const AWAITED_MAX: usize = 1 << 14;

/// Bytes of a frame that is held, at most: what the kernel takes back into the packet path, which is a
/// page without the room in front of and behind a frame, on every kernel that is supported.
pub const HELD_FRAME_MAX: usize = 3072;

/// Bytes of the ring between the packet path and who holds fragments: 2,700 of 1,500 bytes may come
/// while the daemon does something else. A power of two and whole pages, as the kernel wants it.
pub const HELD_BYTES: u32 = 1 << 22;

/// Fragments that come before their first one and are taken from one sender, each second. Ten
/// thousand packets a second of which one in ten is out of order are not stopped by it, and one
/// sender alone fills neither the ring nor the daemon's time.
pub const HELD_SHARE: u32 = 1024;

/// Shares of [`HELD_SHARE`]: a hash of its address says which one a sender has, so that what many
/// senders have together is bounded too. A power of two.
pub const HELD_SHARES: usize = 1 << 12;

/// Indices of the counter map; reasons beyond it cannot exist.
pub const REASONS_MAX: usize = 128;

/// Bytes of the ring of events: 174,000 flows may begin while the daemon does something else. A
/// power of two and whole pages, as the kernel wants it.
pub const EVENTS_BYTES: u32 = 1 << 23;

/// Bytes of a pool's name, which the kernel keeps so that a new daemon recognises its pools.
pub const NAME_BYTES: usize = 64;

const _: () = assert!(RULES_MAX.is_multiple_of(64), "words tile a rule set");
const _: () = assert!(POOLS_MAX <= 128, "a pool's number has seven bits in a flow");
const _: () = assert!(SLOTS.is_power_of_two(), "a slot is found by masking a hash");
const _: () = assert!(ERROR_BUCKETS.is_power_of_two(), "found by masking a hash");
const _: () = assert!(
    CLIENT_SLOTS.is_power_of_two(),
    "a hash falls anywhere alike"
);
const _: () = assert!(
    OVERLOADED_MAX < 256,
    "an address's planes are numbered by a byte"
);
const _: () = assert!(HELD_SHARES.is_power_of_two(), "a share is found likewise");
const _: () = assert!(SLOTS >= 4 * ADDRESSES_MAX);
const _: () = assert!(
    FORWARDED_MAX < u16::MAX as usize,
    "each forwarded port could have a list of callers of its own"
);
