//! The rules of groups, one by one, and all of them together against a model.

mod loading;
mod membership;
mod model;
mod offsets;
mod world;
