//! What follows from the rates of contenders that carried the same packets.

use super::figures::Samples;
use super::lane::Contender;

/// What one contender did, beside the others.
pub(super) struct Compared<'a> {
    pub(super) contender: Contender,
    pub(super) rate: &'a Samples,
    /// Nanoseconds that it adds to a packet which is dropped at arrival.
    pub(super) cost: Option<Samples>,
    /// Nanoseconds of those that are for translation.
    pub(super) translation: Option<Samples>,
    /// Its rate as a multiple of the masquerading kernel's.
    pub(super) ratio: Option<Samples>,
}

/// Compares each with those it is to be compared with, as far as they are there.
pub(super) fn compare(rates: &[(Contender, Samples)]) -> Vec<Compared<'_>> {
    let rate_of = |wanted| {
        let found = rates.iter().find(|(contender, _)| *contender == wanted);
        found.map(|(_, rate)| rate)
    };
    let more_than = |rate: &Samples, other| {
        let other = rate_of(other)?;
        Some(rate.nanoseconds_each().minus(&other.nanoseconds_each()))
    };
    let compared = rates.iter().map(|(contender, rate)| {
        let same_path = contender.untranslated();
        let carries = *contender != Contender::Floor;
        let nftables = rate_of(Contender::Nftables).filter(|_| carries);
        Compared {
            contender: *contender,
            rate,
            cost: more_than(rate, Contender::Floor).filter(|_| carries),
            translation: same_path.and_then(|other| more_than(rate, other)),
            ratio: nftables.map(|nftables| rate.over(nftables)),
        }
    });
    compared.collect()
}

/// A cell of a table, empty if there is nothing to say.
pub(super) fn cell(samples: &Option<Samples>, decimals: usize) -> String {
    let shown = samples.as_ref().map(|it| it.shown(decimals).to_string());
    shown.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_differences_of_the_time_each_packet_takes() {
        let rate = |rate: f64| [rate].into_iter().collect::<Samples>();
        let rates = [
            (Contender::Floor, rate(1e6)),
            (Contender::Forward, rate(0.5e6)),
            (Contender::Nftables, rate(0.4e6)),
            (Contender::Egret, rate(0.8e6)),
        ];

        let compared = compare(&rates);

        let (floor, nftables, egret) = (&compared[0], &compared[2], &compared[3]);
        assert!(floor.cost.is_none());
        assert!(floor.ratio.is_none());
        assert_eq!(nftables.cost, Some(rate(1_500.0)));
        assert_eq!(nftables.translation, Some(rate(500.0)));
        assert_eq!(egret.cost, Some(rate(250.0)));
        assert_eq!(egret.ratio, Some(rate(2.0)));
        assert!(
            egret.translation.is_none(),
            "nobody redirected untranslated"
        );
    }
}
