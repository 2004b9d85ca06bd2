//! Reads from a BPF object how many instructions and how much stack each function takes.
//!
//! The verifier limits both (a million instructions *visited*, 512 bytes of stack over a call
//! chain), so whoever changes the packet path wants to see them move. Reads just enough of ELF for
//! that; loading objects is the business of `kernel`.

use std::fmt;

/// One function as it was compiled.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub instructions: usize,
    /// The farthest byte below the frame pointer that the function names.
    pub stack: u32,
}

/// Why an object could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// Not 64-bit little-endian ELF for BPF.
    Foreign,
    /// A table of this name leads outside the file.
    Truncated { table: &'static str },
}

impl std::error::Error for ObjectError {}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "not an ELF object for little-endian BPF"),
            Self::Truncated { table } => write!(f, "its {table} leads outside the file"),
        }
    }
}

const MAGIC_64_LITTLE: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
const MACHINE_BPF: u16 = 247;
const SECTION_HEADER: usize = 64;
const SECTION_SYMBOLS: u32 = 2;
const SYMBOL: usize = 24;
const SYMBOL_FUNCTION: u8 = 2;
const INSTRUCTION: usize = 8;

/// Returns the functions of an object, largest first.
///
/// # Errors
///
/// If the bytes are not such an object.
pub fn functions(bytes: &[u8]) -> Result<Vec<Function>, ObjectError> {
    if !bytes.starts_with(&MAGIC_64_LITTLE) || u16_at(bytes, 18) != Some(MACHINE_BPF) {
        return Err(ObjectError::Foreign);
    }
    let sections = sections(bytes).ok_or(ObjectError::Truncated {
        table: "section table",
    })?;
    let mut functions = Vec::new();
    for symbols in sections
        .iter()
        .filter(|section| section.kind == SECTION_SYMBOLS)
    {
        let read = read_symbols(bytes, &sections, symbols);
        functions.extend(read.ok_or(ObjectError::Truncated {
            table: "symbol table",
        })?);
    }
    functions.sort_by(|a, b| {
        b.instructions
            .cmp(&a.instructions)
            .then(a.name.cmp(&b.name))
    });
    Ok(functions)
}

struct Section {
    kind: u32,
    start: usize,
    size: usize,
    link: usize,
}

impl Section {
    fn bytes<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        file.get(self.start..self.start.checked_add(self.size)?)
    }
}

fn sections(bytes: &[u8]) -> Option<Vec<Section>> {
    let start = usize_at(bytes, 40)?;
    let count = usize::from(u16_at(bytes, 60)?);
    let table = bytes.get(start..start.checked_add(count * SECTION_HEADER)?)?;
    let read = |header: &[u8]| {
        Some(Section {
            kind: u32_at(header, 4)?,
            start: usize_at(header, 24)?,
            size: usize_at(header, 32)?,
            link: usize::try_from(u32_at(header, 40)?).ok()?,
        })
    };
    table.chunks_exact(SECTION_HEADER).map(read).collect()
}

fn read_symbols(bytes: &[u8], sections: &[Section], table: &Section) -> Option<Vec<Function>> {
    let names = sections.get(table.link)?.bytes(bytes)?;
    let is_function = |symbol: &&[u8]| symbol[4] & 0xf == SYMBOL_FUNCTION;
    let read = |symbol: &[u8]| {
        let section = sections.get(usize::from(u16_at(symbol, 6)?))?;
        let (start, size) = (usize_at(symbol, 8)?, usize_at(symbol, 16)?);
        let code = section.bytes(bytes)?.get(start..start.checked_add(size)?)?;
        Some(Function {
            name: readable(&name_at(names, usize::try_from(u32_at(symbol, 0)?).ok()?)?),
            instructions: size / INSTRUCTION,
            stack: deepest_stack(code),
        })
    };
    table
        .bytes(bytes)?
        .chunks_exact(SYMBOL)
        .filter(is_function)
        .map(read)
        .collect()
}

fn name_at(names: &[u8], start: usize) -> Option<String> {
    let name = names.get(start..)?.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Takes the path out of a mangled name, `datapath::open::miss` out of
/// `_RINvNtCsaZqKuH8Dl4s_8datapath4open4missNtNt…`: in rustc's mangling the path's words follow
/// its root crate, each behind its length. A name without such a path stays as it is.
fn readable(name: &str) -> String {
    let path = name
        .strip_prefix("_R")
        .and_then(|mangled| mangled.split_once("Cs"));
    let Some((_, mut rest)) = path.and_then(|(_, root)| root.split_once('_')) else {
        return name.to_owned();
    };
    let mut words = Vec::new();
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (length, behind) = rest.split_at(digits);
        let word = length
            .parse()
            .ok()
            .and_then(|length| behind.split_at_checked(length));
        let Some((word, behind)) = word else { break };
        words.push(word);
        rest = behind;
    }
    if words.is_empty() {
        name.to_owned()
    } else {
        words.join("::")
    }
}

