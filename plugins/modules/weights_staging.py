#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_staging
short_description: Stage a model in its folder atomically
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Stages a model in two steps. Between the steps, the client of the source downloads the files.
  - O(state=prepared) queries the source for the files of the model, compares them with the files on the node, and
    prepares the work folder of the model for the client. The source is not queried if the model was staged from the
    same source before and all files agree with the manifest.
  - O(state=published) verifies the download, moves it to the folder of the model, and records the manifest.
  - The state folder of the model contains the manifest. It is in C(/var/lib/ascend-vllm/weights), and only root can
    write to it. The download is in the work folder, which is C(.ascend-vllm/<model>) next to the folder of the model.
  - Other users may be able to write to the parent folder of the model. Therefore, symbolic links are only followed if
    root created them in the path of the model, or if they are links between the files of the model.
  - A file that this module did not write is not replaced, unless it is restored to its content in the manifest.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._model_files]
options:
  state:
    description:
      - V(prepared) and V(published) are the two steps of staging.
      - V(held) checks whether the node has the whole model according to the manifest on the node.
      - V(recorded) records O(manifest) for a model that this node mounts and another node stages.
      - V(marked) creates a marker file in the work folder. Other nodes that find this file mount the same folder.
        V(unmarked) removes the marker file.
    type: str
    choices: [held, prepared, recorded, marked, unmarked, published]
    required: true
  source:
    description:
      - The source of the model.
      - V(local) records a model that is already in the folder, and V(quantize) records a model that a tool writes on
        the node.
      - V(http) is a folder on a web server that contains a file C(SHA256SUMS).
    type: str
    choices: [local, modelscope, huggingface, http, quantize]
    required: true
  repository: {type: str, default: "", description: "The repository on the hub."}
  revision: {type: str, default: "", description: "A branch, tag or commit. By default, the default branch of the hub."}
  endpoint: {type: str, default: "", description: "The URL of a mirror of the hub. With O(source=http), the URL of the
    folder of the model. When empty, the hub itself is used."}
  token: {type: str, default: "", description: "The token for a private repository. When empty, no token is sent."}
  environment:
    description: The environment variables for the requests to the source and for the client of the source, such as a
      proxy, as a JSON text. The whole text is secret, because the URL of a proxy can contain a password. The keyword
      C(environment) of a task is not used, because it would make the values part of a command line on the node.
    type: str
    default: ""
  expected_bytes: {type: int, default: 0, description: "The size in bytes, if the source does not report it."}
  manifest:
    description: The manifest of another node, which M(ascend.vllm.weights_staging) returned on that node. Required with
      O(state=recorded). If this option is set with O(state=prepared), this node gets the model from the other node, and
      the source is not queried.
    type: dict
  free_space_gib: {type: float, default: 0, description: "The space in GiB that must remain free after the download."}
  lock_wait_s: {type: int, default: 0, description: "The maximum number of seconds to wait for another run that is
    staging the same model. With V(0), the module does not wait and fails."}
attributes:
  check_mode:
    support: full
    details: With O(state=prepared), RV(download) contains the files that would be downloaded.
  diff_mode: {support: none}
seealso: [{module: ascend.vllm.weights_info}]
"""

EXAMPLES = r"""
- name: Compare the model with its repository, and prepare the download
  ascend.vllm.weights_staging:
    state: prepared
    path: /data/Qwen2.5-VL-32B-Instruct
    source: modelscope
    repository: Qwen/Qwen2.5-VL-32B-Instruct
    free_space_gib: 50
  register: staging

- name: Publish the download
  ascend.vllm.weights_staging:
    state: published
    path: /data/Qwen2.5-VL-32B-Instruct
    source: modelscope
    repository: Qwen/Qwen2.5-VL-32B-Instruct
"""

RETURN = r"""
download: {type: list, elements: str, returned: with O(state=prepared), description: "The files to download."}
bytes: {type: int, returned: with O(state=prepared), description: "The size of the files in RV(download) in bytes."}
folder:
  description: The work folder of the model. The container of the client mounts it under the same path.
  type: str
  returned: with O(state=prepared) and O(state=held)
  sample: /data/.ascend-vllm/Qwen2.5-VL-32B-Instruct
state:
  description: The state folder of the model. The container of the client mounts it read-only under the same path.
  type: str
  returned: with O(state=prepared) and O(state=held)
  sample: /var/lib/ascend-vllm/weights/8f14e45fceea167a
transfer:
  description: The folder in the state folder that the container of the client may write to.
  type: str
  returned: with O(state=prepared)
  sample: /var/lib/ascend-vllm/weights/8f14e45fceea167a/transfer
identity:
  description: The device and the inode of the folder with the download, or with O(state=held), of the folder of the
    model. It is null if the folder does not exist. The client refuses to run if its container mounts a folder with
    another identity. This would be the case if another user had replaced the folder with a link.
  type: str
  returned: with O(state=prepared) and O(state=held)
  sample: "2049:131073"
command: {type: list, elements: str, returned: with O(state=prepared), description: "The arguments of the client, or
  null if the client has nothing to download."}
environment:
  description: The environment of the client, without secrets, or null if the client has nothing to download.
  type: dict
  returned: with O(state=prepared)
  sample: {STAGING_FOLDER: /data/.ascend-vllm/Qwen2.5-VL-32B-Instruct/staging}
pending: {type: bool, returned: with O(state=prepared), description: "Whether anything must be downloaded or recorded."}
hashed_bytes: {type: int, returned: with O(state=prepared), description: "The number of bytes that were read and hashed.
  The digests of other files come from the cache."}
manifest:
  description: The manifest of the model, as described in RV(ascend.vllm.weights_info#module:manifest). It is null in
    check mode, or if the node does not have the whole model.
  type: dict
  returned: with O(state=published) and O(state=held)
mark: {type: str, returned: with O(state=marked), description: "The marker file, or null if none was created."}
holds: {type: bool, returned: with O(state=held), description: "Whether the node has the whole model."}
files: {type: int, returned: with O(state=held), description: "The number of files in the folder of the model."}
architecture: {type: str, sample: aarch64, returned: with O(state=held), description: "The processor architecture of the
  node, as C(uname -m) prints it."}
"""

import json
import os
import time
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._host import background, commands, lease
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files
from ansible_collections.ascend.vllm.plugins.module_utils._weights.hub_requests import HubRequests
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError, hold_lock
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source, Staging

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Work

# The client reads and removes the file with the token when the client starts. This is the time after which the file is
# removed in any case.
CREDENTIALS_S = 600
REMOVE_LATER = 'written=$(stat -c %i-%Z "$1"); sleep "$2"; [ "$(stat -c %i-%Z "$1")" != "$written" ] || rm -f -- "$1"'


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, required_if=[("state", "recorded", ("manifest",))], argument_spec={
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "required": True,
                  "choices": ["held", "prepared", "recorded", "marked", "unmarked", "published"]},
        "source": {"type": "str", "required": True,
                   "choices": ["local", "modelscope", "huggingface", "http", "quantize"]},
        "repository": {"type": "str", "default": ""},
        "revision": {"type": "str", "default": ""},
        "endpoint": {"type": "str", "default": ""},
        "token": {"type": "str", "default": "", "no_log": True},
        "environment": {"type": "str", "default": "", "no_log": True},
        "expected_bytes": {"type": "int", "default": 0},
        "manifest": {"type": "dict"},
        "verify": {"type": "str", "choices": ["changed", "full"], "default": "changed"},
        "workers": {"type": "int", "default": 8},
        "free_space_gib": {"type": "float", "default": 0},
        "lock_wait_s": {"type": "int", "default": 0},
        "digest_cache": {"type": "path", "default": files.DIGEST_CACHE},
    })
    options = module.params
    for sentence in commands.hung_paths([options["path"]]).values():
        module.fail_json(msg="%s; check its mount, and whether the server of the mount responds." % sentence)
    source = Source(options["source"], options["repository"], options["revision"], options["endpoint"],
                    options["token"], options["expected_bytes"],
                    {name: str(value) for name, value in json.loads(options["environment"] or "{}").items()})
    os.environ.update(source.environment)
    run = lease.run_id()
    try:
        cache = files.DigestCache.of(options["path"], options["digest_cache"], write=not module.check_mode)
        staging = Staging(options["path"], source, cache, options["workers"], run)
        lease.hold(module, staging.credentials, staging.marker, os.path.join(staging.paths.state, "swarm-" + run))
        result = STATES[options["state"]](module, staging)
        if staging.warning:
            module.warn(staging.warning)
        module.exit_json(**result)
    except StagingError as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError) as error:
        module.fail_json(msg="The model in %s cannot be staged: %s" % (options["path"], error))


def _held(module: AnsibleModule, staging: Staging) -> dict[str, Any]:
    found = staging.held(module.params["verify"] == "full")
    return dict(found, changed=False, architecture=os.uname().machine)


def _prepare(module: AnsibleModule, staging: Staging) -> dict[str, Any]:
    options = module.params

    def plan() -> Work:
        requests = HubRequests(staging.source.kind, staging.source.token)
        return staging.plan(requests, options["verify"] == "full", options["manifest"])

    work = plan()
    # A complete model needs no lock. It can be on a file system that this node mounts read-only.
    if work["changed"] and not module.check_mode:
        with hold_lock(staging.paths, options["lock_wait_s"], "preparing") as state:
            work = plan()
            if work["changed"]:
                staging.prepare(work, options["free_space_gib"] * 2**30, state, options["lock_wait_s"])
                if work["environment"]:
                    remove_later(work["environment"]["STAGING_CREDENTIALS"])
    return {key: value for key, value in work.items() if key != "wanted"}


def remove_later(path: str, seconds: int = CREDENTIALS_S) -> None:
    """Remove a file after some seconds, even if the client that should remove it, the run or the controller fails.

    A file that another run has written to the same path in the meantime is not removed.
    """
    if os.path.exists(path):
        background.start(["/bin/sh", "-c", REMOVE_LATER, "sh", path, str(seconds)], "/", {"PATH": os.defpath})


def _publish(module: AnsibleModule, staging: Staging) -> dict[str, Any]:
    if module.check_mode:
        return {"changed": True, "manifest": None}
    wait_s = module.params["lock_wait_s"]
    with hold_lock(staging.paths, wait_s, "publishing") as state:
        manifest = staging.publish(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), state, wait_s)
    return {"changed": True, "manifest": manifest}


def _record(module: AnsibleModule, staging: Staging) -> dict[str, Any]:
    if module.check_mode:
        return {"changed": True}
    with hold_lock(staging.paths, module.params["lock_wait_s"], "recording") as state:
        return {"changed": staging.record(module.params["manifest"], state)}


def _mark(module: AnsibleModule, staging: Staging) -> dict[str, Any]:
    return {"changed": False, "mark": None if module.check_mode else staging.create_marker()}


def _unmark(module: AnsibleModule, staging: Staging) -> dict[str, Any]:
    if not module.check_mode:
        staging.remove_marker()
    return {"changed": False}


STATES = {"held": _held, "prepared": _prepare, "recorded": _record, "marked": _mark, "unmarked": _unmark,
          "published": _publish}


if __name__ == "__main__":
    main()
