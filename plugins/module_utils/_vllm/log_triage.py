# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the cause of a failed start or a dead engine in a server log.

A table maps messages of vLLM, torch_npu, CANN and HCCL (error codes rather than wording) to causes, and a few rules
rank them. One fault leaves many traces: its peers time out, the engine dies, the server is stopped. So causes are
ranked by how close they are to the fault, then by their position in the text. A log without any message of the table
gives the cause ``unknown``.

Codes and keywords: HCCL user guide, chapter on fault diagnosis (CANN 8.x); ACL and runtime error codes of CANN.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Iterable, Pattern, TypedDict

    Line = tuple[int, str]

    class Diagnosis(TypedDict):
        """A cause in a log. ``evidence`` is the decisive line, None for the cause ``unknown``."""

        cause: str
        evidence: str | None
        remedy: str

# How close a cause is to the fault, in the order of the ranking. VAGUE: an NPU has a fault, but it is unclear which.
FAULT, VAGUE, PEER, TIMEOUT, ENGINE, SIGNAL, WARNING, HEALTHY = range(8)

UNKNOWN = "unknown"


class Cause(NamedTuple):
    """A cause. ``signatures`` are regular expressions, the most specific first, since its line becomes the evidence;
    ``hides`` are the ids of causes that are only consequences of this one."""

    id: str
    level: int
    remedy: str
    signatures: tuple[str, ...]
    hides: tuple[str, ...] = ()


def _code(code: str) -> str:
    """Return a pattern for an error code; it starts with the code itself, since such a pattern is found faster."""
    return r"%s(?<![A-Za-z0-9]%s)(?![0-9])" % (code, code)


def _error_code(*numbers: str) -> str:
    """Return a pattern for ACL error numbers (CANN: rt_error_codes.h) as torch_npu, the runtime and plog print them."""
    return r"(?:error ?code|ret(?:Code)?|rtRet|rt_ret|aclRet)\W*(?: is|=|:)?\W{0,3}(?:%s)\b" % "|".join(numbers)


