//! Rules and pools as the packet path reads them.
//!
//! A new flow is classified by bit vectors: for each dimension (source, destination, service) the
//! longest prefix that matches names the set of rules that want it; the lowest rule in all three
//! sets wins. So the cost does not grow with the number of rules.
//!
//! A policy is replaced as a whole: its classes carry a version and its rules and pools stand in the
//! bank of that version; the packet path follows `Config::version`.

use crate::{
    Address, Behaviour, Blocks, Ip4, Ip6, Port, Protocol,
    limits::{NAME_BYTES, POOLS_MAX, RULE_WORDS, RULES_MAX, SLOTS},
};

/// What a prefix is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Dimension {
    /// The packet's source address.
    Source = 1,
    /// The packet's destination address.
    Destination = 2,
    /// Protocol, zero, and destination port: the rules that want exactly that.
    Service = 3,
    /// Protocol: the rules that translate it on some port or on all.
    Touched = 4,
    /// Who may call an external port that was asked for. Of no policy: a list of callers has its
    /// number where others have their version.
    Caller = 5,
}

/// A prefix of one dimension, laid out as the kernel's longest-prefix-match trie wants its keys.
///
/// Prefixes of IPv6 addresses stand in a table of their own; services, which both versions share, beside
/// those of IPv4.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClassKey<A: Address = Ip4> {
    /// Bits that count, from the version on.
    bits: u32,
    // Version and dimension, in network byte order, because the trie compares from the first byte on. In
    // one word, so that the value behind it is aligned to eight bytes, as the BPF stack wants it.
    lead: u32,
    value: A::Bits,
}

/// Bits before a prefix's own: the version and the dimension.
const LEAD_BITS: u32 = 32;
/// Bits of the dimension in there. What is left for the version lasts for 500 million changes.
const DIMENSION_BITS: u32 = 3;

impl<A: Address> ClassKey<A> {
    /// A prefix of `bits` bits of `value`.
    #[inline(always)]
    const fn new(version: u32, dimension: Dimension, value: A::Bits, bits: u32) -> Self {
        Self {
            bits: LEAD_BITS + bits,
            lead: (version << DIMENSION_BITS | dimension as u32).to_be(),
            value,
        }
    }

    /// An address prefix; [`Dimension::Source`] or [`Dimension::Destination`].
    #[inline(always)]
    pub fn address(version: u32, dimension: Dimension, address: A, bits: u32) -> Self {
        Self::new(version, dimension, address.bits(), bits)
    }

    /// A prefix of a list of callers; what stands under it does not matter.
    #[inline(always)]
    pub fn caller(list: u16, address: A, bits: u32) -> Self {
        Self::new(list as u32, Dimension::Caller, address.bits(), bits)
    }

    /// The list of callers that the prefix is of, if it is of one.
    pub const fn list(&self) -> Option<u16> {
        match self.dimension() == Dimension::Caller as u32 {
            true => Some(self.version() as u16),
            false => None,
        }
    }

    /// The same prefix, of another list of callers.
    pub const fn of_list(self, list: u16) -> Self {
        Self {
            lead: ((list as u32) << DIMENSION_BITS | self.dimension()).to_be(),
            ..self
        }
    }

    /// Bits of the prefix proper: 0 to 32, or 128.
    pub const fn own_bits(&self) -> u32 {
        self.bits - LEAD_BITS
    }

    /// The policy version it belongs to.
    pub const fn version(&self) -> u32 {
        u32::from_be(self.lead) >> DIMENSION_BITS
    }

    const fn dimension(&self) -> u32 {
        u32::from_be(self.lead) & ((1 << DIMENSION_BITS) - 1)
    }

    /// The prefix of this one that is `bits` long, which must not be longer than it.
    pub fn cut(&self, bits: u32) -> Self {
        Self {
            bits: LEAD_BITS + bits,
            value: A::cut(self.value, bits),
            ..*self
        }
    }
}

impl ClassKey {
    /// A protocol, or any.
    pub const fn protocol(version: u32, protocol: Option<Protocol>) -> Self {
        match protocol {
            Some(protocol) => {
                Self::word(version, Dimension::Service, [protocol as u8, 0, 0, 0], 16)
            }
            None => Self::word(version, Dimension::Service, [0; 4], 0),
        }
    }

    #[inline(always)]
    const fn word(version: u32, dimension: Dimension, value: [u8; 4], bits: u32) -> Self {
        Self::new(version, dimension, u32::from_ne_bytes(value), bits)
    }

    /// A protocol number and a prefix of `bits` bits of the port.
    #[inline(always)]
    pub const fn service(version: u32, protocol: u8, port: Port, bits: u32) -> Self {
        let [high, low] = port.0;
        Self::word(
            version,
            Dimension::Service,
            [protocol, 0, high, low],
            16 + bits,
        )
    }

    /// The rules that may translate this protocol number, for packets whose ports cannot be read.
    #[inline(always)]
    pub const fn touched(version: u32, protocol: u8) -> Self {
        Self::word(version, Dimension::Touched, [protocol, 0, 0, 0], 8)
    }

    /// The rules that may translate a protocol that has no class of its own.
    pub const fn touched_any(version: u32) -> Self {
        Self::word(version, Dimension::Touched, [0; 4], 0)
    }
}

/// A set of rules: rule `n` is bit `n % 64` of word `n / 64`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleSet(pub [u64; RULE_WORDS]);

