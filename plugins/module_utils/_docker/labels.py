# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and names of this collection's containers, which the plan sets and the modules search for.

PRIVATE to the collection. Docker compares whole keys of labels, not prefixes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

# Prefix of every label of this collection.
PREFIX = "ascend.vllm."
# On the container of each planned instance: the hash of that instance.
INSTANCE = "ascend.vllm.instance-hash"
# Time at which the API key of a container was written, so that another key is detected without showing it.
SECRETS = "ascend.vllm.secrets"
# On each container that no later run needs: the id of the run that started it.
RUN = "ascend.vllm.run"
# On a container that runs `vllm bench`: the name of the instance that it measures.
BENCHMARK_CLIENT = "ascend.vllm.benchmark-client"

# Appended to the name of a container that an upgrade keeps until its successor is verified.
PREVIOUS = "-previous"

# In the container: the file with the API key. Its source on the node is a mount of the container.
SECRETS_TARGET = "/run/ascend-vllm/secrets.env"


def own(found: Mapping[str, str]) -> dict[str, str]:
    """Return those of the labels that are of this collection; others may hold secrets of other people."""
    return {key: value for key, value in found.items() if key.startswith(PREFIX)}


def list_query(label: str | None = None, every_state: bool = False) -> str:
    """Return the resource that lists containers.

    :param label: the key of a label that they must have. :param every_state: whether to include stopped ones.
    """
    parameters = {}
    if every_state:
        parameters["all"] = "1"
    if label:
        parameters["filters"] = json.dumps({"label": [label]})
    return "/containers/json" + ("?" + urlencode(parameters) if parameters else "")


def instance_name(container_name: str, index: int) -> str:
    """Return the name of the container of an instance: the second one has ``-1`` appended, the third one ``-2``."""
    return container_name if index == 0 else "%s-%d" % (container_name, index)


def is_instance(name: str, container_name: str) -> bool:
    """Return whether this is the name of an instance of the deployment ``container_name``."""
    return re.fullmatch(re.escape(container_name) + "(-[0-9]+)?", name) is not None


def base_name(name: str) -> str:
    """Return the name that a container had before an upgrade renamed it."""
    return name[:-len(PREVIOUS)] if name.endswith(PREVIOUS) else name
