//! Whether this machine lets a node run, and if not, why and what to do.

use std::io;

use io_uring::IoUring;

use super::{limits, queue};

/// The oldest kernel whose io_uring has what the ring uses (`DEFER_TASKRUN`, multishot receive).
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Locked memory that the executor under each shard insists on, in bytes.
const LOCKED_BYTES_MIN: u64 = 512 << 10;

/// Why no node can run here. Its text says what happened, why, and what to do.
#[derive(Debug)]
pub enum StartupError {
    /// `kernel.io_uring_disabled` forbids it to this user or to everybody.
    DisabledBySysctl {
        /// The setting's value: 1 or 2.
        value: u32,
    },
    /// The system call is filtered, as container runtimes do by default.
    BlockedBySeccomp,
    /// The kernel is older than 6.1, or built without io_uring.
    KernelTooOld {
        /// The kernel's release.
        release: String,
    },
    /// RLIMIT_MEMLOCK is too low.
    LockedMemory {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// Anything else.
    Other(io::Error),
}

impl std::fmt::Display for StartupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DisabledBySysctl { value } => write!(
                f,
                "io_uring is switched off on this machine (kernel.io_uring_disabled = {value}): \
                 run `sysctl -w kernel.io_uring_disabled=0` as root{}",
                if *value == 1 { ", or put this user into the group of kernel.io_uring_group" } else { "" }
            ),
            Self::BlockedBySeccomp => write!(
                f,
                "io_uring is blocked by a seccomp filter, as containers have by default: start the container with \
                 `--security-opt seccomp=unconfined` (docker, podman), in Kubernetes with \
                 securityContext.seccompProfile.type: Unconfined, or with a profile that allows io_uring_setup, \
                 io_uring_enter and io_uring_register"
            ),
            Self::KernelTooOld { release } => write!(
                f,
                "this kernel ({release}) has no io_uring as it is needed: Linux {}.{} or newer is required",
                KERNEL_MIN.0, KERNEL_MIN.1
            ),
            Self::LockedMemory { limit_bytes } => write!(
                f,
                "only {} KiB of memory may be locked (RLIMIT_MEMLOCK), but {} KiB are needed: raise the limit with \
                 `ulimit -l 8192`, LimitMEMLOCK=8M (systemd) or `--ulimit memlock=8388608` (docker, podman)",
                limit_bytes >> 10,
                LOCKED_BYTES_MIN >> 10
            ),
            Self::Other(error) => write!(f, "io_uring cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for StartupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Other(error) => Some(error),
            _ => None,
        }
    }
}

/// Sets up a small ring of the needed kind and lets it go again. Call it after [`limits::raise`].
///
/// # Errors
/// The reason why it cannot be.
pub fn probe() -> Result<(), StartupError> {
    let sysctl = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    let release = sysctl("osrelease").trim().to_owned();
    let disabled = sysctl("io_uring_disabled").trim().parse().unwrap_or(0);
    let locked_bytes = limits::locked_bytes().map_err(StartupError::Other)?;
    judge(queue::builder().build(8), &release, disabled, locked_bytes)
}

fn judge(built: io::Result<IoUring>, release: &str, disabled: u32, limit_bytes: u64) -> Result<(), StartupError> {
    let too_old = || StartupError::KernelTooOld { release: release.to_owned() };
    let old = version(release).is_some_and(|version| version < KERNEL_MIN);
    match built.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) if old => Err(too_old()),
        Ok(_) if limit_bytes < LOCKED_BYTES_MIN => Err(StartupError::LockedMemory { limit_bytes }),
        Ok(_) => Ok(()),
        Err((Some(libc::EPERM), _)) if disabled > 0 => Err(StartupError::DisabledBySysctl { value: disabled }),
        Err((Some(libc::EPERM | libc::EACCES), _)) => Err(StartupError::BlockedBySeccomp),
        // Some filters pretend that the call does not exist, which a kernel of this age would not say.
        Err((Some(libc::ENOSYS), _)) if !old => Err(StartupError::BlockedBySeccomp),
        Err((Some(libc::ENOSYS | libc::EINVAL), _)) => Err(too_old()),
        Err((Some(libc::ENOMEM), _)) => Err(StartupError::LockedMemory { limit_bytes }),
        Err((_, error)) => Err(StartupError::Other(error)),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: u64 = 8 << 20;

    fn failed(errno: i32, release: &str, disabled: u32, limit_bytes: u64) -> String {
        let refused = Err(io::Error::from_raw_os_error(errno));
        judge(refused, release, disabled, limit_bytes).expect_err("refused").to_string()
    }

    #[test]
    fn this_machine_can_run_a_node() {
        probe().expect("the tests need io_uring themselves");
    }

    #[test]
    fn each_cause_has_its_own_remedy() {
        let cases = [
            (failed(libc::EPERM, "6.18.1", 2, ENOUGH), "sysctl -w kernel.io_uring_disabled=0"),
            (failed(libc::EPERM, "6.18.1", 1, ENOUGH), "kernel.io_uring_group"),
            (failed(libc::EPERM, "6.18.1", 0, ENOUGH), "--security-opt seccomp=unconfined"),
            (failed(libc::ENOSYS, "6.18.1", 0, ENOUGH), "--security-opt seccomp=unconfined"),
            (failed(libc::EINVAL, "5.15.0-91-generic", 0, ENOUGH), "Linux 6.1 or newer"),
            (failed(libc::ENOSYS, "4.19.0", 0, ENOUGH), "Linux 6.1 or newer"),
            (failed(libc::ENOMEM, "6.1.0", 0, 64 << 10), "ulimit -l"),
            (failed(libc::EMFILE, "6.1.0", 0, ENOUGH), "Too many open files"),
        ];
        for (message, remedy) in cases {
            assert!(message.contains(remedy), "{message}");
            assert!(!message.contains('\n'), "one line: {message}");
        }
    }

    #[test]
    fn a_ring_that_works_is_not_enough() {
        let ring = || queue::builder().build(8);
        assert!(matches!(judge(ring(), "6.0.9", 0, ENOUGH), Err(StartupError::KernelTooOld { .. })));
        let locked = judge(ring(), "6.1", 0, 64 << 10);
        assert!(matches!(locked, Err(StartupError::LockedMemory { limit_bytes: 65536 })));
    }
}
