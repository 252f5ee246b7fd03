//! Client quotas: what users, client ids and addresses may use of each node (KIP-13, KIP-124, KIP-546, KIP-599, KIP-612).

mod entity;
mod table;

pub use entity::{ANONYMOUS, BadValue, Entity, Key, Kind, Limits, Name, address};
pub use table::{Quotas, Scope};
