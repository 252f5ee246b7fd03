//! The CPUs this process may run on.

/// The numbers of the CPUs in the affinity mask, at most as many as the control group's quota pays for; never empty.
#[must_use]
pub fn available() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cores = list.and_then(|list| parse(list.trim())).filter(|cores| !cores.is_empty()).unwrap_or(vec![0]);
    // Counts the quota too.
    cores.truncate(std::thread::available_parallelism().map_or(1, usize::from));
    cores
}

/// Reads a list such as `0-3,8`.
fn parse(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cores.extend(first..=last);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_understood() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse("all"), None);
    }

    #[test]
    fn there_is_a_core() {
        assert!(!available().is_empty());
    }
}
