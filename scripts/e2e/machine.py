"""Namespaces, instances and what is left of them: the machine side of the tests."""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("TRUNKLINE_TARGET", ROOT / "target"))
RUN_ROOT = pathlib.Path("/run/trunkline")
NR_HUGEPAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(namespace):
    """This thread, and the threads and processes it starts, use that namespace; None is the host's.

    A socket stays in the namespace it was made in.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.dup(_host) if namespace is None else os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(before)
        os.close(before)
        os.close(there)


def _interrupt(*_):
    raise KeyboardInterrupt


@contextlib.contextmanager
def cleaned_up():
    """An ExitStack for what must not remain, however the program is ended.

    SIGTERM ends the block like Ctrl-C; while the stack unwinds both are ignored. Both are set here
    because whoever starts us in the background may have them ignored, and children inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with contextlib.ExitStack() as stack:
        try:
            yield stack
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def run(*command, check=True, timeout=60):
    """The text a command printed on standard output."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
    )
    if check and done.returncode != 0:
        words = done.stderr or done.stdout
        raise AssertionError(f"{command} ended with {done.returncode}: {words}")
    return done.stdout


def changed_profile(path, source, values):
    """Writes a copy of a shipped profile with other values: key → text as it stands in the file."""
    lines = []
    for line in (ROOT / "hwconfig/profiles" / source).read_text().splitlines():
        key = line.split("=")[0].strip()
        lines.append(f"{key} = {values[key]}" if key in values else line)
    path.write_text("\n".join(lines) + "\n")


class Instance:
    """What one appliance needs of the machine, made and removed by scripts/instance."""

    def __init__(self, name):
        self.name = name
        self.namespace = f"trunkline-{name}"
        self.directory = RUN_ROOT / name
        self.profile = self.directory / "profile.toml"

    def make(self, shards, profile=None):
        """Makes everything; its own copy of the profile is then at `profile`."""
        options = ["--profile", profile] if profile else []
        self._script("up", "--shards", shards, *options)

    def remove(self):
        """Removes whatever there is of it."""
        self._script("down")

    def hugepages(self):
        return int((self.directory / "hugepages").read_text(encoding="ascii"))

    def _script(self, command, *options):
        with inside(None):
            environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
            done = subprocess.run(
                [ROOT / "scripts/instance", command, self.name, "--owner", str(os.getpid()),
                 *map(str, options)],
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=120, check=False,
            )
        if done.returncode != 0:
            raise AssertionError(f"scripts/instance {command} {self.name}: {done.stderr}")


def _commands():
    """Process number → command line, of every process."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
    return found


def unowned_hugepages():
    """Hugepages of the machine that no instance accounts for: the same before and after."""
    owned = 0
    for account in RUN_ROOT.glob("*/hugepages"):
        with contextlib.suppress(OSError, ValueError):
            owned += int(account.read_text(encoding="ascii"))
    return int(NR_HUGEPAGES.read_text(encoding="ascii")) - owned


def leftovers(prefix):
    """Everything on the machine that carries the name of an instance beginning with `prefix`."""
    found = [path for path in (
        *pathlib.Path("/run/netns").glob(f"trunkline-{prefix}*"),
        *RUN_ROOT.glob(f"{prefix}*"),
        *pathlib.Path("/run/dpdk").glob(f"tl-{prefix}*"),
        *pathlib.Path("/dev/shm").glob(f"*{prefix}*"),
        *pathlib.Path("/sys/class/net").glob(f"tl-{prefix}*"),
    )]
    mine = os.getpid()
    return [str(path) for path in found] + [
        f"process {pid}: {command}" for pid, command in _commands().items()
        if pid != mine and "trunkline" in command and f"--instance {prefix}" in command
    ]
