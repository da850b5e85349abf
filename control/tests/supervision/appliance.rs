//! One instance under test: a run directory, an address for `/metrics`, and `trunkline` processes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One instance.
pub(crate) struct Appliance {
    folder: tempfile::TempDir,
    pub(crate) metrics: SocketAddr,
}

/// What a finished process said.
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A `trunkline run`, killed when the case is over.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Appliance {
    pub(crate) fn new() -> Appliance {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let metrics = free.local_addr().expect("a bound socket has an address");
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("run")).expect("a folder");
        Appliance { folder, metrics }
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Writes a file beside the run directory; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// Tells the stand-in to misbehave, or not any more.
    pub(crate) fn tell(&self, file: &str, is_told: bool) {
        let path = self.run_dir().join(file);
        if is_told { fs::write(path, "") } else { fs::remove_file(path) }.expect("a file");
    }

    /// `trunkline COMMAND` on this instance.
    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        let stand_in = std::env::current_exe().expect("this program has a path");
        process.env("TRUNKLINE_DATAPLANE", stand_in).env_remove("TRUNKLINE_LOG");
        process.arg(command).arg("--run-dir").arg(self.run_dir()).args(arguments);
        process.stdin(Stdio::null());
        process
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&self, command: &str, arguments: &[&str]) -> Output {
        let output = self.command(command, arguments).output().expect("trunkline can be started");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `trunkline run` to its end, which must come by itself.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Output {
        let metrics = self.metrics.to_string();
        let output = self.ask("run", &[&["--metrics", &metrics], arguments].concat());
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        output
    }

    /// Starts `trunkline run` and waits until it is ready.
    pub(crate) fn run(&self, arguments: &[&str]) -> Running {
        let running = self.start(arguments);
        self.wait_until("ready", || self.get("/readyz").starts_with("200"));
        running
    }

    /// Starts `trunkline run`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let log = self.folder.path().join("control.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let metrics = self.metrics.to_string();
        let mut command = self.command("run", &[&["--metrics", &metrics], arguments].concat());
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("trunkline starts");
        Running { child, log }
    }

    /// Status and body of a page; empty while nobody answers.
    pub(crate) fn get(&self, path: &str) -> String {
        self.try_get(path).unwrap_or_default()
    }

    fn try_get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        Ok(format!("{status} {body}"))
    }

    /// The value of a series of `/metrics`.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series))?;
        line.trim().parse().ok()
    }

    /// The dataplane's process, as `trunkline status` names it.
    pub(crate) fn dataplane(&self) -> Option<u32> {
        let status = self.ask("status", &[]).stdout;
        let (_, rest) = status.split_once("(pid ")?;
        rest.split_once(')')?.0.parse().ok()
    }

    /// Waits for processes to get somewhere: there is nothing else to wait on.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            let log = fs::read_to_string(self.folder.path().join("control.log"));
            let log = log.unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "never {what}; trunkline said:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Appliance {
    /// A failed case must not leave a process behind.
    fn drop(&mut self) {
        if let Some(pid) = self.dataplane() {
            send(pid, Signal::SIGKILL);
        }
    }
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it was started").code()
    }

    /// Everything that `trunkline run` said on this instance.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("there is a log")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a case that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of this test.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process number");
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether the process runs, a zombie not counted.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat_field(pid, 3).is_some_and(|state| state != "Z")
}

/// A field of proc(5)'s stat, numbered as there.
pub(crate) fn stat_field(pid: u32, field: usize) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split_whitespace().nth(field - 3).map(str::to_owned)
}
