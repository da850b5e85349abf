//! The process `trunkline-dataplane`; everything it does is in the library's [`process`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use dataplane::process::{self, args::Args};

fn main() -> ExitCode {
    match process::run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trunkline-dataplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}
