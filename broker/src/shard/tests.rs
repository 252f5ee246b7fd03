//! Shards that run on a simulated disk and network, and clients that speak the protocol to them.

mod cold_reads;
mod connections;
mod control;
mod directories;
mod memory;
mod parking;
mod transactions;
mod world;
