//! Mailboxes between shards, and the replica: in-sync set, high watermark, waiters.

pub mod mailbox;
pub mod replica;
pub mod wake;
