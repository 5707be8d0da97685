#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_staging
short_description: Bring a model to its folder, whole or not at all
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - With O(state=prepared) asks the source what the model consists of, holds that against what is on the node, and makes
    a folder beside the model ready for the source's own client. Nothing is asked when the manifest of an earlier
    staging from the same source is kept and every file agrees with it.
  - With O(manifest) the model comes from another node that holds it, and the source is not asked.
  - With O(state=held) only tells whether the node holds the whole model by its own manifest.
  - With O(state=marked) leaves a mark beside the model, by which other nodes tell that they see the same folder.
  - With O(state=published) proves what the client fetched, moves it to its place, and records the manifest.
  - What lies beside the model is in C(.ascend-vllm/<model>), on the same file system. For a model on a read-only mount
    it is in C(/var/lib/ascend-vllm/weights).
  - A file that this module did not write is replaced by what it was when it was proved last, and by nothing else.
options:
  path:
    description: The model's folder.
    type: path
    required: true
  state:
    description: What to do.
    type: str
    choices: [held, prepared, marked, published]
    required: true
  source:
    description: Where the model comes from.
    type: str
    choices: [local, modelscope, huggingface, http, quantize]
    required: true
  repository:
    description: The repository on the hub.
    type: str
    default: ""
  revision:
    description: Branch, tag or commit. Empty for the hub's default branch.
    type: str
    default: ""
  endpoint:
    description: Address of a mirror of the hub, or with O(source=http) of the model's folder.
    type: str
    default: ""
  token:
    description: The token of a private repository.
    type: str
    default: ""
  expected_bytes:
    description: Size of the model, for a source that does not tell it.
    type: int
    default: 0
  manifest:
    description: The manifest of a node that holds the model, as it returned it.
    type: dict
  verify:
    description: Whether to hash the files that changed since the last proof, or every file.
    type: str
    choices: [changed, full]
    default: changed
  workers:
    description: Files that are fetched or hashed at a time.
    type: int
    default: 8
  free_space_gib:
    description: Free space in GiB that has to be left beside the whole model.
    type: float
    default: 0
  lock_wait_s:
    description: Seconds to wait for another run that stages the same model.
    type: int
    default: 0
  memory:
    description: The folder on the node that keeps the digests of earlier proofs.
    type: path
    default: /var/lib/ascend-vllm/digests
attributes:
  check_mode:
    support: full
    description: Tells what would be fetched.
"""

EXAMPLES = r"""
- name: Prepare the staging
  ascend.vllm.weights_staging:
    state: prepared
    path: /data/Qwen2.5-VL-32B-Instruct
    source: modelscope
    repository: Qwen/Qwen2.5-VL-32B-Instruct
  register: staging
"""

RETURN = r"""
download:
  description: The files that have to be fetched.
  type: list
  elements: str
  returned: with O(state=prepared)
bytes:
  description: Their size.
  type: int
  returned: with O(state=prepared)
folder:
  description: The folder beside the model; the client's container mounts it under the same path.
  type: str
  returned: with O(state=prepared) and O(state=held)
command:
  description: The command of the client's container, or null when there is nothing to fetch by a client.
  type: list
  elements: str
  returned: with O(state=prepared)
environment:
  description: The environment of the client's container. It holds no secret.
  type: dict
  returned: with O(state=prepared)
pending:
  description: Whether something is left to be fetched or recorded.
  type: bool
  returned: with O(state=prepared)
hashed_bytes:
  description: Bytes that were read and hashed; the digests of the rest were remembered.
  type: int
  returned: with O(state=prepared)
manifest:
  description: The manifest that was recorded, or with O(state=held) that of a whole model, else null.
  type: dict
  returned: with O(state=published) and O(state=held)
mark:
  description: The mark's path, or null on a read-only mount.
  type: str
  returned: with O(state=marked)
holds:
  description: Whether the node holds the whole model.
  type: bool
  returned: with O(state=held)
files:
  description: How many files the model's folder holds.
  type: int
  returned: with O(state=held)
architecture:
  description: The node's processor, as C(uname -m) names it.
  type: str
  returned: with O(state=held)
