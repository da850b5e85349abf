//! Why a profile was refused, in words that point at the place to edit.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong in a profile: `file:line:column: key = value: what is allowed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The profile as it was named by the user.
    pub file: String,
    /// Line of the value (of the section when the key is absent), from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Full name of the key, such as `port.mtu` or `listeners[1].port`; empty for bad TOML syntax.
    pub key: String,
    /// The value as written, or `(default) …` when the key is absent.
    pub value: String,
    /// The limit and, where it helps, the reason.
    pub limit: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        match (self.key.is_empty(), self.value.is_empty()) {
            (true, true) => write!(f, "{}", self.limit),
            (true, false) => write!(f, "`{}`: {}", self.value, self.limit),
            (false, true) => write!(f, "{}: {}", self.key, self.limit),
            (false, false) => write!(f, "{} = {}: {}", self.key, self.value, self.limit),
        }
    }
}

/// Why no [`crate::Profile`] came out.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the profile: {source}", .file.display())]
    Unreadable {
        /// The path that was asked for.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The profile has problems; all that were found, in order of the file.
    #[error("{}", lines(.0))]
    Refused(Vec<Problem>),
    /// An override given on the command line is impossible.
    #[error("{option} {value}: {limit}")]
    Override {
        /// The option, such as `--instance`.
        option: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        limit: String,
    },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
