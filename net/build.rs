//! Generates the codec of the client protocol from `schema/protocol.txt`.
//!
//! - `build/schema.rs`: the model and the parser of the notation, whose legend is the schema's head.
//! - `build/types.rs`: `ApiKey`, the modules, the structs with their docs and defaults.
//! - `build/codec.rs`: `decode`, `encode` and `into_owned` of a struct.
//!
//! Everything goes to `OUT_DIR/api.rs`, which `src/api.rs` includes. The generated code computes no
//! length and allocates nothing itself: it calls `wire::Reader` and `wire::put` in the order of the schema, under
//! conditions on the version.

#[path = "build/codec.rs"]
mod codec;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/types.rs"]
mod types;

use std::path::Path;
use std::{env, fs};

const SCHEMA: &str = "schema/protocol.txt";

fn main() {
    println!("cargo::rerun-if-changed={SCHEMA}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let text = fs::read_to_string(SCHEMA).expect("the schema is part of the package");
    let apis = schema::parse(&text);
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&out).join("api.rs"), types::generate(&apis)).expect("OUT_DIR is writable");
}
