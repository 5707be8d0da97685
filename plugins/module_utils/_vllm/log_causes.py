# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of the log triage: the known causes, the messages that show them, their remedies and their effects.

Sources of the codes and messages: HCCL user guide, chapter on fault diagnosis (CANN 8.x); ACL and runtime error codes
of CANN (rt_error_codes.h); the source code of vLLM, vLLM Ascend, Ray, Gloo and moby.
"""

from __future__ import annotations

from typing import NamedTuple

# The levels of causes, from the closest to the fault to the farthest. VAGUE: this node has a fault, but it is unclear
# which part is at fault.
FAULT, VAGUE, PEER, TIMEOUT, ENGINE, SIGNAL, WARNING, HEALTHY = range(8)

UNKNOWN = "unknown"


class Cause(NamedTuple):
    """A cause.

    ``signatures`` are regular expressions. The most specific one is first, because the line that it matches becomes the
    evidence. Each alternative at the top level of an expression must contain a literal of at least four characters, by
    which lines are found. ``.*`` matches at most 250 characters. In an expression with line breaks, the last line is
    the evidence. An example of a line for each of them is in tests/unit/plugins/module_utils/_vllm/log_examples.yml.

    ``effects`` are the ids of causes that this cause produces. They are never ranked above this cause. ``weak`` are the
    signatures that other causes can also produce. A cause with only weak signatures is ranked last in its level.
    """

    id: str
    level: int
    remedy: str
    signatures: tuple[str, ...]
    effects: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()


def _code(code: str) -> str:
    """Return a pattern for an error code of CANN that is not part of a longer word."""
    return r"%s(?<![A-Za-z0-9]%s)(?![0-9])" % (code, code)


def _number(*numbers: str) -> str:
    """Return a pattern for error numbers of ACL and the runtime, in the formats of torch_npu, the runtime and plog."""
    return "|".join(r"(?:error ?code|errcode|ret(?:code)?|rt_?ret|aclret|result)\W*(?:is|=|:)?\W{0,3}%s\b" % number
                    for number in numbers)


# The names of tensors that exist only in weights that were quantized with msModelSlim.
_QUANTIZED = r"(?:deq_scale|quant_bias|(?:weight|input)_(?:scale|offset)\w*)"

CAUSES = (
    # --- HCCL: settings and rank table -------------------------------------------------------------------------------
    Cause("nic_name_not_found", FAULT, "The container has no network interface with the name in the line. List the "
          "interfaces of the node (ip address) and set serving_interface to the one that reaches the other nodes; "
          "remove HCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME and TP_SOCKET_IFNAME from serving_env. Check: "
          "serving.interface.",
          (r"HCCL_SOCKET_IFNAME, but not found", r"get host ip fail by socket Ifname",
           _code("EI0001") + r".*HCCL_SOCKET_IFNAME", r"Unable to find address for: ",
           r"\bifname\W.*(?:does not exist|not found|no such device)"),
          ("env_invalid", "peer_unreachable")),
    Cause("ip_family_mismatch", FAULT, "Some NPUs have an IPv4 and others an IPv6 address. Show them on every node "
          "(hccn_tool -i N -ip -g for every NPU N) and set addresses of one family in /etc/hccn.conf, or "
          "HCCL_SOCKET_FAMILY in serving_env. Check: hccl.address.",
          (r"device ip family\[\d+\] is not same as others",
           r"\bip (?:address )?famil(?:y|ies)\b.*(?:inconsistent|not (?:the )?same|differ|mismatch)"),
          ("env_invalid", "ranktable_invalid")),
    Cause("env_invalid", FAULT, "An environment variable has a value that HCCL does not allow, or that is too small. "
          "The line names the variable and the allowed range or the needed value: correct or remove it in serving_env.",
          (r"HCCL_BUFFSIZE\w* is too small", r"for environment variable \S+ is invalid",
           r"\bHCCL_[A-Z_]+\[[^\]]*\] is invalid", _code("EI0001"), r"\[InitGroupStage\]\[EnvConfig\]")),
    Cause("tls_mismatch", FAULT, "TLS is enabled on some NPUs and disabled on others. Set the same value for every NPU "
          "N of every node: hccn_tool -i N -tls -s enable 0. Check: hccl.tls.",
          (_code("EI0016"), r'for config "tls" is invalid', r"rankList for (?:en|dis)abled tls:\[[^\]]"),
          ("ranktable_invalid", "link_timeout", "hccl_socket_timeout", "transport_init_failed")),
    Cause("super_device_id_conflict", FAULT, "Two NPUs of a super pod have the same super device id. Compare them on "
          "all nodes (npu-smi info -t spod-info -i N -c 0 for every NPU N); the super pod has to be configured again. "
          "Check: npu_driver.npu_type.",
          (r"devices have same superDeviceId", r"superDeviceId\[[^\]]*\] in superPod\[[^\]]*\] ?is already exist"),
          ("ranktable_invalid", "device_ip_conflict")),
    Cause("device_ip_conflict", FAULT, "The address in the rank table is not that of the NPU. Show the address "
          "(hccn_tool -i N -ip -g for every NPU N), compare it with /etc/hccn.conf and the rank table, and correct the "
          "wrong one. Check: hccl.address.",
          (r"in the ranktable is inconsistent with the IP", _code("EJ0004"), _code("EI0014"),
           r"\bdevice_?ip\b.*(?:inconsistent with|does not match|is not the same as)"),
          ("ranktable_invalid", "rdev_init_failed")),
    Cause("ranktable_invalid", FAULT, "HCCL cannot use the file that RANK_TABLE_FILE names. The line says whether the "
          "path or a field is wrong; this collection needs no rank table, so remove RANK_TABLE_FILE from serving_env "
          "if it is not yours.",
          (r"is not a valid real path", r"\[RanktableCheck\].*is invalid", _code("EI0004"),
           r"\[InitGroupStage\]\[RanktableConfig\]",
           r"\brank ?_?table\b.*(?:invalid|not exist|cannot be (?:read|opened)|parse.*fail)")),
    Cause("cann_version_mismatch", FAULT, "The ranks run different versions of CANN: start every node with the same "
          "image (image_tag, image_digest). Check: image.cann_version.",
          (_code("EI0008"), r"\[VersionConflict\]")),
    # --- HCCL: ports and links ---------------------------------------------------------------------------------------
    Cause("bind_address_unavailable", FAULT, "The address in the line is not an address of this node. Compare it with "
          "`ip address`, and correct serving_group_address, serving_bind or HCCL_IF_IP in serving_env. Check: "
          "serving.interface.",
          (r"bind fail!.*\berror:99\b", r"bind and listen fail, err_no:99\b", r"\[Errno 99\]", r"EADDRNOTAVAIL",
           r"cannot assign requested address"),
          ("hccl_port_in_use", "port_in_use", "link_timeout", "hccl_socket_timeout")),
    Cause("hccl_port_in_use", FAULT, "Another process listens on the port that HCCL needs. Find it on the node (ss "
          "-ltnp; an NPU port can be used by another container with the same NPUs) and stop it, or set "
          "serving_hccl_port_base and serving_hccl_npu_port_base to free ports. Check: serving.hccl_ports_free.",
          (_code("EI0019"), _code("EJ0003"), r"bind fail!.*\berror:98\b", r"specific port\[\d+\] fail",
           r"check the port status and whether the port is", r"bind and listen fail, err_no:98\b",
           r"IP address \S+ and (?:the )?port \S+ have already been bound", r"(?:HCCL|HCCP|\bra\b).*EADDRINUSE"),
          ("port_in_use", "link_timeout", "hccl_socket_timeout", "transport_init_failed", "rank_num_mismatch")),
    Cause("hccl_socket_timeout", PEER, "The ranks could not exchange their addresses in time: one of them did not "
          "start, or a firewall drops its connection to the first rank. Find the node whose log ends earlier or has "
          "another error; then open all TCP ports between the nodes, and check that serving_interface is in a network "
          "that they share. Slow starts need HCCL_CONNECT_TIMEOUT (seconds) in serving_env. Checks: serving.group, "
          "hccl.host_reachable.",
          (r"topo exchange (?:server|agent) get socket timeout", _code("EI0015"), r"Wait timeout for sockets? recv",
           r"TopoExchangeAgent: connect server", r"\[Recv\]\[ClusterInfoMsg\]",
           r"topo exchange server connect client failed", r"setup topo detect error",
           r"connection to the root rank tim(?:es|ed) out"),
          ("rank_num_mismatch", "transport_init_failed"), (r"Wait timeout for sockets? recv",)),
    Cause("rendezvous_timeout", PEER, "A process did not join torch's store, or Ray's cluster, in time. Find the node "
          "whose server did not start or has another error, and check that the others reach serving_group_address at "
          "serving_group_port (nc -zv ADDRESS PORT). Checks: serving.group, hccl.host_reachable.",
          (r"waiting for clients\. \d+/\d+ clients joined", r"client socket has timed out after .* trying to connect",
           r"DistStoreError", r"DistNetworkError", r"\[c10d\].*(?:timed out|failed to connect)",
           r"Failed to connect to GCS\b", r"waiting for GCS to become available")),
    Cause("peer_unreachable", PEER, "The processes of this node cannot connect to those of another (Gloo). Compare the "
          "address in the preceding lines with serving_group_address of the nodes, set serving_interface if it is in "
          "the wrong network, and open all TCP ports between the nodes in their firewalls. Checks: serving.interface, "
          "hccl.host_reachable.",
          (r"Gloo connectFullMesh failed", r"connectFullMesh.*(?:fail|time)",
           r"gloo/\S*.*(?:timed out connecting|connect timeout|connection refused|SO_ERROR)"),
          ("rendezvous_timeout",)),
    Cause("rank_num_mismatch", PEER, "Fewer ranks joined than expected. Find the node whose server did not start, and "
          "start all nodes of the group with one run of playbooks/serving.yml. Check: serving.group.",
          (r"rank num\[\d+\] ?is different with rank list size",
           r"\bnumber of ranks\b.*(?:differ|not equal|inconsistent|does not match)")),
    Cause("link_timeout", PEER, "Two NPUs could not connect to each other. Look first at the log of the other rank in "
          "the line: it may have failed before. Otherwise run playbooks/hccl.yml, which tests the network of the NPUs, "
          "and correct what it reports. Checks: hccl.link, hccl.net_health, hccl.tls, hccl.ping_mesh.",
          (_code("EI0006"), r"wait socket establish time ?out", r"\[InitChannelStage\]\[Timeout\]",
           r"connected p2p time ?out", r"time ?out for get p2p status", r"Wait Enable P2P Failed",
           r"rank\[\d+\] get so\w+ time ?out", r"NPUs get so\w+ time ?out", r"LINK_ERROR_INFO",
           r"connection failure between this device and target"),
          ("transport_init_failed", "graph_streams_exhausted")),
    Cause("transport_init_failed", PEER, "A rank responded, but the link to it could not be created. Look at the log "
          "of the other rank (remoteRank or dst_rank in the line) first: it has usually failed before. If it has no "
          "error, run playbooks/hccl.yml. Checks: serving.group, hccl.ping_mesh.",
          (r"\[Recv\]\[RaSocket\].*\brecv fail", _code("EI0009"), r"Transport init error",
           r"\[Transport\w*\]\[Init\].*\bfail", r"transport create fail in thread"),
          (), (r"\[Recv\]\[RaSocket\].*\brecv fail",)),
    Cause("collective_args_mismatch", FAULT, "The ranks call different operators or different sizes, so they do not "
          "run the same program. Start all nodes with the same image, model and arguments, in one run of "
          "playbooks/serving.yml. Checks: serving.up_to_date, weights.same_on_all_nodes.",
          (_code("EI0005"), r"CMD information .* check fail", r"\[ParameterConflict\]",
           r"arguments for collective communication are inconsistent"),
          ("link_timeout", "transport_init_failed")),
    Cause("roce_cqe_error", PEER, "The network between two NPUs did not deliver packets. Look for a rank that ended "
          "first, then for links that go down and up (hccn_tool -i N -link_stat -g for the NPU N of the line), and run "
          "playbooks/hccl.yml. Checks: hccl.link_flaps, hccl.ping_loss.",
          (r"\[ROCE CQE ERROR\]", _code("EI0013"), r"error cqe (?:status|occurred)", r"cqe err(?:or)? status"),
          ("heartbeat_lost",)),
    Cause("heartbeat_lost", PEER, "The rank in the line no longer responds: its process has ended, or its network has "
          "failed. Read the log of its node first, and run playbooks/hccl.yml if that shows no error. Checks: "
          "serving.running, hccl.net_health.",
          (r"heartbeat lost occurred", r"\[HeartbeatAbnormal\].*status\[LOST\]",
           r"\bheartbeat (?:with|of|from) .*\brank\b.* (?:is |was )?lost\b")),
    Cause("task_exec_timeout", TIMEOUT, "The NPUs waited for each other in vain. Compare the logs of all nodes: the "
          "rank that has an earlier error, or that logs nothing, is the cause. Check: serving.engine_progress.",
          (_code("EI0002"), r"\[TaskExecStage\]\[Timeout\]", r"execution of the Notify register times out",
           r"notify wait (?:time ?out|timed out)", r"collective operation timeout", r"fftsplus task time ?out",
           r"seq_num \d+ dispatch time ?out", _number("107020", "507046", "507048"),
           r"stream (?:sync|synchroni[sz]e) time ?out", r"Task from HCCL run failed", r"taskType\[Notify Wait\]")),
    Cause("engine_timeout", TIMEOUT, "A process of the server did not report in time: workers hang, or they still load "
          "the weights. Look for earlier messages of the workers. If they were still loading, set "
          "VLLM_ENGINE_READY_TIMEOUT_S in serving_env and serving_ready_timeout_s to more seconds; otherwise see "
          "whether npu-smi info shows the NPUs as healthy. Checks: serving.health, npu_driver.health.",
          (r"RPC call to \w+ timed out", r"Timed out waiting for engines? ", r"Did not receive response from front-end",
           r"Execution of the model timed out", r"Timed out waiting for .*\bengine core",
           r"shm_broadcast\.py\", line \d+[^\n]*\n[^\n]*raise TimeoutError")),
    # --- the device --------------------------------------------------------------------------------------------------
    Cause("graph_streams_exhausted", FAULT, "The NPU has no streams left for the graphs that vLLM Ascend captures. "
          "Capture fewer of them with serving_args (compilation-config: '{\"cudagraph_mode\": \"FULL_DECODE_ONLY\"}', "
          "or a short list of cudagraph_capture_sizes), or set enforce-eager: true; a newer driver (25.5.1 or later) "
          "has more streams. Check: npu_driver.driver_recommended.",
          (r"Alloc sq cq fail", r"New capture stream failed", r"Create capture stream failed", r"\[SqCqManage\].*fail",
           _code("EL0009"), r"Stream resources are insufficient", r"Insufficient_Stream_Resources",
           r"no stream resource", _number("207005", "207008"), r"capture failed .*(?:stream.resource|old Ascend HDK)",
           r"driver error:resource alloc fail", r"(?:stream|sq|cq)\w*.*drvRetCode=14\b"),
          ("out_of_memory",), (r"driver error:resource alloc fail",)),
    Cause("sdma_error", FAULT, "A copy between two NPUs failed in hardware. Look for memory errors (npu-smi info -t "
          "ecc -i N for the NPU N of the line), then reset the NPU or restart the node; replace the NPU if the error "
          "returns. Check: npu_driver.ecc_errors.",
          (_code("EI0012"), r"fftsplus sdma error", r"\bsdma (?:copy )?(?:error|exception)\b",
           r"\bsdma\b.*\btask exception\b", _number("507013"))),
    Cause("hbm_ecc_error", FAULT, "The memory of an NPU has errors that cannot be corrected (npu-smi info -t ecc -i N "
          "shows them). Restart the node, exclude the NPU with serving_npus until then, and replace it if the errors "
          "return. Check: npu_driver.ecc_errors.",
          (r"HBM MULTI BIT ECC ERROR", r"\bUCE ERROR\b", _number("507053", "507054"), r"multi[- ]bit ecc error"),
          ("aicore_error", "sdma_error")),
    Cause("device_lost", FAULT, "An NPU no longer responds to its driver. npu-smi info shows its health: restart the "
          "node, exclude the NPU with serving_npus until then, and replace it if this returns. Checks: "
          "npu_driver.health, npu_driver.kernel_log.",
          (_number("507010"), r"\bts lost heartbeat\b", r"device heartbeat (?:is )?lost", r"Heartbeat lost! \(dev",
           r"Device\[\d+\] lost heartbeat", r"task scheduler loses the heartbeat"),
          ("aicore_error", "heartbeat_lost")),
    Cause("aicore_error", FAULT, "An operator crashed or hung on the AI core. If it happens on one NPU only, suspect "
          "this NPU (exclude it with serving_npus); otherwise the versions are incompatible: compare driver and image "
          "with the release. Checks: image.vllm_ascend_version, npu_driver.driver_minimum, npu_driver.ecc_errors.",
          (r"ai ?(?:core|vec|v) kernel (?:execute failed|happen error)",
           r"\[aicore(?: trap)? (?:exception|timeout)\]|\[vector core(?: trap)? (?:exception|timeout)\]",
           r"reason=\[?(?:aicore|vector core)(?: trap)? (?:exception|timeout)",
           r"there is an? [\w ]*(?:aicore|aivec)[\w ]*(?:error|exception)",
           r"The (?:aicore|vector core) execution (?:is abnormal|times out)", r"fftsplus (?:aicore|aivector) error",
           _number("507014", "507015", "507016", "507034", "507035", "507036", "507042", "507043"))),
    Cause("aicpu_error", FAULT, "An operator crashed on the AI CPU of the NPU: compare driver and image with the "
          "release, and install the driver that it recommends. Checks: npu_driver.driver_minimum, image.cann_version.",
          (r"\[aicpu (?:exception|timeout)\]", r"aicpu execution (?:is abnormal|times out)",
           r"aicpu kernel (?:execute failed|happen error)", _number("507017", "507018", "507900"))),
    Cause("opp_invalid", FAULT, "CANN's operator package is missing, damaged, or for another chip. Use the published "
          "image of the release for this hardware (image_variant), and keep its entrypoint. Checks: "
          "image.cann_version, image.release_architecture.",
          (_code("E30006"), r"Failed to verify the OPP", r"opp_kernel package is", r"binary_info_config\.json fail",
           r"ASCEND_OPP_PATH.*(?:invalid|not set|not exist)", r"no valid so about OpsKernelInfoStore",
           r"does not match the installed version's device type", r"Parse dynamic kernel config fail",
           r"Op \w+ does not has any binary", _number("561107", "561112")),
          ("device_unavailable", "op_param_invalid", "op_unsupported", "aicpu_error", "npu_platform_init_failed")),
    Cause("npu_platform_init_failed", VAGUE, "CANN could not initialize itself for this chip: its packages in the "
          "image do not fit the chip, or a Python package that they need is missing. Use the published image for this "
          "hardware without changes (image_tag, image_variant), and remove variables from serving_env that point to "
          "another CANN. Check: image.cann_version.",
          (r"\[Init\]\[PlatformInfo\]", r"init (?:runtime )?platform ?info failed", _code("E40021"), r"\[InitTbeFunc\]",
           r"Failed to init(?:ialize)? (?:tbe\b|TeConfigInfo|TeFusion)", r"GELib::InnerInitialize failed",
           r"GEInitialize failed", r"\[Init\]\[Compiler\].*failed", _number("500001")),
          ("op_unsupported",)),
    Cause("op_param_invalid", FAULT, "An operator rejected its inputs: the release does not support this combination "
          "of model, quantization and arguments. Compare plan_model and serving_args with the catalogue; leave out "
          "options of serving_args one by one. Check: serving.plan_warnings.",
          (_code("EZ1001"), _code("EI0003"), _number("161001", "161002"), r"\[TaskExecStage\]\[InvalidArgument\]",
           r"\w+Operation setup failed")),
    Cause("op_unsupported", FAULT, "The NPU or this version of CANN has no such operator: use the image that is built "
          "for this hardware (image_variant), or a release that supports it (plan_release). Check: "
          "image.release_architecture.",
          (_code("EZ3002"), _code("EZ3003"), _code("E19010"), r"No supported Ops kernel and engine are found",
           _number("207000"), r"Cannot find option named 'Ascend", r"\bMLIRCompilationError:",
           r"Error: Unsupported soc_version", r"(?:ERROR \d|failed with error).*\baclnn\w+ not in libopapi\.so"),
          ("custom_op_missing",)),
    Cause("hccp_init_failed", FAULT, "The NPU still serves a process that is ending. Wait 10 seconds after stopping "
          "it, make sure that no other process uses the NPU (npu-smi info), and start again. Checks: "
          "serving.devices_free, npu_driver.npus_free.",
          (_code("EJ0001"), r"Failed to initialize the HCCP process", r"hccp init error\[",
           r"last training process is running", r"HCCP (?:process|service) .*(?:is still running|cannot be started)"),
          ("aicpu_error", "device_unavailable")),
    Cause("rdev_init_failed", FAULT, "The network port of an NPU cannot be opened. See whether it has a link and an "
          "address (hccn_tool -i N -link -g and -ip -g for every NPU N), and run playbooks/hccl.yml. Checks: "
          "hccl.link, hccl.address.",
          (r"\bra[ _]rdev[ _]init failed", _code("EJ0002"), r"RDMA device .*(?:init|open)\w* fail")),
    Cause("device_busy", FAULT, "Another process or container uses the NPU (npu-smi info shows it): stop it, or plan "
          "other NPUs with serving_npus. Checks: serving.devices_free, npu_driver.npus_free.",
          (_code("EL0005"), r"Resource_Busy", r"because the device is used", r"\bdrvRetCode=87\b"),
          ("device_not_visible", "device_unavailable")),
    Cause("device_not_visible", VAGUE, "The container has fewer NPUs than vLLM is configured to use: compare "
          "serving_tensor_parallel_size with serving_npus, and remove ASCEND_RT_VISIBLE_DEVICES from serving_env. "
          "Checks: serving.devices, npu_driver.npu_count.",
          (r"Invalid devId, current device=\d+, valid devId range", _number("107001"), r"Invalid device ID",
           _code("EE1001") + r".*invalid device", r"No NPU devices found or specified in",
           r"local_world_size \(\d+\) must be less than", r"ensure that world_size \(\d+\) is less than"),
          ("device_unavailable",)),
    Cause("platform_not_found", VAGUE, "vLLM found no NPU, since torch_npu or vllm_ascend could not be imported: the "
          "lines above have the reason. Use the published image with its entrypoint (image_tag). Checks: "
          "image.vllm_ascend_version, npu_driver.mount_sources.",
          (r"Failed to load the backend extension: torch_npu", r"Failed to infer device type",
           r"No platform detected, vLLM is running on Unspecified"),
          ("device_unavailable", "device_not_visible")),
    Cause("device_unavailable", VAGUE, "The NPU cannot be opened. See whether npu-smi info on the node shows it as "
          "healthy, whether /dev/davinci*, davinci_manager, devmm_svm and hisi_hdc exist, and whether another process "
          "uses it. Run playbooks/npu_driver.yml. Checks: npu_driver.health, serving.devices, serving.devices_free.",
          (_number("507033", "207004"), _code("EL0001"), r"Can't get ascend_hal device count",
           r"drvMngGetConsoleLogLevel failed",
           r"dcmi (?:module |model )?init\w* failed", r"NPU card health status is not OK",
           r"/dev/(?:davinci\w*|devmm_svm|hisi_hdc)\b.* is not there")),
    Cause("hbm_not_free", FAULT, "Other processes use memory of the NPU: stop them (npu-smi info shows them), or lower "
          "gpu-memory-utilization in serving_args. Checks: npu_driver.npu_idle, serving.devices_free.",
          (r"Free memory on .*\bdevice .* is less than desired", r"Error in memory profiling\."),
          ("out_of_memory",)),
    Cause("out_of_memory", FAULT, "The NPU has no memory left: lower max-model-len, max-num-seqs or "
          "gpu-memory-utilization in serving_args, use more NPUs per instance (serving_tensor_parallel_size), or stop "
          "other processes on the NPU (npu-smi info). Check: npu_driver.npu_idle.",
          (r"NPU out of memory", r"(?<!ray\.exceptions\.)\bOutOfMemoryError\b", _code("EI0011"), _code("EI0007"),
           _code("EL0004"), _number("207001"), r"\[memory allocation error\]", r"alloc(?:ate)?(?: \w+)? memory failed",
           r"halMemAlloc failed", r"ERR00006 PTA memory error", r"Failed to apply for memory"),
          ("transport_init_failed",),
          (r"ERR00006 PTA memory error", r"halMemAlloc failed", r"Failed to apply for memory")),
    Cause("host_out_of_memory", FAULT, "The node has no memory left (free -m; dmesg shows which process was killed): "
          "stop other processes, or run fewer instances (serving_replicas). Loading the weights needs less memory with "
          "safetensors-load-strategy: lazy in serving_args.",
          (r"std::bad_alloc\b", r"(?<![\w.'])MemoryError\b", r"\[Errno 12\]", r"running low on memory",
           r"ray\.exceptions\.OutOfMemoryError", r"DefaultCPUAllocator: can't allocate memory"),
          ("process_crashed",)),
    Cause("shm_too_small", FAULT, "/dev/shm of the container is full: raise serving_shm_size. Check: npu_driver.shm.",
          (r"unable to (?:write to file|mmap|allocate shared memory).*(?:/torch_|/dev/shm|shared memory)",
           r"Bus error\b", r"Insufficient space in /dev/shm", r"/dev/shm.*No space left on device",
           r"Error while creating shared memory segment"),
          ("disk_full", "process_crashed")),
    Cause("disk_full", FAULT, "The disk of the path in the line is full (df -h): remove old images (docker image "
          "prune) and logs. Checks: npu_driver.disk_space, image.free_space.",
          (r"No space left on device", r"\[Errno 28\]", r"Disk quota exceeded")),
    Cause("kv_cache_too_small", FAULT, "The weights leave too little memory for the KV cache: raise "
          "gpu-memory-utilization or lower max-model-len in serving_args, or use more NPUs "
          "(serving_tensor_parallel_size).",
          (r"No available memory for the cache blocks", r"larger than the available KV cache memory",
           r"larger than the maximum number of tokens that can be stored in KV cache")),
    # --- processes ---------------------------------------------------------------------------------------------------
    Cause("threads_forbidden", FAULT, "The container is not allowed to start threads. With \"Operation not "
          "permitted\", Docker is older than 20.10.10 and blocks a system call that the image uses: update Docker "
          "(docker version), or set serving_privileged. With \"Resource temporarily unavailable\", a limit is reached: "
          "raise pids and nproc (docker info, ulimit -u). Check: npu_driver.docker_engine_version.",
          (r"can't start new thread", r"pthread_create(?:\(\))?:? ?(?:failed|error)",
           r"pthread_create: (?:Operation not permitted|Resource temporarily)", r"Failed to create \w+ thread",
           r"thread creation failed", r"unable to create (?:native )?thread"),
          ("packages_mismatch", "module_missing", "platform_not_found", "process_crashed")),
    Cause("fork_forbidden", FAULT, "The NPU does not work in a process that was forked after its first use: set "
          "VLLM_WORKER_MULTIPROC_METHOD: spawn in serving_env.",
          (r"Cannot re-initialize NPU in forked subprocess",)),
    Cause("process_crashed", VAGUE, "A process of the server was killed or crashed. Read the kernel log of the node "
          "(dmesg -T): if it says \"Out of memory\", the node needs more memory or fewer instances (serving_replicas); "
          "a \"segfault\" line names the library, which must have the version of the release. Checks: "
          "npu_driver.kernel_log, image.torch_npu_version.",
          (r"Fatal Python error: Segmentation fault", r"Segfault encountered", r"\bSIGSEGV received\b",
           r"Out of memory: Killed process", r"\boom-kill(?:er)?\b", r"cgroup out of memory: kill",
           r"\bsegfault at [0-9a-f]+ ip\b",
           r"\bexit (?:code|status)[: =]*(?:-9|-11|137|139)\b|\bexitcode[: =]*(?:-9|-11|137|139)\b",
           r"\bexited with (?:code |exit code )?(?:-9|-11|137|139)\b",
           r"(?:killed|terminated|died|crashed|exited) .{0,40}\bSIGKILL\b",
           r"(?:killed|terminated|died|crashed|exited) .{0,40}\bSIGSEGV\b", r"Segmentation fault \(core dumped\)",
           r"worker unexpectedly exits with a connection error"),
          (), (r"worker unexpectedly exits with a connection error",)),
    # --- image, driver, model, arguments -----------------------------------------------------------------------------
    Cause("driver_library_missing", FAULT, "A library of the NPU driver is not in the container. See whether lib64 in "
          "serving_driver_path exists on the node, remove mounts over it from serving_mounts, and keep the entrypoint "
          "of the image. Checks: npu_driver.driver_loaded, npu_driver.mount_sources.",
          (r"lib(?:ascend_hal|dcmi|drv\w*|dsmi\w*|devmmap)\.so[.\d]*: cannot open shared object",
           r"load(?:ing)? (?:\S*/)?lib(?:ascend_hal|dcmi|drv\w*)\.so\S* fail"),
          ("platform_not_found", "device_unavailable")),
    Cause("cann_library_missing", FAULT, "The environment of CANN is not set: keep the entrypoint of the image, which "
          "sources set_env.sh, and remove LD_LIBRARY_PATH from serving_env. Check: image.cann_version.",
          (r"lib(?!cust_)(?:hccl\w*|hcomm\w*|ascendcl\w*|acl_\w+|atb\w*|opapi\w*|nnopbase|runtime|register|ge_\w+|graph"
           r"|profapi|msprofiler|platform|metadef|torch_npu|optiling)\.so[.\d]*: cannot open shared object",
           r"check that the nnal package is installed", r"raise NNAL_EX\b"),
          ("platform_not_found",)),
    Cause("custom_ops_not_built", FAULT, "The operators of vLLM Ascend are not built into this image, or were built "
          "for another version of torch: use the published image of the release without changes (image_tag). Check: "
          "image.vllm_ascend_version.",
          (r"'_C_ascend' object has no attribute", r"ModuleNotFoundError: No module named 'vllm_ascend\.vllm_ascend_C'",
           r"vllm_ascend_C\S*\.so: (?:cannot open|undefined symbol)", r"libvllm_ascend_kernels\.so: cannot open",
           r"_C_ascend::\w+.*(?:not exist|not (?:been )?(?:found|registered|implemented))"),
          ("custom_op_missing", "module_missing", "packages_mismatch")),
    Cause("quantization_unsupported", FAULT, "vLLM does not know the quantization method: the vLLM Ascend plugin is "
          "not loaded, or the release does not support the method. Use the image of plan_release, and the entry of the "
          "catalogue that matches the weights (plan_model). Checks: image.vllm_ascend_version, weights.quantization.",
          (r"Unknown quantization method", r"--quantization\S*: invalid choice",
           r"quantization is currently not supported in", r"no available ascend quantizer",
           r"Input should be .*\binput_value='ascend'", r"quantization method \S+ is not supported",
           r"quantization '?ascend'? is (?:currently )?not supported"),
          ("arguments_invalid",)),
    Cause("quantization_description_missing", FAULT, "--quantization ascend needs quant_model_description.json next to "
          "the weights: stage weights that msModelSlim quantized (weights_repository, weights_quantize_from), or "
          "plan_model without quantization. Check: weights.quantization.",
          (r"Cannot find the config file for ascend",
           r"quant_model_description\S*\.json.*(?:not (?:exist|found)|No such file)",
           r"No such file.*quant_model_description"),
          ("model_not_found", "quantization_description_mismatch")),
    Cause("quantization_description_mismatch", FAULT, "vLLM and the weights disagree about the quantization of the "
          "layer in the line; the files are whole. See whether quant_model_description.json next to the weights has "
          "this name (grep), whether plan_model is the quantized entry of the catalogue, and whether the release "
          "supports weights of this msModelSlim. Checks: weights.quantization, weights.quantization_names, "
          "weights.quantization_types.",
          (r"quant\w*/?[^\n]*\", line \d+[^\n]*\n(?:[^\n]*\n){0,3}[^\n]*KeyError: '",
           r"KeyError: '[\w.]*\b" + _QUANTIZED + "'", r"\] '(?:model\.)?layers\.\d+\.[\w.]*\b" + _QUANTIZED + r"'\s*$",
           r"KeyError: '(?:[\w.]+\.)?(?:[qkv]_proj|gate_proj|up_proj|linear_fc\d|qkv|proj)\.weight'",
           r"no module or parameter named '[\w.]*\b" + _QUANTIZED,
           r"Detected some but not all shards of \S+ are quantized",
           r"quant[ _]?description.*(?:KeyError|not (?:cover|contain|include|found in))"),
          ("weights_damaged",),
          (r"KeyError: '(?:[\w.]+\.)?(?:[qkv]_proj|gate_proj|up_proj|linear_fc\d|qkv|proj)\.weight'",)),
    Cause("weights_damaged", FAULT, "Files of the model are incomplete, or belong to another model: "
          "playbooks/weights.yml verifies and repairs them. Checks: weights.safetensors, weights.files, weights.index.",
          (r"Error while deserializing header", r"SafetensorError", r"weights were not initialized from checkpoint",
           r"size mismatch for \S+: copying", r"MetadataIncompleteBuffer|InvalidHeaderDeserialization|HeaderTooLarge",
           r"load_weights\n(?:[^\n]*\n){0,3}[^\n]*KeyError: '(?:language_model|model|visual)\.[\w.]+'",
           r"KeyError: '(?:language_model|model|visual)\.[\w.]+'", r"Value error, Expecting value: line \d",
           r"Exception: expected value at line \d"),
          ("arguments_invalid",), (r"KeyError: '(?:language_model|model|visual)\.[\w.]+'",)),
    Cause("model_unsupported", FAULT, "This release does not support the architecture of the model: choose a "
          "plan_release that the catalogue lists for plan_model. Check: weights.config.",
          (r"Model architectures \[.*\] (?:are not supported|failed to be inspected)", r"Cannot find model module",
           r"does not recognize this architecture", r"No model architectures are specified",
           r"no module or parameter named '"),
          ("arguments_invalid",), (r"no module or parameter named '",)),
    Cause("model_not_found", FAULT, "The folder of the model does not exist in the container, or has no model: stage "
          "the weights with playbooks/weights.yml, or correct weights_path. Checks: serving.weights_present, "
          "weights.present.",
          (r"Invalid repository ID or local directory specified", r"Can't load the configuration of",
           r"(?<!safetensors: )(?<!file list: )Repo id must (?:be|use) ", r"No supported config format found",
           r"Cannot find any model weights with",
           r"is not a local folder and is not a valid model identifier", r"does not appear to have a file named",
           r"FileNotFoundError: .*(?:config\.json|safetensors|tokenizer)"),
          ("arguments_invalid",)),
    Cause("tokenizer_unsupported", FAULT, "The tokenizer was written by another major version of transformers: take "
          "tokenizer_config.json and tokenizer.json from the original repository of the model (weights_repository). "
          "Check: weights.tokenizer.",
          (r"Tokenizer class \S+ does not exist", r"Couldn't instantiate the backend tokenizer",
           r"did not match any variant of untagged enum")),
    Cause("arguments_invalid", FAULT, "vLLM rejected its command line: correct or remove the option in serving_args "
          "that the line names, or correct serving_tensor_parallel_size if a number is not divisible. Check: "
          "serving.plan_warnings.",
          (r"vllm(?: serve)?: error: ", r"api_server\.py: error: ", r"error: unrecognized arguments",
           r"User-specified max_model_len .* is greater than the derived",
           r"(?:not|must be) divisible by (?:the )?tensor parallel size",
           r"AssertionError: (?:\d+ is not|\w+=\d+ must be) divisible by ", r"invalid (?:tool call|reasoning) parser: ",
           r"(?:tool|reasoning) parser '[^']*' not found", r"Tool parser could not locate",
           r"limit_mm_per_prompt`? is only supported for", r"(?:Unsupported|Unknown) speculative (?:decoding )?method",
           r"NotImplementedError: Speculative Decoding",
           r"Quantization method specified in the model config .* does not match",
           r"ValueError: .*\bmax_num_batched_tokens\b", r"\d+ validation errors? for \w*(?:Config|Args)\b")),
    Cause("port_in_use", FAULT, "Another process listens on the port (ss -ltnp shows it): stop it, or choose another "
          "serving_port or serving_group_port. Check: serving.port_free.",
          (r"\[Errno 98\]", r"EADDRINUSE", r"\baddress already in use\b", r"port is already allocated",
           r"OSError: .*\bport \d+ is (?:already )?in use")),
    Cause("architecture_unsupported", FAULT, "The image is built for another processor: pull the one for the node's "
          "architecture (image_tag, image_archive). Checks: serving.image_architecture, image.architecture.",
          (r"exec format error", r"does not match the (?:detected )?host platform", r"no matching manifest for linux/",
           r"cannot execute binary file", r"Illegal instruction")),
    Cause("ray_no_npu", FAULT, "Ray has no free NPU on this node: it was started without NPUs, or another job has "
          "them. `ray status` in the container of the head has to list NPU; start the group again with "
          "playbooks/serving.yml, and leave ASCEND_RT_VISIBLE_DEVICES and RAY_* out of serving_env. Checks: "
          "serving.group, serving.devices.",
          (r"Current node has no (?:NPU|GPU) available", r"required (?:NPU|GPU)s exceeds the total number of available",
           r"No available node types can fulfill resource request .*'[NG]PU'", r"Cannot provide a placement group of ",
           r"vLLM engine cannot start without NPU"),
          ("arguments_invalid",)),
    # --- Docker ------------------------------------------------------------------------------------------------------
    Cause("docker_unavailable", FAULT, "Docker does not respond: start it (systemctl start docker) and read its "
          "journal (journalctl -u docker); its socket is plan_docker_socket. Check: serving.docker_engine.",
          (r"Cannot connect to the Docker daemon",
           r"docker\.sock.*(?:Connection refused|No such file|Permission denied)",
           r"permission denied while trying to connect to the docker")),
    Cause("init_binary_missing", FAULT, "Docker's program docker-init, with which the container starts, is not "
          "installed on the node: install the complete package of Docker (docker-init, or tini as docker-init in its "
          "PATH), and restart Docker. Check: npu_driver.docker_engine.",
          (r"\"?docker-init\"?: (?:executable file not found|no such file)",
           r"docker-init\b.*(?:not found|no such file|cannot find)"),
          ("container_runtime_failed",)),
    Cause("device_node_missing", FAULT, "A device file of the container did not exist when Docker started it. See "
          "which of /dev/davinci* exist: load the driver or plan other NPUs with serving_npus. After a reboot the "
          "driver may come up later than Docker, which does not try again: start the container (docker start). Checks: "
          "serving.devices, npu_driver.device_nodes.",
          (r"gathering device information while adding custom device",
           r"/dev/(?:davinci|devmm|hisi)\w*\W+no such (?:file|device)"),
          ("container_runtime_failed",)),
    Cause("mount_source_missing", FAULT, "A file or folder that the container mounts does not exist on the node: "
          "create it, or correct serving_mounts, serving_driver_path or weights_path. Check: serving.mount_sources.",
          (r"bind source path does not exist", r"error mounting .* to rootfs at"),
          ("container_runtime_failed",)),
    Cause("container_name_taken", FAULT, "Another container has the name: remove it (docker rm), or set "
          "serving_container_name. Check: serving.name_free.",
          (r"container name \S+ is already in use",)),
    Cause("image_unavailable", FAULT, "The node does not have the image and cannot pull it: run playbooks/image.yml, "
          "with image_registry_mirror or image_archive if the node has no access to the registry. Check: "
          "serving.image_present.",
          (r"No such image", r"manifest unknown", r"pull access denied", r"unable to find image")),
    Cause("container_runtime_failed", TIMEOUT, "Docker could not start the process of the container: the end of the "
          "line has the reason. Check: serving.start.",
          (r"OCI runtime create failed", r"failed to create (?:shim )?task", r"unknown or invalid runtime name")),
    Cause("engine_hung", FAULT, "The engine hung, and the health check stopped it (serving_restart_hung). If it hangs "
          "again, use a release without this defect (plan_release; see the warnings of the plan). Checks: "
          "serving.engine_progress, serving.plan_warnings.",
          (r"ascend\.vllm health check: the engine hangs",)),
    Cause("module_missing", FAULT, "A Python module, or a library that it needs, is missing in the image: use the "
          "published image of the release without changes (image_tag). Check: image.vllm_ascend_version.",
          (r"ModuleNotFoundError: No module named", r"ImportError: No module named", r"/python[\d.]*: No module named",
           r"ImportError: \S+\.so[.\d]*: cannot open shared object file"),
          ("npu_platform_init_failed", "platform_not_found"),
          (r"ImportError: \S+\.so[.\d]*: cannot open shared object file",)),
    Cause("packages_mismatch", FAULT, "Packages in the image do not fit together (vLLM, vllm-ascend, torch, "
          "torch_npu): use the published image of the release without changes (image_tag). Checks: image.vllm_version, "
          "image.torch_npu_version.",
          (r"ImportError: cannot import name", r"undefined symbol: ",
           r"AttributeError: module '(?:vllm|torch|transformers|triton)\S*' has no attribute",
           r"'_OpNamespace' '_C' object has no attribute",
           r"AttributeError: '?\w*Tokenizer\w*'?(?: object)? has no attribute",
           r"is already used by a Transformers config", r"Numba needs NumPy", r"`np\.\w+` was removed in the NumPy",
           r"compiled using NumPy 1\.x cannot be run"),
          ("platform_not_found",), (r"compiled using NumPy 1\.x cannot be run",)),
    Cause("engine_dead", ENGINE, "The engine died, and this log does not show why: read the log of the container from "
          "its start (docker logs) and the logs of the other nodes. playbooks/diagnostics.yml collects them. Check: "
          "serving.running.",
          (r"Engine core initialization failed", r"EngineCore failed to start", r"EngineCore encountered a fatal error",
           r"EngineDeadError", r"WorkerProc initialization failed", r"EngineGenerateError",
           r"(?:engine core|worker|engine) proc\w*\b.*died unexpectedly", r"got fatal signal from worker processes",
           r"engine (?:loop|process) (?:is|has) d(?:ead|ied)", r"Engine process failed to start",
           r"\bcore proc\(s\): \{.*\d")),
    # --- no fault ----------------------------------------------------------------------------------------------------
    Cause("shutdown_by_signal", SIGNAL, "The server received a signal to stop, which caused the errors after it. Start "
          "it with playbooks/serving.yml if this was not intended.",
          (r"received (?:signal[= :]*)?(?:SIGTERM|SIGINT)\b", r"received signal 15\b", r"got signal: ?15\b",
           r"Received 15 death signal", r"API server: shutdown triggered", r"Shutting down FastAPI HTTP server",
           r"INFO: +Shutting down\s*$")),
    Cause("custom_op_missing", WARNING, "Nothing to do: the server uses the operator of PyTorch, which is slower. The "
          "published image of the release has the faster one (image_tag).",
          (r"not in libopapi\.so", r"Custom op \S+ is registered but its underlying")),
    Cause("driver_cann_mismatch", WARNING, "Not urgent: install the driver that is recommended for the release. Check: "
          "npu_driver.driver_recommended.",
          (r"driver version is too old or does not match CANN", r"driver version .*not (?:match|compatible)")),
    Cause("startup_ok", HEALTHY, "Nothing to do: the server has started.",
          (r"Application startup complete\.",)),
)

NO_KNOWN_CAUSE = (
    "No known cause. Read the lines around this one, the logs of the other nodes, and plog in the container; "
    "playbooks/diagnostics.yml collects them.")
BY_ID = {cause.id: cause for cause in CAUSES}

# The parts of CANN, by the second character of the error codes that they print.
COMPONENTS = {
    "1": "the graph engine", "2": "the fusion engine", "3": "the AI CPU", "4": "the operator compiler",
    "9": "the operator compiler", "E": "the runtime", "H": "ACL, the interface of CANN",
    "I": "HCCL, the communication between NPUs", "J": "HCCP, the network of the NPUs", "K": "the profiler",
    "L": "the NPU driver", "Z": "an operator",
}
