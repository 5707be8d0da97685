# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of real hosts are parsed and judged.

In each case, one fact of a healthy node (npu_case.py) is replaced, so that only the check of this fact can fail.
cases/INDEX.tsv lists the sources. A code search id identifies a file in a public GitHub repository.
"""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import (
    hccn_tool,
    kernel_log,
    npu_devices,
    version_files,
)
from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, engine_facts, images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, holders, network
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import interfaces, judge_ports
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import versions
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import inspected
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver.npu_case import (
    changed,
    check_named,
    faults,
    healthy,
    judged,
)

CASES = Path(__file__).parent / "cases"


def text(name):
    # Ansible's sanity tests do not allow CRLF line endings in a file.
    found = (CASES / name).read_text("utf-8")
    return found.replace("\n", "\r\n") if "crlf" in name else found


def lines(name):
    return [line for line in text(name).splitlines() if line.strip() and not line.startswith("#")]


def found(*changes, check, plan=None):
    """Return (status, message) of a check on a healthy node with changes, and assert that no other check fails."""
    observed = changed({key: value for each in changes for key, value in each.items()})
    checks = judged(observed, plan=plan)
    assert {name for name, _subject in faults(checks)} <= {check}
    checks = [each for each in checks if each["id"] == check]
    failing = [each for each in checks if each["status"] != "passed"] or checks
    return failing[0]["status"], "{message} {actual} {remedy}".format(**failing[0])


def test_every_case_of_the_index_has_a_test():
    with open(CASES / "INDEX.tsv", encoding="utf-8") as stream:
        names = [row["file"] for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]
    source = Path(__file__).read_text("utf-8")
    assert [name for name in names if f'"{name}"' not in source] == []
    assert len(names) == 52


# --- Operating systems and kernels: older_kernels in hardware.yml contains the vendor's list for the hardware


def system_of(name, tmp_path, kernel=None):
    """Return the facts of a host with this os-release. The kernel defaults to the one in the comment of the file."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text(name))
    named = re.search(r"# uname -r.*: (\S+)$", text(name), re.MULTILINE)
    return dict(healthy()["system"], kernel=kernel or named.group(1), os=facts.system(str(tmp_path))["os"])


@pytest.mark.parametrize(("name", "kernel", "status"), [
    ("os/01-openeuler-2003.txt", None, "warned"),         # only in the list for products older than the A2
    ("os/02-kylin-v10-tercel-sp1.txt", None, "warned"),   # the list for the A2 starts with SP2
    ("os/03-kylin-v10-sword-sp2.txt", None, "passed"),
    ("os/05-euleros-2sp8.txt", None, "warned"),
    ("os/06-bclinux-21.10.txt", "4.19.90-2107.6.0.0192.8.oe1.bclinux.aarch64", "passed"),
    ("os/06-bclinux-21.10.txt", "4.19.25-203.el7.bclinux.x86_64", "passed"),
    ("os/07-uos-server-20.txt", "4.19.90-2305.1.0.0199.56.uel20.aarch64", "passed"),
    ("os/07-uos-server-20.txt", "4.19.0-91.82.88.uelc20.aarch64", "passed"),
    ("os/09-openeuler-2403sp3-910b.txt", None, "passed"),
    ("os/10-centos-7.6-aarch64-kernel.txt", None, "passed"),
    ("os/10-centos-7.6-aarch64-kernel.txt", "3.10.0-957.el7.x86_64", "warned"),
])
def test_kernel_passes_only_if_the_vendor_supports_it(name, kernel, status, tmp_path):
    assert found({"system": system_of(name, tmp_path, kernel)}, check="kernel")[0] == status


# A kernel of each system in the vendor's list. The list itself contains only some of the kernels.
KERNELS = {
    "CentOS 7.6": "4.14.0-115.el7a.0.1.aarch64", "CTYunOS 22.06": "4.19.90-2102.2.0.0062.ctl2.aarch64",
    "CTYunOS 23.01": "5.10.0-136.12.0.86.ctl3.aarch64", "Kylin V10 SP2": "4.19.90-25.10.v2101.ky10.aarch64",
    "Kylin V10 SP3": "4.19.90-52.22.v2207.ky10.aarch64", "Kylin V11": "6.6.0-32.7.v2505.ky11.aarch64",
    "UOS V20 1050u2e": "4.19.90-2211.5.0.0178.22.uel20.aarch64", "UOS V25": "6.6.0-25.02.uel25.aarch64",
    "Ubuntu 22.04": "5.15.0-25-generic", "Ubuntu 22.04.4": "6.5.0-18-generic", "Ubuntu 24.04": "6.8.0-31-generic",
    "openEuler 22.03": "5.10.0-60.18.0.50.oe2203.aarch64", "openEuler 24.03": "6.6.0-72.0.0.76.oe2403sp1.aarch64",
    "BC-Linux_21.10 U4": "4.19.90-2107.6.0.0192.8.oe1.bclinux.aarch64",
}


