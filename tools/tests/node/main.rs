//! A node of the release binary, as clients and the machine around it meet it: every API in every version, Kafka's
//! behaviour, hostile input, limits, power cuts.
//!
//! A test needs the binary and starts a node of its own; without a binary it says SKIPPED. `SKEIN_TEST_BROKER=IP:PORT`
//! tries the tests of the protocol against another broker, such as Apache Kafka, which has to pass them too.

mod bad_input;
mod configs;
mod dispatch;
mod every_version;
mod features;
mod fetch;
mod group_admin;
mod groups;
mod limits;
mod offsets;
mod partition_admin;
mod power_cut;
mod produce;
mod quotas;
#[path = "../../../net/tests/codec/sample.rs"]
mod sample;
#[path = "../../../net/build/schema.rs"]
mod schema;
mod support;
mod telemetry;
mod topics;
