# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contents of the images, and the models that they serve."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from . import cache, debian, environment
from .archive import Layer, write_image
from .cache import ENGINE

RELEASE = json.loads((ENGINE / "image/release.json").read_text())
PACKAGES = "/usr/local/lib/python3.11/dist-packages"
ENTRYPOINT = [
    "/bin/bash",
    "-c",
    'source /usr/local/Ascend/ascend-toolkit/set_env.sh && source /usr/local/Ascend/nnal/atb/set_env.sh && exec "$@"',
    "--",
]
SETTINGS = {"Entrypoint": ENTRYPOINT, "Cmd": ["/bin/bash"], "WorkingDir": "/workspace"}
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    # Telemetry and usage reports are disabled.
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
# One thread per process: two nodes share two cores. Binding would reserve whole cores for each rank.
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_COMPILE_DISABLE": "1",  # there is no C++ compiler in the image
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
# Like the scripts that pip generates. Spawned processes import the script, and must not run its function.
SCRIPT = """#!/usr/bin/python3
import sys

from {module} import {function}

if __name__ == "__main__":
    sys.exit({function}())
"""
CLIENT_COMMANDS = {"modelscope": "modelscope_hub.cli.main:run_cmd", "hf": "huggingface_hub.cli.hf:main"}
BUILDER = cache.files("builder/archive.py", "builder/images.py", "image/release.json", "image/root")


def root() -> Path:
    """Return the base layer of all images."""
    return cache.build("root", ".tar", cache.files("builder/archive.py", "builder/debian.py"), debian.write_layer)


def light() -> Path:
    """Return the archive of the light image."""

    def make(path: Path) -> None:
        def fill(layer: Layer) -> None:
            layer.tree(ENGINE / "light/vllm_light", f"{PACKAGES}/vllm_light")
            layer.tree(environment.clients(), PACKAGES)
            metadata(layer, "vllm", RELEASE["vllm"])
            metadata(layer, "torch", RELEASE["torch"])
            commands(layer, {"vllm": "vllm_light.cli:main", **CLIENT_COMMANDS})

        write(path, fill, ENVIRONMENT)

    inputs = [*BUILDER, *cache.files("light", "requirements-clients.txt"), root().name]
    return cache.build("light", ".tar", inputs, make)


def full(kind: str = "full", inputs: tuple[Path | str, ...] = (), add=None) -> tuple[Path, Path]:
    """Return the archive of the full image, and the folder to mount in its containers at the same path.

    Images that extend the full image have another ``kind``, more ``inputs``, and a function ``add(layer)``.
    """
    folder = environment.full()

    def make(path: Path) -> None:
        def fill(layer: Layer) -> None:
            if add:
                add(layer)
            layer.add(f"{PACKAGES}/engine.pth", f"{environment.site(folder)}\n")
            layer.add(f"{PACKAGES}/ascend_standin.py", (ENGINE / "plugin/ascend_standin.py").read_bytes())
            plugin = "[vllm.general_plugins]\nascend_standin = ascend_standin:register\n"
            metadata(layer, "ascend_standin", "1", plugin)
            commands(layer, {"vllm": "vllm.entrypoints.cli.main:main", **CLIENT_COMMANDS})
            commands(layer, {"torchrun": "torch.distributed.run:main"})

        write(path, fill, {**ENVIRONMENT, **CPU_ENVIRONMENT, "ASCEND_TESTBED_MOUNTS": str(folder)})

    all_inputs = [*BUILDER, *cache.files("plugin"), root().name, str(folder), *inputs]
    return cache.build(kind, ".tar", all_inputs, make), folder


def mpi() -> tuple[Path, Path]:
    """Return the archive of the full image with MPICH and `all_reduce_test` added, and the folder of `full`."""

    def add(layer: Layer) -> None:
        debian.add_mpich(layer)
        program = f"/usr/local/Ascend/ascend-toolkit/{RELEASE['cann']}/tools/hccl_test/bin/all_reduce_test"
        layer.add(program, (ENGINE / "mpi/all_reduce_test").read_bytes(), 0o755)

    return full("mpi", tuple(cache.files("mpi", "builder/debian.py")), add)


def models() -> Path:
    """Return the folder with the tiny model in both layouts."""
    interpreter = environment.full() / "bin/python"

    def make(folder: Path) -> None:
        print("engine: training the tiny model (once, about a minute)", file=sys.stderr, flush=True)
        command = ["nice", interpreter, "-B", ENGINE / "model/train.py", folder]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        if done.returncode:
            raise SystemExit(f"engine: {ENGINE}/model/train.py failed with exit code {done.returncode}")

    illustration = ENGINE / "make_illustration.py"
    return cache.build("models", "", [*cache.files("model"), illustration, environment.full().name], make)


def write(path: Path, fill, variables: dict[str, str]) -> None:
    """Write an image of two layers: the root layer, and one with the release files and those that `fill` adds."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        layer_path = Path(scratch) / "layer.tar"
        with Layer(layer_path) as layer:
            release_files(layer)
            fill(layer)
        settings = {
            **SETTINGS,
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": {"ascend.vllm.testbed": "stand-in", "org.opencontainers.image.version": RELEASE["tag"]},
        }
        write_image(path, f"{RELEASE['repository']}:{RELEASE['tag']}", [root(), layer_path], settings)


def release_files(layer: Layer) -> None:
    """Add stand-ins for files of a real image of this release, at the same paths."""
    layer.tree(ENGINE / "image/root", "")
    layer.folder("workspace")
    machine = f"{platform.machine()}-linux"
    toolkit = f"/usr/local/Ascend/ascend-toolkit/{RELEASE['cann']}"
    layer.link("/usr/local/Ascend/ascend-toolkit/latest", RELEASE["cann"])
    layer.add(
        f"{toolkit}/{machine}/ascend_toolkit_install.info",
        "package_name=Ascend-cann-toolkit\n"
        f"version={RELEASE['cann']}\n"
        f"innerversion={RELEASE['cann_inner']}\n"
        f"arch={platform.machine()}\nos=linux\npath={toolkit}/{machine}\n",
    )
    layer.add(
        f"{toolkit}/version.cfg",
        f"# version: 1.0\nruntime_running_version=[{RELEASE['cann_inner']}:{RELEASE['cann']}]\n"
        f"toolkit_running_version=[{RELEASE['cann_inner']}:{RELEASE['cann']}]\n",
    )
    metadata(layer, "vllm_ascend", RELEASE["vllm_ascend"])
    metadata(layer, "torch_npu", RELEASE["torch_npu"])
    layer.add(f"{PACKAGES}/vllm_ascend.pth", "/vllm-workspace/vllm-ascend\n")


def metadata(layer: Layer, name: str, version: str, entry_points: str = "") -> None:
    """Add the metadata that pip writes for an installed package."""
    dist_info = f"{PACKAGES}/{name}-{version}.dist-info"
    layer.add(f"{dist_info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry_points:
        layer.add(f"{dist_info}/entry_points.txt", entry_points)


def commands(layer: Layer, targets: dict[str, str]) -> None:
    """Add scripts to /usr/local/bin; ``targets`` is ``{name: module:function}``."""
    for name, target in targets.items():
        module, _colon, function = target.partition(":")
        layer.add(f"/usr/local/bin/{name}", SCRIPT.format(module=module, function=function), 0o755)
