//! A node in this process, which ends with it.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use bench::generator::Target;
use broker::config::{Flags, NodeConfig};

/// A node on a free port with its data in a directory that stays as long as the process.
pub(crate) fn node() -> SocketAddr {
    let data = tempfile::tempdir().expect("a directory").keep();
    let flags = Flags { data: vec![data], listen: vec!["127.0.0.1:0".into()], shards: Some(1), ..Flags::default() };
    let (config, _) = NodeConfig::load(&flags, None, &[]).expect("a good configuration");
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let serving = |serving: &broker::node::Serving| sender.send(serving.addresses[0]).expect("the test waits");
        broker::node::run(config, serving).expect("a node");
    });
    address.recv().expect("the node serves")
}

/// The node as the target of a load on the first CPU.
pub(crate) fn target(address: SocketAddr) -> Target {
    Target {
        address,
        pid: Some(std::process::id()),
        cores: vec![0],
        spins: false,
        is_echo: false,
        wall_ms: 1_700_000_000_000,
    }
}
