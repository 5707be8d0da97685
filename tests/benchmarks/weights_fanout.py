# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the duration of a weights fan-out with that of one copy over the same link.

Every node is a network namespace that runs the role's program (roles/weights/files/swarm.py) and whose link has a
limited rate in both directions (tc tbf). One copy is an HTTP download from the first node to another node. Everything
runs in a separate network namespace, isolated from the machine's network. Needs root and pip:

    .venv/bin/python tests/benchmarks/weights_fanout.py [--mbit 100] [--mebibytes 200] [--no-naive]

Exits with 1 if 7 receivers take more than 1.15 times as long as one copy, or 15 receivers more than 1.2 times.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster import ROOT, verdict

FILES = ROOT / "roles" / "weights" / "files"
PORT, WEB_PORT = 6881, 8000
MAX_RATIO_OF_SEVEN, MAX_RATIO_OF_FIFTEEN = 1.15, 1.2
INSIDE = "WEIGHTS_FANOUT_INSIDE"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbit", type=int, default=100, help="rate of every link (default: %(default)s)")
    parser.add_argument("--mebibytes", type=int, default=200, help="size of the model (default: %(default)s)")
    parser.add_argument("--naive", action=argparse.BooleanOptionalAction, default=True,
                        help="for comparison, also copy from the first node to seven nodes at the same time")
    parser.add_argument("--wheels", type=Path, help="folder with libtorrent's wheels (default: downloaded by pip)")
    options = parser.parse_args()
    wheels = options.wheels or download_wheels()
    if not os.environ.get(INSIDE):
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable,
                *sys.argv, "--wheels", str(wheels)]
        return subprocess.run(argv, env={**os.environ, INSIDE: "1"}, check=False).returncode
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        bed = Bed(Path(folder), wheels.resolve(), options.mbit, options.mebibytes)
        one = bed.one_copy()
        print(f"one copy of {options.mebibytes} MiB at {options.mbit} Mbit/s: {one:.1f} s", flush=True)
        if options.naive:
            naive = bed.copies(7)
            print(f"7 simultaneous copies from one node: {naive:.1f} s, {naive / one:.2f} times one copy", flush=True)
        met = verdict("fan-out to 7, against one copy", bed.fan_out(7) / one, MAX_RATIO_OF_SEVEN)
        met &= verdict("fan-out to 15, against one copy", bed.fan_out(15) / one, MAX_RATIO_OF_FIFTEEN)
    return int(not met)


def download_wheels() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ascend-vllm" / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
                    "--dest", folder, "--requirement", FILES / "requirements-swarm.txt"], check=True)
    return folder


def wheel_options(wheels: Path) -> list[str]:
    known = re.findall("sha256:([0-9a-f]{64})", (FILES / "requirements-swarm.txt").read_text("utf-8"))
    return ["--wheels", str(wheels), *(argument for digest in known for argument in ("--sha256", digest))]


def identity(folder: Path) -> str:
    return f"{folder.stat().st_dev}:{folder.stat().st_ino}"


def address(node: int) -> str:
    return f"10.99.0.{node + 1}"


