//! A keyed hash of a few words: SipHash with one compression and three finalization rounds.
//!
//! Keyed, so that nobody outside can guess which port a client will get (RFC 6056 §3.3.3), and
//! deterministic, so that the kernel's program and its native twin agree.

/// Hashes two words under a key.
#[inline(always)]
pub const fn hash(key: u64, a: u64, b: u64) -> u64 {
    let mut v = State([
        key ^ 0x736f_6d65_7073_6575,
        key.rotate_left(32) ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key.rotate_left(32) ^ 0x7465_6462_7974_6573,
    ]);
    v = v.absorb(a).absorb(b).absorb(16 << 56);
    v.0[2] ^= 0xff;
    let State([v0, v1, v2, v3]) = v.round().round().round();
    v0 ^ v1 ^ v2 ^ v3
}

#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
    #[inline(always)]
    const fn absorb(self, word: u64) -> Self {
        let Self([v0, v1, v2, v3]) = self;
        let Self([v0, v1, v2, v3]) = Self([v0, v1, v2, v3 ^ word]).round();
        Self([v0 ^ word, v1, v2, v3])
    }

    #[inline(always)]
    const fn round(self) -> Self {
        let Self([mut v0, mut v1, mut v2, mut v3]) = self;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        Self([v0, v1, v2, v3])
    }
}

#[cfg(test)]
mod tests;
