//! Starting the dataplane's process, and its log.

use crate::cli::ProfileArgs;
use hwconfig::{Profile, RunDir};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Name of the program, looked for beside this one.
const PROGRAM: &str = "trunkline-dataplane";

/// Environment variable that names another program.
const PROGRAM_VARIABLE: &str = "TRUNKLINE_DATAPLANE";

/// Most that is read of a log at once: its end matters.
const LOG_READ_MAX: u64 = 64 << 10;

/// How to start the dataplane of this instance.
#[derive(Debug)]
pub(super) struct Launcher {
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
}

impl Launcher {
    /// Finds the program.
    ///
    /// # Errors
    /// One line that says where it was looked for.
    pub(super) fn new(
        args: &ProfileArgs,
        profile: &Profile,
        run_dir: &RunDir,
    ) -> Result<Launcher, String> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(file) = &args.profile {
            arguments.extend(["--profile".into(), file.into()]);
        }
        arguments.extend(["--instance".into(), profile.instance.clone().into()]);
        arguments.extend(["--run-dir".into(), run_dir.path().into()]);
        Ok(Launcher { program: find_program()?, arguments, log: run_dir.log() })
    }

    /// Starts it in a session of its own, so that neither Ctrl-C nor a closing terminal reaches it,
    /// with a log file for what it says. Nothing ties it to this process: no pipe, no terminal.
    ///
    /// # Errors
    /// One line that says what the system refused.
    pub(super) fn start(&self) -> Result<Child, String> {
        let log = self.new_log().map_err(|e| format!("{}: {e}", self.log.display()))?;
        let twin = log.try_clone().map_err(|e| format!("{}: {e}", self.log.display()))?;
        // util-linux's setsid becomes the program it is given: the child is the dataplane.
        Command::new("setsid")
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(twin)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))
    }

    /// The log of the dataplane.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// A fresh log; the one before is kept as `dataplane.log.1`.
    fn new_log(&self) -> std::io::Result<File> {
        let mut kept = self.log.clone().into_os_string();
        kept.push(".1");
        if self.log.exists() {
            std::fs::rename(&self.log, kept)?;
        }
        OpenOptions::new().create(true).append(true).mode(0o640).open(&self.log)
    }
}

fn find_program() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os(PROGRAM_VARIABLE) {
        let program = PathBuf::from(program);
        if program.is_file() {
            return Ok(program);
        }
        return Err(format!("{PROGRAM_VARIABLE}: there is no program {}", program.display()));
    }
    let own = std::env::current_exe().map_err(|e| format!("cannot find my own program: {e}"))?;
    let program = own.with_file_name(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "there is no {PROGRAM} beside this program ({}); build it with `cargo build --release -p \
         dataplane`, or name it in {PROGRAM_VARIABLE}",
        program.display()
    ))
}

/// Follows a log from its beginning.
#[derive(Debug)]
pub(super) struct LogReader {
    path: PathBuf,
    offset: u64,
}

impl LogReader {
    /// Reads the log at `path`.
    pub(super) fn new(path: &Path) -> LogReader {
        LogReader { path: path.to_owned(), offset: 0 }
    }

    /// Whole lines that were written since the last call.
    pub(super) fn new_lines(&mut self) -> Vec<String> {
        let Some(text) = self.read() else { return Vec::new() };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        text[..whole].lines().map(str::to_owned).collect()
    }

    fn read(&self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        read_text(file)
    }
}

/// The last `count` lines of the log at `path`.
pub(super) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = File::open(path).ok().and_then(|mut file| {
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_READ_MAX))).ok()?;
        read_text(file)
    });
    let text = text.unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Text up to [`LOG_READ_MAX`]. One byte stays one character, so that offsets hold.
fn read_text(file: File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(LOG_READ_MAX).read_to_end(&mut bytes).ok()?;
    let printable = |byte: u8| match byte {
        b'\n' | b'\t' | b' '..=b'~' => char::from(byte),
        _ => '?',
    };
    Some(bytes.into_iter().map(printable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn log_is_followed_by_whole_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let mut reader = LogReader::new(&path);
        assert!(reader.new_lines().is_empty(), "there is no log yet");
        let mut log = File::create(&path).expect("a file");
        write!(log, "one\ntwo\nthr").expect("written");
        assert_eq!(reader.new_lines(), ["one", "two"]);
        writeln!(log, "ee\u{1b}[31m\u{e9}").expect("written");
        assert_eq!(reader.new_lines(), ["three?[31m??"]);
        assert!(reader.new_lines().is_empty());
    }

    #[test]
    fn end_of_the_log_is_shown_without_empty_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        assert!(last_lines(&path, 3).is_empty());
        std::fs::write(&path, "a\nb\n\nc\nd\n").expect("written");
        assert_eq!(last_lines(&path, 3), ["b", "c", "d"]);
        assert_eq!(last_lines(&path, 9).len(), 4);
    }
}