CAUSES = (
    # --- HCCL: settings and rank table -------------------------------------------------------------------------------
    Cause("nic_name_not_found", FAULT,
          "Set HCCL_SOCKET_IFNAME (and GLOO_, TP_SOCKET_IFNAME) to a host interface that exists in the container.",
          (r"HCCL_SOCKET_IFNAME, but not found", r"get host ip fail by socket Ifname",
           _code("EI0001") + r".*HCCL_SOCKET_IFNAME", r"Unable to find address for: ",
           r"\bifname\W.*(?:does not exist|not found|no such device)"), ("env_invalid",)),
    Cause("ip_family_mismatch", FAULT,
          "Give the NPUs of all nodes addresses of the same family (hccn_tool -i N -ip -g) or set HCCL_SOCKET_FAMILY.",
          (r"device ip family\[\d+\] is not same as others",
           r"\bip (?:address )?famil(?:y|ies)\b.*(?:inconsistent|not (?:the )?same|differ|mismatch)"),
          ("env_invalid", "ranktable_invalid")),
    Cause("env_invalid", FAULT,
          "Correct the environment variable that is named in the line, which also prints the allowed range.",
          (r"for environment variable \S+ is invalid", r"\bHCCL_[A-Z_]+\[[^\]]*\] is invalid", _code("EI0001"),
           r"\[InitGroupStage\]\[EnvConfig\]")),
    Cause("tls_mismatch", FAULT,
          "Set the same TLS switch on every NPU of every node: hccn_tool -i N -tls -s enable 0 (or 1 everywhere).",
          (_code("EI0016"), r'for config "tls" is invalid', r"rankList for (en|dis)abled tls:\[[^\]]"),
          ("ranktable_invalid", "link_timeout", "hccl_socket_timeout")),
    Cause("super_device_id_conflict", FAULT,
          "Give each device of a super pod a unique super device id (npu-smi info -t spod-info -i N -c 0).",
          (r"devices have same superDeviceId", r"superDeviceId\[[^\]]*\] in superPod\[[^\]]*\] ?is already exist"),
          ("ranktable_invalid", "device_ip_conflict")),
    Cause("device_ip_conflict", FAULT,
          "Make device_ip in the rank table equal to the address of the NPU (hccn_tool -i N -ip -g, /etc/hccn.conf).",
          (r"in the ranktable is inconsistent with the IP", _code("EJ0004"), _code("EI0014"),
           r"\bdevice_?ip\b.*(?:inconsistent with|does not match|is not the same as)"),
          ("ranktable_invalid", "rdev_init_failed")),
    Cause("ranktable_invalid", FAULT,
          "Check RANK_TABLE_FILE: its path, whether the container can read it, and the field named in the line.",
          (r"is not a valid real path", r"\[RanktableCheck\].*is invalid", _code("EI0004"),
           r"\[InitGroupStage\]\[RanktableConfig\]",
           r"\brank ?_?table\b.*(?:invalid|not exist|cannot be (?:read|opened)|parse.*fail)")),
    Cause("cann_version_mismatch", FAULT,
          "The CANN versions of the ranks differ: run the same image on every node.",
          (_code("EI0008"), r"\[VersionConflict\]")),
    # --- HCCL: ports and links ---------------------------------------------------------------------------------------
    Cause("bind_address_unavailable", FAULT,
          "The address does not belong to this host: correct HCCL_IF_IP or HCCL_SOCKET_IFNAME.",
          (r"bind fail!.*\berror:99\b", r"bind and listen fail, err_no:99\b", r"\[Errno 99\]",
           r"EADDRNOTAVAIL|[Cc]annot assign requested address"), ("hccl_port_in_use", "port_in_use")),
    Cause("hccl_port_in_use", FAULT,
          "Give each instance its own HCCL ports (HCCL_IF_BASE_PORT, HCCL_HOST_SOCKET_PORT_RANGE, "
          "HCCL_NPU_SOCKET_PORT_RANGE) or stop the process that uses them.",
          (_code("EI0019"), _code("EJ0003"), r"bind fail!.*\berror:98\b",
           r"Please check the port status and whether the port is being used", r"bind and listen fail, err_no:98\b",
           r"IP address \S+ and (?:the )?port \S+ have already been bound", r"(?:HCCL|HCCP|\bra\b).*EADDRINUSE"),
          ("port_in_use",)),
    Cause("hccl_socket_timeout", PEER,
          "A rank did not reach the root rank in time: find the missing rank, check that all nodes have started and "
          "that HCCL_SOCKET_IFNAME names a network between them; raise HCCL_CONNECT_TIMEOUT for slow starts.",
          (r"topo exchange (server|agent) get socket timeout", _code("EI0015"), r"TopoExchangeAgent: connect server",
           r"connection to the root rank times? ?out"),
          ("rank_num_mismatch",)),
    Cause("rendezvous_timeout", PEER,
          "A process did not join the torch store in time: find the missing process, check the master address and "
          "port, and check that the nodes can reach each other.",
          (r"waiting for clients\. \d+/\d+ clients joined", r"client socket has timed out after .* trying to connect",
           r"DistStoreError", r"DistNetworkError", r"\[c10d\].*(?:timed out|failed to connect)")),
    Cause("rank_num_mismatch", PEER,
          "Fewer ranks joined than expected: start all nodes with the same world size and look for the missing rank.",
          (r"rank num\[\d+\] ?is different with rank list size",
           r"\bnumber of ranks\b.*(?:differ|not equal|inconsistent|does not match)")),
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
          (r"\[ROCE CQE ERROR\]", _code("EI0013"), r"error cqe (?:status|occurred)", r"cqe error status"),
          ("heartbeat_lost",)),
    Cause("heartbeat_lost", PEER,
          "The rank in the line stopped answering: look at its log and its network first.",
          (r"heartbeat lost occurred", r"\[HeartbeatAbnormal\].*status\[LOST\]",
           r"\bheartbeat (?:with|of|from) .*\brank\b.* (?:is |was )?lost\b")),
    Cause("task_exec_timeout", TIMEOUT,
          "A collective did not finish in time: compare the logs of all ranks; the rank that fails first, or logs "
          "nothing, is the cause.",
          (_code("EI0002"), r"\[TaskExecStage\]\[Timeout\]", r"execution of the Notify register times out",
           r"notify wait (?:time ?out|timed out)", r"collective operation timeout",
           _error_code("107020", "507046"), r"stream (?:sync|synchroni[sz]e) time ?out")),
    Cause("engine_timeout", TIMEOUT,
          "A worker did not answer the engine: look at earlier messages of the workers, at the NPUs (npu-smi info) "
          "and at plog in the container.",
          (r"RPC call to \w+ timed out", r"Timed out waiting for engine core processes",
           r"Execution of the model timed out")),
    # --- the device --------------------------------------------------------------------------------------------------
    Cause("sdma_error", FAULT,
          "A memory copy between NPUs failed: check HCCS and HBM (npu-smi info -t ecc), then reset or replace the NPU.",
          (_code("EI0012"), r"fftsplus sdma error", r"\bsdma (?:copy )?(?:error|exception)\b",
           r"\bsdma\b.*\btask exception\b", _error_code("507013"))),
    Cause("hbm_ecc_error", FAULT,
          "The HBM of an NPU has uncorrectable errors (npu-smi info -t ecc shows them): reset the NPU, and replace it "
          "if they return.",
          (r"HBM MULTI BIT ECC ERROR", r"\bUCE ERROR\b", _error_code("507053", "507054"),
           r"multi[- ]bit ecc error"), ("aicore_error", "sdma_error")),
    Cause("device_lost", FAULT,
          "The NPU no longer answers (npu-smi info shows its health): reset it or restart the node.",
          (_error_code("507010"), r"\bts lost heartbeat\b", r"device heartbeat (?:is )?lost"),
          ("aicore_error", "heartbeat_lost")),
    Cause("aicore_error", FAULT,
          "An operator crashed on the AI core: compare the versions with those of the release; if it happens on one "
          "NPU only, suspect that NPU.",
          (r"ai ?(?:core|vec|v) kernel (?:execute failed|happen error)",
           r"\[(?:aicore|vector core)(?: trap)? (?:exception|timeout)\]",
           r"there is an? [\w ]*(?:aicore|aivec)[\w ]*(?:error|exception)",
           r"The (?:aicore|vector core) execution (?:is abnormal|times out)",
           r"fftsplus (?:aicore|aivector) error",
           _error_code("50701[456]", "50703[456]", "50704[23]"))),
    Cause("aicpu_error", FAULT,
          "An operator crashed on the AI CPU: check the device logs, and whether CANN and driver are compatible.",
          (r"\[aicpu (?:exception|timeout)\]", r"aicpu execution (?:is abnormal|times out)",
           r"aicpu kernel (?:execute failed|happen error)", _error_code("50701[78]", "507900"))),
    Cause("op_param_invalid", FAULT,
          "An operator rejected its inputs: check whether the release supports the model, quantization and arguments.",
          (_code("EZ1001"), _code("EI0003"), _error_code("16100[12]"), r"\[TaskExecStage\]\[InvalidArgument\]")),
    Cause("op_unsupported", FAULT,
          "The NPU or this version of CANN has no such operator: use the image that is built for this hardware.",
          (_code("EZ3002"), _code("EZ3003"), _code("E19010"), r"No supported Ops kernel and engine are found",
           _error_code("207000"))),
    Cause("hccp_init_failed", FAULT,
          "HCCP on the NPU still serves a process that is terminating: wait 10 s after stopping it, then start again.",
          (_code("EJ0001"), r"Failed to initialize the HCCP process", r"hccp init error\[",
           r"HCCP (?:process|service) .*(?:is still running|cannot be started)"), ("aicpu_error",)),
    Cause("rdev_init_failed", FAULT,
          "The RDMA device of an NPU cannot be opened: check its link and address (hccn_tool -i N -link -g, -ip -g).",
          (r"\bra[ _]rdev[ _]init failed", _code("EJ0002"), r"RDMA device .*(?:init|open)\w* fail")),
    Cause("device_busy", FAULT,
          "Another process or container uses the NPU (npu-smi info shows it): stop it or plan other NPUs.",
          (_code("EL0005"), r"Resource_Busy", r"because the device is used", r"\bdrvRetCode=87\b")),
    Cause("device_not_visible", VAGUE,
          "The container has fewer NPUs than vLLM needs: compare tensor-parallel-size with the devices of the "
          "container and with ASCEND_RT_VISIBLE_DEVICES.",
          (r"Invalid devId, current device=\d+, valid devId range", _error_code("107001"), r"Invalid device ID",
           _code("EE1001") + r".*invalid device"), ("device_unavailable",)),
    Cause("platform_not_found", VAGUE,
          "vLLM found no NPU platform, since torch_npu or vllm_ascend could not be imported: read the lines above, "
          "and keep the entrypoint of the image.",
          (r"Failed to infer device type", r"No platform detected, vLLM is running on UnspecifiedPlatform"),
          ("device_unavailable", "device_not_visible")),
    Cause("device_unavailable", VAGUE,
          "The NPU cannot be opened: check that npu-smi info on the node shows it as healthy, that the container has "
          "/dev/davinci*, davinci_manager, devmm_svm and hisi_hdc, and that nothing else uses the NPU.",
          (_error_code("507033", "207004"), r"Can't get ascend_hal device count", r"drvMngGetConsoleLogLevel failed",
           r"dcmi (?:module )?init\w* failed", r"/dev/(?:davinci\w*|devmm_svm|hisi_hdc)\b.* is not there")),
    Cause("hbm_not_free", FAULT,
          "Other processes use HBM of the NPU: stop them (npu-smi info shows them) or lower gpu-memory-utilization.",
          (r"Free memory on device .*less than desired GPU memory utilization",
           r"Error in memory profiling\."), ("out_of_memory",)),
    Cause("out_of_memory", FAULT,
          "The NPU has no memory left: lower max-model-len, max-num-seqs or gpu-memory-utilization, use more NPUs, or "
          "stop other processes on it.",
          (r"NPU out of memory", r"\bOutOfMemoryError\b", _code("EI0011"), _code("EI0007"), _code("EL0004"),
           _error_code("207001"), r"\[memory allocation error\]", r"alloc(?:ate)?(?: \w+)? memory failed",
           r"ERR00006 PTA memory error")),
    Cause("host_out_of_memory", FAULT,
          "The node has no memory left (dmesg shows which process was killed): stop other processes, or use less "
          "memory to load the weights (safetensors-load-strategy, fewer instances).",
          (r"std::bad_alloc\b", r"(?<![\w.'])MemoryError\b", r"\[Errno 12\]", r"Out of memory: Killed process",
           r"oom-kill\b", r"DefaultCPUAllocator: can't allocate memory")),
    Cause("shm_too_small", FAULT,
          "/dev/shm of the container is full: raise serving_shm_size.",
          (r"unable to (?:write to file|mmap|allocate shared memory).*(?:/torch_|/dev/shm|shared memory)",
           r"Bus error\b", r"/dev/shm.*No space left on device"), ("disk_full",)),
    Cause("disk_full", FAULT, "The disk of the path in the line is full: free space (docker image prune, old logs).",
          (r"No space left on device", r"\[Errno 28\]", r"Disk quota exceeded")),
    Cause("kv_cache_too_small", FAULT,
          "The weights leave too little memory for the KV cache: raise gpu-memory-utilization, lower max-model-len, or "
          "use more NPUs.",
          (r"No available memory for the cache blocks", r"larger than the available KV cache memory")),
    # --- image, driver, model, arguments -----------------------------------------------------------------------------
    Cause("driver_library_missing", FAULT,
          "Mount /usr/local/Ascend/driver/lib64 of the host into the container and keep the entrypoint of the image.",
          (r"lib(ascend_hal|dcmi|drv\w*|dsmi\w*|devmmap)\.so[.\d]*: cannot open shared object",
           r"load(?:ing)? (?:\S*/)?lib(?:ascend_hal|dcmi|drv\w*)\.so\S* fail")),
    Cause("cann_library_missing", FAULT,
          "The CANN environment is not set: keep the entrypoint of the image, which sources set_env.sh of the toolkit "
          "and of nnal.",
          (r"lib(?!cust_)(hccl\w*|hcomm\w*|ascendcl\w*|acl_\w+|atb\w*|opapi\w*|nnopbase|runtime|register|ge_\w+|graph|profapi|"
           r"msprofiler|platform|metadef|torch_npu)\.so[.\d]*: cannot open shared object",)),
    Cause("quantization_unsupported", FAULT,
          "vLLM does not know the quantization method: check that the vLLM Ascend plugin is loaded and that the "
          "release supports the method.",
          (r"Unknown quantization method", r"--quantization\S*: invalid choice",
           r"quantization is currently not supported in", r"no available ascend quantizer",
           r"Input should be .*\binput_value='ascend'", r"quantization method \S+ is not supported",
           r"quantization '?ascend'? is (?:currently )?not supported"),
          ("arguments_invalid",)),
    Cause("quantization_description_missing", FAULT,
          "--quantization ascend needs quant_model_description.json next to the weights: stage weights that "
          "msModelSlim quantized, or serve without quantization.",
          (r"Cannot find the config file for ascend",
           r"quant_model_description\S*\.json.*(?:not (?:exist|found)|No such file)",
           r"No such file.*quant_model_description"), ("model_not_found",)),
    Cause("weights_damaged", FAULT,
          "Files of the model are incomplete, or belong to another model: verify them with playbooks/weights.yml.",
          (r"Error while deserializing header", r"SafetensorError", r"weights were not initialized from checkpoint",
           r"size mismatch for \S+: copying", r"MetadataIncompleteBuffer|InvalidHeaderDeserialization",
           r"KeyError: '(?:language_model|model|visual)\.[\w.]+'")),
    Cause("model_unsupported", FAULT,
          "This release does not support the architecture of the model: choose a release that the catalogue lists for "
          "it.",
          (r"Model architectures \[.*\] (are not supported|failed to be inspected)",
           r"Cannot find model module", r"does not recognize this architecture",
           r"No model architectures are specified"), ("arguments_invalid",)),
    Cause("model_not_found", FAULT,
          "The model path does not exist in the container: stage the weights and check the mount.",
          (r"Invalid repository ID or local directory specified", r"Can't load the configuration of",
           r"Repo id must (?:be|use) ", r"No supported config format found", r"Cannot find any model weights with",
           r"is not a local folder and is not a valid model identifier", r"does not appear to have a file named",
           r"FileNotFoundError: .*(?:config\.json|safetensors|tokenizer)"), ("arguments_invalid",)),
    Cause("tokenizer_unsupported", FAULT,
          "The tokenizer files were written by another major version of transformers: use those of the original "
          "repository.",
          (r"Tokenizer class \S+ does not exist", r"Couldn't instantiate the backend tokenizer")),
    Cause("arguments_invalid", FAULT,
          "vLLM rejected its command line: compare the arguments of the plan with the release.",
          (r"(?:vllm(?: serve)?|api_server\.py): error: ", r"error: unrecognized arguments",
           r"User-specified max_model_len .* is greater than the derived",
           r"(?:not|must be) divisible by (?:the )?tensor parallel size",
           r"Quantization method specified in the model config .* does not match",
           r"ValueError: .*\bmax_num_batched_tokens\b", r"\d+ validation errors? for \w*(?:Config|Args)\b")),
    Cause("port_in_use", FAULT,
          "Another process listens on the port: stop it or choose another port (serving_port).",
          (r"\[Errno 98\]", r"EADDRINUSE", r"\baddress already in use\b", r"port is already allocated",
           r"OSError: .*\bport \d+ is (?:already )?in use")),
    Cause("architecture_unsupported", FAULT,
          "The image is built for another architecture: pull the one for the node's architecture.",
          (r"exec format error", r"does not match the (detected )?host platform",
           r"no matching manifest for linux/", r"cannot execute binary file", r"Illegal instruction")),
    # --- Docker ------------------------------------------------------------------------------------------------------
    Cause("docker_unavailable", FAULT,
          "Docker does not answer: start it (systemctl start docker) and read its journal.",
          (r"Cannot connect to the Docker daemon",
           r"docker\.sock.*(?:Connection refused|No such file|Permission denied)",
           r"permission denied while trying to connect to the [Dd]ocker")),
    Cause("device_missing", FAULT, "A planned device does not exist on the node: load the driver, or plan other NPUs.",
          (r"gathering device information while adding custom device",)),
    Cause("mount_source_missing", FAULT, "A mount source does not exist on the node: create it, or correct the path.",
          (r"bind source path does not exist", r"error mounting .* to rootfs at")),
    Cause("container_name_taken", FAULT, "Remove the container of this name, or set serving_container_name.",
          (r"container name \S+ is already in use",)),
    Cause("image_unavailable", FAULT, "Pull or copy the image to the node with playbooks/image.yml.",
          (r"No such image", r"manifest unknown", r"pull access denied", r"unable to find image")),
    Cause("container_runtime_failed", TIMEOUT,
          "Docker could not start the process of the container: the line has the reason.",
          (r"OCI runtime create failed", r"failed to create (?:shim )?task", r"unknown or invalid runtime name")),
    Cause("engine_hung", FAULT,
          "The engine hung and the health check stopped it (serving_restart_hung): read plog in the container and "
          "npu-smi info; if it hangs again, use a release without this defect (see the warnings of the plan).",
          (r"ascend\.vllm health check: the engine hangs",)),
    Cause("module_missing", FAULT,
          "A Python module is missing in the image: use an unmodified image of the release.",
          (r"ModuleNotFoundError: No module named", r"ImportError: No module named",
           r"/python[\d.]*: No module named")),
    Cause("packages_mismatch", FAULT,
          "Packages in the image are incompatible (vLLM, vllm-ascend, torch, torch_npu): use an unmodified image.",
          (r"ImportError: cannot import name", r"undefined symbol: ",
           r"AttributeError: module 'vllm\S*' has no attribute")),
    Cause("engine_dead", ENGINE,
          "The engine died for a reason that is not in this text: read earlier lines, and plog in the container.",
          (r"Engine core initialization failed", r"EngineCore failed to start", r"EngineCore encountered a fatal error",
           r"EngineDeadError", r"WorkerProc initialization failed", r"EngineGenerateError",
           r"(?:engine core|worker|engine) proc\w*\b.*died unexpectedly",
           r"engine (?:loop|process) (?:is|has) d(?:ead|ied)",
           r"Engine process failed to start", r"\bcore proc\(s\): \{.*\d")),
    # --- no fault ----------------------------------------------------------------------------------------------------
    Cause("shutdown_by_signal", SIGNAL,
          "The server received a signal to stop, which caused the errors after it. Start it again if that was not "
          "intended.",
          (r"received (?:signal[= :]*)?(?:SIGTERM|SIGINT)\b", r"received signal 15\b", r"got signal: ?15\b",
           r"Received 15 death signal", r"API server: shutdown triggered",
           r"Shutting down FastAPI HTTP server", r"INFO: +Shutting down\s*$")),
    Cause("custom_op_missing", WARNING,
          "Nothing to do: the server uses the operator of PyTorch; the image of the release has a faster one.",
          (r"not in libopapi\.so", r"Custom op \S+ is registered but its underlying")),
    Cause("driver_cann_mismatch", WARNING,
          "Not urgent: update the driver to the version that is recommended for the release.",
          (r"driver version is too old or does not match CANN", r"driver version .*not (?:match|compatible)")),
    Cause("startup_ok", HEALTHY, "Nothing to do: the server has started.", (r"Application startup complete\.",)),
)

