//! The kernel's side of the packet path's two seams: the packet, and the world it may consult.

use core::{mem::MaybeUninit, slice};

use abi::{
    Buckets, ClassKey, Config, Counter, External, Fixed, FixedKey, Flow, FlowKey, FragmentKey,
    Fragments, Held, Holder, Interface, Ip6, Live, Mapping, MappingKey, Member, NextHop, Numbered,
    Opened, Pool, Port, Reason, Rule, RuleSet, Shared, Side, Slot, Tick, Told, Trip, Tuple, Use,
    limits::HELD_FRAME_MAX,
};
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS,
        BPF_FIB_LKUP_RET_UNSUPP_LWT, BPF_NOEXIST, bpf_fib_lookup, xdp_md,
    },
    helpers::generated::{
        bpf_fib_lookup as fib_lookup, bpf_ktime_get_coarse_ns, bpf_xdp_adjust_head,
        bpf_xdp_adjust_tail, bpf_xdp_load_bytes,
    },
    maps::HashMap,
    programs::XdpContext,
};
use datapath::{
    frame::{Link, Packet, Wire},
    world::{InsertError, Lend, PortWords, Room, Route, RouteQuery, Tables, World},
};

use crate::maps::{self, Maps};

/// The frame of one run of the program.
pub struct Frame {
    ctx: *mut xdp_md,
    start: usize,
    end: usize,
}

impl Frame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self {
            ctx: ctx.ctx,
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }

    /// After a resize every pointer into the frame is stale.
    #[inline(always)]
    fn reload(&mut self) {
        let ctx = XdpContext::new(self.ctx);
        (self.start, self.end) = (ctx.data(), ctx.data_end());
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context outlives the run.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn at<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let place = self.start + offset;
        if place + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: in bounds, as the verifier also sees; `Wire` promises alignment 1 and no invalid
        // bytes; `&mut self` keeps it unique.
        Some(unsafe { &mut *(place as *mut T) })
    }

    #[inline(always)]
    fn copy(&mut self, room: &mut [u8]) -> bool {
        let len = self.len();
        // SAFETY: a local. Read anew, so that the compiler leaves in what the verifier wants to see: that
        // it is never nothing, and fits. No frame is shorter than its header.
        let len = unsafe { (&raw const len).read_volatile() }.max(Link::LEN);
        if len > room.len() {
            return false;
        }
        // SAFETY: the context is this run's own; `room` is at least `len` bytes.
        unsafe { bpf_xdp_load_bytes(self.ctx, 0, room.as_mut_ptr().cast(), len as u32) == 0 }
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> bool {
        // Hidden, or the compiler would do it in 32 bits, in which the verifier allows no arithmetic with
        // pointers.
        let delta = core::hint::black_box(len as i64 - self.len() as i64);
        // SAFETY: the context is this run's own.
        let done = unsafe { bpf_xdp_adjust_tail(self.ctx, delta as i32) } == 0;
        self.reload();
        done
    }

    #[inline(always)]
    fn advance(&mut self, bytes: usize) -> bool {
        // SAFETY: the context is this run's own.
        let done = unsafe { bpf_xdp_adjust_head(self.ctx, bytes as i32) } == 0;
        self.reload();
        done
    }

    #[inline(always)]
    fn prepend(&mut self, bytes: usize) -> bool {
        // SAFETY: the context is this run's own.
        let done = unsafe { bpf_xdp_adjust_head(self.ctx, -(bytes as i32)) } == 0;
        self.reload();
        done
    }
}

/// The maps and helpers of one run of the program.
pub struct Kernel {
    ctx: *mut xdp_md,
}

impl Kernel {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.ctx }
    }
}

#[inline(always)]
fn get<'a, K, V>(map: &'static HashMap<K, V>, key: &K) -> Option<&'a V> {
    // SAFETY: words that change are `Shared`; elements of a preallocated map are never unmapped, and
    // one that is reused after a removal shows a flow that is whole or is not found.
    map.get_ptr(key).map(|value| unsafe { &*value })
}

