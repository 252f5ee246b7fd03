//! The release binary as a process of the test.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::{PATIENCE, eventually};

/// The binary to test: `SKEIN_BIN`, else the one that was built along with a test built in release mode. A debug build
/// has none beside it that is known to be of the same sources.
pub(crate) fn binary() -> Option<PathBuf> {
    let beside = || (!cfg!(debug_assertions)).then(|| PathBuf::from(env!("CARGO_BIN_EXE_skein")));
    std::env::var_os("SKEIN_BIN").map(PathBuf::from).or_else(beside).filter(|path| path.exists())
}

/// Says that a test does not run here, and why.
pub(crate) fn skip(name: &str, why: &str) {
    println!("SKIPPED: {name}: {why}");
}

/// How a node is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// What stands before the binary: `prlimit …`, `setpriv …`.
    prefix: Vec<String>,
    args: Vec<String>,
    data: PathBuf,
    /// Goes with the node; none if the directory outlives it.
    _temporary: Option<Arc<tempfile::TempDir>>,
}

impl Launch {
    /// With a data directory of its own and two shards.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("skein-node").tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        Self { _temporary: Some(Arc::new(directory)), ..Self::at(&data) }
    }

    /// With the data in `data`, which stays.
    pub(crate) fn at(data: &Path) -> Self {
        let args = ["--listen", "127.0.0.1:0", "--shards", "2"].map(String::from).to_vec();
        Self { prefix: Vec::new(), args, data: data.to_owned(), _temporary: None }
    }

    pub(crate) fn shards(mut self, count: u32) -> Self {
        let at = self.args.iter().position(|arg| arg == "--shards").expect("it is always given");
        self.args[at + 1] = count.to_string();
        self
    }

    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.args[1] = address.to_owned();
        self
    }

    pub(crate) fn set(mut self, property: &str) -> Self {
        self.args.extend(["--set".to_owned(), property.to_owned()]);
        self
    }

    /// With an admin endpoint on that port.
    pub(crate) fn admin(mut self, port: u16) -> Self {
        self.args.extend(["--admin".to_owned(), format!("127.0.0.1:{port}")]);
        self
    }

    /// Runs the binary by another command.
    pub(crate) fn under(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    fn command(&self) -> Command {
        let binary = binary().expect("tests without a binary are skipped");
        let words: Vec<&OsStr> = self.prefix.iter().map(OsStr::new).chain([binary.as_os_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("start").arg("--data").arg(&self.data).args(&self.args);
        command.env("NO_COLOR", "1").env_remove("SKEIN_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a node and waits until it serves.
    pub(crate) fn start(&self) -> Node {
        match self.try_start() {
            Ok(node) => node,
            Err(Refused { status, said }) => panic!("the node did not start ({status}):\n{said}"),
        }
    }

    /// Starts a node, and waits until it serves or has ended.
    pub(crate) fn try_start(&self) -> Result<Node, Refused> {
        let started = Instant::now();
        let mut child = self.command().spawn().expect("the binary can be run");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("it is piped");
        let gathered = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = gathered.lock().expect("no holder panics");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let ready = stdout.read_line(&mut line).is_ok() && line.starts_with("skein ready on ");
        if !ready {
            let status = child.wait().expect("it was started");
            reader.join().expect("it only reads");
            return Err(Refused { status, said: log.lock().expect("no holder panics").clone() });
        }
        let address = line.split_whitespace().nth(3).and_then(|list| list.split(',').next()).expect("an address");
        let address = address.parse().expect("a numeric address was asked for");
        Ok(Node {
            launch: self.clone(),
            child,
            address,
            ready_line: line.trim_end().to_owned(),
            ready_after: started.elapsed(),
            log,
            _stdout: stdout,
        })
    }
}

/// A node that did not start.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    /// What it wrote on standard error.
    pub(crate) said: String,
}

/// A node that serves. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    launch: Launch,
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) ready_line: String,
    pub(crate) ready_after: Duration,
    log: Arc<Mutex<String>>,
    /// Open, lest it write into a closed pipe.
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Node {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn launch(&self) -> &Launch {
        &self.launch
    }

    /// What it has written on standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no holder panics").clone()
    }

    /// Waits for a text in its log.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), || self.log().contains(text).then_some(()));
    }

    /// The power button: SIGKILL.
    pub(crate) fn kill(mut self) -> Launch {
        self.child.kill().expect("it is running");
        self.child.wait().expect("it was started");
        self.launch.clone()
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Launch) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("there is a kill");
        assert!(sent.success());
        let deadline = Instant::now() + PATIENCE;
        let status = eventually("the node ends after SIGTERM", || {
            assert!(Instant::now() < deadline, "the log:\n{}", self.log());
            self.child.try_wait().expect("it was started")
        });
        (status, self.launch.clone())
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the node ends", || self.child.try_wait().expect("it was started"))
    }

    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("it was started");
        assert!(ended.is_none(), "the node has ended: {ended:?}\n{}", self.log());
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it is running");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kib * 1024
    }

    /// CPU time of all threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it is running");
        let after_name = stat.rsplit(')').next().expect("the name is in parentheses");
        let fields: Vec<u64> = after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        // The fields 14 and 15, user and system time, counted from the state, which is the third.
        Duration::from_millis((fields[11] + fields[12]) * 1000 / TICKS_PER_SECOND)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the node's log:\n{}", self.log());
        }
    }
}

/// Runs `skein` with these arguments to its end, with what it has to read.
pub(crate) fn skein(args: &[&str], input: &[u8]) -> (ExitStatus, String, String) {
    let binary = binary().expect("tests without a binary are skipped");
    let mut child = Command::new(binary)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let mut stderr = child.stderr.take().expect("it is piped");
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let output = child.wait_with_output().expect("it was started");
    // It need not read all of its input.
    let _ = writer.join().expect("it only writes");
    let complaints = complaints.join().expect("it only reads").unwrap_or_default();
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned(), complaints)
}