REMEDIES = {cause.id: cause.remedy for cause in CAUSES}
REMEDIES[UNKNOWN] = (
    "No known cause in this text: read earlier lines, the logs of the other ranks, and plog in the container.")


@lru_cache(maxsize=None)
def _signatures() -> dict[str, tuple[Pattern[str], ...]]:
    """Return the compiled signatures by cause id, compiled on demand: most processes that import this never read a log.

    They ignore case, since releases differ in capitals more than in words.
    """
    return {cause.id: tuple(re.compile(signature, re.IGNORECASE) for signature in cause.signatures)
            for cause in CAUSES}


def _any_of(causes: Iterable[Cause], *others: str) -> Pattern[str]:
    """Return one pattern of all signatures for lines in lower case, four times as fast as one that ignores case."""
    texts = [*others, *(text for cause in causes for text in cause.signatures)]
    return re.compile("|".join("(?:%s)" % re.sub(
        r"\\.|[A-Z]", lambda match: match.group() if match.group()[0] == "\\" else match.group().lower(), text)
        for text in texts))


# Printed once when a server starts, in every version.
_STARTED = re.compile(r"\bnon-default args: |vLLM API server version ")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
# Log levels of vLLM, uvicorn, plog, torch and Python's warnings for errors that were handled. Lines with such a level
# are not a fault.
_HANDLED = re.compile(
    r"(?:^|\)\s*)(?:DEBUG|INFO|WARNING) \d\d-\d\d |\b(?:DEBUG|INFO|WARNING) -|(?:^|\)\s*)(?:DEBUG|INFO|WARNING)[: ]"
    r"|(?:^|[:\s])\[(?:DEBUG|INFO|WARNING|EVENT)\] |(?:^|\s)\[[WI](?:\d{4}|\.\.\.)[\] ]|\b[A-Z]\w*Warning: ")
