//! The shortest life of a seed that still breaks a promise: requests, faults and clients are left out as long as it does.

use std::collections::BTreeSet;
use std::fmt;

/// Lives that are tried, at the most.
const ATTEMPTS_MAX: usize = 200;

/// What is left out of a seed's life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reduction {
    /// The life comes to its end after this many requests, if it has more.
    pub stop_at: Option<u64>,
    /// Faults that do not come, by their number in [`super::scenario::Scenario::faults`].
    pub without_faults: BTreeSet<usize>,
    /// Clients that do not take part, by their number.
    pub without_clients: BTreeSet<usize>,
}

/// What a life has that can be left out.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Requests.
    pub operations: u64,
    /// Faults.
    pub faults: usize,
    /// Clients.
    pub clients: usize,
}

/// The options of `skein dev sim` that leave it out.
impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stop_at) = self.stop_at {
            write!(f, " --stop-at {stop_at}")?;
        }
        for (option, numbers) in
            [("--without-faults", &self.without_faults), ("--without-clients", &self.without_clients)]
        {
            if !numbers.is_empty() {
                let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
                write!(f, " {option} {}", numbers.join(","))?;
            }
        }
        Ok(())
    }
}

/// Leaves out of a life that `fails` as much as can be left out. What it comes to fails, or nothing more was tried.
pub fn shrink(parts: Parts, fails: &mut dyn FnMut(&Reduction) -> bool) -> Reduction {
    let mut best = Reduction::default();
    let mut attempts = 0;
    let mut try_out = |candidate: Reduction, best: &mut Reduction| {
        attempts += 1;
        let is_better = attempts <= ATTEMPTS_MAX && candidate != *best && fails(&candidate);
        if is_better {
            *best = candidate;
        }
        is_better
    };
    loop {
        let before = best.clone();
        // Ever smaller steps down, as long as something is gained.
        let mut step = best.stop_at.unwrap_or(parts.operations) / 2;
        while step > 0 {
            let stop_at = best.stop_at.unwrap_or(parts.operations) - step;
            if !try_out(Reduction { stop_at: Some(stop_at), ..best.clone() }, &mut best) {
                step /= 2;
            }
            step = step.min(best.stop_at.unwrap_or(parts.operations) / 2);
        }
        for fault in 0..parts.faults {
            let mut candidate = best.clone();
            candidate.without_faults.insert(fault);
            try_out(candidate, &mut best);
        }
        for client in 0..parts.clients {
            let mut candidate = best.clone();
            candidate.without_clients.insert(client);
            try_out(candidate, &mut best);
        }
        if best == before {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let parts = Parts { operations: 500, faults: 6, clients: 9 };
        let mut attempts = 0;
        let shortest = shrink(parts, &mut |it| {
            attempts += 1;
            it.stop_at.unwrap_or(500) >= 123 && !it.without_faults.contains(&2) && !it.without_clients.contains(&4)
        });
        assert_eq!(shortest.stop_at, Some(123));
        assert_eq!(shortest.without_faults, BTreeSet::from([0, 1, 3, 4, 5]));
        assert_eq!(shortest.without_clients, BTreeSet::from([0, 1, 2, 3, 5, 6, 7, 8]));
        assert!(attempts <= ATTEMPTS_MAX);
        assert_eq!(shortest.to_string(), " --stop-at 123 --without-faults 0,1,3,4,5 --without-clients 0,1,2,3,5,6,7,8");
    }

    #[test]
    fn a_life_that_fails_whole_alone_stays_whole() {
        assert_eq!(shrink(Parts { operations: 300, faults: 2, clients: 2 }, &mut |_| false), Reduction::default());
    }
}
