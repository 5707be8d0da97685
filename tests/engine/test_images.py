# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image archives contain what the real image of the release contains, and are built only once."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from email.parser import Parser

import pytest

from .conftest import ENGINE, built

pytestmark = pytest.mark.engine

RELEASE = json.loads((ENGINE / "image/release.json").read_text("utf-8"))
TARGETS = pytest.mark.parametrize("target", ["light", "full"])


class Image:
    """An image archive, read as `docker load` does."""

    def __init__(self, path) -> None:
        with tarfile.open(path) as archive:
            (self.manifest,) = json.load(archive.extractfile("manifest.json"))
            raw = archive.extractfile(self.manifest["Config"]).read()
            self.settings = json.loads(raw)
            assert self.manifest["Config"] == hashlib.sha256(raw).hexdigest() + ".json"
            layers = [archive.extractfile(name).read() for name in self.manifest["Layers"]]
        digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        assert self.settings["rootfs"] == {"type": "layers", "diff_ids": digests}
        self.layers = [tarfile.TarFile(fileobj=io.BytesIO(layer)) for layer in layers]
        self.environment = dict(entry.split("=", 1) for entry in self.settings["config"]["Env"])

    def names(self) -> set[str]:
        return {name for layer in self.layers for name in layer.getnames()}

    def read(self, path: str) -> bytes:
        """Return a file as a container sees it: from the last layer that contains it."""
        for layer in reversed(self.layers):
            if path.strip("/") in layer.getnames():
                return layer.extractfile(path.strip("/")).read()
        raise FileNotFoundError(path)

    def versions(self) -> dict[str, str]:
        """Return {package: version} from the metadata of the installed Python packages."""
        found = {}
        for name in self.names():
            if name.endswith(".dist-info/METADATA"):
                metadata = Parser().parsestr(self.read(name).decode())
                found[metadata["Name"]] = metadata["Version"]
        return found


@pytest.fixture(scope="module", params=["light", "full"])
def image(request) -> Image:
    return Image(built(request.param)[0])


def test_tag_and_entrypoint_match_the_real_image(image):
    assert image.manifest["RepoTags"] == ["quay.io/ascend/vllm-ascend:v0.11.0rc1"]
    shell, option, script, separator = image.settings["config"]["Entrypoint"]
    assert (shell, option, separator) == ("/bin/bash", "-c", "--")
    sourced = re.findall(r"source (\S+)", script)
    assert sourced == ["/usr/local/Ascend/ascend-toolkit/set_env.sh", "/usr/local/Ascend/nnal/atb/set_env.sh"]
    assert script.endswith('&& exec "$@"')
    assert b"export ASCEND_TOOLKIT_HOME=" in image.read(sourced[0])
    assert b"export ATB_HOME_PATH=" in image.read(sourced[1])


def test_versions_match_the_release(image):
    versions = image.versions()
    assert versions["vllm_ascend"] == "0.11.0rc1"
    assert versions["torch_npu"] == "2.7.1"
    (record,) = [name for name in image.names() if name.endswith("ascend_toolkit_install.info")]
    assert b"\nversion=8.3.RC1\n" in image.read(record)


def test_patch_applies_to_the_file_in_the_image(image):
    patch = RELEASE["patch"]
    text = image.read(patch["target"])
    line = re.compile(rb'^(        )("MRotaryEmbedding": AscendMRotaryEmbedding,)$', re.MULTILINE)
    patched, count = line.subn(rb"\1# \2", text)
    assert count == 1
    assert hashlib.sha256(text).hexdigest() == patch["sha256"]
    assert hashlib.sha256(patched).hexdigest() == patch["patched_sha256"]
    compile(patched, patch["target"], "exec")


def test_telemetry_is_disabled(image):
    assert image.environment["VLLM_NO_USAGE_STATS"] == image.environment["DO_NOT_TRACK"] == "1"


def test_commands_exist(image):
    for name in ("vllm", "modelscope", "hf"):
        assert image.read(f"usr/local/bin/{name}").startswith(b"#!/usr/bin/python3\n")
    for name in ("usr/bin/bash", "usr/bin/python3.11", "usr/bin/lscpu", "usr/bin/ps"):
        assert name in image.names()


def test_root_account_exists(image):
    assert image.read("etc/passwd").startswith(b"root:x:0:0:root:/root:/bin/bash\n")


@TARGETS
def test_nothing_is_built_twice(target):
    first = built(target)
    inode = first[0].stat().st_ino
    done = subprocess.run([ENGINE / "build", target], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [str(path) for path in first]
    assert first[0].stat().st_ino == inode


def test_full_image_names_the_folder_that_it_needs():
    archive, folder = built("full")
    assert Image(archive).environment["ASCEND_TESTBED_MOUNTS"] == str(folder)
    assert (folder / "lib/python3.11/site-packages/vllm").is_dir()


def test_mpi_image_adds_mpich_and_hccl_test_to_the_full_image():
    full, mpi = (Image(built(target)[0]) for target in ("full", "mpi"))
    assert full.names() - mpi.names() == set()
    added = mpi.names() - full.names()
    program = f"usr/local/Ascend/ascend-toolkit/{RELEASE['cann']}/tools/hccl_test/bin/all_reduce_test"
    assert {program, "usr/bin/mpiexec", "usr/bin/mpiexec.hydra", "usr/bin/hydra_pmi_proxy"} <= added
    assert mpi.environment == full.environment