impl RuleSet {
    /// No rule.
    pub const EMPTY: Self = Self([0; RULE_WORDS]);
}

/// What a rule says about the flows it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Translate to an address of this pool.
    Translate {
        /// Its index.
        pool: u8,
        /// The rule's own number, see [`crate::quota`].
        rule: u16,
    },
    /// Leave the packet to the kernel, untouched.
    Pass,
}

/// [`Action`] as a map value. Zeroed memory is not a valid one, so a forgotten write shows.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    kind: u8,
    pool: u8,
    number: u16,
    /// What is added to the ports that its flows ask for; see [`Rule::leading_to`].
    shift: u16,
    _pad: u16,
    /// Whom its flows are for; nobody if for whom they ask.
    target: Ip6,
}

impl Rule {
    /// The value of an action.
    pub const fn encode(action: Action) -> Self {
        match action {
            Action::Translate { pool, rule } => Self::of(1, pool, rule),
            Action::Pass => Self::of(2, 0, 0),
        }
    }

    const fn of(kind: u8, pool: u8, number: u16) -> Self {
        Self {
            kind,
            pool,
            number,
            shift: 0,
            _pad: 0,
            target: Ip6([0; 16]),
        }
    }

    /// The same of an endpoint: its flows go to this target, an IPv4 one as a mapped address, and to the port
    /// that they ask for with `shift` added, which wraps.
    pub const fn leading_to(self, target: Ip6, shift: u16) -> Self {
        Self {
            target,
            shift,
            ..self
        }
    }

    /// Whom an endpoint's flows go to, and what is added to their ports.
    #[inline(always)]
    pub fn target(&self) -> Option<(Ip6, u16)> {
        (!self.target.is(Ip6::NONE)).then_some((self.target, self.shift))
    }

    /// The action of a value; nothing for a value this version does not know.
    #[inline(always)]
    pub const fn decode(self) -> Option<Action> {
        match self.kind {
            1 => Some(Action::Translate {
                pool: self.pool,
                rule: self.number,
            }),
            2 => Some(Action::Pass),
            _ => None,
        }
    }
}

/// One of a pool's slots: an address and where its port bitmaps stand.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot<A = Ip4> {
    /// The external address.
    pub address: A,
    /// [`crate::External::index`].
    pub index: u16,
    /// [`crate::External::planes`].
    pub planes: u8,
    /// One if the slot is filled; a pool without addresses has none filled.
    pub filled: u8,
    /// A slot of the pool's next address: whoever goes from one to the next sees each address once
    /// before this one comes again.
    pub next: u16,
    _pad: u16,
}

impl<A: Copy> Slot<A> {
    /// A slot with this address, whose port bitmaps have this index, and these planes if it is
    /// overloaded. It is the only one until the pool's others are known.
    pub const fn new(address: A, index: u16, planes: u8) -> Self {
        Self {
            address,
            index,
            planes,
            filled: 1,
            next: 0,
            _pad: 0,
        }
    }

    /// The same slot under another address.
    #[inline(always)]
    pub const fn with<B: Copy>(&self, address: B) -> Slot<B> {
        Slot {
            address,
            index: self.index,
            planes: self.planes,
            filled: self.filled,
            next: self.next,
            _pad: 0,
        }
    }

    /// A slot that is to be filled.
    pub const fn empty(nobody: A) -> Self {
        Self {
            filled: 0,
            ..Self::new(nobody, 0, 0)
        }
    }
}

/// A pool: its name, for the daemon that comes after, and its addresses spread over slots.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// UTF-8, zero-padded.
    pub name: [u8; NAME_BYTES],
    /// How it translates.
    pub behaviour: Behaviour,
    /// Which of its ports are one client's own.
    pub blocks: Blocks,
    /// Where a client's hash finds its address. Where there are blocks, the addresses stand in their
    /// order from the first slot on, so that a client's number finds it as well.
    pub slots: [Slot; SLOTS],
}

/// The IPv6 addresses of a pool, spread over slots; what else there is to know of it stands with its
/// IPv4 ones.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Slots6(pub [Slot<Ip6>; SLOTS]);

impl core::fmt::Debug for Pool {
    /// Without its thousand slots.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Slots6 {
    /// Without its thousand slots.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slots6").finish_non_exhaustive()
    }
}

/// Where rule `index` of a policy version stands in the rule map.
#[inline(always)]
pub const fn rule_index(version: u32, index: u32) -> u32 {
    (version & 1) * RULES_MAX as u32 + index
}

/// Where pool `index` of a policy version stands in the pool map.
#[inline(always)]
pub const fn pool_index(version: u32, index: u8) -> u32 {
    (version & 1) * POOLS_MAX as u32 + index as u32
}

const _: () = assert!(size_of::<ClassKey>() == 12);
const _: () = assert!(size_of::<ClassKey<Ip6>>() == 24);
const _: () = assert!(size_of::<RuleSet>() == RULES_MAX / 8);
const _: () = assert!(size_of::<Rule>() == 24);
const _: () = assert!(size_of::<Slot>() == 12);
const _: () = assert!(size_of::<Slot<Ip6>>() == 24);
const _: () = assert!(
    size_of::<Pool>()
        == NAME_BYTES + size_of::<Behaviour>() + size_of::<Blocks>() + SLOTS * size_of::<Slot>()
);
