#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: hccn_info
short_description: Query hccn_tool for the network ports of the NPUs of a node
version_added: 0.9.0
description:
  - Queries all NPUs in parallel, with one query per NPU at a time. C(hccn_tool) is searched for in C(PATH) and in
    C(/usr/local/Ascend/driver/tools). The queries are its options C(-link), C(-net_health), C(-ip), C(-gateway),
    C(-netdetect), C(-lldp), C(-tls), C(-status), C(-mtu), C(-fec), C(-optical) and C(-link_stat).
  - Also returns the content of C(/etc/hccn.conf), the IPv4 addresses of the host, and the processes on the NPUs.
  - If a query fails or times out, its error is returned. The module fails only if C(hccn_tool) is missing.
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  npus: {type: list, elements: int, description: "The numbers N of C(/dev/davinciN). By default, all NPUs."}
  timeout_s: {type: float, default: 15, description: "The timeout of each query in seconds. After a timeout, the
    remaining queries of that NPU are skipped."}
  image: {type: str, default: "", description: "The name of an image to look up. When empty, none is looked up."}
seealso: [{module: ascend.vllm.hccn_ping}, {module: ascend.vllm.npu_info}]
"""

EXAMPLES = r"""
- name: Query the network ports of two NPUs
  ascend.vllm.hccn_info:
    npus: [0, 1]
  register: ports

- name: Fail if a link is down
  ansible.builtin.assert:
    that: ports.npus[item].link.status == 'UP'
  loop: "{{ ports.npus | list }}"
"""

RETURN = r"""
npus:
  description: The results by NPU number and query. Values are returned as C(hccn_tool) prints them. A value that was
    not printed is null or missing. The results of queries that are not named below contain C(fields).
  type: dict
  returned: success
  sample: {"0": {link: {status: UP}, ip: {address: 192.0.2.1, netmask: 255.255.255.0}}}
  contains:
    error: {type: dict, returned: if the query failed, description: "The C(message) and C(kind) of the error, and the
      exit code of C(hccn_tool) (C(code), or null). The kind is V(timeout), V(tool) if C(hccn_tool) reported an error,
      V(empty) if C(hccn_tool) printed nothing, V(unreadable) if the format of the output is unknown, or V(skipped) if
      an earlier query of the NPU timed out."}
    status: {type: str, description: "The status in the result of V(link) or V(net_health)."}
    address: {type: str, description: "The address in the result of V(ip), V(gateway) or V(netdetect)."}
    netmask: {type: str, description: "The netmask in the result of V(ip)."}
    interface: {type: str, description: "The interface in the result of V(gateway)."}
    ifname: {type: str, description: "The port of the switch in the result of V(lldp)."}
    tlvs: {type: dict, description: "The values in the result of V(lldp), with their titles as keys."}
    enabled: {type: bool, description: "Whether TLS is enabled according to V(tls)."}
    mode: {type: str, description: "The FEC mode in the result of V(fec)."}
    present: {type: bool, description: "Whether an optical module is present according to V(optical). The values of the
      module are in the same dictionary under their printed names, such as C(Tx Power0)."}
    up_count: {type: int, description: "The number of times that the link went up, in the result of V(link_stat)."}
    down_count: {type: int, description: "The number of times that the link went down, in the result of V(link_stat)."}
    current_time: {type: str, description: "The time of the device in the result of V(link_stat)."}
    events: {type: list, elements: dict, description: "The last changes of the link in the result of V(link_stat), with
      the newest change first. Each has C(time) and C(status)."}
    fields: {type: dict, sample: {Speed: 200000Mb/s, Duplex: Full}, description: "The values of a query that is not
      named here, with the printed names as keys."}
    tables: {type: list, elements: list, returned: if a table was printed, description: "The tables in the output of a
      query that is not named here. Each table is a list of rows."}
    lines: {type: list, elements: str, returned: if other lines were printed, description: "The remaining lines in the
      output of a query that is not named here."}
conf: {type: dict, returned: success, description: "The content of C(hccn.conf), or null if it could not be read: all
  values by the keys of the file (C(fields)), the values of each NPU by its number and their names (C(devices)), and the
  keys that are set twice to different values and are in neither of them (C(duplicates))."}
conf_error: {type: str, returned: success, description: "The reason why C(hccn.conf) could not be read, or null."}
host_network: {type: dict, returned: success, description: "The IPv4 network of the host: its C(interfaces), and the
  reason why they could not be read, or null (C(error)). Each interface has a C(name), C(up) (whether it is up and has a
  carrier), a C(kind), such as V(loopback), V(bond) or V(bridge), or null, C(ports) (the kinds of its ports, or null if
  they are unknown), and its IPv4 C(addresses), each with C(address) and C(prefix)."}
processes: {type: list, elements: dict, returned: success, description: "The processes on the NPUs, each with C(npu),
  C(pid) and C(name), or null if C(npu-smi) does not show them."}
image_present: {type: bool, returned: success, description: "Whether the node has O(image), or null if unknown."}
image_error: {type: str, returned: success, description: "The reason why Docker did not respond, or null."}
duration_s: {type: float, returned: success, description: "The run time of the module in seconds."}
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query, hccn_tool
from ansible_collections.ascend.vllm.plugins.module_utils._docker import images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease, network
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_file

CONF = "/etc/hccn.conf"


def image_present(docker: DockerEngine, reference: str) -> tuple[bool | None, str | None]:
    """Return (whether Docker has an image, None), or (None, error message)."""
    try:
        return images.inspect(docker, reference) is not None, None
    except DockerError as error:
        return None, str(error)


def read_conf() -> tuple[hccn_tool.HccnConf | None, str | None]:
    """Return (the content of hccn.conf, None), or (None, error message)."""
    try:
        return hccn_tool.parse_conf(read_file(CONF)), None
    except (OSError, hccn_tool.ParseError) as error:
        return None, str(error)


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "npus": {"type": "list", "elements": "int"},
        "timeout_s": {"type": "float", "default": 15},
        "image": {"type": "str", "default": ""},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    lease.hold(module)
    started = time.time()
    params, run = module.params, hccn_query.run_bounded
    folder = os.path.dirname(hccn_query.TOOL)
    tool = module.get_bin_path("hccn_tool", opt_dirs=[folder])
    npus = params["npus"] if params["npus"] is not None else hccn_query.device_npus(os.listdir("/dev"))
    conf, conf_error = read_conf()
    limit, image = params["timeout_s"], params["image"]
    # The host is observed while the NPUs are queried.
    with ThreadPoolExecutor(3) as pool:
        interfaces = pool.submit(network.host_network, run, limit)
        processes = pool.submit(hccn_query.npu_processes, run, module.get_bin_path("npu-smi") or "npu-smi", limit)
        docker = DockerEngine(params["docker_socket"], limit)
        lookup = pool.submit(image_present, docker, image) if image else None
        try:
            answers = hccn_query.query_npus(run, tool, npus, limit) if tool else hccn_query.unanswered(
                npus, "hccn_tool was not found in PATH and %s; install the NPU driver" % folder)
        except OSError as error:
            answers = hccn_query.unanswered(npus, "%s cannot be run: %s" % (tool, error))
    present, image_error = lookup.result() if lookup else (None, None)
    observed: hccn_query.HccnObservation = {
        "npus": answers, "conf": conf, "conf_error": conf_error, "host_network": interfaces.result(),
        "processes": processes.result(), "image_present": present, "image_error": image_error,
        "duration_s": round(time.time() - started, 3)}
    module.exit_json(changed=False, **observed)


if __name__ == "__main__":
    main()
