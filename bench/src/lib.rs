//! Open-loop load generator and echo floor.

pub mod echo;