/// Finds the lowest address relative to the frame pointer that the code names: in a load or store
/// through the frame pointer itself, or in the pair `rX = r10; rX += -N` that makes a pointer.
fn deepest_stack(code: &[u8]) -> u32 {
    const FRAME: u8 = 10;
    const CLASS_LDX: u8 = 1;
    const CLASS_ST: u8 = 2;
    const CLASS_STX: u8 = 3;
    const MOV_REGISTER: u8 = 0xbf;
    const ADD_IMMEDIATE: u8 = 0x07;

    let mut deepest = 0;
    let mut copied_to = None;
    for instruction in code.chunks_exact(INSTRUCTION) {
        let (operation, registers) = (instruction[0], instruction[1]);
        let (target, source) = (registers & 0xf, registers >> 4);
        let offset = i16::from_le_bytes([instruction[2], instruction[3]]);
        let immediate = i32::from_le_bytes([
            instruction[4],
            instruction[5],
            instruction[6],
            instruction[7],
        ]);

        let reached = match operation & 7 {
            CLASS_LDX if source == FRAME => i32::from(offset),
            CLASS_ST | CLASS_STX if target == FRAME => i32::from(offset),
            _ if operation == ADD_IMMEDIATE && copied_to == Some(target) => immediate,
            _ => 0,
        };
        deepest = deepest.min(reached);
        copied_to = (operation == MOV_REGISTER && source == FRAME).then_some(target);
    }
    deepest.unsigned_abs()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    let value = bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)?;
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `*(u64 *)(r10 - 8) = r1; r2 = r10; r2 += -24; exit`
    const CODE: [[u8; INSTRUCTION]; 4] = [
        [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
        [0x07, 0x02, 0, 0, 0xe8, 0xff, 0xff, 0xff],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];

    /// An object with one function in it, laid out as: header, code, names, symbols, sections.
    fn object() -> Vec<u8> {
        let code = CODE.concat();
        let names = b"\0egress\0";
        let code_at = 64_u64;
        let names_at = code_at + code.len() as u64;
        let symbols_at = names_at + names.len() as u64;
        let sections_at = symbols_at + SYMBOL as u64;

        let mut object = vec![0; 64];
        object[..6].copy_from_slice(&MAGIC_64_LITTLE);
        object[18..20].copy_from_slice(&MACHINE_BPF.to_le_bytes());
        object[40..48].copy_from_slice(&sections_at.to_le_bytes());
        object[60..62].copy_from_slice(&3_u16.to_le_bytes());
        object.extend(&code);
        object.extend(names);
        object.extend(1_u32.to_le_bytes());
        object.extend([SYMBOL_FUNCTION, 0]);
        object.extend(0_u16.to_le_bytes());
        object.extend(0_u64.to_le_bytes());
        object.extend((code.len() as u64).to_le_bytes());
        for (kind, start, size, link) in [
            (1_u32, code_at, code.len(), 0_u32),
            (3, names_at, names.len(), 0),
            (SECTION_SYMBOLS, symbols_at, SYMBOL, 1),
        ] {
            let mut header = [0; SECTION_HEADER];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&start.to_le_bytes());
            header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            header[40..44].copy_from_slice(&link.to_le_bytes());
            object.extend(header);
        }
        object
    }

    #[test]
    fn a_function_is_found_with_its_size_and_its_stack() {
        let egress = Function {
            name: "egress".to_owned(),
            instructions: 4,
            stack: 24,
        };

        assert_eq!(functions(&object()), Ok(vec![egress]));
    }

    #[test]
    fn a_mangled_name_is_shown_as_its_path() {
        let generic = "_RINvNtCsaZqKuH8Dl4s_8datapath4open4missNtNtCsg7OwFfO1IlM_5egret5FrameE";

        assert_eq!(readable(generic), "datapath::open::miss");
        assert_eq!(readable("_RNvCsg7OwFfO1IlM_5egret5panic"), "egret::panic");
        assert_eq!(readable("egret"), "egret");
        assert_eq!(readable("_R"), "_R");
        assert_eq!(readable("_RCs_9"), "_RCs_9");
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(functions(b"#!/bin/sh"), Err(ObjectError::Foreign));
    }

    #[test]
    fn an_object_cut_short_anywhere_is_an_error_and_no_panic() {
        let object = object();
        for length in 0..object.len() {
            assert!(functions(&object[..length]).is_err(), "{length} bytes");
        }
    }
}
