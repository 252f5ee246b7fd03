//! Client quotas: what users, client ids and addresses may use of each node (KIP-13, KIP-124, KIP-546, KIP-599, KIP-612).
//!
//! [`Quotas`] is the part of the metadata that says so; a [`Meter`] on each shard counts the use and says who has to
//! wait, and how long. Who has to wait gets the answer at once, and is not listened to for that time (KIP-219).

mod entity;
mod meter;
mod rate;
mod table;

pub use entity::{ANONYMOUS, BadValue, Entity, Key, Kind, Limits, Name, address};
pub use meter::{Meter, REPORT_MAX, REPORT_NS, Settings, Used, Who};
pub use rate::{Rate, TokenBucket, Windows};
pub use table::{Quotas, Scope};
