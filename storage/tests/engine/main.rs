//! The engine on real files.

mod cold;
mod compaction;
mod damage;
mod expiry;
mod large;
mod limits;
mod node;
mod quiet;
mod recompress;
mod repair;
mod restart;
mod retention;
mod search;
mod transactions;
mod truncate;
