//! Names that tell two instances on one machine apart.

use std::fmt;
use std::path::{Path, PathBuf};

/// The name of one running appliance: lower case letters, digits and dashes, at most
/// [`Instance::LENGTH_MAX`] characters. `{instance}` in any text of a profile becomes this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// An interface name has at most 15 characters (IFNAMSIZ) and ours are `tl-<instance>`.
    pub const LENGTH_MAX: usize = 12;

    /// What a name may look like, for error messages.
    pub const FORM: &'static str =
        "1 to 12 lower case letters, digits or dashes, not beginning with a dash";

    /// Takes a name if it has the right form.
    pub fn parse(name: &str) -> Option<Instance> {
        let fits = !name.is_empty() && name.len() <= Self::LENGTH_MAX && !name.starts_with('-');
        let clean = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (fits && name.chars().all(clean)).then(|| Instance(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `text` with every `{instance}` replaced.
    pub fn substitute(&self, text: &str) -> String {
        text.replace("{instance}", &self.0)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The directory where both processes of an instance meet. The dataplane makes it with mode 0750.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// `/run/trunkline/<instance>`.
    pub fn of(instance: &Instance) -> RunDir {
        RunDir(Path::new("/run/trunkline").join(instance.as_str()))
    }

    /// A directory named by the user (`--run-dir`).
    pub fn at(path: impl Into<PathBuf>) -> RunDir {
        RunDir(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The dataplane's socket, where a control plane gets the shared page.
    pub fn socket(&self) -> PathBuf {
        self.0.join("dataplane.sock")
    }

    /// What the dataplane wrote to its stderr and stdout.
    pub fn log(&self) -> PathBuf {
        self.0.join("dataplane.log")
    }

    /// Locked by the one control plane of this instance.
    pub fn lock(&self) -> PathBuf {
        self.0.join("control.lock")
    }
}
