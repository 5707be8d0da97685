# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the cause that a server log gives for a failed start or a dead engine.

One table maps what vLLM, torch_npu, CANN and HCCL print (error codes before wording) to causes; a short set of rules
ranks them. One fault leaves many traces: its peers time out, the engine dies, the server is told to stop. So a cause
ranks by how near it is to a fault, then by where it stands in the text. What the table does not know stays ``unknown``.

Codes and key words: HCCL user guide, chapter on fault diagnosis (CANN 8.x); ACL and runtime error codes of CANN.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# How near to a fault a cause is. The order is the ranking.
FAULT, PEER, TIMEOUT, ENGINE, SIGNAL, WARNING, HEALTHY = range(7)

UNKNOWN = "unknown"


class Cause(NamedTuple):
    """A cause; ``signatures`` are regular expressions, the one that tells most first: its line becomes the evidence."""

    id: str
    level: int
    remedy: str
    signatures: tuple
    hides: tuple = ()


def _code(code):
    return r"(?<![A-Za-z0-9])%s(?![0-9])" % code


def _error_code(number):
    return r"error code(?: is|:) ?%s\b" % number


CAUSES = (
    # --- HCCL: settings and rank table -------------------------------------------------------------------------------
    Cause("nic_name_not_found", FAULT,
          "Set HCCL_SOCKET_IFNAME (and GLOO_, TP_SOCKET_IFNAME) to a host interface that exists in the container.",
          (r"HCCL_SOCKET_IFNAME, but not found", r"get host ip fail by socket Ifname",
           _code("EI0001") + r".*HCCL_SOCKET_IFNAME", r"Unable to find address for: "), ("env_invalid",)),
    Cause("ip_family_mismatch", FAULT,
          "Give the NPUs of all nodes addresses of one family (hccn_tool -i N -ip -g) or set HCCL_SOCKET_FAMILY.",
          (r"device ip family\[\d+\] is not same as others",), ("env_invalid", "ranktable_invalid")),
    Cause("env_invalid", FAULT,
          "Correct the environment variable that the line names; it also prints the range that is allowed.",
          (r"for environment variable \S+ is invalid", r"\bHCCL_[A-Z_]+\[[^\]]*\] is invalid", _code("EI0001"),
           r"\[InitGroupStage\]\[EnvConfig\]")),
    Cause("tls_mismatch", FAULT,
          "Set the same TLS switch on every NPU of every node: hccn_tool -i N -tls -s enable 0 (or 1 everywhere).",
          (_code("EI0016"), r'for config "tls" is invalid', r"rankList for (en|dis)abled tls:\[[^\]]"),
          ("ranktable_invalid", "link_timeout", "hccl_socket_timeout")),
    Cause("super_device_id_conflict", FAULT,
          "Give each device of a super pod its own super device id (npu-smi info -t spod-info -i N -c 0).",
          (r"devices have same superDeviceId", r"superDeviceId\[[^\]]*\] in superPod\[[^\]]*\] ?is already exist"),
          ("ranktable_invalid", "device_ip_conflict")),
    Cause("device_ip_conflict", FAULT,
          "Make device_ip in the rank table equal to the address of the NPU (hccn_tool -i N -ip -g, /etc/hccn.conf).",
          (r"in the ranktable is inconsistent with the IP", _code("EJ0004"), _code("EI0014")),
          ("ranktable_invalid", "rdev_init_failed")),
    Cause("ranktable_invalid", FAULT,
          "Check RANK_TABLE_FILE: the path, that it is readable in the container, and the field that the line names.",
          (r"is not a valid real path", r"\[RanktableCheck\].*is invalid", _code("EI0004"),
           r"\[InitGroupStage\]\[RanktableConfig\]")),
    Cause("cann_version_mismatch", FAULT,
          "Run the same image on every node: the CANN versions of the ranks differ.",
          (_code("EI0008"), r"\[VersionConflict\]")),
    # --- HCCL: ports and links ---------------------------------------------------------------------------------------
    Cause("bind_address_unavailable", FAULT,
          "The address is not one of this host: correct HCCL_IF_IP or HCCL_SOCKET_IFNAME.",
          (r"bind fail!.*\berror:99\b", r"bind and listen fail, err_no:99\b", r"\[Errno 99\]"), ("hccl_port_in_use",)),
    Cause("hccl_port_in_use", FAULT,
          "Give each instance its own HCCL ports (HCCL_IF_BASE_PORT, HCCL_HOST_SOCKET_PORT_RANGE, "
          "HCCL_NPU_SOCKET_PORT_RANGE) or stop the process that holds them.",
          (_code("EI0019"), _code("EJ0003"), r"bind fail!.*\berror:98\b",
           r"Please check the port status and whether the port is being used", r"bind and listen fail, err_no:98\b")),
    Cause("hccl_socket_timeout", PEER,
          "A rank did not reach the root rank in time: find the missing rank, check that all nodes have started and "
          "that HCCL_SOCKET_IFNAME names a network between them; raise HCCL_CONNECT_TIMEOUT for slow starts.",
          (r"topo exchange (server|agent) get socket timeout", _code("EI0015"), r"TopoExchangeAgent: connect server"),
          ("rank_num_mismatch",)),
    Cause("rank_num_mismatch", PEER,
          "Fewer ranks joined than expected: start all nodes with the same world size and look at the missing one.",
          (r"rank num\[\d+\] ?is different with rank list size",)),
    Cause("link_timeout", PEER,
          "Two NPUs could not connect: check hccn_tool -link, -net_health and -ping between the two addresses, and "
          "whether the other rank failed first.",
          (_code("EI0006"), r"wait socket establish timeout", r"\[InitChannelStage\]\[Timeout\]")),
    Cause("collective_args_mismatch", FAULT,
          "The ranks call different operators or sizes: run the same image, model and arguments on all of them.",
          (_code("EI0005"), r"CMD information .* check fail", r"\[ParameterConflict\]",
           r"arguments for collective communication are inconsistent"), ("link_timeout",)),
    Cause("roce_cqe_error", PEER,
          "RDMA packets were not acknowledged: look for link flaps (hccn_tool -i N -link_stat -g) and for a rank that "
          "exited first.",
          (r"\[ROCE CQE ERROR\]", _code("EI0013"), r"error cqe status", r"Error cqe Occurred"), ("heartbeat_lost",)),
    Cause("heartbeat_lost", PEER,
          "A rank stopped answering: the line names it; look at its log and its network first.",
          (r"Heartbeat Lost Occurred", r"\[HeartbeatAbnormal\].*status\[LOST\]")),
    Cause("task_exec_timeout", TIMEOUT,
          "A collective did not finish in time: compare the logs of all ranks; the one that fails first, or is silent, "
          "is the cause.",
          (_code("EI0002"), r"\[TaskExecStage\]\[Timeout\]", r"execution of the Notify register times out")),
    # --- the device --------------------------------------------------------------------------------------------------
    Cause("sdma_error", FAULT,
          "A memory copy between NPUs failed: check HCCS and HBM (npu-smi info -t ecc), reset or replace the NPU.",
          (_code("EI0012"), r"fftsplus sdma error", r"\bsdma (copy )?error\b")),
    Cause("aicore_error", FAULT,
          "An operator crashed on the AI core: compare versions with the release matrix; if it repeats on one NPU "
          "only, suspect that NPU.",
          (r"Aicore kernel execute failed", r"\[(aicore|vector core) exception\]",
           r"there is an? [\w ]*(aicore|aivec)[\w ]*(error|exception)",
           r"The (aicore|vector core) execution is abnormal", _error_code("507015"),
           _error_code("507035"))),
    Cause("aicpu_error", FAULT,
          "An operator crashed on the AI CPU: check device logs and that CANN and driver fit together.",
          (r"\[aicpu exception\]", r"aicpu execution is abnormal", _error_code("507018"))),
    Cause("op_param_invalid", FAULT,
          "An operator refused its inputs: check model, quantisation and arguments against the release.",
          (_code("EZ1001"), _code("EI0003"), _error_code("16100[12]"), r"\[TaskExecStage\]\[InvalidArgument\]")),
    Cause("hccp_init_failed", FAULT,
          "HCCP on the NPU still serves a process that is ending: wait 10 s after stopping it, then start again.",
          (_code("EJ0001"), r"Failed to initialize the HCCP process", r"hccp init error\["), ("aicpu_error",)),
    Cause("rdev_init_failed", FAULT,
          "The RDMA device of an NPU cannot be opened: check its link and address (hccn_tool -i N -link -g, -ip -g).",
          (r"ra rdev init failed", _code("EJ0002"))),
    Cause("device_busy", FAULT,
          "Another process or container holds the NPU (npu-smi info shows it): stop it or plan other NPUs.",
          (_code("EL0005"), r"Resource_Busy", r"because the device is used")),
    Cause("hbm_not_free", FAULT,
          "Other processes hold HBM of the NPU: stop them (npu-smi info shows them) or lower gpu-memory-utilization.",
          (r"Free memory on device .*less than desired GPU memory utilization",), ("out_of_memory",)),
    Cause("out_of_memory", FAULT,
          "The NPU has no memory left: lower max-model-len, max-num-seqs or gpu-memory-utilization, use more NPUs, or "
          "end other processes on it.",
          (r"NPU out of memory", r"\bOutOfMemoryError\b", _code("EI0011"), _code("EL0004"), _error_code("20700[01]"))),
    Cause("kv_cache_too_small", FAULT,
          "The weights leave too little memory for the KV cache: raise gpu-memory-utilization, lower max-model-len, or "
          "use more NPUs.",
          (r"No available memory for the cache blocks", r"larger than the available KV cache memory")),
    # --- image, driver, model, arguments -----------------------------------------------------------------------------
    Cause("driver_library_missing", FAULT,
          "Mount /usr/local/Ascend/driver/lib64 of the host into the container and keep the image's entrypoint.",
          (r"lib(ascend_hal|dcmi|drv\w*|dsmi\w*|devmmap)\.so[.\d]*: cannot open shared object",)),
    Cause("cann_library_missing", FAULT,
          "The CANN environment is not set: keep the image's entrypoint, which sources set_env.sh of toolkit and nnal.",
          (r"lib(hccl|ascendcl|acl_\w+|atb|opapi|runtime|ge_\w+)\.so[.\d]*: cannot open shared object",)),
    Cause("quantization_unsupported", FAULT,
          "vLLM does not know the quantisation: check that the vLLM Ascend plugin loads and the release supports it.",
          (r"Unknown quantization method", r"--quantization\S*: invalid choice",
           r"quantization is currently not supported in", r"no available ascend quantizer"), ("arguments_invalid",)),
    Cause("model_unsupported", FAULT,
          "This release does not serve the model's architecture: choose a release that the catalogue lists for it.",
          (r"Model architectures \[.*\] (are not supported|failed to be inspected)",)),
    Cause("model_not_found", FAULT,
          "The model path is not in the container: stage the weights and check the mount.",
          (r"Invalid repository ID or local directory specified", r"Can't load the configuration of",
           r"HFValidationError: Repo id must")),
    Cause("arguments_invalid", FAULT,
          "vLLM refused its command line: compare the plan's arguments with the release.",
          (r"vllm(?: serve)?: error: ", r"error: unrecognized arguments")),
    Cause("port_in_use", FAULT,
          "Another process listens on the port: stop it or give the service another one (serving_port).",
          (r"\[Errno 98\]", r"EADDRINUSE")),
    Cause("architecture_unsupported", FAULT,
          "The image is built for another processor: pull it for the node's architecture.",
          (r"exec format error", r"does not match the (detected )?host platform")),
    Cause("module_missing", FAULT,
          "A Python module is missing in the image: use an unchanged image of the release.",
          (r"ModuleNotFoundError: No module named",)),
    Cause("engine_dead", ENGINE,
          "The engine died and this text does not say why: read further up, and the logs in the container (plog).",
          (r"Engine core initialization failed", r"EngineCore failed to start", r"EngineCore encountered a fatal error",
           r"EngineDeadError", r"WorkerProc initialization failed",
           r"(Engine core|Worker) proc\S* .*died unexpectedly")),
    # --- not a fault -------------------------------------------------------------------------------------------------
    Cause("shutdown_by_signal", SIGNAL,
          "The server was told to stop; errors after that are its consequence. Start it again if that was not meant.",
          (r"[Rr]eceived (signal[= ])?SIGTERM", r"API server: shutdown triggered",
           r"Shutting down FastAPI HTTP server", r"INFO: +Shutting down\s*$")),
    Cause("custom_op_missing", WARNING,
          "Nothing to do: the server goes on with PyTorch's operator; the image of the release has the faster one.",
          (r"not in libopapi\.so",)),
    Cause("driver_cann_mismatch", WARNING,
          "Nothing to do at once; bring the driver to the release's recommended version.",
          (r"driver version is too old or does not match CANN",)),
    Cause("startup_ok", HEALTHY, "Nothing to do: the server has started.", (r"Application startup complete\.",)),
)

