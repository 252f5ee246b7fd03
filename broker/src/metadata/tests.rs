//! Tests of controller and image together.
