//! The skein command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tools::commands::main()
}
