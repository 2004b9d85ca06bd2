//! Takes Rust source apart into code and comments, so that a rule about one does not trip over
//! the other, or over a string that talks about it.

use std::{iter::Peekable, str::Chars};

/// One line of a source file. What is inside string and character literals is in neither part.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub code: String,
    pub comment: String,
}

/// Splits a source file into its lines.
pub fn lines(source: &str) -> Vec<Line> {
    let mut splitter = Splitter {
        rest: source.chars().peekable(),
        lines: vec![Line::default()],
        last: ' ',
    };
    splitter.run();
    splitter.lines
}

struct Splitter<'a> {
    rest: Peekable<Chars<'a>>,
    lines: Vec<Line>,
    /// The character of code before the present one, to tell `r"…"` from `for"…"`.
    last: char,
}

impl Splitter<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.next() {
            match (c, self.rest.peek()) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if !is_word(self.last) || self.last == 'b' => {
                    self.raw_string();
                }
                ('\'', _) => self.quote(),
                _ => self.code(c),
            }
        }
    }

    fn line_comment(&mut self) {
        self.comment('/');
        while let Some(c) = self.rest.next_if(|c| *c != '\n') {
            self.comment(c);
        }
    }

    fn block_comment(&mut self) {
        self.comment('/');
        let mut depth = 0_usize;
        let mut before = '/';
        while let Some(c) = self.rest.next() {
            self.comment(c);
            match (before, c) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth = depth.saturating_sub(1),
                _ => {
                    before = c;
                    continue;
                }
            }
            // The two characters are used up: `/*/` opens and does not close.
            before = ' ';
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.code('"');
        while let Some(c) = self.rest.next() {
            match c {
                '"' => break,
                '\n' => self.new_line(),
                '\\' => self.escaped(),
                _ => {}
            }
        }
        self.code('"');
    }

    /// Whatever follows a backslash, a quote above all, has no meaning of its own; but a line that
    /// ends there still ends.
    fn escaped(&mut self) {
        if self.rest.next() == Some('\n') {
            self.new_line();
        }
    }

    fn raw_string(&mut self) {
        let mut hashes = 0;
        while self.rest.next_if_eq(&'#').is_some() {
            hashes += 1;
        }
        if self.rest.next_if_eq(&'"').is_none() {
            // `r#name` is a raw identifier.
            self.code('r');
            return;
        }
        self.code('"');
        while let Some(c) = self.rest.next() {
            match c {
                '"' => {
                    let mut closing = 0;
                    while closing < hashes && self.rest.next_if_eq(&'#').is_some() {
                        closing += 1;
                    }
                    if closing == hashes {
                        break;
                    }
                }
                '\n' => self.new_line(),
                _ => {}
            }
        }
        self.code('"');
    }

    /// A character, or a lifetime: only the former has a quote after one character or escape.
    fn quote(&mut self) {
        let mut ahead = self.rest.clone();
        let is_character = match ahead.next() {
            Some('\\') => true,
            Some(_) => ahead.next() == Some('\''),
            None => false,
        };
        self.code('\'');
        if !is_character {
            return;
        }
        while let Some(c) = self.rest.next() {
            match c {
                '\'' => break,
                '\\' => self.escaped(),
                _ => {}
            }
        }
        self.code('\'');
    }

    fn code(&mut self, c: char) {
        if c == '\n' {
            self.new_line();
        } else if let Some(line) = self.lines.last_mut() {
            line.code.push(c);
        }
        self.last = c;
    }

    fn comment(&mut self, c: char) {
        if c == '\n' {
            self.new_line();
        } else if let Some(line) = self.lines.last_mut() {
            line.comment.push(c);
        }
    }

    fn new_line(&mut self) {
        self.lines.push(Line::default());
    }
}

/// Whether `code` contains `name` as written, and not as part of a longer word.
pub fn contains(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + name.len()..].chars().next();
        let joined_before = name.starts_with(is_word) && before.is_some_and(is_word);
        let joined_after = name.ends_with(is_word) && after.is_some_and(is_word);
        !joined_before && !joined_after
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, code: &[&str], comments: &[&str]) {
        let lines = lines(source);
        let got_code: Vec<&str> = lines.iter().map(|line| line.code.trim()).collect();
        let got_comments: Vec<&str> = lines.iter().map(|line| line.comment.trim()).collect();
        assert_eq!(got_code, code, "{source}");
        assert_eq!(got_comments, comments, "{source}");
    }

    #[test]
    fn code_and_comment_of_a_line_are_told_apart() {
        check("a(); // why", &["a();"], &["// why"]);
        check("//! what\na();", &["", "a();"], &["//! what", ""]);
        check("a /* x\ny */ b", &["a", "b"], &["/* x", "y */"]);
        check(
            "/* /* inner */ outer */ a",
            &["a"],
            &["/* /* inner */ outer */"],
        );
        check("/*/ still */ a", &["a"], &["/*/ still */"]);
    }

    #[test]
    fn what_is_in_a_literal_is_neither() {
        check(r#"f("unsafe // \" x"); g"#, &[r#"f(""); g"#], &[""]);
        check("f(r#\"unsafe \" // \"#); g", &["f(\"\"); g"], &[""]);
        check("f(b\"x\", br\"y\\\");", &["f(b\"\", b\"\");"], &[""]);
        check("['\"', '\\'', '/'] // x", &["['', '', '']"], &["// x"]);
    }

    #[test]
    fn lines_keep_their_numbers_across_literals() {
        check(
            "a(\"one\ntwo\\\nthree\");\nb",
            &["a(\"", "", "\");", "b"],
            &["", "", "", ""],
        );
        check("r\"one\ntwo\"\nb", &["\"", "\"", "b"], &["", "", ""]);
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        check(
            "fn f<'a>(x: &'a str) {} // x",
            &["fn f<'a>(x: &'a str) {}"],
            &["// x"],
        );
        check("let r#type = 1;", &["let rtype = 1;"], &[""]);
    }

    #[test]
    fn a_name_is_not_found_inside_a_longer_one() {
        assert!(contains("unsafe { x }", "unsafe"));
        assert!(contains("x = rand::random()", "rand::"));
        assert!(!contains("#![forbid(unsafe_code)]", "unsafe"));
        assert!(!contains("operand::new()", "rand::"));
        assert!(contains("operand::new(rand::new())", "rand::"));
    }
}
