# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect what a closed site needs from the hub and registry of a bed, stop both, and run site.yml with the result.

The tests depend on each other. The first run is outside of the network of the bed, so it reaches the package indexes of
Debian and Python, but not the hub. The following runs are in this network, so they do not reach the indexes. The engine
of the bed pulls the image from the registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bed_case import IMAGE, MODEL, NODES, ROOT, Bed, execute

sys.path.insert(0, str(ROOT / "molecule" / "testbed"))
from harness.world import SOCKET, World

pytestmark = [pytest.mark.bed, pytest.mark.slow, pytest.mark.long]

bed = Bed("offline")
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")
STATE = CACHE / "beds" / bed.name
LISTS = ROOT / "roles" / "accuracy" / "files"
WHEELS = CACHE / "ais_bench_packages" / hashlib.sha256(
    (LISTS / "requirements-ais-bench.txt").read_bytes()).hexdigest()[:12]
SHARD = "weights/Qwen2.5-VL-32B-Instruct-w8a8/quant_model_weight_w8a8-00004-of-00004.safetensors"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Start the bed with a hub and a registry that has the image. Return the folder with the inventory."""
    folder = tmp_path_factory.mktemp("closed-site")
    if not WHEELS.exists():
        subprocess.run([ROOT / "molecule" / "benchmark" / "files" / "wheels", WHEELS, LISTS], check=True)
    bed("up", "--nodes", "2", "--image", "full", "--hub")
    execute([*bed.command, "service", "start", "registry", "--", "docker-registry", "serve",
             ROOT / "molecule" / "image" / "files" / "registry.yml"], REGISTRY_HTTP_ADDR=":5000",
            REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=str(folder / "registry")).check_returncode()
    pushed = "10.77.0.1:5000/ascend/vllm-ascend:v0.11.0rc1"
    output = bed.shell("node1", f"docker tag {IMAGE} {pushed} && docker push {pushed}")
    for node in NODES:
        bed.shell(node, "docker image rm --force $(docker images --quiet | sort --unique)")
    (folder / "ais_bench").write_text("#!/bin/sh\nexec {} -n {} run -- {}/bin/ais_bench \"$@\"\n".format(
        *bed.command[::2], folder / "site" / "ais_bench_environment"), "utf-8")
    (folder / "ais_bench").chmod(0o755)
    inputs = {
        "plan_architecture": os.uname().machine, "report_path": str(folder / "results"),
        "image_registry_mirror": "127.0.0.1:5000", "image_digest": re.findall("sha256:[0-9a-f]{64}", output)[-1],
        "weights_distribution": "fanout", "benchmark_repeats": 1,
        "accuracy_enabled": True, "accuracy_python": "python3.11", "accuracy_executable": str(folder / "ais_bench"),
        "accuracy_requirements": str(WHEELS / "requirements.txt"),
        "accuracy_datasets": [
            {"name": "tiny", "path": str(ROOT / "molecule/benchmark/files/tiny.jsonl"), "minimum": 50}],
    }
    (folder / "mine.yml").write_text(yaml.safe_dump({"npu_nodes": {"vars": inputs}}), "utf-8")
    yield folder
    bed("down")


def collect(home, *enter, exit_code=0, **environment):
    """Run the playbook and return its output and the new files. The command ``enter`` runs it in another network."""
    playbook = bed.playbook("offline", "-i", home / "mine.yml", offline_path=str(home / "offline"),
                            offline_url="http://10.77.0.1:8000/", offline_site_path=str(home / "site"))
    before = files(home)
    socket = World(STATE).root / SOCKET.lstrip("/")
    done = execute([*enter, *playbook], DOCKER_HOST=f"unix://{socket}", PIP_FIND_LINKS=" ".join(
        [str(WHEELS), os.environ.get("PIP_FIND_LINKS", "")]), **environment)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return " ".join(done.stdout.split()), sorted(path for path, entry in files(home).items()
                                                 if before.get(path) != entry)


def files(home):
    """Return ``{path: (size, SHA-256)}`` from the manifest."""
    manifest = home / "offline" / "manifest.json"
    parts = json.loads(manifest.read_text("utf-8"))["parts"] if manifest.exists() else {}
    return {path: (entry["size"], entry["sha256"]) for part in parts.values() for path, entry in part["files"].items()}


def sent():
    """Return the paths of the files that the hub has sent, with the offsets at which they were resumed."""
    log = (STATE / "services" / "hub.log").read_text("utf-8")
    return re.findall(r"FilePath=(\S+) HTTP\S+ 20\d - ?(bytes=\d+-)?", log)


IN_THE_BED = [*bed.command, "run", "--"]


def test_other_parts_are_collected_although_the_hub_is_not_reachable(home):
    output, new = collect(home, exit_code=2)
    assert "The request to http://10.77.0.1:8090/api/v1/models/" in output
    for pattern in (r"collections/ascend-vllm-.*\.tar\.gz", r"python/ansible-\d.*\.whl", "python/requirements.txt",
                    r"python/jsonschema-.*", r"wheels/3\.11-\w+/libtorrent-.*\.whl", r"ais_bench/ais_bench_.*\.whl",
                    r"ais_bench/jieba-.*\.tar\.gz", "datasets/tiny/tiny.jsonl", r"nodes/docker\.io_.*\.deb",
                    r"nodes/python3-requests_.*\.deb", r"nodes/haproxy_.*\.deb",
                    rf"images/vllm-ascend-v0\.11\.0rc1-{os.uname().machine}/image\.tar"):
        assert any(re.fullmatch(pattern, path) for path in new), pattern
    assert not (home / "offline" / "inventory.yml").exists()


def test_interrupted_download_fails_and_is_resumed(home):
    faults = [{"path": "*00004-of*", "drop_after": 100000, "times": 5}]
    (STATE / "hub-faults.json").write_text(json.dumps(faults), "utf-8")
    output, new = collect(home, *IN_THE_BED, exit_code=2, PIP_INDEX_URL="http://127.0.0.1:9")
    assert "run again, which resumes the download" in output
    assert [path for path in new if not path.startswith("collections/")] == []
    before = len(sent())
    _output, new = collect(home, *IN_THE_BED, PIP_INDEX_URL="http://127.0.0.1:9")
    assert SHARD in new
    assert [(path, bool(start)) for path, start in sent()[before:]] == [(Path(SHARD).name, True)]


def test_second_run_downloads_nothing_and_a_damaged_file_is_replaced(home):
    before = len(sent())
    image = next((home / "offline" / "images").glob("*/image.tar")).stat()
    _output, new = collect(home, *IN_THE_BED, PIP_INDEX_URL="http://127.0.0.1:9")
    assert [path for path in new if not path.startswith("collections/")] == []
    assert len(sent()) == before
    assert next((home / "offline" / "images").glob("*/image.tar")).stat() == image
    damaged = home / "offline" / SHARD
    with damaged.open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"damage")
    known = files(home)
    collect(home, *IN_THE_BED, PIP_INDEX_URL="http://127.0.0.1:9")
    assert [path for path, _start in sent()[before:]] == [Path(SHARD).name]
    assert files(home)[SHARD] == known[SHARD]
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == known[SHARD][1]


def test_site_runs_from_the_folder_without_hub_registry_and_package_index(home):
    for service in ("hub", "registry"):
        bed("service", "stop", service)
    # curl: 7 is a refused connection, and 6 a name that is not resolved.
    for url, exit_code in (("http://10.77.0.1:8090", 7), ("http://10.77.0.1:5000", 7), ("https://pypi.org", 6)):
        for node in NODES:
            bed.shell(node, f"curl --silent --max-time 20 {url}; test $? = {exit_code}")
    (home / "offline").rename(home / "site")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=home / "site", check=True)
    bed("service", "start", "files", "--", sys.executable, "-m", "http.server", "8000", "--bind", "10.77.0.1",
        "--directory", str(home / "site"))
    done = execute(bed.playbook("site", "-i", home / "mine.yml", "-i", home / "site" / "inventory.yml"),
                   PIP_INDEX_URL="http://127.0.0.1:9", PIP_FIND_LINKS="")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    for node in NODES:
        for stage in ("image", "weights", "serving", "functional", "accuracy", "benchmark"):
            result = json.loads((home / "results" / node / f"{stage}.json").read_text("utf-8"))
            assert result["status"] in ("passed", "warned", "waived"), (node, stage, result["checks"])
        assert bed.succeeds(node, f"test -e {MODEL}/config.json")


def test_control_node_is_installed_from_the_folder(home, tmp_path):
    """The commands are those of the guide. No package index can be reached."""
    site = home / "site"
    environment = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}
    execute([sys.executable, "-m", "venv", tmp_path / "venv"]).check_returncode()
    done = execute([tmp_path / "venv/bin/pip", "install", "--quiet", "--no-index", "--require-hashes", "--find-links",
                    site / "python", "--requirement", site / "python/requirements.txt"], **environment)
    assert done.returncode == 0, done.stderr
    (tmp_path / "ansible.cfg").touch()
    done = execute([tmp_path / "venv/bin/ansible-galaxy", "collection", "install", "--no-deps", "--collections-path",
                    tmp_path / "collections", *(site / "collections").glob("*.tar.gz")],
                   ANSIBLE_CONFIG=str(tmp_path / "ansible.cfg"))
    assert done.returncode == 0, done.stderr
    done = execute([tmp_path / "venv/bin/ansible-playbook", "-i", "inventories/sample", "ascend.vllm.plan"],
                   ANSIBLE_CONFIG=str(tmp_path / "ansible.cfg"), ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "collections"))
    assert done.returncode == 0, done.stdout + done.stderr
