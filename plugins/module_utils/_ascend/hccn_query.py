# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask ``hccn_tool`` many things at once, without ever waiting for ever. PRIVATE to the collection.

The functions get the runner of commands as an argument, so they need no node: ``run(argv, timeout_s)`` returns
``(exit status, stdout, stderr)``, status None when the time was up.
"""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool, npu_devices, npu_smi
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands

# -status answers speed and duplex at once.
QUERIES = ("link", "net_health", "ip", "gateway", "netdetect", "lldp", "tls", "status", "mtu", "fec", "optical",
           "link_stat")
TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"
_BUSY_WORDS = ("is busy", "Get lock failed", "occupied")
_BUSY_TRIES = 4
_BUSY_PAUSE_S = 0.3


def run_bounded(argv, timeout_s):
    """Run a command as `tools.run` does; returns (exit status, stdout, stderr), status None when time was up.

    Raises OSError when the program cannot be started.
    """
    outcome = commands.run(argv, timeout_s)
    if outcome.error and not outcome.timed_out:
        raise OSError(outcome.error)
    return outcome.rc, outcome.stdout, outcome.stderr


def ask(run, tool, npu, query, timeout_s, arguments=(), sleep=time.sleep):
    """Return the result of one query as ``hccn_tool.parse`` gives it, or ``{"error": {"kind", "message", "code"}}``.

    ``kind``: ``timeout`` (no answer in time), ``tool`` (the tool reports an error; ``code`` is its exit status, which
    is not unique, so the message counts), ``empty`` (nothing was printed), ``unreadable`` (a text that we do not know).
    """
    argv = [tool, "-i", str(npu), "-" + query, "-g", *arguments]
    for attempt in range(1, _BUSY_TRIES + 1):
        code, out, err = run(argv, timeout_s)
        if code is None:
            return _error("timeout", "no answer to -%s within %g s" % (query, timeout_s))
        if attempt < _BUSY_TRIES and any(words in out + err for words in _BUSY_WORDS):
            sleep(_BUSY_PAUSE_S * attempt)
            continue
        return _judged(query, code, out, err)
    raise AssertionError("unreachable")


def _judged(query, code, out, err):
    """Weigh exit status, stdout and stderr: errors are printed to either, and answers come with any status."""
    parsed = _parsed(query, out)
    # A ping with loss exits like a failure, and its summary is the answer.
    if parsed is not None and "error" not in parsed and (code == 0 or query == "ping"):
        return parsed
    said = parsed if parsed is not None and "error" in parsed else _parsed(query, err)
    if said is not None and "error" in said:
        return _error("tool", said["error"]["message"], code)
    line = next((line.strip() for line in (err + "\n" + out).splitlines() if line.strip()), None)
    if code != 0:
        return _error("tool", line or "exit status %d without a message" % code, code)
    return _error("unreadable", line, code) if line else _error("empty", "nothing was printed", code)


def _parsed(query, text):
    try:
        return hccn_tool.parse(query, text)
    except hccn_tool.ParseError:
        return None


def _error(kind, message, code=None):
    return {"error": {"kind": kind, "message": message, "code": code}}


def query_npus(run, tool, npus, queries, timeout_s):
    """Return ``{npu (str): {query: result}}``: NPUs side by side, one query at a time for each.

    After a query without an answer the same NPU is asked nothing more: its tool hangs, and would for every query.
    """
    def one_npu(npu):
        answers, hung = {}, None
        for query in queries:
            if hung:
                answers[query] = _error("skipped", "not asked, because -%s did not answer" % hung)
                continue
            answers[query] = ask(run, tool, npu, query, timeout_s)
            if answers[query].get("error", {}).get("kind") == "timeout":
                hung = query
        return answers

    if not npus:
        return {}
    with ThreadPoolExecutor(len(npus)) as pool:
        return dict(zip((str(npu) for npu in npus), pool.map(one_npu, npus)))


def device_npus(names):
    """Return the numbers N of the ``davinciN`` among the names of /dev, in order."""
    numbers = [npu_devices.device_number("/dev/" + name) for name in names]
    return sorted(number for number in numbers if number is not None)


def npu_processes(run, npu_smi_path, timeout_s):
    """Return ``[{"npu", "pid", "name", "memory_mb"}]`` of what holds an NPU now, or None when npu-smi cannot tell."""
    try:
        code, out, _err = run([npu_smi_path, "info"], timeout_s)
        info = npu_smi.parse_info(out) if code == 0 else {}
    except (OSError, npu_smi.ParseError):
        return None
    if "processes" not in info:
        return None
    return [{key: process.get(key) for key in ("npu", "pid", "name", "memory_mb")} for process in info["processes"]]
