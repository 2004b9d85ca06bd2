//! Words in map values that several CPUs and user space may touch at any moment.
//!
//! Natively an atomic. On BPF a volatile access, because LLVM cannot select relaxed atomic loads and
//! stores before cpu v4, and `core::sync::atomic` offers no read-modify-write there; those are locked
//! instructions by intrinsic.
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "volatile accesses and locked instructions, each argued where it stands"
    )
)]

/// A word that may change under a reader's feet. Reads and writes are single and untorn.
#[repr(transparent)]
pub struct Shared<T: Word>(T::Cell);

impl<T: Word> Shared<T> {
    /// A word that holds `value`.
    #[inline(always)]
    pub const fn new(cell: T::Cell) -> Self {
        Self(cell)
    }

    /// The value at this moment.
    #[inline(always)]
    pub fn get(&self) -> T {
        T::load(&self.0)
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn set(&self, value: T) {
        T::store(&self.0, value);
    }
}

impl<T: Word> From<T> for Shared<T> {
    #[inline(always)]
    fn from(value: T) -> Self {
        Self(T::cell(value))
    }
}

impl<T: Word + core::fmt::Debug> core::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.get().fmt(f)
    }
}

/// An integer that a [`Shared`] can hold.
pub trait Word: Copy + 'static {
    /// How the integer is stored.
    type Cell;
    /// Wraps a value.
    fn cell(self) -> Self::Cell;
    /// Reads the value once.
    fn load(cell: &Self::Cell) -> Self;
    /// Writes the value once.
    fn store(cell: &Self::Cell, value: Self);
}

#[cfg(not(target_arch = "bpf"))]
mod cells {
    use super::{Shared, Word};
    use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

    macro_rules! word {
        ($($int:ty => $atomic:ty),*) => {$(
            impl Word for $int {
                type Cell = $atomic;
                fn cell(self) -> $atomic { <$atomic>::new(self) }
                fn load(cell: &$atomic) -> $int { cell.load(Relaxed) }
                fn store(cell: &$atomic, value: $int) { cell.store(value, Relaxed) }
            }
        )*};
    }
    word!(u8 => AtomicU8, u16 => AtomicU16, u32 => AtomicU32, u64 => AtomicU64);

    impl Shared<u64> {
        /// Sets `bits`; returns what was there before.
        pub fn fetch_or(&self, bits: u64) -> u64 {
            self.0.fetch_or(bits, Relaxed)
        }
        /// Keeps only `bits`; returns what was there before.
        pub fn fetch_and(&self, bits: u64) -> u64 {
            self.0.fetch_and(bits, Relaxed)
        }
        /// Adds, modulo 2⁶⁴; returns what was there before.
        pub fn fetch_add(&self, more: u64) -> u64 {
            self.0.fetch_add(more, Relaxed)
        }
        /// Replaces `old`; `false` if something else is there.
        pub fn replace(&self, old: u64, new: u64) -> bool {
            self.0.compare_exchange(old, new, Relaxed, Relaxed).is_ok()
        }
    }
}

#[cfg(target_arch = "bpf")]
mod cells {
    use super::{Shared, Word};
    use core::cell::UnsafeCell;
    use core::intrinsics::{
        AtomicOrdering::SeqCst, atomic_and, atomic_cxchg, atomic_or, atomic_xadd,
    };

    // SAFETY: every access is one aligned load, store or locked instruction.
    unsafe impl<T: Word> Sync for Shared<T> {}

    macro_rules! word {
        ($($int:ty),*) => {$(
            impl Word for $int {
                type Cell = UnsafeCell<$int>;
                #[inline(always)]
                fn cell(self) -> Self::Cell { UnsafeCell::new(self) }
                #[inline(always)]
                fn load(cell: &Self::Cell) -> $int {
                    // SAFETY: the cell is valid and aligned; a volatile read is one load.
                    unsafe { cell.get().read_volatile() }
                }
                #[inline(always)]
                fn store(cell: &Self::Cell, value: $int) {
                    // SAFETY: the cell is valid and aligned; a volatile write is one store.
                    unsafe { cell.get().write_volatile(value) }
                }
            }
        )*};
    }
    word!(u8, u16, u32, u64);

    impl Shared<u64> {
        /// Sets `bits`; returns what was there before.
        #[inline(always)]
        pub fn fetch_or(&self, bits: u64) -> u64 {
            // SAFETY: the cell is valid and aligned; the instruction is atomic.
            unsafe { atomic_or::<u64, u64, { SeqCst }>(self.0.get(), bits) }
        }
        /// Keeps only `bits`; returns what was there before.
        #[inline(always)]
        pub fn fetch_and(&self, bits: u64) -> u64 {
            // SAFETY: the cell is valid and aligned; the instruction is atomic.
            unsafe { atomic_and::<u64, u64, { SeqCst }>(self.0.get(), bits) }
        }
        /// Adds, modulo 2⁶⁴; returns what was there before.
        #[inline(always)]
        pub fn fetch_add(&self, more: u64) -> u64 {
            // SAFETY: the cell is valid and aligned; the instruction is atomic.
            unsafe { atomic_xadd::<u64, u64, { SeqCst }>(self.0.get(), more) }
        }
        /// Replaces `old`; `false` if something else is there.
        #[inline(always)]
        pub fn replace(&self, old: u64, new: u64) -> bool {
            // SAFETY: the cell is valid and aligned; the instruction is atomic.
            unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(self.0.get(), old, new).1 }
        }
    }
}

/// How a map value is looked at: in place while it changes, or as a picture of one moment.
pub trait View {
    /// A byte that may change.
    type W8;
    /// Two bytes that may change.
    type W16;
    /// Four bytes that may change.
    type W32;
    /// Eight bytes that may change.
    type W64;
}

/// The value in place, as the packet path sees it.
#[derive(Debug)]
pub enum Live {}
impl View for Live {
    type W8 = Shared<u8>;
    type W16 = Shared<u16>;
    type W32 = Shared<u32>;
    type W64 = Shared<u64>;
}

/// A copy of the value, as user space reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {}
impl View for Picture {
    type W8 = u8;
    type W16 = u16;
    type W32 = u32;
    type W64 = u64;
}
