//! `trunkline check`: what is wrong with a profile or this host, and the command that mends it.

mod cpu;
mod device;
mod host;
mod memory;

use crate::cli::CheckArgs;
use host::Host;
use hwconfig::{Overrides, Profile};
use std::fmt;
use std::process::ExitCode;

/// Exit code for a profile that cannot be used.
pub(crate) const EXIT_BAD_PROFILE: u8 = 2;

/// One thing about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// What is so.
    text: String,
    /// What to run to change it; empty when all is well.
    mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Fine,
    /// It runs, but worse than it could.
    Warning,
    /// It does not run.
    Problem,
}

impl Finding {
    fn fine(text: impl Into<String>) -> Finding {
        Finding { level: Level::Fine, text: text.into(), mend: String::new() }
    }

    fn warning(text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, text: text.into(), mend: mend.into() }
    }

    fn problem(text: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Problem, text: text.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Fine => "ok     ",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{level}  {}", self.text)?;
        if !self.mend.is_empty() {
            write!(f, "\n         mend: {}", self.mend)?;
        }
        Ok(())
    }
}

/// Runs the command.
pub(crate) fn main(args: &CheckArgs) -> ExitCode {
    if args.reference {
        print!("{}", hwconfig::markdown());
        return ExitCode::SUCCESS;
    }
    let overrides = Overrides { instance: args.instance.clone(), ..Overrides::default() };
    let profile = match hwconfig::load_or_embedded(args.profile.as_deref(), &overrides) {
        Ok(profile) => profile,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_BAD_PROFILE);
        }
    };
    println!("profile {} (instance {}) is valid", profile.name, profile.instance);
    for warning in profile.warnings() {
        println!("warning: {warning}");
    }
    println!("\n{}\n", profile.plan());
    let findings = inspect(&profile, &Host::here());
    for finding in &findings {
        println!("{finding}");
    }
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    match problems {
        0 => println!("\nThis host can run the profile."),
        1 => println!("\n1 problem to mend before the profile can run on this host."),
        n => println!("\n{n} problems to mend before the profile can run on this host."),
    }
    ExitCode::from(u8::from(problems > 0))
}

/// Everything about `host` that matters to `profile`.
fn inspect(profile: &Profile, host: &Host) -> Vec<Finding> {
    let mut findings = vec![cpu::clock(host)];
    findings.extend(cpu::cores(profile, host));
    findings.extend(memory::pages(profile, host));
    findings.extend(device::port(profile, host));
    findings.extend(device::backend(profile, host));
    findings
}

#[cfg(test)]
mod tests;
