//! `trunkline`: see the library's documentation, or `trunkline --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    control::main()
}
