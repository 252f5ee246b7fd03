//! The limits of this process that a node runs into: open files and locked memory.

use std::io;

/// The two limits in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many files may be open.
    pub open_files: u64,
    /// How many bytes may be locked, over all processes of the user.
    pub locked_bytes: u64,
}

/// Raises both soft limits to the hard ones; says what is in force then.
///
/// # Errors
/// If the system refuses to tell or to change them.
pub fn raise() -> io::Result<Limits> {
    Ok(Limits { open_files: raise_one(libc::RLIMIT_NOFILE)?, locked_bytes: raise_one(libc::RLIMIT_MEMLOCK)? })
}

fn raise_one(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = read(resource)?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the pointer is to a valid rlimit for the duration of the call.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// How many bytes may be locked now.
pub(super) fn locked_bytes() -> io::Result<u64> {
    read(libc::RLIMIT_MEMLOCK).map(|limit| limit.rlim_cur)
}

fn read(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid rlimit for the duration of the call.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limits_reach_the_hard_ones() {
        let limits = raise().expect("a process may raise its soft limits");
        let hard = read(libc::RLIMIT_NOFILE).expect("readable").rlim_max;
        assert_eq!(limits.open_files, hard);
        assert_eq!(limits.locked_bytes, locked_bytes().expect("readable"));
    }
}
