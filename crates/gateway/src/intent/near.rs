//! "Did you mean": the word out of several that somebody probably wanted to write.

/// Longer words are not compared: the cost grows with the square, and nobody mistypes a name of
/// that length by a letter.
const LENGTH_MAX: usize = 64;

/// The nearest of `known` to `written`, if one is near enough.
///
/// Near enough is one mistake in three letters, or to be the beginning of the other: `tcp_est` for
/// `tcp_established`.
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let written = written.trim().to_lowercase();
    if written.is_empty() || written.len() > LENGTH_MAX {
        return None;
    }
    let tolerated = written.chars().count().div_ceil(3);
    known
        .into_iter()
        .filter(|name| name.len() <= LENGTH_MAX)
        .map(|name| (distance(&written, &name.to_lowercase()), name))
        .filter(|(mistakes, name)| *mistakes <= tolerated || begins(&written, name))
        .min_by_key(|(mistakes, _)| *mistakes)
        .map(|(_, name)| name)
}

/// Whether one word is the beginning of the other, and long enough for that to mean something.
fn begins(a: &str, b: &str) -> bool {
    let enough = a.len() >= 3 && b.len() >= 3;
    enough && (a.starts_with(b) || b.starts_with(a))
}

/// How many letters must be added, removed or changed to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // The distances of the letters of `a` so far to every beginning of `b`.
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (above, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            diagonal = *above;
            left = changed.min(diagonal + 1).min(left + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_short_word_is_forgiven() {
        let fields = ["interfaces", "pools", "rules", "timeouts"];

        assert_eq!(nearest("rule", fields), Some("rules"));
        assert_eq!(nearest("poosl", fields), Some("pools"));
        assert_eq!(nearest("Interface", fields), Some("interfaces"));
        assert_eq!(nearest("gateways", fields), None);
        assert_eq!(nearest("", fields), None);
    }

    #[test]
    fn the_distance_is_the_number_of_letters_to_change() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn the_beginning_of_a_word_is_near_to_it() {
        let fields = ["tcp_opening", "tcp_established"];

        assert_eq!(nearest("tcp_est", fields), Some("tcp_established"));
    }
}