def test_every_system_in_the_vendors_list_passes():
    systems = lines("os/11-vendor-supported-os-800T-A2.txt")[1:]
    assert len(systems) == 16
    for system in systems:
        kernel = next(KERNELS[name] for name in sorted(KERNELS, reverse=True) if system.startswith(name))
        status = found({"system|kernel": kernel}, check="kernel")[0]
        assert (system, status) == (system, "passed")


def test_every_kernel_in_the_vendors_list_passes():
    kernels = [re.search(r"\((\S+) kernel\)", line).group(1)
               for line in lines("os/12-kernels-of-supported-x86-A2.txt")]
    assert [found({"system|kernel": kernel}, check="kernel")[0] for kernel in kernels] == ["passed"] * 4


# --- Firmware: the rule of dcmi_get_device_compatibility


@pytest.mark.parametrize(("name", "board", "status"), [
    ("firmware/01-hdk-23.0.7-own-pair.txt", None, "passed"),
    ("firmware/03-driver-25.3.rc1-on-fw-24.1.rc3.txt", None, "passed"),
    ("firmware/04-hdk-25.0.rc1.1-own-pair.txt", None, "passed"),
    ("firmware/05-really-incompatible-24.1.rc2-fw-7.3.txt", None, "failed"),
    ("firmware/05-really-incompatible-24.1.rc2-fw-7.3.txt", "OK", "passed"),
    ("firmware/01-hdk-23.0.7-own-pair.txt", "NOK", "failed"),
])
def test_firmware_is_compared_with_the_driver(name, board, status):
    driver, firmware = (version_files.parse(part) for part in text(name).split("\n--\n"))
    assert (driver["kind"], firmware["kind"]) == ("driver_version", "firmware_version")
    observed = changed({"files": {"driver": driver, "firmware": firmware}, "npu_smi|driver_version": None})
    for chip in observed["npu_smi"]["chips"]:
        chip["board"] = {"Compatibility": board} if board else None
    assert check_named(judged(observed), "firmware")["status"] == status


@pytest.mark.parametrize(("name", "path"), [
    ("installinfo/01-910b.txt", "/usr/local/Ascend"), ("installinfo/02-with-status.txt", "/usr/local/Ascend"),
    ("installinfo/03-other-path-310b.txt", "/var/davinci")])
def test_remedy_names_the_input_for_another_driver_folder(name, path):
    installed = version_files.parse(text(name))
    assert (installed["kind"], installed["fields"]["Driver_Install_Path_Param"]) == ("install_info", path)
    install_info = {"files|/etc/ascend_install.info": installed}
    missing = {f"paths|{number}|type": None for number, each in enumerate(healthy()["paths"])
               if each["path"].startswith("/usr/local/Ascend/driver/")}
    assert found(install_info, check="mount_sources")[0] == "passed"
    status, message = found(install_info, missing, check="mount_sources")
    assert status == "failed"
    assert ("serving_driver_path" in message) == (path != "/usr/local/Ascend")


# --- Kernel log, by kinds of lines


@pytest.mark.parametrize(("name", "kinds", "remedy"), [
    ("kernellog/01-heartbeat-lost.txt", {"hang": 1}, "reset it or reboot"),
    ("kernellog/02-device-abnormal-old-format.txt", {"hang": 1}, "reset it or reboot"),
    ("kernellog/03-devmm-pin-user-pages.txt", {"pinned memory": 3}, "safetensors-load-strategy to eager"),
    ("kernellog/04-harmless-process-exit.txt", {}, ""),
    ("kernellog/05-ts-firmware-hang-310b.txt", {"hang": 4}, "reset it or reboot"),
    ("kernellog/06-user-error-ipc-whitelist.txt", {"application": 1}, "log of that process"),
    ("kernellog/07-boot-info-lines.txt", {}, ""),
    ("kernellog/08-boot-peer-fault-notifier.txt", {}, ""),
    ("kernellog/10-aer-corrected-npu.txt", {"PCIe link": 4}, "power-cycle the node"),
])
def test_kernel_log_lines_are_reported_by_kind(name, kinds, remedy):
    log = logged(lines(name))
    checks = [check for check in judged(changed({"kernel_log": log})) if check["id"] == "kernel_log"]
    assert {check["subject"]: int(check["actual"].split()[-1]) for check in checks
            if check["status"] == "warned"} == kinds
    assert all(remedy in check["remedy"] for check in checks if check["status"] == "warned")
    assert [check["status"] for check in checks] == (["warned"] if kinds else ["passed"])


