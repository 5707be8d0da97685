# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's engine and light server, and an isolated network for programs that could connect to the internet."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "molecule" / "testbed" / "engine"
HUB = ROOT / "molecule" / "testbed" / "hub" / "hub"
ILLUSTRATION = ROOT / "roles" / "functional" / "files" / "illustration.png"
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")
LESSONS = json.loads((ENGINE / "model" / "lessons.json").read_text("utf-8"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, description: str, seconds: float, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process and process.poll() is not None:
            pytest.fail(f"{description}: the process exited with {process.returncode}")
        if time.monotonic() > deadline:
            pytest.fail(f"{description}: timed out after {seconds} s")
        time.sleep(0.05)


class Response:
    """Status, headers and body of an HTTP response."""

    def __init__(self, status: int, headers: dict, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def send(url: str, body: object = None, method: str | None = None, headers: dict | None = None) -> Response:
    """Send a request and return the response, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return Response(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.headers, error.read())


class Network:
    """A network namespace with only a loopback interface: programs in it cannot connect to the internet."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec sleep infinity"], stdout=subprocess.PIPE
        )
        if self._holder.stdout.readline() != b"up\n":
            pytest.fail("a network namespace could not be created; these tests need root")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def command(self, *argv: object) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *map(str, argv)]

    def run(self, *argv: object, **options) -> subprocess.CompletedProcess:
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run(self.command(*argv), check=False, **options)

    def send(self, url: str, body: object = None, **options: object) -> Response:
        """Send a request from inside the network, see send()."""
        done = self.run(sys.executable, __file__, json.dumps({"url": url, "body": body, **options}))
        if done.returncode:
            raise ConnectionError(done.stderr.strip().splitlines()[-1])
        status, _newline, text = done.stdout.partition("\n")
        return Response(int(status), {}, text.encode())


@pytest.fixture(scope="session")
def network():
    """An isolated network."""
    isolated = Network()
    yield isolated
    isolated.close()


def built(target: str) -> list[Path]:
    """Build a target if it is not cached, and return the paths that `build TARGET` prints."""
    done = subprocess.run([ENGINE / "build", target], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.fail(f"engine/build {target} exited with {done.returncode}; its messages are above")
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def environment() -> Path:
    """The Python environment with the real vLLM."""
    return built("environment")[0]


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder with the tiny model in both layouts."""
    return built("models")[0]


@pytest.fixture(scope="module")
def variables(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment variables of processes in the full image, with the plugin on PYTHONPATH."""
    packages = tmp_path_factory.mktemp("packages")
    shutil.copy(ENGINE / "plugin/ascend_standin.py", packages)
    record = packages / "ascend_standin-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: ascend_standin\nVersion: 1\n")
    (record / "entry_points.txt").write_text("[vllm.general_plugins]\nascend_standin = ascend_standin:register\n")
    code = "import json; from builder import images as i; print(json.dumps(i.ENVIRONMENT | i.CPU_ENVIRONMENT))"
    done = subprocess.run(["python3", "-B", "-c", code], cwd=ENGINE, capture_output=True, text=True, check=True)
    # The path of a socket has at most 107 characters, and a killed engine leaves its sockets behind.
    with tempfile.TemporaryDirectory(prefix="vllm-") as sockets:
        yield {
            **json.loads(done.stdout),
            "PATH": os.environ["PATH"],
            "HOME": str(packages),
            "PYTHONPATH": str(packages),
            "TMPDIR": sockets,
            "HF_HUB_OFFLINE": "1",
            "HCCL_OP_EXPANSION_MODE": "AIV",
        }


@pytest.fixture(scope="session")
def ais_bench() -> Path:
    """The real AISBench, which the scenario `benchmark` installs into the same folder of the cache."""
    lists = ROOT / "roles" / "accuracy" / "files"
    digest = hashlib.sha256((lists / "requirements-ais-bench.txt").read_bytes()).hexdigest()[:12]
    cache, wheels = CACHE / f"ais_bench-{digest}", CACHE / "ais_bench_packages" / digest
    if not (cache / "bin" / "ais_bench").exists():
        if not wheels.exists():
            subprocess.run([ROOT / "molecule" / "benchmark" / "files" / "wheels", wheels, lists], check=True)
        subprocess.run(["python3.11", "-m", "venv", cache], check=True)
        for name in (lists / "requirements-build.txt", wheels / "requirements.txt"):
            subprocess.run([cache / "bin" / "pip", "install", "--quiet", "--no-index", "--find-links", wheels,
                            "--require-hashes", "--no-build-isolation", "-r", name], check=True)
    return cache / "bin" / "ais_bench"


def write_safetensors(path: Path, tensors: dict[str, bytes]) -> None:
    """Write a safetensors file of int8 vectors."""
    header, offset = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "I8", "shape": [len(data)], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))


@pytest.fixture
def model(tmp_path) -> Path:
    """A model folder in msModelSlim's layout, with valid headers."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "max_position_embeddings": 128000}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "quant_model_description.json").write_text('{"model_quant_type": "W8A8"}')
    weights = {}
    for number in (1, 2):
        name = f"quant_model_weight_w8a8-0000{number}-of-00002.safetensors"
        write_safetensors(folder / name, {f"tensor{number}": bytes(100 * number)})
        weights[f"tensor{number}"] = name
    index = {"metadata": {"total_size": 300}, "weight_map": weights}
    (folder / "quant_model_weight_w8a8.safetensors.index.json").write_text(json.dumps(index))
    return folder


class LightServer:
    """`vllm serve` of the light image, run from the clone, with a folder of device nodes."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.devices, self.faults, self.model = folder / "dev", folder / "faults.json", model
        self.log = folder / "log"
        self.devices.mkdir()
        for name in ("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc"):
            (self.devices / name).touch()
        self.process: subprocess.Popen | None = None

    def start(self, *options: str, **environment: str) -> subprocess.Popen:
        """Start the server with the tutorial's options and ``options``, without waiting for it."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VLLM")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "vllm_light", "serve", str(self.model), "--host", "127.0.0.1"),
                    *("--port", str(self.port), "--served-model-name", "qwen25_vl", "--quantization", "ascend"),
                    *("--tensor-parallel-size", "2", "--max-model-len", "30000", *options),
                ],
                env={
                    **inherited,
                    "PYTHONPATH": str(ENGINE / "light"),
                    "VLLM_LIGHT_DEVICES": str(self.devices),
                    "VLLM_LIGHT_FAULT_FILES": str(self.faults),
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def start_and_wait(self, *options: str, **environment: str) -> LightServer:
        """Start the server and wait until it listens."""
        process = self.start(*options, **environment)
        wait_for(self.listens, "the light server", 60, process)
        return self

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_for_exit(self) -> tuple[int, str]:
        """Wait for a server that exits on its own, and return its exit code and log."""
        code = self.process.wait(timeout=60)
        return code, self.log.read_text()

    def send(self, path: str, body: object = None, **options) -> Response:
        return send(self.url + path, body, **options)

    def chat(self, content: object, **fields) -> Response:
        message = {"role": "user", "content": content}
        return self.send("/v1/chat/completions", {"model": "qwen25_vl", "messages": [message], **fields})

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)


@pytest.fixture
def light(tmp_path, model):
    """A light server that is not started yet."""
    server = LightServer(tmp_path, model)
    yield server
    server.stop()


if __name__ == "__main__":  # Network.send
    found = send(**json.loads(sys.argv[1]))
    sys.stdout.write(f"{found.status}\n{found.body.decode()}")
