# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils.log_triage import CAUSES, REMEDIES, UNKNOWN, diagnose

STARTED = "INFO:     Application startup complete."
STOPPED = "(EngineCore pid=9) INFO 11-20 10:00:00 [core.py:1] [shutdown] EngineCore: trigger received signal=SIGTERM"
DEAD = "(APIServer pid=8) RuntimeError: Engine core initialization failed. See root cause above."
OUT_OF_MEMORY = "(Worker_TP1 pid=7) ERROR 11-20 10:00:00 [x.py:1] torch.OutOfMemoryError: NPU out of memory. Tried."
TASK_TIMEOUT = "[ERROR] HCCL(7,vllm):2026-11-20-10:00:00.0 [x.cc:1] [7][TaskExecStage][Timeout][Host]Task run failed."
HEARTBEAT = "[ERROR]HCCL(7,vllm): [TaskExecStage][HeartbeatAbnormal] ExceptionType:[Heartbeat Lost Occurred]"
CQE = "[ERROR] HCCL(7,vllm): [heartbeat.cc:9] [7][TaskExecStage][HeartbeatAbnormal][ROCE CQE ERROR]cqe error status[12]"
LINK = "[rank1]: EI0006: [PID: 7] 2026-11-20-10:00:00.000.001 Getting socket times out. Reason: no data in time."
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
    ("link_timeout", LINK),
    ("collective_args_mismatch", "[ParameterConflict]CMD information count check fail. local[1], remote[2]"),
    ("env_invalid", "(EI0001): Value 9 for environment variable HCCL_RDMA_TC is invalid. Expected: range[0, 7]."),
    ("nic_name_not_found", "(EI0001): Value eth9 for environment variable HCCL_SOCKET_IFNAME is invalid."),
    ("ranktable_invalid", "[RanktableConfig]errNo[0x1] path /x.json is not a valid real path"),
    ("device_ip_conflict", "the IP address(10.0.0.1) in the ranktable is inconsistent with the IP(10.0.0.2)address"),
    ("heartbeat_lost", HEARTBEAT),
    ("task_exec_timeout", TASK_TIMEOUT),
    ("task_exec_timeout", "EI0002: [PID: 7] The wait execution of the Notify register times out."),
    ("sdma_error", "Execution_Error_SDMA(EI0012): SDMA memory copy task exception occurred."),
    ("roce_cqe_error", CQE),
    ("aicore_error", "(Worker pid=7) RuntimeError: ACL stream synchronize failed, error code:507035"),
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
    ("arguments_invalid", "vllm: error: unrecognized arguments: --no-such-thing"),
    ("model_unsupported", "ValueError: Model architectures ['Some'] are not supported for now."),
    ("model_not_found", "OSError: Invalid repository ID or local directory specified: '/data/none'."),
    ("kv_cache_too_small", "ValueError: No available memory for the cache blocks. Try increasing"),
    ("hbm_not_free", "ValueError: Free memory on device (3.2/64.0 GiB) is less than desired GPU memory utilization"),
    ("port_in_use", "OSError: [Errno 98] Address already in use"),
    ("architecture_unsupported", "exec /bin/bash: exec format error"),
    ("engine_dead", DEAD),
    ("shutdown_by_signal", STOPPED),
    ("shutdown_by_signal", "(APIServer pid=1) INFO:     Shutting down"),
    ("custom_op_missing", CUSTOM_OP),
    ("driver_cann_mismatch", OLD_DRIVER),
    ("startup_ok", STARTED),
])
def test_one_line_names_its_cause(cause, line):
    found = diagnose("unrelated before\n  %s  \nunrelated after" % line)[0]
    assert found == {"cause": cause, "evidence": line.strip(), "remedy": REMEDIES[cause]}