REMEDIES = {cause.id: cause.remedy for cause in CAUSES}
REMEDIES[UNKNOWN] = "No known cause in this text: look further up, at the other ranks, and at plog in the container."

_SIGNATURES = {cause.id: tuple(re.compile(signature) for signature in cause.signatures) for cause in CAUSES}
# Most lines of a log match nothing: one pass of this drops them.
_ANY = re.compile("|".join([r"TLS SWITCH \("] + ["(?:%s)" % text for cause in CAUSES for text in cause.signatures]))
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# vLLM logs what it handles at these levels: a fault told there is none.
_HANDLED = re.compile(r"(?:^|\)\s*)(?:DEBUG|INFO|WARNING) \d\d-\d\d |\bWARNING -|^WARNING[: ]")
_TLS_SWITCH = re.compile(r"TLS SWITCH \(([01])\)")


class _Found(NamedTuple):
    cause: Cause
    line: int
    evidence: str


def diagnose(text):
    """Rank the causes that a log names, the most likely one first.

    :returns: ``[{"cause", "evidence", "remedy"}]``, never empty; ``evidence`` is the decisive line (two lines for a
        TLS switch that differs between devices), None for ``unknown``.
    """
    lines = [(number, line) for number, line in enumerate(_COLOUR.sub("", text).splitlines()) if _ANY.search(line)]
    ranked = _rank(_find(lines, _since_start(lines)))
    if not ranked:
        return [{"cause": UNKNOWN, "evidence": None, "remedy": REMEDIES[UNKNOWN]}]
    return [{"cause": found.cause.id, "evidence": found.evidence, "remedy": found.cause.remedy} for found in ranked]