class Bed:
    """Sixteen nodes whose links have the same rate. The first node has the model."""

    def __init__(self, folder: Path, wheels: Path, mbit: int, mebibytes: int) -> None:
        self.folder, self.wheels = folder, wheels
        self.manifest, self.torrent = folder / "manifest.json", folder / "torrent"
        self.model = folder / "node0" / "model"
        self.model.mkdir(parents=True)
        half = mebibytes * 2**19
        for name, size in (("a.safetensors", half), ("b.safetensors", half), ("c.json", 999)):
            (self.model / name).write_bytes(os.urandom(size))
        files = [{"path": path.name, "size": path.stat().st_size} for path in sorted(self.model.iterdir())]
        self.manifest.write_text(json.dumps({"files": files}))
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "add", "bridge", "up", "type", "bridge")
        for node in range(16):
            shape = f"root tbf rate {mbit}mbit burst 256kb latency 100ms".split()
            run("ip", "netns", "add", f"node{node}")
            run("ip", "link", "add", f"link{node}", "up", "type", "veth", "peer", "eth0", "netns", f"node{node}")
            run("ip", "link", "set", f"link{node}", "master", "bridge")
            run("tc", "qdisc", "add", "dev", f"link{node}", *shape)
            run(*inside(node), "ip", "address", "add", f"{address(node)}/24", "dev", "eth0")
            run(*inside(node), "ip", "link", "set", "eth0", "up")
            run(*inside(node), "tc", "qdisc", "add", "dev", "eth0", *shape)
        describe = [sys.executable, FILES / "swarm.py", *wheel_options(wheels), "describe", "--folder",
                    self.model.parent, "--identity", identity(self.model), "--manifest", self.manifest]
        started = time.monotonic()
        self.torrent.write_bytes(subprocess.run(describe, stdout=subprocess.PIPE, check=True).stdout)
        print(f"creating the torrent for {mebibytes} MiB, only once: {time.monotonic() - started:.1f} s", flush=True)

    def one_copy(self) -> float:
        return self.copies(1)

    def copies(self, receivers: int) -> float:
        """Return the seconds until every receiver has downloaded the model by HTTP from the first node."""
        serve = [sys.executable, "-m", "http.server", "--bind", address(0), "--directory", self.model, str(WEB_PORT)]
        server = subprocess.Popen([*inside(0), *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        fetch = ("import shutil, sys, urllib.request\nfor url in sys.argv[1:]:\n"
                 "  with urllib.request.urlopen(url) as response, open('/dev/null', 'wb') as nothing:\n"
                 "    shutil.copyfileobj(response, nothing, 1 << 20)")
        urls = [f"http://{address(0)}:{WEB_PORT}/{path.name}" for path in self.model.iterdir()]
        started = time.monotonic()
        copies = [subprocess.Popen([*inside(node), sys.executable, "-c", fetch, *urls])
                  for node in range(1, receivers + 1)]
        if any(copy.wait() for copy in copies):
            raise SystemExit("a copy failed")
        seconds = time.monotonic() - started
        server.kill()
        server.wait()
        return seconds

    def fan_out(self, receivers: int) -> float:
        """Return the seconds from the start of the first node's program until every receiver has the model.

        The receivers are started beforehand, because here they share a few CPUs, whereas each has its own on a cluster.
        """
        nodes = range(receivers + 1)
        running = [self.share(node, receivers) for node in nodes[1:]]
        for node in nodes[1:]:
            listening = [*inside(node), "ss", "--no-header", "--listening", "--tcp", f"sport = :{PORT}"]
            while not subprocess.run(listening, stdout=subprocess.PIPE, check=True).stdout:
                time.sleep(0.1)
        started = time.monotonic()
        running.append(self.share(0, receivers))
        done = [self.folder / f"done{node}" for node in nodes[1:]]
        while not all(path.exists() for path in done):
            if any(program.poll() is not None for program in running):
                raise SystemExit("a fan-out program has exited")
            time.sleep(0.05)
        seconds = time.monotonic() - started
        for program in running:
            program.kill()
            program.wait()
        sums = {self.digest(node) for node in nodes}
        if len(sums) != 1:
            raise SystemExit("the copies differ")
        for node in nodes[1:]:
            (self.folder / f"done{node}").unlink()
            for path in (self.folder / f"node{node}" / "model").iterdir():
                path.unlink()
        return seconds

    def share(self, node: int, receivers: int) -> subprocess.Popen:
        folder = self.folder / f"node{node}"
        (folder / "model").mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, FILES / "swarm.py", *wheel_options(self.wheels), "share", "--folder", folder,
                "--identity", identity(folder / "model"), "--torrent", self.torrent, "--address", address(node),
                "--port", str(PORT)]
        for peer in range(receivers + 1):
            argv += ["--peer", address(peer)]
        if node:
            argv += ["--done", self.folder / f"done{node}"]
            for path in self.model.iterdir():
                argv += ["--missing", path.name]
            for upstream in range(node - 1, -1, -1):
                argv += ["--upstream", address(upstream)]
        return subprocess.Popen([*inside(node), *argv])

    def digest(self, node: int) -> str:
        found = hashlib.sha256()
        for path in sorted((self.folder / f"node{node}" / "model").iterdir()):
            found.update(path.name.encode() + path.read_bytes())
        return found.hexdigest()


def inside(node: int) -> list[str]:
    return ["ip", "netns", "exec", f"node{node}"]


def run(*argv: object) -> None:
    subprocess.run([str(argument) for argument in argv], check=True)


if __name__ == "__main__":
    sys.exit(main())