_TLS_SWITCH = re.compile(r"TLS SWITCH \(([01])\)")


@lru_cache(maxsize=None)
def _filters() -> tuple[Pattern[str], Pattern[str]]:
    """Return patterns that drop most lines: one for all lines, and a shorter one for lines that cannot be a fault."""
    mild = [cause for cause in CAUSES if cause.level > ENGINE]
    for_all, for_mild = (_any_of(causes, "TLS SWITCH ", _STARTED.pattern) for causes in (CAUSES, mild))
    return for_all, for_mild


class _Found(NamedTuple):
    cause: Cause
    line: int
    evidence: str


def diagnose(text: str) -> list[Diagnosis]:
    """Find and rank the causes in a log, the most likely one first.

    :returns: ``[{"cause", "evidence", "remedy"}]``, never empty; ``evidence`` is the decisive line (two lines if the
        TLS switch differs between devices), None for ``unknown``.
    """
    for_all, for_mild = _filters()
    lines = [(number, line) for number, line in enumerate(_COLOR.sub("", text).splitlines())
             if (for_mild if _HANDLED.search(line) else for_all).search(line.lower())]
    ranked = _rank(_find(lines, _last_start(lines)))
    if not ranked:
        return [{"cause": UNKNOWN, "evidence": None, "remedy": REMEDIES[UNKNOWN]}]
    return [{"cause": found.cause.id, "evidence": found.evidence, "remedy": found.cause.remedy} for found in ranked]


