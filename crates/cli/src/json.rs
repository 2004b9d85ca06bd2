//! JSON made readable without being changed: only blanks and line ends are put between its words.
//!
//! Works on the bytes as they arrive, so that fields keep their order, numbers their digits, and a
//! body of any length needs no memory.

/// Spaces for each level.
const INDENT: usize = 2;

/// Levels that are indented further than the one above. Ours have five; a body of brackets alone
/// must not grow with the square of its length.
const DEPTH_MAX: usize = 32;

/// Indents one JSON text, piece by piece.
#[derive(Debug, Default)]
pub struct Indenter {
    depth: usize,
    place: Place,
}

/// Where in the text the last piece ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between words or in a number.
    #[default]
    Plain,
    /// Behind an opening bracket: whether it is closed at once is not known yet.
    Opened,
    /// In a string.
    Quoted,
    /// In a string, behind a backslash.
    Escaped,
}

impl Indenter {
    /// Appends a piece of the text to `output`, indented.
    pub fn push(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        for &byte in piece {
            self.push_byte(byte, output);
        }
    }

    fn push_byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        match self.place {
            Place::Quoted => {
                output.push(byte);
                self.place = match byte {
                    b'\\' => Place::Escaped,
                    b'"' => Place::Plain,
                    _ => Place::Quoted,
                };
            }
            Place::Escaped => {
                output.push(byte);
                self.place = Place::Quoted;
            }
            Place::Plain | Place::Opened => self.push_between(byte, output),
        }
    }

    fn push_between(&mut self, byte: u8, output: &mut Vec<u8>) {
        if byte.is_ascii_whitespace() {
            return;
        }
        let opened = self.place == Place::Opened;
        let closes = matches!(byte, b'}' | b']');
        if closes {
            self.depth = self.depth.saturating_sub(1);
        }
        if opened != closes {
            self.new_line(output);
        }
        output.push(byte);
        self.place = match byte {
            b'"' => Place::Quoted,
            b'{' | b'[' => Place::Opened,
            _ => Place::Plain,
        };
        match byte {
            b'{' | b'[' => self.depth += 1,
            b',' => self.new_line(output),
            b':' => output.push(b' '),
            _ => {}
        }
    }

    fn new_line(&self, output: &mut Vec<u8>) {
        output.push(b'\n');
        output.extend(std::iter::repeat_n(
            b' ',
            INDENT * self.depth.min(DEPTH_MAX),
        ));
    }
}

#[cfg(test)]
mod tests;
