//! Servers as child processes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::echo::Sizes;
use crate::error::Error;
use crate::process;

/// How long a server may take to be ready: a JVM with 10,000 partitions needs most of a minute.
const READY_WAIT: Duration = Duration::from_secs(240);

/// Between two tries to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(2);

/// The signal that tells a process to end.
const TERMINATED: i32 = 15;

/// How long a node may take to stop.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was started.
    pub started: Instant,
}

impl Server {
    /// Starts a node on a free port with a shard on each of the CPUs, and waits for its ready line.
    ///
    /// # Errors
    /// If it does not become ready; with what it said.
    pub fn node(program: &Path, data: &Path, cores: &[usize], properties: &[String]) -> Result<Self, Error> {
        let arguments: Vec<String> =
            properties.iter().flat_map(|property| ["--set".to_owned(), property.clone()]).collect();
        Self::start_node(program, data, cores, &arguments)
    }

    /// The same with an admin endpoint, whose address is given back.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn node_with_metrics(program: &Path, data: &Path, cores: &[usize]) -> Result<(Self, SocketAddr), Error> {
        let port = free_port().map_err(Error::system("find a free port"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = Self::start_node(program, data, cores, &["--admin".to_owned(), address.to_string()])?;
        Ok((server, address))
    }

    fn start_node(program: &Path, data: &Path, cores: &[usize], arguments: &[String]) -> Result<Self, Error> {
        let mut command = pinned(cores);
        command.arg(program);
        command.args(["start", "--listen", "127.0.0.1:0", "--shards", &cores.len().to_string()]);
        command.args(["--log", "warn", "--data"]).arg(data);
        command.args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().map_err(Error::system(format!("start {}", program.display())))?;
        match ready_line(&mut child).as_deref().and_then(address_of) {
            Some(address) => Ok(Self { child, address, started }),
            None => {
                // It has ended, or is of no use.
                let _ = child.kill();
                Err(Error::Server { what: format!("was not ready: {}", last_words(&mut child)) })
            }
        }
    }

    /// Starts another broker on these CPUs by a command of the shell, which finds its port in `PORT` and its directory
    /// in `DATA`; what it says goes to a file there. Waits until it accepts connections.
    ///
    /// # Errors
    /// If it does not.
    pub fn command(command_line: &str, data: &Path, cores: &[usize]) -> Result<Self, Error> {
        let port = free_port().map_err(Error::system("find a free port"))?;
        let log = data.join("output.log");
        let output = File::create(&log).map_err(Error::system(format!("make {}", log.display())))?;
        let errors = output.try_clone().map_err(Error::system(format!("make {}", log.display())))?;
        let mut command = pinned(cores);
        // The shell becomes the broker: the process that is measured.
        command.args(["sh", "-c", &format!("exec {command_line}")]);
        command.env("PORT", port.to_string()).env("DATA", data).stdin(Stdio::null()).stdout(output).stderr(errors);
        let started = Instant::now();
        let child = command.spawn().map_err(Error::system(format!("start {command_line}")))?;
        let mut server = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), started };
        while TcpStream::connect(server.address).is_err() {
            let ended = server.child.try_wait().map_err(Error::system("wait for the server"))?;
            if ended.is_some() || started.elapsed() > READY_WAIT {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::Server { what: format!("was not ready: {}", last_lines(&text)) });
            }
            std::thread::sleep(CONNECT_PAUSE);
        }
        Ok(server)
    }

    /// Stops it where it is, so that it uses nothing until it is resumed.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<(), Error> {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        match status.map_err(Error::system("run kill"))?.success() {
            true => Ok(()),
            false => Err(Error::Server { what: "has ended by itself".to_owned() }),
        }
    }

    /// Starts an echo server on the CPU, by running `program` with the arguments that `skein bench echo` takes.
    ///
    /// # Errors
    /// If it does not start.
    pub fn echo(program: &Path, core: usize, sizes: Sizes) -> Result<Self, Error> {
        let port = free_port().map_err(Error::system("find a free port"))?;
        let mut command = pinned(&[core]);
        command.arg(program).args(["bench", "echo", "--port", &port.to_string(), "--core", &core.to_string()]);
        command.args(["--request-bytes", &sizes.request.to_string()]);
        command.args(["--response-bytes", &sizes.response.to_string()]);
        command.args(sizes.digests.then_some("--digest"));
        let started = Instant::now();
        let child = command.spawn().map_err(Error::system(format!("start {}", program.display())))?;
        let server = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), started };
        crate::admin::Admin::connect(server.address).map(|_| server)
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !process::is_alive(self.pid())
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// If it does not stop in order.
    pub fn stop(mut self) -> Result<(), Error> {
        self.signal("-TERM")?;
        let deadline = Instant::now() + STOP_WAIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().map_err(Error::system("wait for the server"))? {
                return self.check(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Error::Server { what: format!("does not stop within {} s", STOP_WAIT.as_secs()) })
    }

    fn check(&mut self, status: ExitStatus) -> Result<(), Error> {
        // A JVM that was told to stop ends with the number of the signal.
        if status.success() || status.code() == Some(128 + TERMINATED) || status.signal() == Some(TERMINATED) {
            return Ok(());
        }
        Err(Error::Server { what: format!("ended with {status}: {}", last_words(&mut self.child)) })
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// If it has ended before.
    pub fn kill(mut self) -> Result<(), Error> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(Error::system("kill the server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose process, whatever it runs, stays on these CPUs.
fn pinned(cores: &[usize]) -> Command {
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &list.join(",")]);
    command
}

/// The first line that a node prints, unless it takes too long or ends.
fn ready_line(child: &mut Child) -> Option<String> {
    let out = child.stdout.take()?;
    let (sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(out).read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            // The receiver may have given up.
            let _ = sender.send(line);
        }
    });
    line.recv_timeout(READY_WAIT).ok()
}

/// The address in `skein ready on HOST:PORT (…)`.
fn address_of(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("skein ready on ")?.split([' ', ',']).next()?.parse().ok()
}

/// What a process that has ended said on standard error.
fn last_words(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // Whatever can be read is better than nothing.
        let _ = stderr.read_to_string(&mut text);
    }
    last_lines(&text)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A directory for data that is removed with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory `name` in `parent`; what was there is removed.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn new(parent: &Path, name: &str) -> Result<Self, Error> {
        let path = parent.join(name);
        let make = || {
            if path.exists() {
                std::fs::remove_dir_all(&path)?;
            }
            std::fs::create_dir_all(&path)
        };
        make().map_err(Error::system(format!("make {}", path.display())))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next run removes what is left.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_address() {
        let line = "skein ready on 127.0.0.1:4242 (cluster x, data in /d)\n";
        assert_eq!(address_of(line), Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4242))));
        assert_eq!(address_of("skein ready on 127.0.0.1:1,[::1]:1 (cluster"), "127.0.0.1:1".parse().ok());
        assert_eq!(address_of("error: no"), None);
    }
}