@pytest.mark.parametrize(("why", "lines", "first"), [
    ("time-outs follow the fault, whatever the order", [TASK_TIMEOUT, "err_type=4[fftsplus sdma error]"], "sdma_error"),
    ("peers of a dead rank time out", [LINK, HEARTBEAT, OUT_OF_MEMORY], "out_of_memory"),
    ("an error CQE explains the lost heartbeat", [HEARTBEAT, CQE], "roce_cqe_error"),
    ("errno tells more than the printed guess", ["EJ0003: the port is bound", "bind fail! x, error:99"],
     "bind_address_unavailable"),
    ("the engine's death is a consequence", [DEAD, OUT_OF_MEMORY], "out_of_memory"),
    ("a runtime code hides the cause below it",
     ["RuntimeError: aclrtMemcpy, error code is 507899", "EL0004: [PID: 1] Failed to allocate memory."],
     "out_of_memory"),
    ("what follows a stop is a consequence", [STARTED, STOPPED, DEAD], "shutdown_by_signal"),
    ("what leads to a stop is not", [OUT_OF_MEMORY, STOPPED], "out_of_memory"),
    ("a fall-back is no fault", [OLD_DRIVER, OUT_OF_MEMORY], "out_of_memory"),
    ("a later start overcomes an earlier fault", [OUT_OF_MEMORY, DEAD, STARTED], "startup_ok"),
    ("a start does not hide what follows it", [STARTED, CQE], "roce_cqe_error"),
    ("a fall-back after the start is told", [STARTED, CUSTOM_OP], "custom_op_missing"),
    ("uvicorn reports a start before it fails to bind", [STARTED, "ERROR:    [Errno 98] error while binding"],
     "port_in_use"),
    ("of two faults the earlier", ["EL0005: The resources are busy.", OUT_OF_MEMORY], "device_busy"),
    ("an uncaught exception's code says nothing", ["ModuleNotFoundError: No module named 'x'", "ERR99999 UNKNOWN"],
     "module_missing"),
])
def test_ranking(why, lines, first):
    assert causes(*lines)[0] == first, why


@pytest.mark.parametrize("line", [
    "WARNING 11-20 10:00:00 [x.py:20] Failed to import vllm._C: ModuleNotFoundError: No module named 'x'",
    "(APIServer pid=1) INFO 11-20 10:00:00 [x.py:1] retrying after OutOfMemoryError",
    "HTTP 500: EI00061", "[ERROR] ERR99999 UNKNOWN applicaiton exception", "TLS SWITCH (1)", "all is well", "",
])
def test_nothing_is_guessed(line):
    assert diagnose(line) == [{"cause": UNKNOWN, "evidence": None, "remedy": REMEDIES[UNKNOWN]}]


def test_tls_switches_that_differ_are_evidence_together():
    one, other = "device-0.log:[INFO] rs_ssl_init : TLS SWITCH (1)", "device-1.log:[INFO] rs_ssl_init : TLS SWITCH (0)"
    assert diagnose("%s\n%s\n%s" % (one, one, other))[0]["evidence"] == "%s\n%s" % (one, other)
    assert causes(one, one) == [UNKNOWN]


def test_colour_codes_are_no_part_of_the_log():
    assert diagnose("\x1b[1;36m(EngineCore pid=1)\x1b[0;0m " + DEAD)[0]["evidence"] == "(EngineCore pid=1) " + DEAD


def test_hidden_causes_exist_and_ids_are_unique():
    ids = [cause.id for cause in CAUSES]
    assert len(set(ids)) == len(ids)
    assert {name for cause in CAUSES for name in cause.hides} <= set(ids)


@given(st.text() | st.lists(st.sampled_from([STARTED, STOPPED, DEAD, LINK, CQE, "TLS SWITCH (0)", "TLS SWITCH (1)"]))
       .map("\n".join))
def test_any_text_gets_a_diagnosis(text):
    ranked = diagnose(text)
    assert ranked
    assert all(set(entry) == {"cause", "evidence", "remedy"} and entry["cause"] in REMEDIES for entry in ranked)


def test_corpus(corpus):
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
