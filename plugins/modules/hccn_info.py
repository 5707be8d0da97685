#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: hccn_info
short_description: Ask hccn_tool about the network port of every NPU of a node
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Runs the queries for all NPUs in one call, NPUs side by side and one query at a time for each NPU.
  - Reads C(/etc/hccn.conf) and the IPv4 addresses of the host's interfaces.
  - A query that fails or hangs is an answer too, with the tool's message; the module fails only without C(hccn_tool).
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._attributes.info
  - ascend.vllm._docker
options:
  npus:
    description: The numbers of the NPUs. Left out, those that have a device C(/dev/davinciN).
    type: list
    elements: int
  queries:
    description: What to ask, by the names of the tool's options. Left out, all that the role judges.
    type: list
    elements: str
  timeout_s:
    description: Seconds that one query may take. An NPU whose query takes longer is asked nothing more.
    type: float
    default: 15
  tool:
    description: The path of hccn_tool. Left out, it is looked for in C(PATH) and in the driver's folder.
    type: path
  conf:
    description: The path of hccn.conf.
    type: path
    default: /etc/hccn.conf
  image:
    description: A container image to look for on the node. Empty when it does not matter.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Ask for link and address of two NPUs
  ascend.vllm.hccn_info:
    npus: [0, 1]
    queries: [link, ip]
"""

RETURN = r"""
npus:
  description: By NPU number and query what was answered, or an C(error) with C(kind), C(message) and C(code).
  type: dict
  returned: success
  sample: {"0": {"link": {"status": "UP"}, "ip": {"address": "192.0.2.1", "netmask": "255.255.255.0"}}}
conf:
  description: The entries of hccn.conf as C(fields), C(devices) and C(duplicates), or null.
  type: dict
  returned: success
conf_error:
  description: Why C(conf) is null.
  type: str
  returned: success
host_network:
  description: The host's interfaces with their IPv4 addresses, or an C(error).
  type: dict
  returned: success
processes:
  description: What holds an NPU now, or null when npu-smi cannot tell.
  type: list
  elements: dict
  returned: success
image_present:
  description: Whether Docker on the node has O(image), or null when that was not asked or Docker does not answer.
  type: bool
  returned: success
duration_s:
  description: Seconds that all of it took.
  type: float
  returned: success
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query, hccn_tool
from ansible_collections.ascend.vllm.plugins.module_utils._docker import images
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import network

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_tool import HccnConf


def image_present(docker: DockerEngine, reference: str) -> bool | None:
    """Return whether Docker has an image, or None when Docker does not answer."""
    try:
        return images.inspect(docker, reference) is not None
    except DockerError:
        return None


def read_conf(path: str) -> tuple[HccnConf | None, str | None]:
    """Return (entries, None) or (None, the reason)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return hccn_tool.parse_conf(file.read()), None
    except (OSError, hccn_tool.ParseError) as error:
        return None, str(error)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "npus": {"type": "list", "elements": "int"},
            "queries": {"type": "list", "elements": "str"},
            "timeout_s": {"type": "float", "default": 15},
            "tool": {"type": "path"},
            "conf": {"type": "path", "default": "/etc/hccn.conf"},
            "image": {"type": "str", "default": ""},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    started = time.time()
    params, run = module.params, hccn_query.run_bounded
    tool = params["tool"] or module.get_bin_path("hccn_tool", opt_dirs=[os.path.dirname(hccn_query.TOOL)])
    if not tool or not os.access(tool, os.X_OK):
        module.fail_json(msg="hccn_tool was not found (looked for %s, in PATH and in %s): install the NPU driver."
                             % (params["tool"] or "hccn_tool", os.path.dirname(hccn_query.TOOL)))
    npus = params["npus"] if params["npus"] is not None else hccn_query.device_npus(os.listdir("/dev"))
    conf, conf_error = read_conf(params["conf"])
    limit, image = params["timeout_s"], params["image"]
    # The host is asked while the NPUs take their time.
    with ThreadPoolExecutor(3) as pool:
        interfaces = pool.submit(network.host_network, run, limit)
        processes = pool.submit(hccn_query.npu_processes, run, module.get_bin_path("npu-smi") or "npu-smi", limit)
        docker = DockerEngine(params["docker_socket"], limit)
        present = pool.submit(image_present, docker, image) if image else None
        try:
            answers = hccn_query.query_npus(run, tool, npus, params["queries"] or hccn_query.QUERIES, limit)
        except OSError as error:
            module.fail_json(msg="%s cannot be run: %s" % (tool, error))
    module.exit_json(
        changed=False, npus=answers, conf=conf, conf_error=conf_error, host_network=interfaces.result(),
        processes=processes.result(), image_present=present.result() if present else None,
        duration_s=round(time.time() - started, 3))


if __name__ == "__main__":
    main()
