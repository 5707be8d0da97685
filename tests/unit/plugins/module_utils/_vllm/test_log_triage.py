# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import log_triage
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import (
    CAUSES,
    ENGINE,
    NO_KNOWN_CAUSE,
    SIGNAL,
    UNKNOWN,
)
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._vllm.cause_case import (
    EXAMPLES,
    SIGNATURES,
    effects_of,
    signature_hits,
)

REMEDIES = {**{cause.id: cause.remedy for cause in CAUSES}, UNKNOWN: NO_KNOWN_CAUSE}
STARTED = "INFO:     Application startup complete."
STOPPED = "(EngineCore pid=9) INFO 11-20 10:00:00 [core.py:1] [shutdown] EngineCore: trigger received signal=SIGTERM"
DEAD = "(APIServer pid=8) RuntimeError: Engine core initialization failed. See root cause above."
OUT_OF_MEMORY = "(Worker_TP1 pid=7) ERROR 11-20 10:00:00 [x.py:1] torch.OutOfMemoryError: NPU out of memory. Tried."
TASK_TIMEOUT = "[ERROR] HCCL(7,vllm):2026-11-20-10:00:00.0 [x.cc:1] [7][TaskExecStage][Timeout][Host]Task run failed."
HEARTBEAT = "[ERROR]HCCL(7,vllm): [TaskExecStage][HeartbeatAbnormal] ExceptionType:[Heartbeat Lost Occurred]"
CQE = "[ERROR] HCCL(7,vllm): [heartbeat.cc:9] [7][TaskExecStage][HeartbeatAbnormal][ROCE CQE ERROR]cqe error status[12]"
LINK = "[rank1]: EI0006: [PID: 7] 2026-11-20-10:00:00.000.001 Getting socket times out. Reason: no data in time."
HUNG = "ascend.vllm health check: the engine hangs (10 consecutive failed checks); sending SIGTERM to the server"
CUSTOM_OP = "RuntimeError: aclnnSome or aclnnSomeGetWorkspaceSize not in libopapi.so, or libopapi.sonot found."
OLD_DRIVER = "The possible cause is that the driver version is too old or does not match CANN."


def causes(*lines):
    return [entry["cause"] for entry in diagnose("\n".join(lines))]


