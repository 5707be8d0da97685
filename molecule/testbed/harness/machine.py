# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine under the beds: its packages, our cache on it, locks, and processes ended by their record."""

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
# Units that Debian enables when it installs the package; the machine has no use for them.
UNITS = {
    "containerd": ["containerd.service"],
    "docker-registry": ["docker-registry.service"],
    "docker.io": ["docker.service", "docker.socket"],
}
POLICY = Path("/usr/sbin/policy-rc.d")
HELD_BACK = "#!/bin/sh\n# While the ascend.vllm test bed installs packages, no service of theirs starts.\nexit 101\n"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

_locks: list[int] = []  # file descriptors of those that we hold


class BedError(Exception):
    """One sentence for the user: what was expected, what was found, what to do."""


def cache() -> Path:
    """Folder of everything that outlives a bed, and of the state of those that run."""
    return Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed").absolute()


def run(*argv: str | Path, **options) -> str:
    """Run a system command and return its output; a failure is a BedError with the command's last words.

    ``stdin`` and ``input`` (bytes) as for subprocess.run.
    """
    environment = {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, check=False, pass_fds=_locks, **options)
    except FileNotFoundError as error:
        raise BedError(f"the command {argv[0]} is not there; install it, or run `bed prepare`") from error
    output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode:
        said = (errors.strip() or output.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise BedError(f"{' '.join(map(str, argv[:6]))}: {said}")
    return output


def until(what: str, ready: Callable[[], bool], seconds: float, pause: float = 0.05) -> None:
    """Wait until ``ready()``; a BedError that names ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise BedError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(pause)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock ``name``. The kernel frees it when we and the commands that we ran have ended, however."""
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
    """Refuse a machine that cannot carry a bed."""
    release = Path("/etc/os-release")
    lines = release.read_text().splitlines() if release.exists() else []
    fields = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    if (fields.get("ID"), fields.get("VERSION_ID")) != ("debian", "12"):
        found = fields.get("PRETTY_NAME", "an unknown system")
        raise BedError(f"the test bed needs Debian 12 and root, found {found}; run it in a Debian 12 virtual machine")
    if os.geteuid():
        raise BedError(f"the test bed needs root for its namespaces, found user id {os.geteuid()}; run it with sudo")


def install_packages() -> None:
    """Install the Debian packages that are missing; no service of theirs runs, and no other package goes for them."""
    allow_services()
    present = installed()
    missing = [package for package in PACKAGES if package not in present]
    if not missing:
        return
    print(f"bed: installing {' '.join(missing)}", flush=True)
    install = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "--no-remove", "--no-install-recommends")
    if not POLICY.exists():
        POLICY.write_text(HELD_BACK)
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
    """Those of the packages that we install or bring along which the machine has."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *PACKAGES, *UNITS]
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return {line.split()[0] for line in listed if line.endswith(" installed")}


def allow_services() -> None:
    """Remove our hook that keeps services from starting, also one that a killed installation left."""
    if POLICY.exists() and POLICY.read_text(errors="replace") == HELD_BACK:
        POLICY.unlink()


def start_time(pid: int) -> str | None:
    """When process ``pid`` started, in clock ticks since boot; None for one that is gone."""
    with suppress(OSError):
        state, *_, started = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:20]
        return None if state in "ZX" else started
    return None


class Process:
    """A process of ours, known by the record of its number and start time."""

    def __init__(self, record: Path):
        self.record = record

    @property
    def pid(self) -> int | None:
        """Its number while it lives."""
        try:
            pid, boot, started = self.record.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if boot == boot_id() and start_time(int(pid)) == started else None

    def adopt(self, pid: int) -> None:
        """Record ``pid``."""
        beside = self.record.with_name(self.record.name + ".new")
        beside.write_text(f"{pid} {boot_id()} {start_time(pid)}\n")
        beside.rename(self.record)

    def start(self, *argv: str | Path, log: Path, environment: dict[str, str] | None = None) -> subprocess.Popen:
        """Start ``argv`` detached. It waits for its record, so that we never leave one that we do not know."""
        with open(log, "ab") as output:
            child = subprocess.Popen(
                ["/bin/sh", "-c", 'read -r recorded && exec "$@" </dev/null', "sh", *argv],
                stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True,
            )  # fmt: skip
        self.adopt(child.pid)
        child.stdin.write(b"recorded\n")
        child.stdin.close()
        return child

    def end(self, seconds: float = 10) -> None:
        """TERM to it, and to its group if it leads one; KILL to what is left after ``seconds``."""
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
            if (pid := self.pid) is None:
                break
            with suppress(ProcessLookupError):
                (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, number)
            with suppress(BedError):
                until("ending", lambda: self.pid is None, patience)
        self.record.unlink(missing_ok=True)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
