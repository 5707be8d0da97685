# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine on which beds run: its packages, the cache, locks, and recorded processes, which can be stopped later."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TESTBED = Path(__file__).resolve().parents[1]
PACKAGES = (
    "debootstrap",
    "docker-registry",
    "docker.io",
    "iproute2",
    "iptables",
    "iputils-ping",
    "openssh-client",
    "python3-venv",
    "tini",
    "util-linux",
)
# Units that Debian enables when it installs the package; beds do not need them.
UNITS = {
    "containerd": ["containerd.service"],
    "docker-registry": ["docker-registry.service"],
    "docker.io": ["docker.service", "docker.socket"],
}
POLICY = Path("/usr/sbin/policy-rc.d")
START_NO_SERVICE = "#!/bin/sh\n# No service starts while the ascend.vllm test bed installs packages.\nexit 101\n"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

_locks: list[int] = []  # file descriptors of the locks that we hold


class BedError(Exception):
    """One sentence for the user: what was expected, what was found, what to do."""


def cache() -> Path:
    """Return the folder for everything that beds reuse, and for the state of beds that are up."""
    return Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed").absolute()


def run(*argv: str | Path, **options) -> str:
    """Run a system command and return its output; raise a BedError with its last line if it fails.

    ``options`` are those of subprocess.run, such as ``stdin`` and ``input`` (bytes).
    """
    environment = {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, check=False, pass_fds=_locks, **options)
    except FileNotFoundError as error:
        raise BedError(f"the command {argv[0]} was not found; install it, or run `bed prepare`") from error
    output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode:
        last_line = (errors.strip() or output.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise BedError(f"{' '.join(map(str, argv[:6]))}: {last_line}")
    return output


def wait_until(what: str, ready: Callable[[], bool], seconds: float, pause: float = 0.05) -> None:
    """Wait until ``ready()`` is true; raise a BedError that names ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise BedError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(pause)


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step, so that it is complete or unchanged."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.rename(path)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock ``name``. The kernel releases it when this process and the commands it ran have exited."""
    folder = cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _locks.append(file.fileno())
        try:
            yield
        finally:
            _locks.remove(file.fileno())


def check() -> None:
    """Refuse a machine that cannot run a bed."""
    release = Path("/etc/os-release")
    lines = release.read_text().splitlines() if release.exists() else []
    fields = {key: value.strip('"') for key, _equals, value in (line.partition("=") for line in lines)}
    if (fields.get("ID"), fields.get("VERSION_ID")) != ("debian", "12"):
        found = fields.get("PRETTY_NAME", "an unknown system")
        raise BedError(f"the test bed needs Debian 12 and root, found {found}; run it in a Debian 12 virtual machine")
    if os.geteuid():
        raise BedError(f"the test bed needs root for its namespaces, found user id {os.geteuid()}; run it with sudo")


def install_packages() -> None:
    """Install missing Debian packages without starting their services or removing other packages."""
    allow_services()
    present = installed()
    missing = [package for package in PACKAGES if package not in present]
    if not missing:
        return
    print(f"bed: installing {' '.join(missing)}", flush=True)
    install = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "--no-remove", "--no-install-recommends")
    if not POLICY.exists():
        POLICY.write_text(START_NO_SERVICE)
        POLICY.chmod(0o755)
    try:
        run("apt-get", "-q", "update")
        run(*install, "install", *missing, stdin=subprocess.DEVNULL)
    finally:
        allow_services()
    units = [unit for package in UNITS.keys() & installed() - present for unit in UNITS[package]]
    if units and Path("/run/systemd/system").exists():
        run("systemctl", "--quiet", "disable", *units)


def installed() -> set[str]:
    """Return which of the packages in PACKAGES and UNITS are installed."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *PACKAGES, *UNITS]
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return {line.split()[0] for line in listed if line.endswith(" installed")}


def allow_services() -> None:
    """Remove our hook that keeps services from starting, even if a killed installation left it."""
    if POLICY.exists() and POLICY.read_text(errors="replace") == START_NO_SERVICE:
        POLICY.unlink()


def start_time(pid: int) -> str | None:
    """Return the start time of process ``pid`` in clock ticks since boot; None if it has ended."""
    with suppress(OSError):
        state, *_fields, started = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:20]
        return None if state in "ZX" else started
    return None


class Process:
    """One of our processes, identified by a record of its id and start time."""

    def __init__(self, record: Path):
        self.record = record

    @property
    def pid(self) -> int | None:
        """The process id; None if the process has ended."""
        try:
            pid, boot, started = self.record.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if boot == boot_id() and start_time(int(pid)) == started else None

    def adopt(self, pid: int) -> None:
        """Record ``pid``."""
        replace_file(self.record, f"{pid} {boot_id()} {start_time(pid)}\n")

    def start(self, *argv: str | Path, log: Path, environment: dict[str, str] | None = None) -> subprocess.Popen:
        """Start ``argv`` detached. The command waits until its process is recorded, so that `stop` can find it."""
        with open(log, "ab") as output:
            child = subprocess.Popen(
                ["/bin/sh", "-c", 'read -r recorded && exec "$@" </dev/null', "sh", *argv],
                stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True,
            )  # fmt: skip
        self.adopt(child.pid)
        child.stdin.write(b"recorded\n")
        child.stdin.close()
        return child

    def stop(self, seconds: float = 10) -> None:
        """Send SIGTERM to the process, or to the group that it leads; send SIGKILL after ``seconds``."""
        for number, timeout in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
            if (pid := self.pid) is None:
                break
            with suppress(ProcessLookupError):
                (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, number)
            with suppress(BedError):
                wait_until("stopping", lambda: self.pid is None, timeout)
        self.record.unlink(missing_ok=True)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
