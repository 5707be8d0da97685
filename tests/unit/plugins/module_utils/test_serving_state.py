# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log, container and sockets of a service are read as they are."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils import serving_state


@pytest.mark.parametrize(("log", "step"), [
    ("", None),
    ("INFO vLLM API server version 0.11.0", None),
    ("Loading safetensors checkpoint shards:  25% Completed | 1/4\n"
     "Loading safetensors checkpoint shards:  50% Completed | 2/4", "loading weights, 50 %"),
    ("Loading safetensors checkpoint shards: 100% Completed | 4/4\nINFO Loading weights took 12.3 seconds",
     "weights loaded"),
    ("Loading model weights took 21.1 GB\nAvailable memory: 30064771072, total memory: 65452113920", "KV cache sized"),
    ("Available KV cache memory: 30.12 GiB", "KV cache sized"),
    ("GPU KV cache size: 458,752 tokens\nGraph capturing finished in 21 secs, took 0.61 GiB", "graphs captured"),
    ("init engine (profile, create kv cache, warmup model) took 33.21 seconds", "engine initialised"),
    ("Application startup complete.", "API server started"),
])
def test_progress(log, step):
    assert serving_state.progress(log) == step


INSPECTED = {"Id": "c1", "Image": "sha256:i1", "RestartCount": 2, "Config": {"Labels": {"ours": "h1"}},
             "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Error": "", "StartedAt": "t"}}


def test_container():
    assert serving_state.container(INSPECTED, "ours") == {
        "id": "c1", "image": "sha256:i1", "hash": "h1", "status": "exited", "exit_code": 137, "oom_killed": True,
        "error": None, "started_at": "t", "restarts": 2}
    assert serving_state.container(dict(INSPECTED, Config={"Labels": None}), "ours")["hash"] is None
    assert serving_state.container(None, "ours") is None


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:22B9 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 00000000 0 0 4713 1 0
"""


def test_listening_sockets_only():
    assert serving_state.listening([TCP, TCP6, ""]) == {8888: "4711", 80: "4713"}


def test_holder_of_a_real_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        holder = serving_state.holders({port})[port]
    assert holder["pid"] == os.getpid()
    assert holder["process"]
    assert serving_state.holders({port}) == {}


def test_mount_sources(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    mounts = [{"source": str(tmp_path / name), "type": kind} for name, kind in (
        ("file", "file"), ("folder", "directory"), ("file", "directory"), ("gone", "file"), ("folder", "file"))]
    assert [(wrong["expected"], wrong["found"]) for wrong in serving_state.wrong_sources(mounts)] == [
        ("directory", "file"), ("file", "nothing"), ("file", "directory")]