"""

import os
import time
from http.cookiejar import CookieJar
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files, hub
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError, hold_lock
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source, Staging

TIMEOUT_S = 30


class Web:
    """Answers of the source over HTTP, with its token; proxies come from the environment."""

    def __init__(self, source):
        self._source = source
        self._cookies = CookieJar()
        self._known = False

    def get(self, url):
        """The body of an answer as text."""
        return self._open(url).read().decode("utf-8", "replace")

    def size(self, url):
        """The Content-Length that a HEAD request tells."""
        length = self._open(url, "HEAD").headers["Content-Length"]
        if length is None:
            raise StagingError("%s does not tell its size (no Content-Length)" % url)
        return int(length)

    def _open(self, url, method="GET"):
        try:
            if self._source.token and self._source.kind == hub.MODELSCOPE and not self._known:
                self._log_in()
            return self._request(url, method)
        except HTTPError as error:
            hint = "; set weights_hub_token to a token that may read it" if error.code in (401, 403) else ""
            raise StagingError("%s could not be asked: HTTP error %d %s%s" % (url, error.code, error.reason, hint)) \
                from error
        except (OSError, ValueError) as error:
            raise StagingError("%s could not be asked: %s" % (url, error)) from error

    def _log_in(self):
        endpoint = self._source.endpoint.rstrip("/") or hub.ENDPOINTS[hub.MODELSCOPE]
        answer = self._request(endpoint + "/api/v1/login", "POST", hub.login_body(self._source.token))
        hub.check_login(answer.read().decode("utf-8", "replace"))
        self._known = True

    def _request(self, url, method, data=None):
        headers = {"Content-Type": "application/json"} if data else {}
        if self._source.token and self._source.kind != hub.MODELSCOPE:
            headers["Authorization"] = "Bearer " + self._source.token
        return open_url(url, method=method, data=data, headers=headers, cookies=self._cookies, timeout=TIMEOUT_S,
                        unredirected_headers=["Authorization"])


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["held", "prepared", "marked", "published"], "required": True},
            "source": {"type": "str", "required": True,
                       "choices": ["local", "modelscope", "huggingface", "http", "quantize"]},
            "repository": {"type": "str", "default": ""},
            "revision": {"type": "str", "default": ""},
            "endpoint": {"type": "str", "default": ""},
            "token": {"type": "str", "default": "", "no_log": True},
            "expected_bytes": {"type": "int", "default": 0},
            "manifest": {"type": "dict"},
            "verify": {"type": "str", "choices": ["changed", "full"], "default": "changed"},
            "workers": {"type": "int", "default": 8},
            "free_space_gib": {"type": "float", "default": 0},
            "lock_wait_s": {"type": "int", "default": 0},
            "memory": {"type": "path", "default": files.MEMORY_FOLDER},
        },
        supports_check_mode=True,
    )
    options = module.params
    source = Source(options["source"], options["repository"], options["revision"], options["endpoint"],
                    options["token"], options["expected_bytes"])
    memory = files.Memory.of(options["path"], options["memory"], keep=not module.check_mode)
    staging = Staging(options["path"], source, memory, options["workers"])
    try:
        module.exit_json(**STATES[options["state"]](module, staging))
    except StagingError as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError) as error:
        module.fail_json(msg="The model in %s cannot be staged: %s" % (options["path"], error))


def _hold(module, staging):
    found = staging.held(module.params["verify"] == "full")
    return dict(found, changed=False, architecture=os.uname().machine)


def _prepare(module, staging):
    options = module.params

    def plan():
        return staging.plan(Web(staging.source), options["verify"] == "full", options["manifest"])

    work = plan()
    # A whole model needs no lock, and may lie on a file system that this node only reads.
    if work["changed"] and not module.check_mode:
        with hold_lock(staging.place, options["lock_wait_s"], "preparing"):
            work = plan()
            if work["changed"]:
                staging.prepare(work, options["free_space_gib"] * 2**30)
    del work["wanted"]
    return work


def _publish(module, staging):
    if module.check_mode:
        return {"changed": True, "manifest": None}
    with hold_lock(staging.place, module.params["lock_wait_s"], "publishing"):
        manifest = staging.publish(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    return {"changed": True, "manifest": manifest}


def _mark(module, staging):
    return {"changed": False, "mark": None if module.check_mode else staging.mark()}


STATES = {"held": _hold, "prepared": _prepare, "marked": _mark, "published": _publish}


if __name__ == "__main__":
    main()
