//! Mailboxes between shards, and the replica: in-sync set, high watermark, waiters.
