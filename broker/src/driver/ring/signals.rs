//! SIGTERM and SIGINT as a request to stop, read from a signalfd.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::FromRawFd;

/// What a shell expects of a process that SIGINT has ended.
const EXIT_INTERRUPTED: i32 = 130;

/// The two signals, held back from this thread and all it starts from now on.
#[derive(Debug)]
pub struct Signals {
    arrivals: File,
}

impl Signals {
    /// Holds the signals back. Call it before any thread is started.
    ///
    /// # Errors
    /// If the process may open no more files.
    pub fn block() -> io::Result<Self> {
        // SAFETY: sigemptyset initialises the set before anything reads it, all pointers are to that set, and the
        // signalfd is a fresh descriptor that nobody else owns.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            let arrivals = File::from_raw_fd(descriptor);
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(Self { arrivals }),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }

    /// Calls `stop` at the first signal, on a thread of its own; a SIGINT after that ends the process at once.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn watch(mut self, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let watch = move || {
            let mut stop = Some(stop);
            while let Ok(signal) = self.next() {
                match stop.take() {
                    Some(stop) => stop(),
                    None if signal == libc::SIGINT => std::process::exit(EXIT_INTERRUPTED),
                    None => {}
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).stack_size(64 << 10).spawn(watch).map(drop)
    }

    fn next(&mut self) -> io::Result<i32> {
        let mut arrival = [0; size_of::<libc::signalfd_siginfo>()];
        self.arrivals.read_exact(&mut arrival)?;
        // The signal's number is the structure's first field.
        let [a, b, c, d, ..] = arrival;
        Ok(i32::from_ne_bytes([a, b, c, d]))
    }
}

const _: () = assert!(std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo) == 0);