@pytest.mark.parametrize(("cause", "line"), [
    ("hccl_port_in_use", "Communication_Error_Bind_IP_Port(EI0019): Failed to enable listening."),
    ("hccl_port_in_use", "bind fail! family:2, IP:10.0.0.1, port:50000, sock:2, error:98, Possible Cause"),
    ("bind_address_unavailable", "bind fail! ::1:2, port:60000, sock:25, error:99, Possible Cause: bound already"),
    ("hccl_socket_timeout", "EI0015: [PID: 7] 2026-11-20 The connection to the root rank timed out."),
    ("rank_num_mismatch", "[RanktableDetect]rank num[16]is different with rank list size[8] in total topo rank info."),
    ("ip_family_mismatch", "[RanktableCheck]rank[3] device ip family[10] is not same as others[2]."),
    ("tls_mismatch", "EI0016: [PID: 7] Value Enable for config \"tls\" is invalid."),
    ("super_device_id_conflict", "superDeviceId[0x1] in superPod[pod_0]is already exist"),
    ("out_of_memory", "Resource_Error_Insufficient_Device_Memory(EI0011): Failed to allocate 3 MB of NPU memory."),
    ("out_of_memory", "NPU function error: aclrtMalloc, error code is 207001"),
    ("out_of_memory", "[ERROR] RUNTIME(9,python3): [npu_driver.cc:1] halMemAlloc failed, drvRetCode=6, EL0004"),
    ("out_of_memory", "rtMalloc execute failed, reason=[memory allocation error]"),
    ("out_of_memory", "[ERROR] 2026-01-02-03:04:05 (PID:7, Device:1, RankID:1) ERR00006 PTA memory error"),
    ("host_out_of_memory", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("host_out_of_memory", "(EngineCore_DP0 pid=31) MemoryError"),
    ("shm_too_small", "RuntimeError: unable to write to file </torch_77_1_0>: No space left on device (28)"),
    ("disk_full", "OSError: [Errno 28] No space left on device: '/root/.cache/x'"),
    ("hbm_ecc_error", "NPU function error: HBM MULTI BIT ECC ERROR. Error code is 507054"),
    ("hbm_ecc_error", "RuntimeError: ACL stream synchronize failed, error code:507053"),
    ("device_lost", "rtStreamSynchronize execute failed, reason=[ts lost heartbeat]"),
    ("device_not_visible", "[Error]: Invalid device ID.Check the argument."),
    ("device_not_visible", "EE1001: [PID: 7] The argument is invalid.Reason: Set device failed, invalid device, 8."),
    ("device_unavailable", "NPU function error: aclrtSetDevice(device_id), error code is 507033"),
    ("device_unavailable", "DrvMngGetConsoleLogLevel failed. (ret=4)"),
    ("platform_not_found", "RuntimeError: Failed to infer device type, please set the environment variable"),
    ("weights_damaged", "KeyError: 'model.layers.0.self_attn.qkv_proj.weight'"),
    ("quantization_description_mismatch", "KeyError: 'model.layers.0.self_attn.q_proj.weight'"),
    ("quantization_description_mismatch", "KeyError: 'model.layers.3.mlp.down_proj.weight_offset'"),
    ("hbm_not_free", "AssertionError: Error in memory profiling. Initial free memory 1, current free memory 2."),
    ("device_busy", "open device 3 failed, drvRetCode=87"),
    ("op_unsupported", "EZ3002: [PID: 7] Optype [Some] of Ops kernel [x] is unsupported."),
    ("link_timeout", LINK),
    ("collective_args_mismatch", "[ParameterConflict]CMD information count check fail. local[1], remote[2]"),
    ("env_invalid", "(EI0001): Value 9 for environment variable HCCL_RDMA_TC is invalid. Expected: range[0, 7]."),
    ("nic_name_not_found", "(EI0001): Value eth9 for environment variable HCCL_SOCKET_IFNAME is invalid."),
    ("ranktable_invalid", "[RanktableConfig]errNo[0x1] path /x.json is not a valid real path"),
    ("device_ip_conflict", "the IP address(10.0.0.1) in the ranktable is inconsistent with the IP(10.0.0.2)address"),
    ("heartbeat_lost", HEARTBEAT),
    ("task_exec_timeout", TASK_TIMEOUT),
    ("task_exec_timeout", "[rank3]:[E1120 ProcessGroupHCCL.cpp:9] Watchdog caught collective operation timeout: x"),
    ("engine_timeout", "(EngineCore_DP0 pid=31) ERROR 11-20 10:00:00 [core.py:1] TimeoutError: RPC call to "
     "sample_tokens timed out."),
    ("rendezvous_timeout", "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 "
     "clients joined."),
    ("task_exec_timeout", "EI0002: [PID: 7] The wait execution of the Notify register times out."),
    ("sdma_error", "Execution_Error_SDMA(EI0012): SDMA memory copy task exception occurred."),
    ("roce_cqe_error", CQE),
    ("aicore_error", "(Worker pid=7) RuntimeError: ACL stream synchronize failed, error code:507035"),
    ("aicore_error", "AIV Kernel happen error, retCode=0x31"),
    ("aicore_error", "Kernel task happen error, retCode=0x26, [aicore trap exception]."),
    ("aicore_error", "rtDeviceSynchronize failed, retCode=507014"),
    ("aicore_error", "The error from device(chipId:0, dieId:0), there is an aivec error exception, core id is 0"),
    ("aicpu_error", "AclrtSynchronizeStreamWithTimeout(stream), error code is 507018"),
    ("hccp_init_failed", "EJ0001: [PID: 7] Failed to initialize the HCCP process."),
    ("rdev_init_failed", "ra_rdev_init(621) : [init][ra_rdev]ra rdev init failed. ret(-67)"),
    ("device_busy", "Resource_Busy(EL0005): The resources are busy."),
    ("op_param_invalid", "RuntimeError: call aclnnMatmul failed, detail:EZ1001: [PID: 7] the k-axis differ"),
    ("driver_library_missing", "ImportError: libascend_hal.so: cannot open shared object file: No such file"),
    ("cann_library_missing", "ImportError: libatb.so: cannot open shared object file: No such file"),
    ("cann_version_mismatch", "EI0008: The CANN versions are inconsistent."),
    ("module_missing", "ModuleNotFoundError: No module named 'vllm_ascend'"),
    ("quantization_unsupported", "ValueError: Unknown quantization method: ascend. Must be one of ['awq']."),
    ("quantization_unsupported", "vllm serve: error: argument --quantization/-q: invalid choice: 'ascend'"),
    ("quantization_unsupported", "  Input should be 'awq' or 'fp8' [type=literal_error, input_value='ascend', "
     "input_type=str]"),
    ("quantization_description_missing", "ValueError: Cannot find the config file for ascend"),
    ("weights_damaged", "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata"),
    ("tokenizer_unsupported", "ValueError: Tokenizer class TokenizersBackend does not exist or is not imported."),
    ("packages_mismatch", "ImportError: cannot import name 'x' from 'vllm.y' (/y.py)"),
    ("custom_ops_not_built", "ImportError: /x/vllm_ascend_C.so: undefined symbol: _ZN3c10"),
    ("arguments_invalid", "vllm: error: unrecognized arguments: --no-such-thing"),
    ("arguments_invalid", "api_server.py: error: argument --port: invalid int value: 'x'"),
    ("arguments_invalid", "  Value error, User-specified max_model_len (99999) is greater than the derived "
     "max_model_len (max_position_embeddings=32768)."),
    ("model_unsupported", "ValueError: Model architectures ['Some'] are not supported for now."),
    ("model_not_found", "OSError: Invalid repository ID or local directory specified: '/data/none'."),
    ("model_not_found", "ValueError: No supported config format found in /data/none."),
    ("model_not_found", "OSError: /data/x does not appear to have a file named config.json."),
    ("kv_cache_too_small", "ValueError: 6.0 GiB KV cache is needed, which is larger than the available KV cache "
     "memory (1.0 GiB)."),
    ("kv_cache_too_small", "ValueError: No available memory for the cache blocks. Try increasing"),
    ("hbm_not_free", "ValueError: Free memory on device (3.2/64.0 GiB) is less than desired GPU memory utilization"),
    ("port_in_use", "OSError: [Errno 98] Address already in use"),
    ("port_in_use", "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.1:13389')"),
    ("port_in_use", "Error response from daemon: Bind for 0.0.0.0:8888 failed: port is already allocated"),
    ("architecture_unsupported", "exec /bin/bash: exec format error"),
    ("architecture_unsupported", "no matching manifest for linux/arm64/v8 in the manifest list entries"),
    ("docker_unavailable", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?"),
    ("device_node_missing", "error gathering device information while adding custom device \"/dev/davinci9\": no such "
     "file"),
    ("mount_source_missing", "invalid mount config for type \"bind\": bind source path does not exist: /data/x"),
    ("container_name_taken", "Conflict. The container name \"/vllm\" is already in use by container \"0123\"."),
    ("image_unavailable", "Error response from daemon: manifest for quay.io/x:v1 not found: manifest unknown"),
    ("container_runtime_failed", "OCI runtime create failed: runc create failed: unable to start: x"),
    ("engine_hung", HUNG),
    ("engine_dead", DEAD),
    ("process_crashed", "(EngineCore pid=9) ERROR 11-20 10:00:00 [m.py:1] Worker proc VllmWorker-1 died unexpectedly "
     "(exit code: -9), shutting down executor."),
    ("engine_dead", "(EngineCore pid=9) ERROR 11-20 10:00:00 [m.py:1] Worker proc VllmWorker-1 died unexpectedly, "
     "shutting down executor."),
    ("shutdown_by_signal", STOPPED),
    ("shutdown_by_signal", "(APIServer pid=1) INFO:     Shutting down"),
    ("shutdown_by_signal", "torch.distributed.elastic: Received 15 death signal, shutting down workers"),
    ("custom_op_missing", CUSTOM_OP),
    ("driver_cann_mismatch", OLD_DRIVER),
    ("startup_ok", STARTED),
])
def test_one_line_identifies_its_cause(cause, line):
    found = diagnose("unrelated before\n  %s  \nunrelated after" % line)[0]
    assert {key: found[key] for key in ("cause", "evidence", "remedy", "line")} == {
        "cause": cause, "evidence": line.strip(), "remedy": REMEDIES[cause], "line": 2}


@pytest.mark.parametrize(("case", "lines", "first"), [
    ("timeouts follow the fault, in any order", [TASK_TIMEOUT, "err_type=4[fftsplus sdma error]"], "sdma_error"),
    ("peers of a dead rank time out", [LINK, HEARTBEAT, OUT_OF_MEMORY], "out_of_memory"),
    ("an error CQE explains the lost heartbeat", [HEARTBEAT, CQE], "roce_cqe_error"),
    ("the errno is more specific than the message text", ["EJ0003: the port is bound", "bind fail! x, error:99"],
     "bind_address_unavailable"),
    ("the engine's death is a consequence", [DEAD, OUT_OF_MEMORY], "out_of_memory"),
    ("a runtime code hides the cause below it",
     ["RuntimeError: aclrtMemcpy, error code is 507899", "EL0004: [PID: 1] Failed to allocate memory."],
     "out_of_memory"),
    ("errors after a stop are its consequences", [STARTED, STOPPED, DEAD], "shutdown_by_signal"),
    ("an error before a stop is not a consequence", [OUT_OF_MEMORY, STOPPED], "out_of_memory"),
    ("a fallback is not a fault", [OLD_DRIVER, OUT_OF_MEMORY], "out_of_memory"),
    ("a later start supersedes an earlier fault", [OUT_OF_MEMORY, DEAD, STARTED], "startup_ok"),
    ("a start does not hide later faults", [STARTED, CQE], "roce_cqe_error"),
    ("a fallback after the start is reported", [STARTED, CUSTOM_OP], "custom_op_missing"),
    ("uvicorn reports a start before it fails to bind", [STARTED, "ERROR:    [Errno 98] error while binding"],
     "port_in_use"),
    ("the earlier of two faults is the cause", ["EL0005: The resources are busy.", OUT_OF_MEMORY], "device_busy"),
    ("the stop before a new start is ignored",
     [STARTED, STOPPED, "INFO 11-20 10:01:00 [utils.py:233] non-default args: {}", OUT_OF_MEMORY], "out_of_memory"),
    ("the server logs why its engine died only when it stops",
     [STARTED, DEAD, "INFO:     Shutting down", OUT_OF_MEMORY], "out_of_memory"),
    ("busy devices explain a wrong device count",
     ["Invalid devId, current device=0, valid devId range is [0, 0)", "EL0005: The resources are busy."],
     "device_busy"),
    ("a vague message is ignored next to a clear one",
     ["DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)", "ImportError: libascend_hal.so: cannot open shared object"],
     "driver_library_missing"),
    ("a vague message outranks the timeouts of peers", [LINK, "aclrtSetDevice(device_id), error code is 507033"],
     "device_unavailable"),
    ("the hung engine explains a stop by the health check", [STARTED, HUNG, STOPPED, DEAD], "engine_hung"),
    ("an HCCL port is not the API port", ["EI0019: Failed to enable listening.", "Address already in use"],
     "hccl_port_in_use"),
    ("the code for any uncaught exception is ignored", ["ModuleNotFoundError: No module named 'x'", "ERR99999 UNKNOWN"],
     "module_missing"),
])
def test_causes_are_ranked_before_their_consequences(case, lines, first):
    assert causes(*lines)[0] == first, case


@pytest.mark.parametrize("line", [
    "WARNING 11-20 10:00:00 [x.py:20] Failed to import vllm._C: ModuleNotFoundError: No module named 'x'",
    "(APIServer pid=1) INFO 11-20 10:00:00 [x.py:1] retrying after OutOfMemoryError",
    "[W1120 10:00:00.000 compiler_depend.ts:1] Warning: EI0006 is only mentioned",
    "[INFO] HCCL(7,vllm):2026-11-20-10:00:00.0 [x.cc:1] getting socket times out is set to 120 s, see EI0006",
    "/usr/lib/python3/x.py:1: UserWarning: OutOfMemoryError is deprecated",
    "(APIServer pid=1) INFO:     10.0.0.1:5000 - \"GET /v1/No space left on device HTTP/1.1\" 404 Not Found",
    "error code is 0", "NPU function error: x, error code is 5070350", "ret=507", "HTTP 500: EI00061",
    "[ERROR] ERR99999 UNKNOWN applicaiton exception", "TLS SWITCH (1)", "all is well", "",
])
def test_no_cause_is_guessed(line):
    assert diagnose(line) == [{"cause": UNKNOWN, "evidence": None, "remedy": REMEDIES[UNKNOWN], "line": None,
                               "time": None, "process": None}]


HEALTHY = """
WARNING 11-20 10:00:00 [x.py:1] Failed to import from vllm._C with ModuleNotFoundError("No module named 'vllm._C'")
INFO 11-20 10:00:00 [importing.py:1] Triton not installed or not compatible; certain functions will not be available.
(APIServer pid=1) INFO 11-20 10:00:01 [utils.py:233] non-default args: {'port': 8888, 'quantization': 'ascend'}
(APIServer pid=1) WARNING 11-20 10:00:01 [envs.py:1] Unknown vLLM environment variable detected: VLLM_USE_V1
(APIServer pid=1) INFO 11-20 10:00:02 [network.py:248] Port 29500 is already in use, trying port 29501
(EngineCore_DP0 pid=9) INFO 11-20 10:00:03 [core.py:1] HCCL_CONNECT_TIMEOUT=120, a link times out (EI0006) after that
(Worker_TP0 pid=10) /usr/lib/python3/site-packages/torch_npu/x.py:1: ImportWarning: error code is 507899 is handled
[W1120 10:00:04.000 compiler_depend.ts:1] Warning: Device do not support double dtype now (function operator())
(Worker_TP0 pid=10) INFO 11-20 10:00:05 [worker.py:1] out of memory is avoided by gpu-memory-utilization 0.9
(Worker_TP1 pid=11) WARNING 11-20 10:00:06 [shm_broadcast.py:1] No available shared memory broadcast block found in 60s
[rank0]:[W1120 10:00:07.000 ProcessGroupHCCL.cpp:1] Warning: heartbeat lost is watched for
(APIServer pid=1) INFO:     Started server process [1]
(APIServer pid=1) INFO:     Application startup complete.
(APIServer pid=1) INFO:     10.0.0.1:5000 - "POST /v1/chat/completions HTTP/1.1" 200 OK
(APIServer pid=1) INFO 11-20 10:10:00 [loggers.py:1] Engine 000: Avg prompt throughput: 507.0 tokens/s, Running: 3 reqs
(APIServer pid=1) INFO 11-20 10:10:01 [serving.py:1] Error in preprocessing prompt inputs: address already in use
"""


def test_messages_of_a_healthy_server_that_look_like_errors_are_ignored():
    assert causes(HEALTHY) == ["startup_ok"]


@pytest.mark.parametrize(("second_start", "expected"), [
    ([LINK, DEAD], "link_timeout"),
    ([DEAD], "engine_dead"),
    ([STARTED], "startup_ok"),
    ([], "out_of_memory"),
])
def test_causes_before_the_last_start_are_ignored(second_start, expected):
    start = "(APIServer pid=1) INFO 11-20 10:00:01 [utils.py:233] non-default args: {'port': 8888}"
    assert causes(start, OUT_OF_MEMORY, DEAD, start, *second_start)[0] == expected


def test_different_tls_settings_are_quoted_together():
    one, other = "device-0.log:[INFO] rs_ssl_init : TLS SWITCH (1)", "device-1.log:[INFO] rs_ssl_init : TLS SWITCH (0)"
    assert diagnose("%s\n%s\n%s" % (one, one, other))[0]["evidence"] == "%s\n%s" % (one, other)
    assert causes(one, one) == [UNKNOWN]


def test_color_codes_are_ignored():
    assert diagnose("\x1b[1;36m(EngineCore pid=1)\x1b[0;0m " + DEAD)[0]["evidence"] == "(EngineCore pid=1) " + DEAD


def test_no_fault_matches_a_healthy_log():
    faults = [cause for cause in CAUSES if cause.level <= ENGINE]
    assert signature_hits(faults, HEALTHY) == []
    assert signature_hits(faults, "\n".join([OUT_OF_MEMORY] * 3)) != []


@pytest.mark.parametrize("head", [
    "WARNING 11-20 10:00:00 [x.py:1] ", "(APIServer pid=1) INFO:     ", "vllm-1  | INFO 11-20 10:00:00 [x.py:1] ",
    "2026-11-20T10:00:00.123Z DEBUG 11-20 10:00:00 [x.py:1] ", "Nov 20 10:00:00 node dockerd[7]: WARNING: ",
    "[INFO] HCCL(7,vllm):2026-11-20-10:00:00.0 ", "[rank0]:[W1120 10:00:00.000 x.cpp:1] ",
])
def test_no_fault_is_found_in_lines_logged_below_error(head):
    faults = [cause for cause in CAUSES if cause.level <= ENGINE]
    lines = [head + example for cause in faults for example in EXAMPLES[cause.id] if "\n" not in example]
    assert signature_hits(faults, "\n".join(["", *lines])) == []
    assert len(signature_hits(faults, "\n".join(["", *lines]).replace(head, ""))) > len(lines) * 0.9


@pytest.mark.parametrize(("cause", "pattern", "example"), SIGNATURES)
def test_every_alternative_of_a_signature_contains_a_long_literal(cause, pattern, example):
    assert min(len(longest) for longest, *_shorter in log_triage.literals(pattern)) >= 4


@pytest.mark.parametrize(("pattern", "literals"), [
    (r"plain text", [["plain text"]]), (r"Some(?:thing|body) failed", [[" failed", "some"]]),
    (r"a\[bc\]d", [["a[bc]d"]]), (r"first word|second", [["first word"], ["second"]]),
    (r"opt?ional", [["ional", "op"]]), (r"[abc]{3}def\w+ghij", [["ghij", "def"]]), (r"x(?:a|[)]b)yz\d+", [["yz", "x"]]),
    (r"frame[^\n]*\n[^\n]*Error: x", [["error: x"]]), (r"ab*c\Sd", [["a", "c", "d"]]),
])
def test_literals_of_a_pattern_are_sorted_by_length(pattern, literals):
    assert log_triage.literals(pattern) == literals


def found_entry(cause, line):
    hit = log_triage._Hit(line, line, cause.id, "")
    return log_triage._Found(cause, False, hit)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_no_effect_outranks_its_cause_in_any_order(cause):
    for other in CAUSES:
        if other is cause or SIGNAL in (cause.level, other.level):
            continue
        produces = other.id in cause.effects or (
            cause.level < other.level and cause.id not in effects_of(other))
        for effect_line, cause_line in ((1, 2), (2, 1)) if produces else ():
            ranked = log_triage.rank([found_entry(other, effect_line), found_entry(cause, cause_line)])
            assert [entry.cause.id for entry in ranked] == [cause.id, other.id]


@given(st.text() | st.lists(st.sampled_from([STARTED, STOPPED, DEAD, LINK, CQE, "TLS SWITCH (0)", "TLS SWITCH (1)"]))
       .map("\n".join))
def test_any_text_gets_a_diagnosis(text):
    ranked = diagnose(text)
    assert ranked
    assert all(set(entry) == {"cause", "evidence", "remedy", "line", "time", "process"} for entry in ranked)
    assert all(entry["cause"] in REMEDIES for entry in ranked)


def test_real_logs_match_their_labels(corpus):
    labels = sorted((corpus / "vllm-logs").glob("*.expected.json"))
    assert labels
    wrong = {}
    for label in labels:
        expected = json.loads(label.read_text("utf-8"))
        text = label.with_name(label.name.replace(".expected.json", ".txt")).read_text("utf-8")
        first = diagnose(text)[0]
        if {key: first[key] for key in expected} != expected:
            wrong[label.name] = first
    assert wrong == {}


TRACEBACK = """\
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1]   File "/vllm/core.py", line 709, in run_engine_core
(APIServer pid=1) INFO 11-20 10:00:00 [x.py:1] another process logs between the lines
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1]     raise ValueError("a")
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] ValueError: the first exception
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1]
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] During handling of the above exception, another exception occurred:
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1]
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1]   File "/vllm/core.py", line 800, in run
(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] vllm.SomeError: which is new
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/vllm/client.py", line 9, in wait
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
(APIServer pid=1) sys:1: DeprecationWarning: builtin type swigvarlink has no __module__ attribute"""
NEW = "(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] vllm.SomeError: which is new"
BLOCK = """\
EE9999: Inner Error!
EE9999[PID: 7] 2026-11-20-10:00:00.123.000 (EE9999):  some text that is new
        TraceBack (most recent call last):
        rtSome execution failed[FUNC:x]"""


@pytest.mark.parametrize(("case", "text", "evidence"), [
    ("the last exception of the first chain of tracebacks", TRACEBACK, NEW),
    ("a traceback without its beginning", TRACEBACK.split("\n", 5)[5], NEW),
    ("an exception without a traceback", NEW, NEW),
    ("only exceptions of the newest start count", "\n".join([
        STARTED, STOPPED, "ValueError: from the previous run",
        "INFO 11-20 10:01:00 [utils.py:233] non-default args: {}", TRACEBACK]), NEW),
    ("a CANN error block is quoted completely", "before\n" + BLOCK + "\nafter", BLOCK),
    ("an error block after a completed start", "\n".join([STARTED, BLOCK, DEAD]), BLOCK),
    ("blocks before and after a completed start",
     "\n".join([BLOCK, STARTED, BLOCK.replace("9999", "9998"), DEAD]), BLOCK.replace("9999", "9998")),
    ("a block before a completed start", "\n".join([BLOCK, STARTED, NEW, DEAD]), NEW),
    ("a CANN error block outranks an exception", TRACEBACK + "\n" + BLOCK, BLOCK),
    ("an exception that a running server handled is not the cause", STARTED + "\n" + NEW, None),
    ("an exception before the engine of a running server dies", "\n".join([STARTED, NEW, DEAD]), NEW),
    ("a stop explains the exceptions after it", "\n".join([STARTED, STOPPED, NEW]), None),
    ("a warning is not an exception", "x.py:1: DeprecationWarning: builtin type swigvarlink has no attribute", None),
    ("the last resort is an [ERROR] line of a plog file", "[ERROR] HCCL(7,vllm):2026-11-20-10:00:00.0 [x.cc:1] xyz",
     "[ERROR] HCCL(7,vllm):2026-11-20-10:00:00.0 [x.cc:1] xyz"),
])
def test_evidence_of_an_unknown_cause_is_quoted(case, text, evidence):
    first = diagnose(text)[0]
    assert (first["cause"] == UNKNOWN and first["evidence"] is not None) == (evidence is not None), case
    assert evidence is None or first["evidence"] == evidence, case


@pytest.mark.parametrize(("code", "component"), [
    ("EI9999", "HCCL"), ("EL9999", "driver"), ("EE9999", "runtime"), ("EH9999", "ACL"), ("E39999", "AI CPU"),
    ("WJ0001", "HCCP"), ("EQ1234", "a part of CANN"),
])
def test_remedy_for_an_unknown_code_names_the_component(code, component):
    assert component in diagnose("%s: [PID: 7] some text" % code)[0]["remedy"]


def test_folded_lines_are_joined():
    line = "(EngineCore_DP0 pid=9) ERROR 11-20 10:00:00 [core.py:1] ValueError: Current node has no NPU available. x={}"
    filler = "(EngineCore_DP0 pid=9) INFO 11-20 10:00:00 [core.py:1] " + "y" * 50
    width = 89  # the fold is within "Current node has"
    folded = "\n".join(part for each in [filler] * 3 + [line] for part in (each[:width], each[width:]))
    assert diagnose(folded)[0]["cause"] == "ray_no_npu"
    assert diagnose(folded)[0]["evidence"].replace("\n", "") == line
    # If one part of a folded line shows the cause, only that part is the evidence.
    folded = "\n".join(part for each in [filler] * 3 + [line] for part in (each[:105], each[105:]))
    assert diagnose(folded)[0]["evidence"] == line[:105]


@pytest.mark.parametrize(("text", "line", "time", "process"), [
    ("x\n" + OUT_OF_MEMORY, 2, "11-20 10:00:00", "Worker_TP1 pid=7"),
    (TASK_TIMEOUT, 1, "11-20 10:00:00", "HCCL 7"),
    (LINK, 1, "11-20 10:00:00", "rank1"),
    ("[rank0]:[E612 08:09:10.164 x.cpp:1] x\nRuntimeError: NPU out of memory", 2, "06-12 08:09:10.164", None),
    ("RuntimeError: NPU out of memory", 1, None, None),
])
def test_cause_has_its_line_time_and_process(text, line, time, process):
    first = diagnose(text)[0]
    assert (first["line"], (first["time"] or "")[:len(time or "")] or None, first["process"]) == (line, time, process)


def test_log_that_is_read_in_parts_has_the_same_causes(monkeypatch):
    monkeypatch.setattr(log_triage, "CHUNK_CHARACTERS", 2000)
    text = "\n".join(["x" * 90] * 50 + [LINK] + ["y" * 90] * 50 + [OUT_OF_MEMORY] + ["z" * 90] * 50)
    expected = diagnose(text)
    assert [entry["cause"] for entry in expected] == ["out_of_memory", "link_timeout"]
    assert [entry["line"] for entry in expected] == [102, 51]
    assert diagnose(iter([text[start:start + 700] for start in range(0, len(text), 700)])) == expected


def test_link_timeout_outranks_exhausted_streams():
    assert causes("error code is 207005", LINK)[:2] == ["link_timeout", "graph_streams_exhausted"]


def test_message_in_a_very_long_line_is_found():
    assert causes("x" * 100_000 + " " + OUT_OF_MEMORY + " " + "y" * 100_000)[0] == "out_of_memory"


def test_letters_that_are_longer_in_lower_case_do_not_shift_the_evidence():
    assert diagnose("\u0130" * 50 + "\n" + OUT_OF_MEMORY)[0]["evidence"] == OUT_OF_MEMORY


LOGS = [log for name in ("public_logs.txt", "constructed_logs.txt")
        for log in Path(__file__).with_name(name).read_text("utf-8").split("\n=== ")[1:]]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.partition(" => ")[0])
def test_public_and_constructed_logs_match_their_labels(log):
    title, _newline, text = log.partition("\n")
    assert diagnose(text)[0]["cause"] in title.partition(" => ")[2].split(", ")