def logged(texts):
    """Return the observation of a kernel log with these lines. Port 0000:89:02.0 leads to an NPU."""
    records = ["5,%d,1000000,-;%s" % (number, line) for number, line in enumerate(texts)]
    return kernel_log.errors(records, 2.0, 3600, ["0000:8a:00.0", "0000:89:02.0"])


def test_corrected_errors_alone_are_only_counted():
    log = logged(lines("kernellog/10-aer-corrected-npu.txt")[:3])
    check = check_named(judged(changed({"kernel_log": log})), "kernel_log")
    assert (check["status"], check["actual"]) == ("passed", "corrected errors of a PCIe link: 1")


# --- /etc/hccn.conf


@pytest.mark.parametrize(("name", "npu", "address"), [
    ("hccnconf/01-8npu-a2.txt", 7, "10.1.170.143"), ("hccnconf/02-16npu-a3-arp.txt", 1, "127.0.0.114"),
    ("hccnconf/03-mindspore-full-mesh-static-arp.txt", 0, "10.98.92.100"), ("hccnconf/05-ipv6-only.txt", 0, None),
    ("hccnconf/06-crlf-no-newline.txt", 0, "10.20.0.20")])
def test_ports_that_match_hccn_conf_pass(name, npu, address):
    conf = hccn_tool.parse_conf(text(name))
    ip = {"address": address, "netmask": conf["devices"][str(npu)].get("netmask")} if address else {
        "error": {"kind": "tool", "message": "Get ipconf failed, because no ip was preset there!", "code": 13}}
    observed = {"conf": conf, "conf_error": None, "npus": {str(npu): {"ip": ip, "gateway": {
        "address": conf["devices"][str(npu)].get("gateway"), "interface": None}}}}
    votes = {check: {} for check in judge_ports.ALIKE}
    inputs = {"hccl_optical_limits": {}, "hccl_link_flap_limit": 5}
    outcomes = {check: outcome for check, (outcome,) in judge_ports.judge_ports(observed, votes, inputs)}
    assert outcomes["conf"].ok is True
    for check in ("address", "netmask", "gateway"):
        assert outcomes[check].ok is not False, check
        assert outcomes[check].unsupported == (not address or conf["devices"][str(npu)].get(check) is None)
    assert address or "has only an IPv6 address (121::101" in outcomes["address"].message


# --- Docker


@pytest.mark.parametrize(("version", "status"), [
    *((line, "passed") for line in ("18.09.0", "18.09.0.325", "19.03.15", "20.10.24+dfsg1", "24.0.7", "24.0.7_ce",
                                    "26.1.3", "28.5.1", "28.5.2")),
    ("29.0.0", "warned"), ("1.13.1", "warned"), ("dev", "not_run"), ("library-import", "not_run")])
def test_docker_version_passes_only_within_the_limits(version, status):
    assert version in lines("docker/05-engine-version-strings.txt")
    assert found({"docker_engine|version": version}, check="docker_engine_version")[0] == status


def test_docker_of_openeuler_passes():
    server = text("docker/01-openeuler-2203sp4-18.09.txt").partition("Server:")[2]
    version = re.search(r"Version:\s+(\S+)", server).group(1)
    assert found({"docker_engine|version": version}, check="docker_engine_version")[0] == "passed"


def test_podman_instead_of_docker_is_reported(docker):
    docker.responses["/version"] = 200, json.loads(text("docker/04-docker-27-version.json"))
    assert engine_facts.query(DockerEngine(docker.path))["version"] == "20.10.24"
    docker.responses["/version"] = 200, json.loads(text("docker/02-podman-version.json"))
    with pytest.raises(DockerError) as caught:
        engine_facts.query(DockerEngine(docker.path))
    engine = {"docker_engine": {"error": str(caught.value)}}
    checks = judged(changed(engine))
    assert check_named(checks, "docker_engine")["status"] == "failed"
    assert "Podman 5.1.2 provides" in check_named(checks, "docker_engine")["message"]


def test_image_without_a_creation_time_is_read(docker):
    docker.images["x"], = json.loads(text("imageinspect/01-no-created.json"))
    assert images.inspect(DockerEngine(docker.path), "x")["created"] is None


