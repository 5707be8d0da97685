# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask ``hccn_tool`` many things at once, without ever waiting for ever. PRIVATE to the collection.

The functions get the runner of commands as an argument, so they need no node: ``run(argv, timeout_s)`` returns
``(exit status, stdout, stderr)``, status None when the time was up.
"""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.ascend.vllm.plugins.module_utils import hccn_tool, npu_smi, ping_mesh

# -status answers speed and duplex at once.
QUERIES = ("link", "net_health", "ip", "gateway", "netdetect", "lldp", "tls", "status", "mtu", "fec", "optical",
           "link_stat")
TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"
_BUSY_WORDS = ("is busy", "Get lock failed", "occupied")
_BUSY_TRIES = 4
_BUSY_PAUSE_S = 0.3
# Pings that came back in part are tried again (the first packet may have waited for ARP); those that did not come back
# at all only when they are few: many have a cause that a second try does not cure.
_FEW = 8


def run_bounded(argv, timeout_s):
    """Run a command in its own process group; returns (exit status, stdout, stderr), status None when time was up.

    A process that cannot even be killed (it hangs in the driver) is left alone, not waited for. Raises OSError when
    the program cannot be started.
    """
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=dict(os.environ, LC_ALL="C"), start_new_session=True)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        try:
            process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            pass
        return None, "", ""
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


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
    """Return the numbers of the ``davinciN`` among the names of /dev, in order."""
    return sorted(int(name[7:]) for name in names if name.startswith("davinci") and name[7:].isdigit())


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


def host_network(run, timeout_s):
    """Return ``{"interfaces": [{"name", "up", "kind", "addresses": [{"address", "prefix"}]}], "error"}``, IPv4."""
    try:
        code, out, err = run(["ip", "-json", "-details", "-4", "address", "show"], timeout_s)
    except OSError as error:
        return {"interfaces": [], "error": "ip cannot be run: %s" % error}
    try:
        entries = json.loads(out) if code == 0 else None
    except ValueError:
        entries = None
    if entries is None:
        return {"interfaces": [], "error": "ip -json address failed: %s" % (err.strip() or out.strip()[:120] or code)}
    interfaces = [{
        "name": entry["ifname"],
        "up": "UP" in entry.get("flags", []) and "NO-CARRIER" not in entry.get("flags", []),
        "kind": "loopback" if "LOOPBACK" in entry.get("flags", []) else entry.get("linkinfo", {}).get("info_kind"),
        "addresses": [{"address": one["local"], "prefix": one["prefixlen"]} for one in entry.get("addr_info", [])
                      if one.get("family") == "inet" and one.get("scope") != "host"],
    } for entry in entries if entry.get("ifname")]
    return {"interfaces": interfaces, "error": None}


def image_present(run, reference, timeout_s):
    """Return whether the Docker engine has an image, or None when there is no engine to ask."""
    try:
        code, _out, err = run(["docker", "image", "inspect", "--format", "{{.Id}}", reference], timeout_s)
    except OSError:
        return None
    return True if code == 0 else False if "no such image" in err.lower() else None


# --- This node's part of the ping mesh -------------------------------------------------------------------------------

def ping_mesh_part(run, tool, npus, partners, shifts, round_s, timeout_s, limit_s, clock=time.monotonic,
                   sleep=time.sleep):
    """Ping what the schedule says; returns ``{"matrix", "errors", "not_sent", "retried", "rounds", "duration_s"}``.

    No one tells the nodes when a round begins: each starts round n at n times ``round_s`` after its own start, and all
    start within the seconds that Ansible takes. A slot is longer than a ping that works, so nodes keep in step; one
    that waited for a ping without an answer runs its next rounds at once until it has caught up. Out of step an NPU
    may for a while receive two pings at a time, which changes no result: the device answers echo requests by itself.

    :param npus: numbers of the NPUs that send.
    :param partners: ``[{"host", "npus": {number (str): address}} or None]``, in the order of the meetings.
    :param limit_s: pings that would start later are not sent, nor any of an NPU whose tool has hung.
    """
    started = clock()
    rounds = [(partner, shift) for partner in partners for shift in shifts]
    width = 1 + max([int(number) for partner in partners if partner for number in partner["npus"]] + list(npus) + [-1])
    matrix = {str(npu): {partner["host"]: [None] * width for partner in partners if partner} for npu in npus}
    errors, not_sent, hung = {}, [], {}

    def one_npu(npu):
        again = []
        for index, (partner, shift) in enumerate(rounds):
            target = (npu + shift) % width
            address = partner["npus"].get(str(target)) if partner else None
            if address is None:
                continue
            pause = started + index * round_s - clock()
            if pause > 0:
                sleep(pause)
            if hung.get(npu) or not send(npu, partner["host"], target, address):
                not_sent.append((npu, partner["host"], target))
            elif matrix[str(npu)][partner["host"]][target] != 0:
                again.append((partner["host"], target, address))
        if hung.get(npu):
            return 0
        lost = [one for one in again if ping_mesh.failed(matrix[str(npu)][one[0]][one[1]])]
        again = [one for one in again if one not in lost] + (lost if len(lost) <= _FEW else [])
        return sum(1 for host, target, address in again if send(npu, host, target, address))

    def send(npu, host, target, address):
        if clock() - started > limit_s:
            return False
        result = ask(run, tool, npu, "ping", timeout_s, ["address", address])
        hung[npu] = result.get("error", {}).get("kind") == "timeout"
        loss = result.get("loss_percent")
        if loss is None:
            message = result["error"]["message"] if "error" in result else "no summary was printed"
            errors.setdefault(message, []).append("npu %d -> %s npu %d" % (npu, host, target))
            loss = ping_mesh.ERROR
        matrix[str(npu)][host][target] = loss
        return True

    retried = 0
    if npus:
        with ThreadPoolExecutor(len(npus)) as pool:
            retried = sum(pool.map(one_npu, npus))
    return {"matrix": matrix, "errors": {message: sorted(set(pairs))[:8] for message, pairs in errors.items()},
            "not_sent": len(not_sent), "retried": retried, "rounds": len(rounds),
            "duration_s": round(clock() - started, 3)}


def reach_hosts(targets, timeout_s, connect=socket.create_connection):
    """Return ``{host: {"address", "reached": bool, "error"}}`` for ``[{"host", "address", "port"}]``, by TCP.

    A refused connection is an answer too: the other host's kernel gave it.
    """
    def reach(target):
        try:
            connect((target["address"], target["port"]), timeout_s).close()
        except ConnectionRefusedError:
            pass
        except OSError as error:
            return {"address": target["address"], "reached": False, "error": str(error)}
        return {"address": target["address"], "reached": True, "error": None}

    if not targets:
        return {}
    with ThreadPoolExecutor(min(32, len(targets))) as pool:
        return dict(zip((target["host"] for target in targets), pool.map(reach, targets)))
