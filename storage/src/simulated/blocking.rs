//! The simulated disk behind the blocking trait: recovery runs on it, and is itself cut short by power cuts.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::Disk;
use crate::disk::{self, Entry};
use crate::io::{Done, Failure};

/// Blocking access to a simulated disk.
#[derive(Debug, Clone)]
pub struct Blocking {
    disk: Rc<RefCell<Disk>>,
    /// Calls left until the machine dies; every later one fails.
    calls_left: Rc<Cell<Option<u64>>>,
}

impl Blocking {
    /// Access that lasts.
    #[must_use]
    pub fn new(disk: Rc<RefCell<Disk>>) -> Self {
        Self { disk, calls_left: Rc::new(Cell::new(None)) }
    }

    /// Access that ends after `calls` more changing calls, whether or not recovery is through. The owner of the disk
    /// then calls [`Disk::crash`].
    #[must_use]
    pub fn ending_after(disk: Rc<RefCell<Disk>>, calls: u64) -> Self {
        Self { disk, calls_left: Rc::new(Cell::new(Some(calls))) }
    }

    /// Access to another disk of the same machine: it ends with this one.
    #[must_use]
    pub fn beside(&self, disk: Rc<RefCell<Disk>>) -> Self {
        Self { disk, calls_left: Rc::clone(&self.calls_left) }
    }

    /// Whether the machine has died.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.calls_left.get() == Some(0)
    }

    fn check(&self) -> io::Result<()> {
        if self.has_ended() {
            return Err(io::Error::other("Crashed: the simulated power went"));
        }
        self.disk.borrow_mut().check_device().map_err(os_error)
    }

    /// Spends one call. The last one may still have its effect, but does not report it.
    fn change<T>(&self, act: impl FnOnce(&mut Disk) -> Result<T, Failure>) -> io::Result<T> {
        self.check()?;
        if let Some(left) = self.calls_left.get() {
            self.calls_left.set(Some(left - 1));
        }
        let writable = self.disk.borrow_mut().check_writable();
        let done = writable.and_then(|()| act(&mut self.disk.borrow_mut()));
        self.check()?;
        done.map_err(os_error)
    }
}

fn os_error(failure: Failure) -> io::Error {
    io::Error::from_raw_os_error(failure.errno)
}

impl disk::Disk for Blocking {
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.check()?;
        let disk = self.disk.borrow();
        let Ok(node) = disk.find(directory) else { return Ok(Vec::new()) };
        let entry = |(name, node): (&std::ffi::OsStr, _)| {
            Some(Entry { name: name.to_str()?.to_owned(), is_directory: disk.is_directory(node) })
        };
        Ok(disk.names(node).filter_map(entry).collect())
    }

    fn length(&self, file: &Path) -> io::Result<Option<u64>> {
        self.check()?;
        let disk = self.disk.borrow();
        Ok(disk.find(file).ok().filter(|&node| !disk.is_directory(node)).map(|node| disk.length(node)))
    }

    fn read_at(&self, file: &Path, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let mut disk = self.disk.borrow_mut();
        let node = disk.find(file).map_err(os_error)?;
        disk.read(node, position, buffer).map_err(os_error)
    }

    fn write_at(&self, file: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|disk| {
            let node = disk.create_file(file)?;
            disk.write_bytes(node, position, bytes)
        })
    }

    fn set_length(&self, file: &Path, length: u64) -> io::Result<()> {
        self.change(|disk| {
            let node = disk.find(file)?;
            disk.set_length(node, length);
            Ok(())
        })
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        self.change(|disk| {
            let node = disk.find(file)?;
            disk.sync_node(node).map(finished)
        })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.change(|disk| disk.sync_directory(directory).map(finished))
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.change(|disk| disk.create_directory(directory).map(finished))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|disk| disk.rename(from, to).map(finished))
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        self.change(|disk| disk.remove_file(file).map(finished))
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.change(|disk| disk.remove_directory(directory).map(finished))
    }
}

fn finished(_: Done) {}
