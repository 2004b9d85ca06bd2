//! What was measured, round by round, and what follows from it.
//!
//! A figure is never one number: it is the median of the rounds, with the least and the most.
//! Comparisons are made within each round, because what disturbs one round disturbs both sides.

use std::fmt;

/// One quantity, a sample for each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// The samples in the order of the rounds.
    pub fn rounds(&self) -> &[f64] {
        &self.0
    }

    /// The middle one; the mean of the two middle ones if there is no middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
        }
    }

    /// The least.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The most.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// How many times the other's this is, round by round.
    pub fn over(&self, other: &Self) -> Self {
        self.with(other, |own, other| own / other)
    }

    /// How much more than the other this is, round by round.
    pub fn minus(&self, other: &Self) -> Self {
        self.with(other, |own, other| own - other)
    }

    /// Nanoseconds for each of so many in a second.
    pub fn nanoseconds_each(&self) -> Self {
        Self(self.0.iter().map(|rate| 1e9 / rate).collect())
    }

    /// The same in another unit: `divisor` of this one are one of that.
    pub fn per(&self, divisor: f64) -> Self {
        Self(self.0.iter().map(|sample| sample / divisor).collect())
    }

    /// Median and range with so many decimals.
    pub fn shown(&self, decimals: usize) -> Shown<'_> {
        Shown {
            samples: self,
            decimals,
        }
    }

    fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(own, other)| combine(*own, *other)).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl Extend<f64> for Samples {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, samples: I) {
        self.0.extend(samples);
    }
}

/// Samples as a cell of a table: `310 (295–318)`.
pub struct Shown<'a> {
    samples: &'a Samples,
    decimals: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, decimals } = self;
        let number = |value: f64| {
            // Rounded first, so that nothing is shown as minus zero.
            let text = format!("{value:.decimals$}");
            match text.trim_start_matches(['-', '0', '.']) {
                "" => text.trim_start_matches('-').to_owned(),
                _ => text.replace('-', "−"),
            }
        };
        let (median, min, max) = (samples.median(), samples.min(), samples.max());
        write!(f, "{} ({}–{})", number(median), number(min), number(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples<const N: usize>(samples: [f64; N]) -> Samples {
        samples.into_iter().collect()
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(samples([3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples([4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(samples([]).median().is_nan());
    }

    #[test]
    fn comparisons_are_made_within_each_round() {
        let (egret, other) = (samples([400.0, 200.0]), samples([200.0, 100.0]));

        assert_eq!(egret.over(&other), samples([2.0, 2.0]));
        assert_eq!(egret.minus(&other), samples([200.0, 100.0]));
    }

    #[test]
    fn a_rate_is_the_inverse_of_a_cost() {
        assert_eq!(samples([500_000.0]).nanoseconds_each(), samples([2_000.0]));
    }

    #[test]
    fn a_cell_shows_the_median_and_the_range() {
        assert_eq!(
            samples([309.6, 295.0, 318.0]).shown(0).to_string(),
            "310 (295–318)"
        );
        assert_eq!(
            samples([-0.04, -2.5]).shown(1).to_string(),
            "−1.3 (−2.5–0.0)"
        );
    }
}