#[inline(always)]
fn insert<K, V>(map: &'static HashMap<K, V>, key: &K, value: &V) -> Result<(), InsertError> {
    const EEXIST: i32 = -17;
    match map.insert(key, value, BPF_NOEXIST as u64) {
        Ok(()) => Ok(()),
        Err(EEXIST) => Err(InsertError::Exists),
        Err(_) => Err(InsertError::Full),
    }
}

impl Lend for Kernel {
    type Ref<'a, T: 'a> = &'a T;
    type Mut<'a, T: 'a> = &'a mut T;
}

impl<A: Maps> Tables<A> for Kernel {
    #[inline(always)]
    fn room(&self) -> Option<&mut Room<A>> {
        // SAFETY: this CPU's own element; a packet is done before the next one begins, and asks once.
        A::room().get_ptr_mut(0).map(|it| unsafe { &mut *it })
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey<A>) -> Option<&Flow<Live, A>> {
        get(A::flows(), key)
    }

    #[inline(always)]
    fn insert_flow(&self, key: &FlowKey<A>, flow: &Flow<Live, A>) -> Result<(), InsertError> {
        insert(A::flows(), key, flow)
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey<A>) {
        let _ = A::flows().remove(key);
    }

    #[inline(always)]
    fn mapping(&self, key: &MappingKey<A>) -> Option<&Mapping<A>> {
        get(A::mappings(), key)
    }

    #[inline(always)]
    fn insert_mapping(&self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<(), InsertError> {
        insert(A::mappings(), key, mapping)
    }

    #[inline(always)]
    fn remove_mapping(&self, key: &MappingKey<A>) {
        let _ = A::mappings().remove(key);
    }

    #[inline(always)]
    fn fragments(&self, key: &FragmentKey<A>) -> Option<&Fragments> {
        // SAFETY: words that change are `Shared`; an element that is reused shows another packet's
        // fragments, which is what displaced ones come to anyway.
        A::fragments().get_ptr(key).map(|it| unsafe { &*it })
    }

    #[inline(always)]
    fn put_fragments(&self, key: &FragmentKey<A>, ports: (Port, Port), units: u16) {
        if let Some(fragments) = maps::BEGUN.get_ptr_mut(0) {
            // SAFETY: this CPU's own element; a packet is done before the next one begins.
            let fragments = unsafe { &mut *fragments };
            fragments.begin(ports, units, self.now());
            let _ = A::fragments().insert(key, fragments, 0);
        }
    }

    #[inline(always)]
    fn external(&self, address: &A) -> Option<&External> {
        get(A::externals(), address)
    }

    #[inline(always)]
    fn class(&self, key: &ClassKey<A>) -> Option<&RuleSet> {
        A::class(key)
    }

    #[inline(always)]
    fn fixed(&self, key: &FixedKey<A>) -> Option<&Fixed> {
        A::fixed(key)
    }

    #[inline(always)]
    fn slot(&self, pool: u32, slot: usize) -> Option<Slot<A>> {
        A::slot(pool, slot)
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery<A>, hop: &mut NextHop) -> Route {
        // Eight words that are the struct: so it is aligned. Volatile, because the compiler would make
        // of it a call of a function that clears byte by byte.
        let mut words = [const { MaybeUninit::<u64>::uninit() }; 8];
        for word in &mut words {
            // SAFETY: a word of this stack frame.
            unsafe { word.as_mut_ptr().write_volatile(0) };
        }
        const { assert!(size_of::<bpf_fib_lookup>() == 64) };
        // SAFETY: same size, larger alignment; integers, of which all zero is a valid value.
        let fib = unsafe { &mut *words.as_mut_ptr().cast::<bpf_fib_lookup>() };
        fib.l4_protocol = query.protocol;
        // SAFETY: a field of a live struct. Volatile, because merged with its neighbour the store
        // would not be aligned, which the verifier does not allow on the stack.
        unsafe {
            (&raw mut fib.sport).write_volatile(u16::from_ne_bytes(query.tuple.source_port.0))
        };
        fib.dport = u16::from_ne_bytes(query.tuple.target_port.0);
        fib.ifindex = query.ingress;
        A::ask(&query.tuple, fib);
        let size = size_of::<bpf_fib_lookup>() as i32;
        // SAFETY: the context is this run's own; `fib` is `size` bytes of this stack frame.
        let answer = unsafe { fib_lookup(self.ctx.cast(), fib, size, 0) };
        match answer as u32 {
            BPF_FIB_LKUP_RET_SUCCESS => {
                // SAFETY: the kernel left the route's MTU here, because no length was given.
                let mtu = unsafe { fib.__bindgen_anon_1.mtu_result };
                *hop = NextHop::new(fib.ifindex, mtu, mac(&fib.dmac), mac(&fib.smac));
                Route::Known
            }
            BPF_FIB_LKUP_RET_NO_NEIGH | BPF_FIB_LKUP_RET_UNSUPP_LWT => Route::Unresolved,
            BPF_FIB_LKUP_RET_NOT_FWDED => Route::Local,
            _ => Route::Nowhere,
        }
    }

    #[inline(always)]
    fn opened(&self, asked: &FlowKey<A>, sent: &Tuple<A>, pool: u8) {
        if maps::EVENTS_WANTED.get(0).is_none_or(|wanted| *wanted == 0) {
            return;
        }
        // Written where the daemon reads it: the stack has no room for a copy.
        if let Some(mut event) = maps::EVENTS.reserve::<Opened<A>>(0) {
            // SAFETY: a helper without arguments.
            let now = unsafe { bpf_ktime_get_coarse_ns() };
            event.write(Opened::new(now, *asked, *sent, pool));
            event.submit(0);
        } else if let Some(lost) = maps::EVENTS_LOST.get_ptr_mut(0) {
            // SAFETY: this CPU's own element.
            unsafe { *lost += 1 };
        }
    }
}

impl World for Kernel {
    #[inline(always)]
    fn place(&self) -> Option<&Shared<u32>> {
        // SAFETY: this CPU's own element.
        maps::PLACE.get_ptr(0).map(|it| unsafe { &*it })
    }

