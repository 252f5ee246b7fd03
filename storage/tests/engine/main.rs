//! The engine on real files.

mod damage;
mod node;
mod restart;
mod retention;
mod search;
