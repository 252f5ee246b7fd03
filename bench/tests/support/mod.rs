//! A node in this process, which ends with it.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

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
