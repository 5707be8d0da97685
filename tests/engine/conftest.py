# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of the test bed's engine and hub, and a network of their own for what could call out."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "molecule" / "testbed" / "engine"
HUB = ROOT / "molecule" / "testbed" / "hub" / "hub"
ILLUSTRATION = ROOT / "roles" / "functional" / "files" / "illustration.png"
LESSONS = json.loads((ENGINE / "model" / "lessons.json").read_text("utf-8"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what: str, seconds: float, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process and process.poll() is not None:
            pytest.fail(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Answer:
    """Status, headers and body of an HTTP answer."""

    def __init__(self, status: int, headers: dict, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def ask(url: str, body: object = None, method: str | None = None, headers: dict | None = None) -> Answer:
    """One request; an answer of any status is an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


class Network:
    """A network namespace that has a loopback interface and nothing else: what runs in it cannot call out."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec sleep infinity"], stdout=subprocess.PIPE
        )
        if self._holder.stdout.readline() != b"up\n":
            pytest.fail("a network namespace could not be made; these tests need root")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def command(self, *argv: object) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *map(str, argv)]

    def run(self, *argv: object, **options) -> subprocess.CompletedProcess:
        options = {"capture_output": True, "text": True, "timeout": 120, "check": False, **options}
        return subprocess.run(self.command(*argv), **options)

    def ask(self, url: str, body: object = None) -> Answer:
        """As the function of this name, from within the network."""
        argv = [sys.executable, __file__, url, *([json.dumps(body)] if body is not None else [])]
        done = self.run(*argv)
        if done.returncode:
            raise ConnectionError(done.stderr.strip().splitlines()[-1])
        status, _, text = done.stdout.partition("\n")
        return Answer(int(status), {}, text.encode())


@pytest.fixture(scope="session")
def network():
    """A network without a way out."""
    made = Network()
    yield made
    made.close()


def built(what: str) -> list[Path]:
    """Paths that `build WHAT` prints; it builds what the cache does not hold."""
    done = subprocess.run([ENGINE / "build", what], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.fail(f"engine/build {what} ended with {done.returncode}; its messages are above")
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def environment() -> Path:
    """The Python environment with the real vLLM."""
    return built("environment")[0]


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder with the tiny model in both layouts."""
    return built("models")[0]


def write_safetensors(path: Path, tensors: dict[str, bytes]) -> None:
    """A safetensors file of int8 vectors."""
    header, offset = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "I8", "shape": [len(data)], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))


@pytest.fixture
def model(tmp_path) -> Path:
    """A model folder in msModelSlim's layout, as far as headers go."""
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
    """`vllm serve` of the light image, run from the clone with device nodes in a folder."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.devices, self.faults, self.model = folder / "dev", folder / "faults.json", model
        self.log = folder / "log"
        self.devices.mkdir()
        for name in ("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc"):
            (self.devices / name).touch()
        self.process: subprocess.Popen | None = None

    def start(self, *options: str, **environment: str) -> subprocess.Popen:
        """Starts the server with the tutorial's options and these; does not wait."""
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

    def ready(self, *options: str, **environment: str) -> LightServer:
        """Starts the server and waits until it listens."""
        process = self.start(*options, **environment)
        wait_for(self.listens, "the light server", 60, process)
        return self

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ended(self) -> tuple[int, str]:
        """Exit code and log of a server that ends by itself."""
        code = self.process.wait(timeout=60)
        return code, self.log.read_text()

    def ask(self, path: str, body: object = None, **options) -> Answer:
        return ask(self.url + path, body, **options)

    def chat(self, content: object, **fields) -> Answer:
        message = {"role": "user", "content": content}
        return self.ask("/v1/chat/completions", {"model": "qwen25_vl", "messages": [message], **fields})

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)


@pytest.fixture
def light(tmp_path, model):
    """A light server that can be started."""
    server = LightServer(tmp_path, model)
    yield server
    server.stop()


if __name__ == "__main__":  # Network.ask
    found = ask(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else None)
    sys.stdout.write(f"{found.status}\n{found.body.decode()}")