def _since_start(lines):
    """The line of the last completed start: what went wrong before it was overcome."""
    started = _SIGNATURES["startup_ok"][0]
    return max([number for number, line in lines if started.search(line)] or [0])


def _find(lines, since):
    lines = [(number, line) for number, line in lines if number >= since]
    found = []
    for cause in CAUSES:
        for signature in _SIGNATURES[cause.id]:
            hit = next(((number, line) for number, line in lines if signature.search(line)
                        and (cause.level > ENGINE or not _HANDLED.search(line))), None)
            if hit:
                found.append(_Found(cause, hit[0], hit[1].strip()))
                break
    return found + _tls_switches(lines, {entry.cause.id for entry in found})


def _tls_switches(lines, known):
    """Device logs state each device's TLS switch; only two that differ say something."""
    switches = {}
    for number, line in lines:
        for value in _TLS_SWITCH.findall(line):
            switches.setdefault(value, (number, line.strip()))
    if len(switches) < 2 or "tls_mismatch" in known:
        return []
    first, second = sorted(switches.values())
    cause = next(cause for cause in CAUSES if cause.id == "tls_mismatch")
    return [_Found(cause, first[0], "%s\n%s" % (first[1], second[1]))]


def _rank(found):
    hidden = {name for entry in found for name in entry.cause.hides}
    stopped = min([entry.line for entry in found if entry.cause.level == SIGNAL] or [float("inf")])

    def place(entry):
        follows_stop = entry.line > stopped and entry.cause.level < SIGNAL
        return follows_stop, entry.cause.level, entry.cause.id in hidden, entry.line

    return sorted(found, key=place)