def _last_start(lines: list[Line]) -> int:
    """Return the number of the line of the last start; only faults below it are relevant.

    A completed start shows that earlier faults were overcome, and a start after a stop makes that stop irrelevant.
    """
    started = _signatures()["startup_ok"][0]
    stopped, since = False, 0
    for number, line in lines:
        if started.search(line) or (stopped and _STARTED.search(line)):
            stopped, since = False, number
        stopped = stopped or any(signature.search(line) for signature in _signatures()["shutdown_by_signal"])
    return since


def _find(lines: list[Line], since: int) -> list[_Found]:
    lines = [(number, line) for number, line in lines if number >= since]
    found = []
    for cause in CAUSES:
        for signature in _signatures()[cause.id]:
            hit = next(((number, line) for number, line in lines if signature.search(line)
                        and (cause.level > ENGINE or not _HANDLED.search(line))), None)
            if hit:
                found.append(_Found(cause, hit[0], hit[1].strip()))
                break
    return found + _tls_switches(lines, {entry.cause.id for entry in found})


def _tls_switches(lines: list[Line], known: set[str]) -> list[_Found]:
    """Device logs print the TLS switch of each device; it is a cause only if two devices differ."""
    switches: dict[str, Line] = {}
    for number, line in lines:
        for value in _TLS_SWITCH.findall(line):
            switches.setdefault(value, (number, line.strip()))
    if len(switches) < 2 or "tls_mismatch" in known:
        return []
    first, second = sorted(switches.values())
    cause = next(cause for cause in CAUSES if cause.id == "tls_mismatch")
    return [_Found(cause, first[0], "%s\n%s" % (first[1], second[1]))]


def _rank(found: list[_Found]) -> list[_Found]:
    hidden = {name for entry in found for name in entry.cause.hides}
    stopped = min([float(entry.line) for entry in found if entry.cause.level == SIGNAL] or [float("inf")])
    if any(entry.line < stopped for entry in found if entry.cause.level < SIGNAL):
        stopped = float("inf")  # the server stopped because of a fault, which it may log after the stop

    def place(entry: _Found) -> tuple[bool, int, bool, int]:
        follows_stop = entry.line > stopped and entry.cause.level < SIGNAL
        return follows_stop, entry.cause.level, entry.cause.id in hidden, entry.line

    return sorted(found, key=place)
