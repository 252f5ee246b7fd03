//! Names that a person may have meant.

/// The most names that are proposed.
const PROPOSALS_MAX: usize = 3;

/// The candidates that look like `wrong`, the likeliest first: those within a few typing mistakes, and those that begin
/// with it.
pub fn names<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mistakes_max = 1 + wrong.chars().count() / 4;
    let lower = wrong.to_lowercase();
    let mut near: Vec<(usize, &str)> = candidates
        .filter_map(|candidate| {
            let candidate_lower = candidate.to_lowercase();
            let mistakes = distance(&lower, &candidate_lower);
            let begins = lower.len() >= 3 && candidate_lower.starts_with(&lower);
            (mistakes <= mistakes_max || begins).then_some((mistakes, candidate))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(PROPOSALS_MAX).map(|(_, name)| name.to_owned()).collect()
}

/// How many characters have to be put in, left out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_counted() {
        for (a, b, mistakes) in
            [("", "", 0), ("", "ab", 2), ("orders", "ordres", 1), ("order", "orders", 1), ("a", "b", 1)]
        {
            assert_eq!(distance(a, b), mistakes, "{a} {b}");
            assert_eq!(distance(b, a), mistakes, "{b} {a}");
        }
    }

    #[test]
    fn the_likeliest_names_come_first_and_strangers_not_at_all() {
        let existing = ["payments", "orders", "orders-archive", "Order", "x"];
        assert_eq!(names("ordres", existing.into_iter()), ["orders", "Order"]);
        assert_eq!(names("orders-a", existing.into_iter()), ["orders", "Order", "orders-archive"]);
        assert!(names("telemetry", existing.into_iter()).is_empty());
    }
}
