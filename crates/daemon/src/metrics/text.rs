//! The grammar of the Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write};

use super::{label::Labels, list::Metric};

/// A page under construction.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Adds a metric with all its samples.
    pub fn add<L: Labels>(
        &mut self,
        metric: &Metric<L>,
        samples: impl IntoIterator<Item = (L, Number)>,
    ) {
        let facts = &metric.facts;
        let (name, help) = (facts.name, Escaped(facts.help, &['\\', '\n']));
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {}", facts.kind.label()));
        for (labels, number) in samples {
            self.line(format_args!("{name}{} {number}", Braces(&labels)));
        }
    }

    /// Adds a metric without labels.
    pub fn add_one(&mut self, metric: &Metric<()>, number: impl Into<Number>) {
        self.add(metric, [((), number.into())]);
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A sample's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// Something counted.
    Whole(u64),
    /// Something measured.
    Real(f64),
}

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
        }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<bool> for Number {
    fn from(is_so: bool) -> Self {
        Self::Whole(is_so.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// Labels as they stand behind a name; nothing if there are none.
struct Braces<'a, L>(&'a L);

impl<L: Labels> Display for Braces<'_, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lead = '{';
        for (name, value) in L::NAMES.iter().zip(self.0.values()) {
            let value = Escaped(&value, &['\\', '\n', '"']);
            write!(f, "{lead}{name}=\"{value}\"")?;
            lead = ',';
        }
        if L::NAMES.is_empty() {
            return Ok(());
        }
        f.write_char('}')
    }
}

/// Text in which these characters are escaped; a newline would end the sample.
struct Escaped<'a>(&'a str, &'a [char]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\n' if self.1.contains(&'\n') => f.write_str("\\n")?,
                it if self.1.contains(&it) => write!(f, "\\{it}")?,
                it => f.write_char(it)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
