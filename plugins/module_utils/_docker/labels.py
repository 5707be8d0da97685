# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and names of the containers of this collection, which the plan sets and the modules search for.

Docker can only filter by the whole key of a label, not by a prefix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlencode

# The prefix of every label of this collection.
PREFIX = "ascend.vllm."
# The label with the hash of the planned instance, on the container of the instance.
INSTANCE = "ascend.vllm.instance-hash"
# The label with the time at which the API key of a container was written, so that a new key is detected without
# exposing it.
SECRETS = "ascend.vllm.secrets"
# The label with the id of the run, on a container that no later run needs.
RUN = "ascend.vllm.run"
# The label with the name of the measured instance, on a container that runs `vllm bench`.
BENCHMARK_CLIENT = "ascend.vllm.benchmark-client"

# The suffix of the name of a container that an upgrade keeps until the new container is verified.
PREVIOUS = "-previous"
# The suffix of the name of a container that a verified upgrade has replaced. It is stopped, and no longer counts as an
# instance of its deployment.
KEPT = "-kept"

# The path of the file with the API key inside the container. The file is mounted from the node.
SECRETS_TARGET = "/run/ascend-vllm/secrets.env"


def own(every_label: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of this collection. Other labels can contain secrets of other applications."""
    return {key: value for key, value in every_label.items() if key.startswith(PREFIX)}


def list_query(label: str | None = None, every_state: bool = False) -> str:
    """Return the path in the Docker API that lists containers.

    :param label: the key of a label that the containers must have.
    :param every_state: whether to include containers that are not running.
    """
    parameters = {}
    if every_state:
        parameters["all"] = "1"
    if label:
        parameters["filters"] = json.dumps({"label": [label]})
    return "/containers/json" + ("?" + urlencode(parameters) if parameters else "")


def instance_name(container_name: str, index: int) -> str:
    """Return the name of the container of an instance. The second instance has the suffix ``-1``, the third ``-2``."""
    return container_name if index == 0 else "%s-%d" % (container_name, index)


def is_instance(name: str, container_name: str) -> bool:
    """Return whether a container with this name is an instance of the deployment ``container_name``."""
    return re.fullmatch(re.escape(container_name) + "(-[0-9]+)?", name) is not None


def base_name(name: str) -> str:
    """Return the name that a container had before an upgrade renamed the container."""
    return name[:-len(PREVIOUS)] if name.endswith(PREVIOUS) else name
