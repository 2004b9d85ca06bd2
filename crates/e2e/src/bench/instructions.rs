//! Instructions of the BPF machine (RFC 9669): as many as the rig's own small programs need.

/// A register.
#[derive(Clone, Copy)]
pub(super) struct Register(u8);

/// Holds what a call and the program return.
pub(super) const R0: Register = Register(0);
/// The first argument; at the start of a program its context.
pub(super) const R1: Register = Register(1);
/// The second argument.
pub(super) const R2: Register = Register(2);
/// A register that calls spoil.
pub(super) const R3: Register = Register(3);
/// Another.
pub(super) const R4: Register = Register(4);
/// Another.
pub(super) const R5: Register = Register(5);
/// A register that calls keep.
pub(super) const R6: Register = Register(6);
/// Another.
pub(super) const R7: Register = Register(7);

/// Functions of the kernel, by their numbers in `enum bpf_func_id`.
#[derive(Clone, Copy)]
pub(super) enum Function {
    /// Returns 32 random bits.
    Random = 7,
    /// Redirects to the interface `R1` with the flags `R2`.
    Redirect = 23,
}

/// A program under construction.
#[derive(Default)]
pub(super) struct Code(Vec<u8>);

impl Code {
    /// Sets a register to a number.
    pub(super) fn set(self, to: Register, value: i32) -> Self {
        self.push(0xb7, [to, R0], 0, value)
    }

    /// Copies a register.
    pub(super) fn copy(self, to: Register, from: Register) -> Self {
        self.push(0xbf, [to, from], 0, 0)
    }

    /// Sets a register to a number of 64 bits.
    pub(super) fn set_wide(self, to: Register, value: u64) -> Self {
        let (low, high) = (value as u32 as i32, (value >> 32) as u32 as i32);
        self.push(0x18, [to, R0], 0, low).push(0, [R0, R0], 0, high)
    }

    /// Adds a number.
    pub(super) fn add(self, to: Register, value: i32) -> Self {
        self.push(0x07, [to, R0], 0, value)
    }

    /// Adds a register.
    pub(super) fn add_register(self, to: Register, from: Register) -> Self {
        self.push(0x0f, [to, from], 0, 0)
    }

    /// Keeps the remainder of a division.
    pub(super) fn remainder(self, to: Register, divisor: i32) -> Self {
        self.push(0x97, [to, R0], 0, divisor)
    }

    /// Keeps some bits.
    pub(super) fn and(self, to: Register, bits: i32) -> Self {
        self.push(0x57, [to, R0], 0, bits)
    }

    /// Inverts some bits.
    pub(super) fn xor(self, to: Register, bits: i32) -> Self {
        self.push(0xa7, [to, R0], 0, bits)
    }

    /// Shifts to the right.
    pub(super) fn shift_right(self, to: Register, bits: i32) -> Self {
        self.push(0x77, [to, R0], 0, bits)
    }

    /// Puts the lower 16 bits into network byte order.
    pub(super) fn network16(self, register: Register) -> Self {
        self.push(0xdc, [register, R0], 0, 16)
    }

    /// Loads 32 bits.
    pub(super) fn load32(self, to: Register, from: Register, offset: i16) -> Self {
        self.push(0x61, [to, from], offset, 0)
    }

    /// Stores 16 bits.
    pub(super) fn store16(self, to: Register, offset: i16, from: Register) -> Self {
        self.push(0x6b, [to, from], offset, 0)
    }

    /// Stores 64 bits.
    pub(super) fn store64(self, to: Register, offset: i16, from: Register) -> Self {
        self.push(0x7b, [to, from], offset, 0)
    }

    /// Skips so many instructions if `one` is at most `other`.
    pub(super) fn skip_if_at_most(self, one: Register, other: Register, count: i16) -> Self {
        self.push(0xbd, [one, other], count, 0)
    }

    /// Calls a function of the kernel.
    pub(super) fn call(self, function: Function) -> Self {
        self.push(0x85, [R0, R0], 0, function as i32)
    }

    /// Ends the program; what is in `R0` is its answer.
    pub(super) fn exit(self) -> Self {
        self.push(0x95, [R0, R0], 0, 0)
    }

    /// The finished program.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn push(mut self, operation: u8, [to, from]: [Register; 2], offset: i16, value: i32) -> Self {
        self.0.extend([operation, to.0 | from.0 << 4]);
        self.0.extend(offset.to_le_bytes());
        self.0.extend(value.to_le_bytes());
        self
    }
}
