# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of the log triage: the known causes, the messages that show them, their remedies and their effects.

Sources of the codes and messages: HCCL user guide, chapter on fault diagnosis (CANN 8.x); ACL and runtime error codes
of CANN (rt_error_codes.h); the source code of vLLM, vLLM Ascend, Ray, Gloo and moby. The examples are shortened.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple

# The levels of causes, from the closest to the fault to the farthest. VAGUE: this node has a fault, but it is unclear
# which part is at fault.
FAULT, VAGUE, PEER, TIMEOUT, ENGINE, SIGNAL, WARNING, HEALTHY = range(8)

UNKNOWN = "unknown"


class Cause(NamedTuple):
    """A cause.

    ``signatures`` maps regular expressions to an example of a matching line. The most specific expression is first,
    because the line that it matches becomes the evidence. Each alternative at the top level of an expression must
    contain a literal of at least four characters, by which lines are found. ``.*`` matches at most 250 characters. In
    an expression with line breaks, the last line is the evidence.

    ``effects`` are the ids of causes that this cause produces. They are never ranked above this cause. ``weak`` are the
    signatures that other causes can also produce. A cause with only weak signatures is ranked last in its level.
    """

    id: str
    level: int
    remedy: str
    signatures: Mapping[str, str]
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
    Cause("nic_name_not_found", FAULT,
          "The container has no network interface of the name that the line shows. List the interfaces of the node "
          "(ip address) and set serving_interface to the one that reaches the other nodes; remove HCCL_SOCKET_IFNAME, "
          "GLOO_SOCKET_IFNAME and TP_SOCKET_IFNAME from serving_env. Check: serving.interface.",
          {r"HCCL_SOCKET_IFNAME, but not found":
           "set ifname to [eth9] by HCCL_SOCKET_IFNAME, but not found in the host",
           r"get host ip fail by socket Ifname": "[EnvConfig]get host ip fail by socket Ifname. name[lo] ip[10.0.0.1]",
           _code("EI0001") + r".*HCCL_SOCKET_IFNAME":
               "(EI0001): Value eth9 for environment variable HCCL_SOCKET_IFNAME is invalid.",
           r"Unable to find address for: ": "RuntimeError: [enforce fail] Unable to find address for: eth9",
           r"\bifname\W.*(?:does not exist|not found|no such device)": "socket ifname eth9 does not exist"},
          ("env_invalid", "peer_unreachable")),
    Cause("ip_family_mismatch", FAULT,
          "Some NPUs have an IPv4 and others an IPv6 address. Show them on every node (hccn_tool -i N -ip -g for every "
          "NPU N) and set addresses of one family in /etc/hccn.conf, or HCCL_SOCKET_FAMILY in serving_env. Check: "
          "hccl.address.",
          {r"device ip family\[\d+\] is not same as others":
           "[RanktableCheck]rank[3] device ip family[10] is not same as others[2].",
           r"\bip (?:address )?famil(?:y|ies)\b.*(?:inconsistent|not (?:the )?same|differ|mismatch)":
               "the ip families of the ranks differ"},
          ("env_invalid", "ranktable_invalid")),
    Cause("env_invalid", FAULT,
          "An environment variable has a value that HCCL does not allow. The line names the variable and the allowed "
          "range: correct or remove it in serving_env.",
          {r"for environment variable \S+ is invalid":
           "(EI0001): Value 9 for environment variable HCCL_RDMA_TC is invalid. Expected: range[0, 7].",
           r"\bHCCL_[A-Z_]+\[[^\]]*\] is invalid": "[Parse][rdmaServerLevel]HCCL_RDMA_SL[1000] is invalid.",
           _code("EI0001"): "EI0001: [PID: 7] 2026-11-20 An environment variable is invalid.",
           r"\[InitGroupStage\]\[EnvConfig\]":
               "[InitGroupStage][EnvConfig]errNo[0x5000001] In init env variable param"}),
    Cause("tls_mismatch", FAULT,
          "TLS is switched on at some NPUs and off at others. Set the same value for every NPU N of every node: "
          "hccn_tool -i N -tls -s enable 0. Check: hccl.tls.",
          {_code("EI0016"): "EI0016: [PID: 7] Value Enable for config \"tls\" is invalid.",
           r'for config "tls" is invalid': 'Value Disable for config "tls" is invalid. Expected Value: "consistent"',
           r"rankList for (?:en|dis)abled tls:\[[^\]]": "Current status : rankList for enabled tls:[10.0.0.1/0]"},
          ("ranktable_invalid", "link_timeout", "hccl_socket_timeout", "transport_init_failed")),
    Cause("super_device_id_conflict", FAULT,
          "Two NPUs of a super pod have the same super device id. Compare them on all nodes "
          "(npu-smi info -t spod-info -i N -c 0 for every NPU N); the super pod has to be configured again. Check: "
          "npu_driver.npu_type.",
          {r"devices have same superDeviceId": "devices have same superDeviceId[0x3000000] in superPod[pod_0].",
           r"superDeviceId\[[^\]]*\] in superPod\[[^\]]*\] ?is already exist":
               "superDeviceId[0x1] in superPod[pod_0]is already exist"},
          ("ranktable_invalid", "device_ip_conflict")),
    Cause("device_ip_conflict", FAULT,
          "The rank table names another address than the NPU has. Show the address (hccn_tool -i N -ip -g for every "
          "NPU N), compare it with /etc/hccn.conf and the rank table, and correct the wrong one. Check: hccl.address.",
          {r"in the ranktable is inconsistent with the IP":
           "the IP address(10.0.0.1) in the ranktable is inconsistent with the IP(10.0.0.2)address",
           _code("EJ0004"): "EJ0004: [PID: 7] The device IP differs from that of the network adapter.",
           _code("EI0014"): "(EI0014): The rank table has an IP address that the network adapter does not have.",
           r"\bdevice_?ip\b.*(?:inconsistent with|does not match|is not the same as)":
               "device_ip 10.0.0.1 does not match the address of the network adapter"},
          ("ranktable_invalid", "rdev_init_failed")),
    Cause("ranktable_invalid", FAULT,
          "HCCL cannot use the file that RANK_TABLE_FILE names. The line says whether the path or a field is wrong; "
          "this collection needs no rank table, so remove RANK_TABLE_FILE from serving_env if it is not yours.",
          {r"is not a valid real path": "[RanktableConfig]errNo[0x1] path /ranktable.json is not a valid real path",
           r"\[RanktableCheck\].*is invalid": "[RanktableCheck]errNo[0x5010001] super_device_id[] is invalid",
           _code("EI0004"): "EI0004: [PID: 7] The ranktable or rank is invalid. Reason: the field is empty",
           r"\[InitGroupStage\]\[RanktableConfig\]": "[InitGroupStage][RanktableConfig]errNo[0x5010001] cannot be read",
           r"\brank ?_?table\b.*(?:invalid|not exist|cannot be (?:read|opened)|parse.*fail)":
               "the rank table cannot be opened"}),
    Cause("cann_version_mismatch", FAULT,
          "The ranks run different versions of CANN: start every node with the same image (image_tag, image_digest). "
          "Check: image.cann_version.",
          {_code("EI0008"): "EI0008: The CANN versions are inconsistent.",
           r"\[VersionConflict\]": "[InitGroupStage][VersionConflict]local version[8.1], remote version[8.2]"}),
    # --- HCCL: ports and links ---------------------------------------------------------------------------------------
    Cause("bind_address_unavailable", FAULT,
          "The address in the line is not an address of this node. Compare it with ip address, and correct "
          "serving_group_address, serving_bind or HCCL_IF_IP in serving_env. Check: serving.interface.",
          {r"bind fail!.*\berror:99\b":
           "bind fail! ::1:2, port:60000, sock:25, error:99, Possible Cause: bound already",
           r"bind and listen fail, err_no:99\b": "bind and listen fail, err_no:99, listen_fd:27",
           r"\[Errno 99\]": "OSError: [Errno 99] Cannot assign requested address",
           r"EADDRNOTAVAIL": "zmq.error.ZMQError: EADDRNOTAVAIL",
           r"cannot assign requested address": "bind: cannot assign requested address"},
          ("hccl_port_in_use", "port_in_use", "link_timeout", "hccl_socket_timeout")),
    Cause("hccl_port_in_use", FAULT,
          "Another process listens on the port that HCCL needs. Find it on the node (ss -ltnp, for ports of the NPU: "
          "other containers with the same NPUs) and stop it, or set serving_hccl_port_base and "
          "serving_hccl_npu_port_base to free ports. Check: serving.hccl_ports_free.",
          {_code("EI0019"): "Communication_Error_Bind_IP_Port(EI0019): Failed to enable listening.",
           _code("EJ0003"): "EJ0003: [PID: 7] The IP address and port have been bound already.",
           r"bind fail!.*\berror:98\b":
               "bind fail! family:2, IP:10.0.0.1, port:50000, sock:2, error:98, Possible Cause",
           r"specific port\[\d+\] fail": "socket type[1], listen on ip[10.0.0.1] and specific port[16666] fail.",
           r"check the port status and whether the port is":
               "Please check the port status and whether the port is used",
           r"bind and listen fail, err_no:98\b": "bind and listen fail, err_no:98, listen_fd:27",
           r"IP address \S+ and (?:the )?port \S+ have already been bound":
               "Reason: The IP address 10.0.0.1 and port 50001 have already been bound.",
           r"(?:HCCL|HCCP|\bra\b).*EADDRINUSE": "[ERROR] HCCP(7,vllm): listen failed, EADDRINUSE"},
          ("port_in_use", "link_timeout", "hccl_socket_timeout", "transport_init_failed", "rank_num_mismatch")),
    Cause("hccl_socket_timeout", PEER,
          "The ranks could not exchange their addresses in time: one of them did not start, or a firewall drops its "
          "connection to the first rank. Find the node whose log ends earlier or has another error; then open all TCP "
          "ports between the nodes, and see whether serving_interface is in a network that all of them have. Slow "
          "starts need HCCL_CONNECT_TIMEOUT (seconds) in serving_env. Checks: serving.group, hccl.host_reachable.",
          {r"topo exchange (?:server|agent) get socket timeout":
           "topo exchange server get socket timeout! timeout[120 s]",
           _code("EI0015"): "EI0015: [PID: 7] 2026-11-20 The connection to the root rank timed out.",
           r"Wait timeout for sockets? recv": "[Recv][RaSocket]errNo[0x5000013] Wait timeout for sockets recv, size[4]",
           r"TopoExchangeAgent: connect server": "[Setup]TopoExchangeAgent: connect server[10.0.0.1 : 60000] failed",
           r"\[Recv\]\[ClusterInfoMsg\]": "[Recv][ClusterInfoMsg]receive msg length from fdhandle failed, ret[9]",
           r"topo exchange server connect client failed": "cluster topo exchange server connect client failed",
           r"setup topo detect error": "[Init][CommRootInfo]errNo[0x5000004] setup topo detect error",
           r"connection to the root rank tim(?:es|ed) out": "The connection to the root rank timed out."},
          ("rank_num_mismatch", "transport_init_failed"), (r"Wait timeout for sockets? recv",)),
    Cause("rendezvous_timeout", PEER,
          "A process did not join torch's store in time. Find the node whose server did not start or has another "
          "error, and see whether the others reach serving_group_address at serving_group_port (nc -zv ADDRESS PORT). "
          "Checks: serving.group, hccl.host_reachable.",
          {r"waiting for clients\. \d+/\d+ clients joined": "waiting for clients. 1/2 clients joined.",
           r"client socket has timed out after .* trying to connect":
               "The client socket has timed out after 600000ms while trying to connect to (10.0.0.1, 29500).",
           r"DistStoreError": "torch.distributed.DistStoreError: Timed out after 601 seconds",
           r"DistNetworkError": "torch.distributed.DistNetworkError: The client socket cannot be initialized",
           r"\[c10d\].*(?:timed out|failed to connect)":
               "[c10d] The client socket has failed to connect to [node]:29500"}),
    Cause("peer_unreachable", PEER,
          "The processes of this node cannot connect to those of another one (Gloo). Compare the address in the lines "
          "before with serving_group_address of the nodes, set serving_interface if it is in the wrong network, and "
          "open all TCP ports between the nodes in their firewalls. Checks: serving.interface, hccl.host_reachable.",
          {r"Gloo connectFullMesh failed":
           "RuntimeError: Gloo connectFullMesh failed with [gloo/transport/tcp/pair.cc] x",
           r"connectFullMesh.*(?:fail|time)": "[enforce fail at context.cc] connectFullMesh timed out",
           r"gloo/\S*.*(?:timed out connecting|connect timeout|connection refused|SO_ERROR)":
               "[../third_party/gloo/gloo/transport/tcp/pair.cc:799] connect [10.0.0.1]:3121: Connection refused"},
          ("rendezvous_timeout",)),
    Cause("rank_num_mismatch", PEER,
          "Fewer ranks joined than expected. Find the node whose server did not start, and start all nodes of the "
          "group with one run of playbooks/serving.yml. Check: serving.group.",
          {r"rank num\[\d+\] ?is different with rank list size":
           "[RanktableDetect]rank num[16]is different with rank list size[8] in total topo rank info.",
           r"\bnumber of ranks\b.*(?:differ|not equal|inconsistent|does not match)":
               "the number of ranks does not match the rank size"}),
    Cause("link_timeout", PEER,
          "Two NPUs could not connect to each other. Look first at the log of the other rank in the line: it may have "
          "failed before. Otherwise run playbooks/hccl.yml, which tests the network of the NPUs, and correct what it "
          "names. Checks: hccl.link, hccl.net_health, hccl.tls, hccl.ping_mesh.",
          {_code("EI0006"): "[rank1]: EI0006: [PID: 7] 2026-11-20 Getting socket times out. Reason: no data in time.",
           r"wait socket establish time ?out": "wait socket establish timeout, role[1] rank[12] timeout[120]",
           r"\[InitChannelStage\]\[Timeout\]":
               "[InitChannelStage][Timeout]Transport init error! createLink para:rank[1]",
           r"connected p2p time ?out": "[Wait][P2PConnected]connected p2p timeout, timeout:130 s. local logicDevid:0",
           r"time ?out for get p2p status": "Wait timeout for get P2P status, device[0]",
           r"Wait Enable P2P Failed": "[Create][DestSockets]Wait Enable P2P Failed, src devicePhyId[0], ret[16]",
           r"rank\[\d+\] get so\w+ time ?out": "client : device[0] rank[0] get socket timeout, total[7] remain[2]",
           r"NPUs get so\w+ time ?out": "Some NPUs get socket timeout, the details are as follows:",
           r"LINK_ERROR_INFO": "[7]   _________________________LINK_ERROR_INFO___________________________",
           r"connection failure between this device and target":
               "the connection failure between this device and target device may be due to the following reasons:"},
          ("transport_init_failed", "graph_streams_exhausted")),
    Cause("transport_init_failed", PEER,
          "A rank responded, but the link to it could not be created. Look at the log of the other rank (remoteRank or "
          "dst_rank in the line) first: it has usually failed before. If it has no error, run playbooks/hccl.yml. "
          "Checks: serving.group, hccl.ping_mesh.",
          {r"\[Recv\]\[RaSocket\].*\brecv fail": "[Recv][RaSocket]errNo[0x500000d] recv fail, data[0xfffd], size[2239]",
           _code("EI0009"): "EI0009: [PID: 7] Transport init error. Reason: [Create][DestLink]Create Dest error!",
           r"Transport init error": "[Create][DestLink]Transport init error! createLink para:rank[4], dst_rank[0]",
           r"\[Transport\w*\]\[Init\].*\bfail": "[TransportP2p][Init] failed to recv exchangeData",
           r"transport create fail in thread": "transport create fail in thread, local rank[4] remote rank[0]"},
          (), (r"\[Recv\]\[RaSocket\].*\brecv fail",)),
    Cause("collective_args_mismatch", FAULT,
          "The ranks call different operators or different sizes, so they do not run the same program. Start all nodes "
          "with the same image, model and arguments, in one run of playbooks/serving.yml. Checks: "
          "serving.up_to_date, weights.same_on_all_nodes.",
          {_code("EI0005"): "EI0005: The arguments for collective communication are inconsistent between ranks",
           r"CMD information .* check fail": "[ParameterConflict]CMD information count check fail. local[1], remote[2]",
           r"\[ParameterConflict\]": "[InitChannelStage][ParameterConflict]local[1], remote[2]",
           r"arguments for collective communication are inconsistent":
               "The arguments for collective communication are inconsistent between ranks:parameter count"},
          ("link_timeout", "transport_init_failed")),
    Cause("roce_cqe_error", PEER,
          "The network between two NPUs did not deliver packets. Look for a rank that ended first, then for links that "
          "go down and up (hccn_tool -i N -link_stat -g for the NPU N of the line), and run playbooks/hccl.yml. "
          "Checks: hccl.link_flaps, hccl.ping_loss.",
          {r"\[ROCE CQE ERROR\]": "[TaskExecStage][HeartbeatAbnormal][ROCE CQE ERROR]cqe error status[12]",
           _code("EI0013"): "(EI0013): An error CQE occurred during operator execution.",
           r"error cqe (?:status|occurred)": "hns_roce_lite_handle_error_cqe(630) : error cqe status: 0x15",
           r"cqe err(?:or)? status": "[Heartbeat]cqe err status[12], time:[2026-07-04 22:15:59.099518]"},
          ("heartbeat_lost",)),
    Cause("heartbeat_lost", PEER,
          "The rank in the line no longer responds: its process has ended, or its network has failed. Read the log of "
          "its node first, and run playbooks/hccl.yml if that shows no error. Checks: serving.running, "
          "hccl.net_health.",
          {r"heartbeat lost occurred": "[HeartbeatAbnormal] ExceptionType:[Heartbeat Lost Occurred]",
           r"\[HeartbeatAbnormal\].*status\[LOST\]": "[HeartbeatAbnormal]rank[3] status[LOST]",
           r"\bheartbeat (?:with|of|from) .*\brank\b.* (?:is |was )?lost\b":
               "the heartbeat of remote rank 3 was lost"}),
    Cause("task_exec_timeout", TIMEOUT,
          "The NPUs waited for each other in vain. Compare the logs of all nodes: the rank that has an earlier error, "
          "or that logs nothing, is the cause. Check: serving.engine_progress.",
          {_code("EI0002"): "EI0002: [PID: 7] The wait execution of the Notify register times out.",
           r"\[TaskExecStage\]\[Timeout\]": "[7][TaskExecStage][Timeout][Host]Task run failed.",
           r"execution of the Notify register times out": "The wait execution of the Notify register times out.",
           r"notify wait (?:time ?out|timed out)": "[FINAL]notify wait timeout, stream_id=3",
           r"collective operation timeout": "[Rank 1] Watchdog caught collective operation timeout: WorkHCCL(SeqNum=1)",
           r"fftsplus task time ?out": "hccl fftsplus task timeout occurred during task execution, timeout=1836s",
           r"seq_num \d+ dispatch time ?out":
               "Process group work REDUCE_SCATTER, seq_num 12 dispatch timeout. device 3",
           _number("107020", "507046"): "AclrtSynchronizeStreamWithTimeout, error code is 507046",
           r"stream (?:sync|synchroni[sz]e) time ?out": "reason=[stream sync timeout]",
           r"Task from HCCL run failed": "[TaskExceptionHandler][Callback]Task from HCCL run failed.",
           r"taskType\[Notify Wait\]": "Task run failed, base information is streamID:[3], taskType[Notify Wait]"}),
    Cause("engine_timeout", TIMEOUT,
          "A process of the server did not report in time: workers hang, or they still load the weights. Look for "
          "earlier messages of the workers. If they were still loading, set VLLM_ENGINE_READY_TIMEOUT_S in serving_env "
          "and serving_ready_timeout_s to more seconds; otherwise see whether npu-smi info shows the NPUs as healthy. "
          "Checks: serving.health, npu_driver.health.",
          {r"RPC call to \w+ timed out": "TimeoutError: RPC call to sample_tokens timed out.",
           r"Timed out waiting for engines? ": "TimeoutError: Timed out waiting for engines to send initial message",
           r"Did not receive response from front-end":
               "Did not receive response from front-end process within 5 minutes",
           r"Execution of the model timed out": "TimeoutError: Execution of the model timed out.",
           r"Timed out waiting for .*\bengine core": "Timed out waiting for the engine core process to start"}),
    # --- the device --------------------------------------------------------------------------------------------------
    Cause("graph_streams_exhausted", FAULT,
          "The NPU has no streams left for the graphs that vLLM Ascend captures. Capture fewer of them with "
          "serving_args (compilation-config: '{\"cudagraph_mode\": \"FULL_DECODE_ONLY\"}', or a short list of "
          "cudagraph_capture_sizes), or set enforce-eager: true; a newer driver (25.5.1 or later) has more streams. "
          "Check: npu_driver.driver_recommended.",
          {r"Alloc sq cq fail": "[SqCqManage]Alloc sq cq fail, stream_id=1984, retCode=0x7020023.",
           r"New capture stream failed": "New capture stream failed, stream_id=1987, event_id=[-1->70037].",
           r"Create capture stream failed": "Create capture stream failed, stream_id=1987, event_id=-1",
           r"\[SqCqManage\].*fail": "[SqCqManage]Get sq id failed, stream_id=1984",
           _code("EL0009"): "Insufficient_Stream_Resources(EL0009): The stream resources are insufficient.",
           r"Stream resources are insufficient": "[Error]: Stream resources are insufficient.",
           r"Insufficient_Stream_Resources": "Insufficient_Stream_Resources: close applications not in use",
           r"no stream resource": "rtStreamBeginCapture execution failed, reason=driver error:no stream resource",
           _number("207005", "207008"): "AclmdlRICaptureBegin(capture_stream_, capture_mode), error code is 207008",
           r"capture failed .*(?:stream.resource|old Ascend HDK)":
               "ACL graph capture failed with a known stream-resource exhaustion error",
           r"driver error:resource alloc fail": "reason=driver error:resource alloc fail[FUNC:FuncErrorReason]",
           r"(?:stream|sq|cq)\w*.*drvRetCode=14\b": "halSqCqAllocate failed, drvRetCode=14, device_id=0"},
          ("out_of_memory",), (r"driver error:resource alloc fail",)),
    Cause("sdma_error", FAULT,
          "A copy between two NPUs failed in hardware. Look for memory errors (npu-smi info -t ecc -i N for the NPU N "
          "of the line), then reset the NPU or restart the node; replace the NPU if the error returns. Check: "
          "npu_driver.ecc_errors.",
          {_code("EI0012"): "Execution_Error_SDMA(EI0012): SDMA memory copy task exception occurred.",
           r"fftsplus sdma error": "fftsplus task execute failed, err_type=4[fftsplus sdma error]",
           r"\bsdma (?:copy )?(?:error|exception)\b": "reason=[sdma copy error]",
           r"\bsdma\b.*\btask exception\b": "SDMA memory copy task exception",
           _number("507013"): "wait for compute device to finish failed, runtime result = 507013."}),
    Cause("hbm_ecc_error", FAULT,
          "The memory of an NPU has errors that cannot be corrected (npu-smi info -t ecc -i N shows them). Restart the "
          "node, exclude the NPU with serving_npus until then, and replace it if the errors return. Check: "
          "npu_driver.ecc_errors.",
          {r"HBM MULTI BIT ECC ERROR": "NPU function error: HBM MULTI BIT ECC ERROR. Error code is 507054",
           r"\bUCE ERROR\b": "NPU function error: UCE ERROR",
           _number("507053", "507054"): "RuntimeError: ACL stream synchronize failed, error code:507053",
           r"multi[- ]bit ecc error": "a multi-bit ECC error occurred"}, ("aicore_error", "sdma_error")),
    Cause("device_lost", FAULT,
          "An NPU no longer responds to its driver. npu-smi info shows its health: restart the node, exclude the NPU "
          "with serving_npus until then, and replace it if this returns. Checks: npu_driver.health, "
          "npu_driver.kernel_log.",
          {_number("507010"): "rtStreamSynchronize failed, retCode=507010",
           r"\bts lost heartbeat\b": "rtStreamSynchronize execute failed, reason=[ts lost heartbeat]",
           r"device heartbeat (?:is )?lost": "the device heartbeat is lost, device_id=1",
           r"Heartbeat lost! \(dev": "[ascend] [ERROR] [drv_soft_fault] Heartbeat lost! (device=1; lost_count=4)"},
          ("aicore_error", "heartbeat_lost")),
    Cause("aicore_error", FAULT,
          "An operator crashed or hung on the AI core. If it happens on one NPU only, suspect this NPU (exclude it "
          "with serving_npus); otherwise the versions do not fit: compare driver and image with the release. Checks: "
          "image.vllm_ascend_version, npu_driver.driver_minimum, npu_driver.ecc_errors.",
          {r"ai ?(?:core|vec|v) kernel (?:execute failed|happen error)": "Aicore kernel execute failed, device_id=0",
           r"\[aicore(?: trap)? (?:exception|timeout)\]|\[vector core(?: trap)? (?:exception|timeout)\]":
               "Kernel task happen error, retCode=0x26, [aicore trap exception].",
           r"reason=\[?(?:aicore|vector core)(?: trap)? (?:exception|timeout)":
               "failed, reason=vector core timeout[FUNC:x]",
           r"there is an? [\w ]*(?:aicore|aivec)[\w ]*(?:error|exception)":
               "there is an aivec error exception, core id 0",
           r"The (?:aicore|vector core) execution (?:is abnormal|times out)":
               "[Error]: The aicore execution times out.",
           r"fftsplus (?:aicore|aivector) error": "there is an exception of fftsplus aivector error, core id is 8",
           _number("507014", "507015", "507016", "507034", "507035", "507036", "507042", "507043"):
               "(Worker pid=7) RuntimeError: ACL stream synchronize failed, error code:507035"}),
    Cause("aicpu_error", FAULT,
          "An operator crashed on the AI CPU of the NPU: compare driver and image with the release, and install the "
          "driver that it recommends. Checks: npu_driver.driver_minimum, image.cann_version.",
          {r"\[aicpu (?:exception|timeout)\]": "Kernel task happen error, retCode=0x2a, [aicpu exception].",
           r"aicpu execution (?:is abnormal|times out)": "[Error]: The aicpu execution is abnormal.",
           r"aicpu kernel (?:execute failed|happen error)": "Aicpu kernel execute failed, device_id=0",
           _number("507017", "507018", "507900"): "AclrtSynchronizeStreamWithTimeout(stream), error code is 507018"}),
    Cause("opp_invalid", FAULT,
          "CANN's operator package is missing, damaged, or for another chip. Use the published image of the release "
          "for this hardware (image_variant), and keep its entrypoint. Checks: image.cann_version, "
          "image.release_architecture.",
          {_code("E30006"): "E30006: 2026-11-19-11:14:58.516.606 Failed to verify the OPP",
           r"Failed to verify the OPP": "Failed to verify the OPP. Possible Cause: 1.The OPP is incorrect.",
           r"opp_kernel package is":
               "read binary_info_config.json failed, please check if the opp_kernel package is there",
           r"binary_info_config\.json fail": "Get path and read binary_info_config.json failed",
           r"ASCEND_OPP_PATH.*(?:invalid|not set|not exist)": "environment variable ASCEND_OPP_PATH is not set",
           r"no valid so about OpsKernelInfoStore": "There is no valid so about OpsKernelInfoStore or GraphOptimizer"},
          ("device_unavailable", "op_param_invalid", "op_unsupported", "aicpu_error", "npu_platform_init_failed")),
    Cause("npu_platform_init_failed", VAGUE,
          "CANN could not initialize itself for this chip: its packages in the image do not fit the chip, or a Python "
          "package that they need is missing. Use the published image for this hardware without changes (image_tag, "
          "image_variant), and remove variables from serving_env that point to another CANN. Check: "
          "image.cann_version.",
          {r"\[Init\]\[PlatformInfo\]": "EH9999: [Init][PlatformInfo]init runtime platform info failed, SocVersion = x",
           r"init (?:runtime )?platform ?info failed": "init runtime platform info failed, SocVersion = Ascend910B2",
           _code("E40021"): "E40021: [PID: 7] Failed to import Python module.",
           r"\[InitTbeFunc\]": "[GraphOpt][InitializeInner][InitTbeFunc] Failed to init tbe.",
           r"Failed to init(?:ialize)? (?:tbe\b|TeConfigInfo|TeFusion)": "Failed to initialize TeConfigInfo.",
           r"GELib::InnerInitialize failed": "GELib::InnerInitialize failed.[FUNC:Initialize][FILE:gelib.cc]",
           r"GEInitialize failed": "[Initialize][Ge]GEInitialize failed. ge result = 4294967295",
           r"\[Init\]\[Compiler\].*failed": "[Init][Compiler]Init compiler failed[FUNC:ReportInnerError]",
           _number("500001"): "NPU function error: AclSetCompileopt, error code is 500001"},
          ("op_unsupported",)),
    Cause("op_param_invalid", FAULT,
          "An operator rejected its inputs: the release does not support this combination of model, quantization and "
          "arguments. Compare plan_model and serving_args with the catalogue; leave out options of serving_args one by "
          "one. Check: serving.plan_warnings.",
          {_code("EZ1001"): "RuntimeError: call aclnnMatmul failed, detail:EZ1001: [PID: 7] the k-axis differ",
           _code("EI0003"): "EI0003: [PID: 7] An argument of the collective is invalid.",
           _number("161001", "161002"): "call aclnnAdd failed, error code is 161002",
           r"\[TaskExecStage\]\[InvalidArgument\]": "[TaskExecStage][InvalidArgument]count[0] is invalid"}),
    Cause("op_unsupported", FAULT,
          "The NPU or this version of CANN has no such operator: use the image that is built for this hardware "
          "(image_variant), or a release that supports it (plan_release). Check: image.release_architecture.",
          {_code("EZ3002"): "EZ3002: [PID: 7] Optype [Some] of Ops kernel [x] is unsupported.",
           _code("EZ3003"): "EZ3003: [PID: 7] No supported Ops kernel and engine are found for [x]",
           _code("E19010"): "E19010: [PID: 7] No parser is registered for Op",
           r"No supported Ops kernel and engine are found": "No supported Ops kernel and engine are found for [Conv2D]",
           _number("207000"): "rtKernelLaunch failed, retCode=207000"}),
    Cause("hccp_init_failed", FAULT,
          "The NPU still serves a process that is ending. Wait 10 seconds after stopping it, make sure that no other "
          "process uses the NPU (npu-smi info), and start again. Checks: serving.devices_free, npu_driver.npus_free.",
          {_code("EJ0001"): "EJ0001: [PID: 7] Failed to initialize the HCCP process.",
           r"Failed to initialize the HCCP process": "Failed to initialize the HCCP process. Reason: it is running.",
           r"hccp init error\[": "main(224) : hccp init error[-22]",
           r"last training process is running": "Reason: Maybe the last training process is running.",
           r"HCCP (?:process|service) .*(?:is still running|cannot be started)":
               "the HCCP process of 7 is still running"},
          ("aicpu_error", "device_unavailable")),
    Cause("rdev_init_failed", FAULT,
          "The network port of an NPU cannot be opened. See whether it has a link and an address "
          "(hccn_tool -i N -link -g and -ip -g for every NPU N), and run playbooks/hccl.yml. Checks: hccl.link, "
          "hccl.address.",
          {r"\bra[ _]rdev[ _]init failed": "ra_rdev_init(621) : [init][ra_rdev]ra rdev init failed. ret(-67)",
           _code("EJ0002"): "EJ0002: [PID: 7] The RDMA device cannot be initialized.",
           r"RDMA device .*(?:init|open)\w* fail": "the RDMA device 3 open failed"}),
    Cause("device_busy", FAULT,
          "Another process or container uses the NPU (npu-smi info shows it): stop it, or plan other NPUs with "
          "serving_npus. Checks: serving.devices_free, npu_driver.npus_free.",
          {_code("EL0005"): "Resource_Busy(EL0005): The resources are busy.",
           r"Resource_Busy": "Resource_Busy: close applications not in use",
           r"because the device is used": "dcmi model initialized failed, because the device is used. ret is -8020",
           r"\bdrvRetCode=87\b": "open device 3 failed, drvRetCode=87"},
          ("device_not_visible", "device_unavailable")),
    Cause("device_not_visible", VAGUE,
          "The container has fewer NPUs than vLLM is configured to use: compare serving_tensor_parallel_size with "
          "serving_npus, and remove ASCEND_RT_VISIBLE_DEVICES from serving_env. Checks: serving.devices, "
          "npu_driver.npu_count.",
          {r"Invalid devId, current device=\d+, valid devId range":
           "Invalid devId, current device=0, valid devId range is [0, 0)",
           _number("107001"): "aclrtSetDevice failed, error code is 107001",
           r"Invalid device ID": "[Error]: Invalid device ID.Check the argument.",
           _code("EE1001") + r".*invalid device":
               "EE1001: [PID: 7] The argument is invalid.Reason: Set device failed, invalid device, 8.",
           r"No NPU devices found or specified in": "No NPU devices found or specified in ASCEND_RT_VISIBLE_DEVICES."},
          ("device_unavailable",)),
    Cause("platform_not_found", VAGUE,
          "vLLM found no NPU, since torch_npu or vllm_ascend could not be imported: the lines above have the reason. "
          "Use the published image with its entrypoint (image_tag). Checks: image.vllm_ascend_version, "
          "npu_driver.mount_sources.",
          {r"Failed to load the backend extension: torch_npu": "Failed to load the backend extension: torch_npu.",
           r"Failed to infer device type": "RuntimeError: Failed to infer device type, please set the variable",
           r"No platform detected, vLLM is running on Unspecified":
               "No platform detected, vLLM is running on UnspecifiedPlatform"},
          ("device_unavailable", "device_not_visible")),
    Cause("device_unavailable", VAGUE,
          "The NPU cannot be opened. See whether npu-smi info on the node shows it as healthy, whether "
          "/dev/davinci*, davinci_manager, devmm_svm and hisi_hdc exist, and whether another process uses it. Run "
          "playbooks/npu_driver.yml. Checks: npu_driver.health, serving.devices, serving.devices_free.",
          {_number("507033", "207004"): "NPU function error: aclrtSetDevice(device_id), error code is 507033",
           r"Can't get ascend_hal device count": "Can't get ascend_hal device count",
           r"drvMngGetConsoleLogLevel failed": "DrvMngGetConsoleLogLevel failed. (ret=4)",
           r"dcmi (?:module |model )?init\w* failed": "dcmi module initialize failed. ret is -8005",
           r"NPU card health status is not OK": "RuntimeError: NPU card health status is not OK",
           r"/dev/(?:davinci\w*|devmm_svm|hisi_hdc)\b.* is not there": "/dev/davinci9 is not there"}),
    Cause("hbm_not_free", FAULT,
          "Other processes use memory of the NPU: stop them (npu-smi info shows them), or lower "
          "gpu-memory-utilization in serving_args. Checks: npu_driver.npu_idle, serving.devices_free.",
          {r"Free memory on device .*less than desired GPU memory utilization":
           "ValueError: Free memory on device (3.2/64.0 GiB) is less than desired GPU memory utilization",
           r"Error in memory profiling\.": "AssertionError: Error in memory profiling. Initial free memory 1"},
          ("out_of_memory",)),
    Cause("out_of_memory", FAULT,
          "The NPU has no memory left: lower max-model-len, max-num-seqs or gpu-memory-utilization in serving_args, "
          "use more NPUs per instance (serving_tensor_parallel_size), or stop other processes on the NPU (npu-smi "
          "info). Check: npu_driver.npu_idle.",
          {r"NPU out of memory": "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 260.00 MiB",
           r"(?<!ray\.exceptions\.)\bOutOfMemoryError\b": "torch.OutOfMemoryError: tried to allocate",
           _code("EI0011"): "Resource_Error_Insufficient_Device_Memory(EI0011): Failed to allocate 3 MB of NPU memory.",
           _code("EI0007"): "EI0007: [PID: 7] Failed to allocate resource[qp]. Reason: Memory resources are exhausted.",
           _code("EL0004"): "EL0004: [PID: 28794] Failed to allocate memory.",
           _number("207001"): "NPU function error: aclrtMalloc, error code is 207001",
           r"\[memory allocation error\]": "rtMalloc execute failed, reason=[memory allocation error]",
           r"alloc(?:ate)?(?: \w+)? memory failed": "allocate device memory failed, size=3",
           r"halMemAlloc failed": "[drv api] halMemAlloc failed:size=3(Byte), drvRetCode=6, device_id=0!",
           r"ERR00006 PTA memory error": "[ERROR] 2026-01-02-03:04:05 (PID:7, Device:1) ERR00006 PTA memory error"},
          ("transport_init_failed",), (r"ERR00006 PTA memory error", r"halMemAlloc failed")),
    Cause("host_out_of_memory", FAULT,
          "The node has no memory left (free -m; dmesg shows which process was killed): stop other processes, or run "
          "fewer instances (serving_replicas). Loading the weights needs less memory with "
          "safetensors-load-strategy: lazy in serving_args.",
          {r"std::bad_alloc\b": "terminate called after throwing an instance of 'std::bad_alloc'",
           r"(?<![\w.'])MemoryError\b": "(EngineCore_DP0 pid=31) MemoryError",
           r"\[Errno 12\]": "OSError: [Errno 12] Cannot allocate memory",
           r"running low on memory": "Task was killed due to the node running low on memory.",
           r"ray\.exceptions\.OutOfMemoryError": "ray.exceptions.OutOfMemoryError: the node is out of memory",
           r"DefaultCPUAllocator: can't allocate memory":
               "DefaultCPUAllocator: can't allocate memory: you tried 1 bytes"},
          ("process_crashed",)),
    Cause("shm_too_small", FAULT,
          "/dev/shm of the container is full: raise serving_shm_size. Check: npu_driver.shm.",
          {r"unable to (?:write to file|mmap|allocate shared memory).*(?:/torch_|/dev/shm|shared memory)":
           "RuntimeError: unable to write to file </torch_77_1_0>: No space left on device (28)",
           r"Bus error\b": "Fatal Python error: Bus error",
           r"Insufficient space in /dev/shm": "RuntimeError: Insufficient space in /dev/shm for 1 MiB",
           r"/dev/shm.*No space left on device": "OSError: /dev/shm/psm_1: No space left on device"},
          ("disk_full", "process_crashed")),
    Cause("disk_full", FAULT,
          "The disk of the path in the line is full (df -h): remove old images (docker image prune) and logs. Checks: "
          "npu_driver.disk_space, image.free_space.",
          {r"No space left on device": "OSError: No space left on device: '/root/.cache/x'",
           r"\[Errno 28\]": "OSError: [Errno 28] the disk is full",
           r"Disk quota exceeded": "OSError: Disk quota exceeded"}),
    Cause("kv_cache_too_small", FAULT,
          "The weights leave too little memory for the KV cache: raise gpu-memory-utilization or lower max-model-len "
          "in serving_args, or use more NPUs (serving_tensor_parallel_size).",
          {r"No available memory for the cache blocks": "ValueError: No available memory for the cache blocks.",
           r"larger than the available KV cache memory":
               "6.0 GiB KV cache is needed, which is larger than the available KV cache memory (1.0 GiB)."}),
    # --- processes ---------------------------------------------------------------------------------------------------
    Cause("threads_forbidden", FAULT,
          "The container is not allowed to start threads. With \"Operation not permitted\", Docker is older than "
          "20.10.10 and does not know the call that the image uses: update Docker (docker version), or set "
          "serving_privileged. With \"Resource temporarily unavailable\", a limit is reached: raise pids and nproc "
          "(docker info, ulimit -u). Check: npu_driver.docker_engine_version.",
          {r"can't start new thread": "RuntimeError: can't start new thread",
           r"pthread_create(?:\(\))?:? ?(?:failed|error)": "blas_thread_init: pthread_create failed for thread 9 of 32",
           r"pthread_create: (?:Operation not permitted|Resource temporarily)":
               "pthread_create: Operation not permitted",
           r"Failed to create \w+ thread": "Error: Failed to create timer thread: Operation not permitted",
           r"thread creation failed": "libgomp: Thread creation failed: Resource temporarily unavailable",
           r"unable to create (?:native )?thread": "OutOfMemory: unable to create native thread"},
          ("packages_mismatch", "module_missing", "platform_not_found", "process_crashed")),
    Cause("process_crashed", VAGUE,
          "A process of the server was killed or crashed. Read the kernel's log of the node (dmesg -T): if it says "
          "\"Out of memory\", the node needs more memory or fewer instances (serving_replicas); \"segfault\" names the "
          "library, whose versions have to be those of the release. Checks: npu_driver.kernel_log, "
          "image.torch_npu_version.",
          {r"Fatal Python error: Segmentation fault": "(WorkerDict pid=7) Fatal Python error: Segmentation fault",
           r"Segfault encountered": "!!!!!!! Segfault encountered !!!!!!!",
           r"\bSIGSEGV received\b": "*** SIGSEGV received at time=1709021359 on cpu 44 ***",
           r"Out of memory: Killed process": "Out of memory: Killed process 7 (VLLM::Worker_TP0) total-vm:3kB",
           r"\boom-kill(?:er)?\b": "vllm invoked oom-killer: gfp_mask=0x1100cca, order=0",
           r"cgroup out of memory: kill": "Memory cgroup out of memory: Killed process 7 (python3)",
           r"\bsegfault at [0-9a-f]+ ip\b":
               "VLLM::Worker[7]: segfault at 0 ip 00007f sp 00007f error 4 in libtorch_npu.so",
           r"\bexit (?:code|status)[: =]*(?:-9|-11|137|139)\b|\bexitcode[: =]*(?:-9|-11|137|139)\b":
               "Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor.",
           r"\bexited with (?:code |exit code )?(?:-9|-11|137|139)\b": "the container exited with code 137",
           r"(?:killed|terminated|died|crashed|exited) .{0,40}\bSIGKILL\b": "worker 3 was killed by SIGKILL",
           r"(?:killed|terminated|died|crashed|exited) .{0,40}\bSIGSEGV\b": "worker 3 was terminated by SIGSEGV",
           r"Segmentation fault \(core dumped\)": "run.sh: line 3:   7 Segmentation fault (core dumped) vllm serve",
           r"worker unexpectedly exits with a connection error":
               "Worker exit type: SYSTEM_ERROR Worker unexpectedly exits with a connection error code 2. End of file."},
          (), (r"worker unexpectedly exits with a connection error",)),
    # --- image, driver, model, arguments -----------------------------------------------------------------------------
    Cause("driver_library_missing", FAULT,
          "A library of the NPU driver is not in the container. See whether lib64 in serving_driver_path exists on the "
          "node, remove mounts over it from serving_mounts, and keep the entrypoint of the image. Checks: "
          "npu_driver.driver_loaded, npu_driver.mount_sources.",
          {r"lib(?:ascend_hal|dcmi|drv\w*|dsmi\w*|devmmap)\.so[.\d]*: cannot open shared object":
           "ImportError: libascend_hal.so: cannot open shared object file: No such file",
           r"load(?:ing)? (?:\S*/)?lib(?:ascend_hal|dcmi|drv\w*)\.so\S* fail": "load libdcmi.so failed"},
          ("platform_not_found", "device_unavailable")),
    Cause("cann_library_missing", FAULT,
          "The environment of CANN is not set: keep the entrypoint of the image, which sources set_env.sh, and remove "
          "LD_LIBRARY_PATH from serving_env. Check: image.cann_version.",
          {r"lib(?!cust_)(?:hccl\w*|hcomm\w*|ascendcl\w*|acl_\w+|atb\w*|opapi\w*|nnopbase|runtime|register|ge_\w+|graph"
           r"|profapi|msprofiler|platform|metadef|torch_npu|optiling)\.so[.\d]*: cannot open shared object":
               "ImportError: libatb.so: cannot open shared object file: No such file"},
          ("platform_not_found",)),
    Cause("custom_ops_not_built", FAULT,
          "The operators of vLLM Ascend are not built into this image, or were built for another version of torch: use "
          "the published image of the release without changes (image_tag). Check: image.vllm_ascend_version.",
          {r"'_C_ascend' object has no attribute":
           "AttributeError: '_OpNamespace' '_C_ascend' object has no attribute 'x'",
           r"ModuleNotFoundError: No module named 'vllm_ascend\.vllm_ascend_C'":
               "ModuleNotFoundError: No module named 'vllm_ascend.vllm_ascend_C'",
           r"vllm_ascend_C\S*\.so: (?:cannot open|undefined symbol)":
               "vllm_ascend_C.abi3.so: undefined symbol: _ZN3c10",
           r"_C_ascend::\w+.*(?:not exist|not (?:been )?(?:found|registered|implemented))":
               "Could not run '_C_ascend::weak_ref_tensor': it has not been registered"},
          ("custom_op_missing", "module_missing", "packages_mismatch")),
    Cause("quantization_unsupported", FAULT,
          "vLLM does not know the quantization method: the vLLM Ascend plugin is not loaded, or the release does not "
          "support the method. Use the image of plan_release, and the entry of the catalogue that matches the weights "
          "(plan_model). Checks: image.vllm_ascend_version, weights.quantization.",
          {r"Unknown quantization method": "ValueError: Unknown quantization method: ascend. Must be one of ['awq'].",
           r"--quantization\S*: invalid choice": "error: argument --quantization/-q: invalid choice: 'ascend'",
           r"quantization is currently not supported in": "ascend quantization is currently not supported in npu.",
           r"no available ascend quantizer": "NotImplementedError: There is no available ascend quantizer.",
           r"Input should be .*\binput_value='ascend'": "  Input should be 'awq' or 'fp8' [input_value='ascend']",
           r"quantization method \S+ is not supported": "ValueError: quantization method w4a4 is not supported",
           r"quantization '?ascend'? is (?:currently )?not supported": "quantization 'ascend' is not supported"},
          ("arguments_invalid",)),
    Cause("quantization_description_missing", FAULT,
          "--quantization ascend needs quant_model_description.json next to the weights: stage weights that "
          "msModelSlim quantized (weights_repository, weights_quantize_from), or plan_model without quantization. "
          "Check: weights.quantization.",
          {r"Cannot find the config file for ascend": "ValueError: Cannot find the config file for ascend",
           r"quant_model_description\S*\.json.*(?:not (?:exist|found)|No such file)":
               "/data/m/quant_model_description.json does not exist",
           r"No such file.*quant_model_description":
               "FileNotFoundError: No such file: 'quant_model_description_w8a8.json'"},
          ("model_not_found", "quantization_description_mismatch")),
    Cause("quantization_description_mismatch", FAULT,
          "vLLM and the weights disagree about the quantization of the layer in the line; the files are whole. See "
          "whether quant_model_description.json next to the weights has this name (grep), whether plan_model is the "
          "quantized entry of the catalogue, and whether the release supports weights of this msModelSlim. Checks: "
          "weights.quantization, weights.quantization_names, weights.quantization_types.",
          {r"quant\w*/?[^\n]*\", line \d+[^\n]*\n(?:[^\n]*\n){0,3}[^\n]*KeyError: '":
           "  File \"/x/vllm_ascend/quantization/quant_config.py\", line 119, in is_layer_skipped_ascend\n"
           "    is_shard_skipped = self.quant_description[shard_prefix +\n"
           "KeyError: 'model.layers.0.self_attn.q_proj.weight'",
           r"KeyError: '[\w.]*\b" + _QUANTIZED + "'": "KeyError: 'layers.0.mlp.gate_up_proj.deq_scale'",
           r"\] '(?:model\.)?layers\.\d+\.[\w.]*\b" + _QUANTIZED + r"'\s*$":
               "ERROR 06-20 23:20:13 engine.py:400] 'layers.0.mlp.gate_up_proj.deq_scale'",
           r"KeyError: '(?:[\w.]+\.)?(?:[qkv]_proj|gate_proj|up_proj|linear_fc\d|qkv|proj)\.weight'":
               "KeyError: 'visual.merger.linear_fc1.weight'",
           r"no module or parameter named '[\w.]*\b" + _QUANTIZED:
               "ValueError: There is no module or parameter named 'model.layers.0.mlp.deq_scale' in Qwen2",
           r"Detected some but not all shards of \S+ are quantized":
               "ValueError: Detected some but not all shards of model.layers.0.qkv_proj are quantized.",
           r"quant[ _]?description.*(?:KeyError|not (?:cover|contain|include|found in))":
               "the quant description does not cover model.layers.0.mlp"},
          ("weights_damaged",),
          (r"KeyError: '(?:[\w.]+\.)?(?:[qkv]_proj|gate_proj|up_proj|linear_fc\d|qkv|proj)\.weight'",)),
    Cause("weights_damaged", FAULT,
          "Files of the model are incomplete, or belong to another model: playbooks/weights.yml verifies and repairs "
          "them. Checks: weights.safetensors, weights.files, weights.index.",
          {r"Error while deserializing header":
           "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata",
           r"SafetensorError": "safetensors_rust.SafetensorError: device mismatch",
           r"weights were not initialized from checkpoint":
               "Following weights were not initialized from checkpoint: {'x'}",
           r"size mismatch for \S+: copying": "size mismatch for lm_head.weight: copying a param with shape [1]",
           r"MetadataIncompleteBuffer|InvalidHeaderDeserialization|HeaderTooLarge": "error: MetadataIncompleteBuffer",
           r"load_weights\n(?:[^\n]*\n){0,3}[^\n]*KeyError: '(?:language_model|model|visual)\.[\w.]+'":
               "  File \"/x/vllm/model_executor/models/qwen2.py\", line 400, in load_weights\n"
               "    param = params_dict[name]\nKeyError: 'model.layers.0.self_attn.qkv_proj.weight'",
           r"KeyError: '(?:language_model|model|visual)\.[\w.]+'": "KeyError: 'model.layers.0.mlp.experts.w13_weight'"},
          (), (r"KeyError: '(?:language_model|model|visual)\.[\w.]+'",)),
    Cause("model_unsupported", FAULT,
          "This release does not support the architecture of the model: choose a plan_release that the catalogue lists "
          "for plan_model. Check: weights.config.",
          {r"Model architectures \[.*\] (?:are not supported|failed to be inspected)":
           "ValueError: Model architectures ['Some'] are not supported for now.",
           r"Cannot find model module": "Cannot find model module. 'Some' is not a registered model",
           r"does not recognize this architecture": "Transformers does not recognize this architecture.",
           r"No model architectures are specified": "ValueError: No model architectures are specified"},
          ("arguments_invalid",)),
    Cause("model_not_found", FAULT,
          "The folder of the model does not exist in the container, or has no model: stage the weights with "
          "playbooks/weights.yml, or correct weights_path. Checks: serving.weights_present, weights.present.",
          {r"Invalid repository ID or local directory specified":
           "OSError: Invalid repository ID or local directory specified: '/data/none'.",
           r"Can't load the configuration of": "OSError: Can't load the configuration of '/data/none'.",
           r"Repo id must (?:be|use) ": "HFValidationError: Repo id must be in the form 'repo_name'",
           r"No supported config format found": "ValueError: No supported config format found in /data/none.",
           r"Cannot find any model weights with": "RuntimeError: Cannot find any model weights with `/data/none`",
           r"is not a local folder and is not a valid model identifier":
               "OSError: x is not a local folder and is not a valid model identifier",
           r"does not appear to have a file named":
               "OSError: /data/x does not appear to have a file named config.json.",
           r"FileNotFoundError: .*(?:config\.json|safetensors|tokenizer)": "FileNotFoundError: /data/x/config.json"},
          ("arguments_invalid",)),
    Cause("tokenizer_unsupported", FAULT,
          "The tokenizer was written by another major version of transformers: take tokenizer_config.json from the "
          "original repository of the model (weights_repository). Check: weights.tokenizer.",
          {r"Tokenizer class \S+ does not exist": "ValueError: Tokenizer class TokenizersBackend does not exist",
           r"Couldn't instantiate the backend tokenizer": "ValueError: Couldn't instantiate the backend tokenizer"}),
    Cause("arguments_invalid", FAULT,
          "vLLM rejected its command line: correct or remove the option in serving_args that the line names. Check: "
          "serving.plan_warnings.",
          {r"vllm(?: serve)?: error: ": "vllm: error: unrecognized arguments: --no-such-thing",
           r"api_server\.py: error: ": "api_server.py: error: argument --port: invalid int value: 'x'",
           r"error: unrecognized arguments": "error: unrecognized arguments: --no-such-thing",
           r"User-specified max_model_len .* is greater than the derived":
               "User-specified max_model_len (99999) is greater than the derived max_model_len",
           r"(?:not|must be) divisible by (?:the )?tensor parallel size":
               "Total number of attention heads (28) must be divisible by tensor parallel size (8).",
           r"Quantization method specified in the model config .* does not match":
               "Quantization method specified in the model config (awq) does not match the argument (ascend).",
           r"ValueError: .*\bmax_num_batched_tokens\b": "ValueError: max_num_batched_tokens (1) is smaller than 2",
           r"\d+ validation errors? for \w*(?:Config|Args)\b": "1 validation error for ModelConfig"}),
    Cause("port_in_use", FAULT,
          "Another process listens on the port (ss -ltnp shows it): stop it, or choose another serving_port or "
          "serving_group_port. Check: serving.port_free.",
          {r"\[Errno 98\]": "OSError: [Errno 98] the port is taken",
           r"EADDRINUSE": "The server socket has failed to listen (errno: 98 - EADDRINUSE)",
           r"\baddress already in use\b": "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.1:13389')",
           r"port is already allocated": "Bind for 0.0.0.0:8888 failed: port is already allocated",
           r"OSError: .*\bport \d+ is (?:already )?in use": "OSError: the port 8888 is already in use"}),
    Cause("architecture_unsupported", FAULT,
          "The image is built for another processor: pull the one for the node's architecture (image_tag, "
          "image_archive). Checks: serving.image_architecture, image.architecture.",
          {r"exec format error": "exec /bin/bash: exec format error",
           r"does not match the (?:detected )?host platform": "the image's platform does not match the host platform",
           r"no matching manifest for linux/": "no matching manifest for linux/arm64/v8 in the manifest list entries",
           r"cannot execute binary file": "/usr/bin/vllm: cannot execute binary file",
           r"Illegal instruction": "Illegal instruction (core dumped)"}),
    Cause("ray_no_npu", FAULT,
          "Ray's node has no NPUs to give: Ray was started without them, or another job has them. `ray status` in the "
          "container of the head has to list NPU; start the group again with playbooks/serving.yml, and leave "
          "ASCEND_RT_VISIBLE_DEVICES and RAY_* out of serving_env. Checks: serving.group, serving.devices.",
          {r"Current node has no (?:NPU|GPU) available":
           "ValueError: Current node has no NPU available. current_node_resource={'CPU': 192.0}",
           r"required (?:NPU|GPU)s exceeds the total number of available":
               "ValueError: The number of required NPUs exceeds the total number of available NPUs in the cluster.",
           r"No available node types can fulfill resource request .*'[NG]PU'":
               "Error: No available node types can fulfill resource request {'NPU': 1.0}.",
           r"Cannot provide a placement group of ": "ValueError: Cannot provide a placement group of [{'NPU': 1.0}]",
           r"vLLM engine cannot start without NPU":
               "vLLM engine cannot start without NPU. Make sure you have at least 1"},
          ("arguments_invalid",)),
    # --- Docker ------------------------------------------------------------------------------------------------------
    Cause("docker_unavailable", FAULT,
          "Docker does not respond: start it (systemctl start docker) and read its journal (journalctl -u docker); its "
          "socket is plan_docker_socket. Check: serving.docker_engine.",
          {r"Cannot connect to the Docker daemon":
           "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
           r"docker\.sock.*(?:Connection refused|No such file|Permission denied)":
               "/var/run/docker.sock: Connection refused",
           r"permission denied while trying to connect to the docker":
               "permission denied while trying to connect to the Docker daemon socket"}),
    Cause("init_binary_missing", FAULT,
          "Docker's program docker-init, with which the container starts, is not installed on the node: install the "
          "complete package of Docker (docker-init, or tini as docker-init in its PATH), and restart Docker. Check: "
          "npu_driver.docker_engine.",
          {r"\"?docker-init\"?: (?:executable file not found|no such file)":
           "Error response from daemon: exec: \"docker-init\": executable file not found in $PATH.",
           r"docker-init\b.*(?:not found|no such file|cannot find)": "exec /sbin/docker-init not found"},
          ("container_runtime_failed",)),
    Cause("device_node_missing", FAULT,
          "A device file of the container did not exist when Docker started it. See which of /dev/davinci* exist: load "
          "the driver or plan other NPUs with serving_npus. After a reboot the driver may come up later than Docker, "
          "which does not try again: start the container (docker start). Checks: serving.devices, "
          "npu_driver.device_nodes.",
          {r"gathering device information while adding custom device":
           "error gathering device information while adding custom device \"/dev/davinci9\": no such file",
           r"/dev/(?:davinci|devmm|hisi)\w*\W+no such (?:file|device)":
               "failed to create device: /dev/davinci9: no such device"},
          ("container_runtime_failed",)),
    Cause("mount_source_missing", FAULT,
          "A file or folder that the container mounts does not exist on the node: create it, or correct "
          "serving_mounts, serving_driver_path or weights_path. Check: serving.mount_sources.",
          {r"bind source path does not exist": "invalid mount config: bind source path does not exist: /data/x",
           r"error mounting .* to rootfs at": "error mounting \"/x\" to rootfs at \"/y\""},
          ("container_runtime_failed",)),
    Cause("container_name_taken", FAULT,
          "Another container has the name: remove it (docker rm), or set serving_container_name. Check: "
          "serving.name_free.",
          {r"container name \S+ is already in use":
           "The container name \"/vllm\" is already in use by container \"0\"."}),
    Cause("image_unavailable", FAULT,
          "The node does not have the image and cannot pull it: run playbooks/image.yml, with image_registry_mirror or "
          "image_archive if the node has no access to the registry. Check: serving.image_present.",
          {r"No such image": "Error: No such image: quay.io/x:v1",
           r"manifest unknown": "manifest for quay.io/x:v1 not found: manifest unknown",
           r"pull access denied": "pull access denied for x, repository does not exist",
           r"unable to find image": "Unable to find image 'quay.io/x:v1' locally"}),
    Cause("container_runtime_failed", TIMEOUT,
          "Docker could not start the process of the container: the end of the line has the reason. Check: "
          "serving.start.",
          {r"OCI runtime create failed": "OCI runtime create failed: runc create failed: unable to start: x",
           r"failed to create (?:shim )?task": "failed to create shim task: x",
           r"unknown or invalid runtime name": "unknown or invalid runtime name: ascend"}),
    Cause("engine_hung", FAULT,
          "The engine hung, and the health check stopped it (serving_restart_hung). If it hangs again, use a release "
          "without this defect (plan_release; see the warnings of the plan). Checks: serving.engine_progress, "
          "serving.plan_warnings.",
          {r"ascend\.vllm health check: the engine hangs": "ascend.vllm health check: the engine hangs (10 checks)"}),
    Cause("module_missing", FAULT,
          "A Python module is missing in the image: use the published image of the release without changes "
          "(image_tag). Check: image.vllm_ascend_version.",
          {r"ModuleNotFoundError: No module named": "ModuleNotFoundError: No module named 'vllm_ascend'",
           r"ImportError: No module named": "ImportError: No module named x",
           r"/python[\d.]*: No module named": "/usr/bin/python3: No module named vllm"},
          ("npu_platform_init_failed", "platform_not_found")),
    Cause("packages_mismatch", FAULT,
          "Packages in the image do not fit together (vLLM, vllm-ascend, torch, torch_npu): use the published image of "
          "the release without changes (image_tag). Checks: image.vllm_version, image.torch_npu_version.",
          {r"ImportError: cannot import name": "ImportError: cannot import name 'x' from 'vllm.y' (/y.py)",
           r"undefined symbol: ": "ImportError: /x/libtorch_npu.so: undefined symbol: _ZN3c10",
           r"AttributeError: module 'vllm\S*' has no attribute": "AttributeError: module 'vllm.x' has no attribute 'y'",
           r"'_OpNamespace' '_C' object has no attribute":
               "AttributeError: '_OpNamespace' '_C' object has no attribute 'rms_norm'"},
          ("platform_not_found",)),
    Cause("engine_dead", ENGINE,
          "The engine died, and this log does not show why: read the log of the container from its start (docker logs) "
          "and the logs of the other nodes. playbooks/diagnostics.yml collects them. Check: serving.running.",
          {r"Engine core initialization failed":
           "RuntimeError: Engine core initialization failed. See root cause above.",
           r"EngineCore failed to start": "(EngineCore pid=9) ERROR EngineCore failed to start.",
           r"EngineCore encountered a fatal error": "ERROR EngineCore encountered a fatal error.",
           r"EngineDeadError": "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
           r"WorkerProc initialization failed": "Exception: WorkerProc initialization failed due to an exception",
           r"EngineGenerateError": "vllm.v1.engine.exceptions.EngineGenerateError",
           r"(?:engine core|worker|engine) proc\w*\b.*died unexpectedly": "Worker proc VllmWorker-1 died unexpectedly",
           r"engine (?:loop|process) (?:is|has) d(?:ead|ied)": "AsyncEngineDeadError: Background engine loop is dead",
           r"Engine process failed to start": "RuntimeError: Engine process failed to start.",
           r"\bcore proc\(s\): \{.*\d": "Failed core proc(s): {'EngineCore': 1}"}),
    # --- no fault ----------------------------------------------------------------------------------------------------
    Cause("shutdown_by_signal", SIGNAL,
          "The server received a signal to stop, which caused the errors after it. Start it with playbooks/serving.yml "
          "if this was not intended.",
          {r"received (?:signal[= :]*)?(?:SIGTERM|SIGINT)\b": "[shutdown] EngineCore: trigger received signal=SIGTERM",
           r"received signal 15\b": "Received signal 15, shutting down",
           r"got signal: ?15\b": "SignalException: Process 7 got signal: 15",
           r"Received 15 death signal": "Received 15 death signal, shutting down workers",
           r"API server: shutdown triggered": "[shutdown] API server: shutdown triggered",
           r"Shutting down FastAPI HTTP server": "Shutting down FastAPI HTTP server.",
           r"INFO: +Shutting down\s*$": "(APIServer pid=1) INFO:     Shutting down"}),
    Cause("custom_op_missing", WARNING,
          "Nothing to do: the server uses the operator of PyTorch, which is slower. The published image of the release "
          "has the faster one (image_tag).",
          {r"not in libopapi\.so":
           "RuntimeError: aclnnSome or aclnnSomeGetWorkspaceSize not in libopapi.so, or x found.",
           r"Custom op \S+ is registered but its underlying":
               "Custom op npu_x is registered but its underlying aclnn symbols are unavailable; falling back"}),
    Cause("driver_cann_mismatch", WARNING,
          "Not urgent: install the driver that is recommended for the release. Check: npu_driver.driver_recommended.",
          {r"driver version is too old or does not match CANN":
           "The possible cause is that the driver version is too old or does not match CANN.",
           r"driver version .*not (?:match|compatible)": "the driver version 24.1 does not match"}),
    Cause("startup_ok", HEALTHY, "Nothing to do: the server has started.",
          {r"Application startup complete\.": "INFO:     Application startup complete."}),
)

NO_KNOWN_CAUSE = (
    "No known cause. Read the lines around this one, the logs of the other nodes, and plog in the container; "
    "playbooks/diagnostics.yml collects them.")
REMEDIES = {cause.id: cause.remedy for cause in CAUSES}
REMEDIES[UNKNOWN] = NO_KNOWN_CAUSE
BY_ID = {cause.id: cause for cause in CAUSES}

# The parts of CANN, by the second character of the error codes that they print.
COMPONENTS = {
    "1": "the graph engine", "2": "the fusion engine", "3": "the AI CPU", "4": "the operator compiler",
    "9": "the operator compiler", "E": "the runtime", "H": "ACL, the interface of CANN",
    "I": "HCCL, the communication between NPUs", "J": "HCCP, the network of the NPUs", "K": "the profiler",
    "L": "the NPU driver", "Z": "an operator",
}
