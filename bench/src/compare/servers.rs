//! The servers of a comparison: each runs, or waits where it was stopped.

use std::path::Path;

use super::contestant::ServerKind;
use super::runner::Settings;
use crate::error::Error;
use crate::node::{Scratch, Server};

struct Running {
    kind: ServerKind,
    server: Server,
    /// Removed after the server.
    scratch: Scratch,
}

/// Those that were started.
pub(super) struct Servers<'a> {
    settings: &'a Settings,
    running: Vec<Running>,
}

impl<'a> Servers<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, running: Vec::new() }
    }

    /// Starts a server on an empty directory, in place of one that may be there.
    pub(super) fn start(&mut self, kind: &ServerKind) -> Result<&Server, Error> {
        self.running.retain(|running| running.kind != *kind);
        let name = match kind {
            ServerKind::Skein => "skein",
            ServerKind::Kafka => "kafka",
            ServerKind::Other(name) => name,
        };
        let scratch = Scratch::new(&self.settings.directory, &format!("skein-bench-{name}"))?;
        self.settings.prepare(kind, scratch.path())?;
        let server = self.settings.start(kind, scratch.path(), true)?;
        self.running.push(Running { kind: kind.clone(), server, scratch });
        Ok(&self.running[self.running.len() - 1].server)
    }

    /// A server, and where its data is; one that has ended is an error at once, and nobody waits for it.
    pub(super) fn of(&self, kind: &ServerKind) -> Result<(&Server, &Path), Error> {
        let found = self.running.iter().find(|running| running.kind == *kind);
        let found = found.ok_or_else(|| Error::Server { what: "could not be started".to_owned() })?;
        if found.server.has_ended() {
            return Err(Error::Server { what: "has ended by itself".to_owned() });
        }
        Ok((&found.server, found.scratch.path()))
    }

    /// Stops all of them; gives back the first error.
    pub(super) fn stop_all(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for Running { server, scratch, .. } in self.running.drain(..) {
            let stopped = server.resume().and_then(|()| server.stop());
            result = result.and(stopped);
            drop(scratch);
        }
        result
    }
}
