//! The generated codec against an oracle, against mutations, and against hostile lengths.
//!
//! `sample` writes valid messages straight from the schema, knowing nothing of the generated code, and notes where
//! their lengths stand.

mod corpus;
mod dispatch;
mod fuzz;
mod hostile;
mod mutated;
mod oracle;
mod round_trip;
mod sample;
#[path = "../../build/schema.rs"]
mod schema;
mod views;
