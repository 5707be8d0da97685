# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and names of this collection's containers: given to them by the plan, looked for by the modules.

PRIVATE to the collection. Docker compares the key of a label exactly, never by its beginning.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

# What every label of this collection begins with.
PREFIX = "ascend.vllm."
# On the container of each planned instance: the hash of that instance.
INSTANCE = "ascend.vllm.instance-hash"
# When the API key was written with which a container was started, so that another key is noticed without being shown.
SECRETS = "ascend.vllm.secrets"
# On a container that runs `vllm bench`: the name of the instance that it measures.
BENCHMARK_CLIENT = "ascend.vllm.benchmark-client"

# Appended to the name of a container that an upgrade keeps until its successor is verified.
PREVIOUS = "-previous"

# In the container: the file with the API key. Its source on the node is a mount of the container.
SECRETS_TARGET = "/run/ascend-vllm/secrets.env"


def list_query(label: str | None = None, every_state: bool = False) -> str:
    """Return the resource that lists containers.

    :param label: the key of a label that they must have. :param every_state: also those that do not run.
    """
    parameters = {}
    if every_state:
        parameters["all"] = "1"
    if label:
        parameters["filters"] = json.dumps({"label": [label]})
    return "/containers/json" + ("?" + urlencode(parameters) if parameters else "")


def instance_name(container_name: str, index: int) -> str:
    """Return the name of the container of an instance: the second one gets ``-1``, the third one ``-2``."""
    return container_name if index == 0 else "%s-%d" % (container_name, index)


def is_instance(name: str, container_name: str) -> bool:
    """Return whether a container's name is that of an instance of the deployment ``container_name``."""
    return re.fullmatch(re.escape(container_name) + "(-[0-9]+)?", name) is not None


def base_name(name: str) -> str:
    """Return the name that a container had before an upgrade renamed it."""
    return name[:-len(PREVIOUS)] if name.endswith(PREVIOUS) else name
