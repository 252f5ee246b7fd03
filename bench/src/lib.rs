//! Open-loop load generator and echo floor.