    #[inline(always)]
    fn now(&self) -> Tick {
        // SAFETY: a helper without arguments.
        Tick::from_nanos(unsafe { bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        maps::CONFIG.get(0)
    }

    #[inline(always)]
    fn ports(&self, bitmap: u32) -> Option<&PortWords> {
        maps::PORTS.get(bitmap)
    }

    #[inline(always)]
    fn rule(&self, index: u32) -> Option<&Rule> {
        maps::RULES.get(index)
    }

    #[inline(always)]
    fn pool(&self, index: u32) -> Option<&Pool> {
        maps::POOLS.get(index)
    }

    #[inline(always)]
    fn numbered(&self, rule: u16) -> Option<&Numbered> {
        maps::NUMBERED.get(rule as u32)
    }

    #[inline(always)]
    fn client(&self, holder: &Holder) -> Option<&u32> {
        get(&maps::CLIENTS, holder)
    }

    #[inline(always)]
    fn insert_client(&self, holder: &Holder, slot: u32) -> Result<(), InsertError> {
        insert(&maps::CLIENTS, holder, &slot)
    }

    #[inline(always)]
    fn usage(&self, slot: u32) -> Option<&Use> {
        maps::USES.get(slot)
    }

    #[inline(always)]
    fn buckets(&self) -> Option<&Buckets> {
        maps::BUCKETS.get(0)
    }

    #[inline(always)]
    fn member(&self, number: u8) -> Option<&Member> {
        maps::MEMBERS.get(number as u32)
    }

    #[inline(always)]
    fn trip(&self) -> Option<&Trip> {
        // SAFETY: this CPU's own element.
        maps::TRIP.get_ptr(0).map(|it| unsafe { &*it })
    }

    #[inline(always)]
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        get(&maps::INTERFACES, &ifindex)
    }

    #[inline(always)]
    fn await_first(&self, key: &FragmentKey<Ip6>) {
        let _ = maps::AWAITED.insert(key, &0, 0);
    }

    #[inline(always)]
    fn stop_awaiting(&self, key: &FragmentKey<Ip6>) -> bool {
        maps::AWAITED.remove(key).is_ok()
    }

    #[inline(always)]
    fn held_by(&self, sender: u32) -> Option<&Shared<u32>> {
        maps::HELD_BY.get(sender)
    }

    #[inline(always)]
    fn hold<P: Packet>(&self, packet: &mut P, key: &FragmentKey<Ip6>, mtu: u16) -> bool {
        let Some(record) = maps::RECORD.get_ptr_mut(0) else {
            return false;
        };
        // SAFETY: this CPU's own element; a packet is done before the next one begins.
        let record = unsafe { &mut *record };
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        let length = packet.len();
        if length > HELD_FRAME_MAX || !packet.copy(&mut record.frame) {
            return false;
        }
        record.held = Held::early(now, *key, packet.ingress(), length as u16).cut(mtu);
        // SAFETY: the record without what the frame leaves of its room.
        let bytes = unsafe {
            slice::from_raw_parts(
                (&raw const *record).cast::<u8>(),
                size_of::<Held>() + length,
            )
        };
        maps::HELD.output::<[u8]>(bytes, 0).is_ok()
    }

    #[inline(always)]
    fn first_passed(&self, key: &FragmentKey<Ip6>) {
        if let Some(mut record) = maps::HELD.reserve::<Held>(0) {
            // SAFETY: a helper without arguments.
            let now = unsafe { bpf_ktime_get_coarse_ns() };
            record.write(Held::first(now, *key));
            record.submit(0);
        }
    }

    #[inline(always)]
    fn count(&self, reason: Reason, bytes: u64) {
        if let Some(counter) = maps::COUNTERS.get_ptr_mut(reason as u32) {
            // SAFETY: this CPU's own element.
            add(unsafe { &mut *counter }, bytes);
        }
    }

    #[inline(always)]
    fn count_pool(&self, pool: u8, side: Side, bytes: u64) {
        if let Some(counters) = maps::POOL_COUNTERS.get_ptr_mut(pool as u32) {
            // SAFETY: this CPU's own element.
            let counters = unsafe { &mut *counters };
            match side {
                Side::Outbound => add(&mut counters.outbound, bytes),
                Side::Inbound => add(&mut counters.inbound, bytes),
            }
        }
    }

    #[inline(always)]
    fn count_told(&self, told: Told) {
        if let Some(count) = maps::TOLD.get_ptr_mut(told as u32) {
            // SAFETY: this CPU's own element.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn errors(&self, bucket: u32) -> Option<&Shared<u64>> {
        // SAFETY: this CPU's own element.
        maps::ERRORS.get_ptr(bucket).map(|it| unsafe { &*it })
    }

    #[inline(always)]
    fn count_opened(&self, pool: u8, space: usize) {
        if let Some(counters) = maps::POOL_COUNTERS.get_ptr_mut(pool as u32) {
            // SAFETY: this CPU's own element.
            if let Some(opened) = unsafe { (*counters).opened.get_mut(space) } {
                *opened += 1;
            }
        }
    }
}

#[inline(always)]
fn add(counter: &mut Counter, bytes: u64) {
    counter.packets += 1;
    counter.bytes += bytes;
}

/// Reads a MAC address from the stack in aligned halves. The compiler would merge plain reads into
/// unaligned ones, which the verifier allows in packets but not on the stack.
#[inline(always)]
fn mac(bytes: &[u8; 6]) -> [u8; 6] {
    // SAFETY: in bounds, and both addresses stand at even offsets of an aligned struct.
    let half = |index| unsafe {
        bytes
            .as_ptr()
            .cast::<[u8; 2]>()
            .add(index)
            .cast::<u16>()
            .read_volatile()
    };
    let ([a, b], [c, d]) = (half(0).to_ne_bytes(), half(1).to_ne_bytes());
    let [e, f] = half(2).to_ne_bytes();
    [a, b, c, d, e, f]
}