@pytest.mark.parametrize(("number", "npus"), [
    (0, [0]), (1, [0, 1, 2, 3, 5, 7]), (2, [0, 1]), (3, [0, 1]), (4, []), (5, [1, 3])])
def test_containers_of_ascend_docker_runtime_hold_their_npus(number, npus):
    line = lines("container/01-ascend-runtime-envs.txt")[number]
    container = containers.read(inspected("train", environment=[line], runtime="ascend"))
    held = holders.npu_holders({}, [container])
    assert [holder["device"] for holder in held] == npus
    checks = judged(changed({"holders": held}))
    planned = set(npus) & {0, 1}
    assert {name for name in faults(checks) if name[0] == "npus_free"} == {
        ("npus_free", f"npu {npu}") for npu in planned}


def test_privileged_container_holds_only_its_visible_devices():
    environment, = re.findall(r"-e (\S+)", text("container/02-privileged-visible.txt"))
    found = inspected("train", environment=[environment], runtime="ascend")
    found["HostConfig"]["Privileged"] = True
    assert containers.read(found)["devices"] == [0]
    assert npu_devices.visible_devices(environment.partition("=")[2]) == {0}


# --- PCI


def test_accelerators_are_found_among_the_pci_devices_of_a_server(tmp_path):
    classes = {"Processing accelerators": "0x120000", "VGA compatible controller": "0x030000", "PCI bridge": "0x060400",
               "Signal processing controller": "0x118000", "System peripheral": "0x088000"}
    for line in lines("pci/01-910b-lspci.txt"):
        address, name = line.split(" ", 1)
        folder = tmp_path / "sys/bus/pci/devices" / ("0000:" + address)
        folder.mkdir(parents=True)
        device = re.search(r"Device ([0-9a-f]{4})", name)
        for file, value in (("vendor", "0x19e5"), ("class", classes[name.partition(":")[0]]),
                            ("device", "0x" + (device.group(1) if device else "1711"))):
            (folder / file).write_text(value + "\n")
    assert [(each["address"], each["device"], each["virtual"]) for each in facts.accelerators(str(tmp_path))] == [
        ("0000:08:00.0", "0xd802", False), ("0000:0c:00.0", "0xd802", False)]


def test_virtual_functions_are_those_in_the_drivers_table():
    table = dict(re.findall(r"#define (\w+) (0x[0-9a-f]+)", text("pci/02-driver-id-table.txt")))
    assert {table[name] for name in table if "_VF_" in name} == set(facts.VIRTUAL_FUNCTIONS)
    for name, device in table.items():
        devices = [*healthy()["pci"], {"address": "0000:c0:00.1", "device": device}]
        assert found({"pci": devices}, check="pci_devices")[0] == ("passed" if "_VF_" in name else "warned"), name


# --- Network


def node(shown):
    """Return the observation of a host whose ip command prints this text."""
    code = 0 if shown.startswith("[") else 255
    read = network.host_network(lambda argv, _timeout: (code, shown, "") if "-json" in argv else (0, "", ""), 5)
    return {"npus": {}, "host_network": read}


def chosen(*observed):
    choices = interfaces.host_interfaces({f"n{number}": each for number, each in enumerate(observed)})
    return [choice["interface"] and choice["interface"]["name"] for choice in choices.values()]


def shown(name):
    """Return the output of `ip -json address` for a recorded output of `ip address`."""
    entries = []
    for line in text(name).splitlines():
        head = re.match(r"\d+: (\S+): <(\S+)>", line)
        address = re.match(r"\s+inet ([\d.]+)/(\d+).* scope (\w+)", line)
        if head:
            entries.append({"ifname": head.group(1), "flags": head.group(2).split(","), "addr_info": []})
        elif address:
            entries[-1]["addr_info"].append({"family": "inet", "local": address.group(1), "scope": address.group(3),
                                             "prefixlen": int(address.group(2))})
    return json.dumps(entries)


def test_interfaces_of_a_kunpeng_server_are_read():
    read = node(shown("network/01-kunpeng-ip-addr.txt"))["host_network"]["interfaces"]
    assert {each["name"]: each["up"] for each in read} == {
        "enp125s0f0": True, "enp125s0f1": False, "enp189s0f0": False, "br-154": True}


def test_empty_entries_of_an_old_iproute_are_ignored():
    assert chosen(node(text("network/03-ip-json-empty-objects.json"))) == ["wlp0s20f3"]


def test_iproute_without_json_support_is_reported():
    read = network.host_network(lambda argv, _timeout: (255, text("network/04-ip-json-unknown.txt"), ""), 5)
    assert 'Option "-json" is unknown' in read["error"]


def test_overlay_and_docker_interfaces_are_not_chosen():
    one = text("network/05-ip-json-vpn-docker.json")
    other = one.replace("203.0.113.20", "203.0.113.21").replace("100.110.34.31", "100.110.34.32")
    assert chosen(node(one), node(other)) == ["eth0", "eth0"]


def test_internal_interface_of_a_bmc_is_not_chosen():
    """The interface has the same address on every server. The servers' data networks are routed."""
    one = shown("network/06-imm-usb0-169.254.txt")
    assert chosen(node(one), node(one.replace("172.20.100.1", "172.20.101.1"))) == ["eth1", "eth1"]


# --- Limits, versions and Python


@pytest.mark.parametrize("name", ["limits/01-memlock-64.txt", "limits/02-memlock-8192.txt"])
def test_limits_of_the_ssh_session_are_not_judged(name):
    """A container has the limits of dockerd, and the driver does not count the NPU memory that it pins."""
    assert "max locked memory" in text(name)
    assert "memlock" not in {check["id"] for check in judged(healthy())}


def test_driver_versions_are_read_and_ordered():
    drivers = lines("versions/01-driver-strings.txt")
    assert sorted(drivers, key=versions.key) == [
        "22.0.2", "23.0.rc2.3", "23.0.rc3", "23.0.7", "24.1.rc1", "24.1.rc2.2", "24.1.rc3.7", "24.1.0.3", "25.0.rc1.1",
        "25.2.0", "25.3.rc1", "25.5.1", "26.0.rc1"]
    plan = valid(plan_release="v0.18.0")
    for driver in drivers:
        checks = judged(changed({"npu_smi|driver_version": driver, "system|kernel": "6.6.0", "files": {}}), plan=plan)
        old, hang = versions.key(driver) < versions.key("25.0.rc1"), driver in ("25.5.1", "26.0.rc1")
        assert check_named(checks, "driver_minimum")["status"] == ("failed" if old else "passed"), driver
        assert check_named(checks, "driver_known_bad")["status"] == ("warned" if hang else "passed"), driver


def test_cann_and_firmware_versions_are_read():
    unknown = [line for line in lines("versions/02-cann-firmware-strings.txt") if not readable(line)]
    # The versions of CANN prereleases and of a firmware patch cannot be compared.
    assert unknown == ["8.1.RC1.beta1", "8.2.RC1.alpha003", "8.0.RC3.alpha001", "23.0.rc3.spc100"]


def readable(version):
    try:
        return bool(versions.key(version))
    except ValueError:
        return False


def test_requests_package_without_certifi_is_sufficient(tmp_path):
    """Enterprise Linux installs only these packages, and patches requests not to import certifi."""
    packages = set(re.findall(r"python3-(\w+)-", text("python/01-el9-dnf-python3-requests.txt")))
    assert packages == {"idna", "chardet", "pysocks", "requests", "urllib3"}
    assert "-from certifi import where" in text("python/03-fedora-requests-certs.patch")
    for package in packages - {"pysocks", "requests", "urllib3"}:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    write_requests(tmp_path, "import idna, chardet, urllib3\n")
    assert imported(tmp_path)["requests"] == "2.25.1"


def test_package_that_requests_cannot_import_is_named(tmp_path):
    """Ubuntu's package depends on certifi, which may have been removed by hand."""
    assert "python3-certifi" in text("python/04-ubuntu-requires.txt")
    write_requests(tmp_path, "from certifi import where\n")
    python = imported(tmp_path)
    assert python["requests"] is None
    status, message = found({"python": python}, check="python_requests")
    assert status == "failed"
    assert "No module named 'certifi'" in message


def write_requests(folder, first_lines):
    for name, content in (
            ("requests/__init__", first_lines + "__version__ = '2.25.1'\nclass Session: pass\n"),
            ("requests/adapters", "class HTTPAdapter: pass\n"),
            ("requests/exceptions", "HTTPError = InvalidSchema = RequestException = SSLError = OSError\n"),
            ("urllib3/__init__", ""), ("urllib3/connection", "")):
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


def imported(folder):
    """Return the observation of an interpreter that has only the packages in this folder."""
    interpreter = folder / "python3"
    interpreter.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {os.sys.executable} -S "$@"\n')
    interpreter.chmod(0o755)
    return facts.python(str(interpreter))
