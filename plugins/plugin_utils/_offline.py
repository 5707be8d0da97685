# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Determine what hosts need at a site without internet access, and the inputs with which they use it there."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import KERNEL_NAMES
from ansible_collections.ascend.vllm.plugins.module_utils._docker.images import pull_name
from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub

PLATFORMS = {kernel: docker for docker, kernel in KERNEL_NAMES.items()}
#: The kinds of parts that depend on the inputs of a host. Each of the other kinds is one part, which all hosts need.
CHOSEN = ("image", "wheels", "ais_bench", "dataset")
#: Inputs that name other things that a host needs. These are not collected.
NOT_COLLECTED = ("benchmark_client_image", "hccl_collective_image", "weights_quantize_image", "benchmark_dataset_path")


class Host(NamedTuple):
    """The plan of a host, and the inputs of its roles."""

    plan: Mapping[str, Any]
    inputs: Mapping[str, Any]


class Site(NamedTuple):
    """The path of the folder on the control node of the site, its URL for nodes, and ``{part: id of the image}``."""

    path: str
    url: str
    ids: Mapping[str, str]


class Needs:
    """The needs of hosts: ``parts`` by name, and ``inventory``, which is ``{host: inputs at the site}``.

    ``refusals`` and ``notes`` are ``{host: sentences}``. The notes are about what is not collected.

    :param commands: ``{kind: commands}`` with fields such as ``{python}``. :param root: the folder of this collection.
    """

    def __init__(self, hosts: Mapping[str, Host], commands: Mapping[str, Sequence[Sequence[str]]], root: Path,
                 site: Site) -> None:
        self.parts: dict[str, dict[str, Any]] = {}
        self.inventory: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, list[str]] = {name: [] for name in hosts}
        self.refusals: dict[str, list[str]] = {name: [] for name in hosts}
        self._commands, self._root, self._site = commands, root, site
        for kind in sorted(commands.keys() - set(CHOSEN)):
            self._add(kind, kind)
        for name, host in hosts.items():
            self._name = name
            self.inventory[name] = self._host(*host)

    def _add(self, name: str, kind: str, pinned: bool = False, **values: Any) -> str:
        """Add a part, and return its path at the site."""
        fields = {"folder": "{folder}", "work": "{work}", "python": sys.executable, "collection": self._root, **values}
        commands = [[word.format(**fields) for word in argv] for argv in self._commands.get(kind, ())]
        lists = [word.partition("=")[2] for argv in commands for word in argv if word.startswith("--requirement=")]
        part = {"name": name, "kind": kind, "reference": "", "python": sys.version, "commands": commands,
                "requirements": lists, "pinned": pinned or bool(lists), **values}
        if self.parts.setdefault(name, part) != part:
            self.refusals[self._name].append(
                f"{name} would have different content for other hosts; give them the same source, or collect it for "
                "some of the hosts in another folder (--limit).")
        return f"{self._site.path}/{name}"

    def _host(self, plan: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Add the parts of a host, and return its inputs at the site."""
        architecture, image, source = inputs["plan_architecture"], plan["image"], inputs["weights_source"]
        if architecture not in PLATFORMS:
            self.refusals[self._name].append(f"plan_architecture is '{architecture}', but the image depends on it; set "
                                             "it to aarch64 or x86_64.")
        part = f"images/{_safe(image['reference'].rpartition('/')[2])}-{architecture}"
        # A loaded image has an id, but no digest of a registry.
        own = {"image_archive_remote_src": False, "image_digest": self._site.ids.get(part, ""),
               "image_archive": self._add(
                   part, "image", bool(image["digest"]), reference=image["reference"], architecture=architecture,
                   source=pull_name(image["reference"], image["digest"] or "", inputs["image_registry_mirror"]),
                   platform=PLATFORMS.get(architecture)) + "/image.tar"}
        if source in hub.BRANCHES:
            part = "weights/" + Path(plan["model"]["path"]).name
            repository = inputs["weights_repository"] or plan["model"]["sources"].get(source, {}).get("repository", "")
            self._add(part, "weights", source=source, repository=repository, revision=inputs["weights_revision"],
                      endpoint=inputs["weights_hub_endpoint"], workers=inputs["weights_workers"],
                      fetch=f"{self._root}/roles/weights/files/fetch.py")
            if "draft" in plan["model"]:
                draft = plan["model"]["draft"]
                self._add("weights/" + draft["directory"], "weights", source=draft["source"],
                          repository=draft["repository"], endpoint=draft["endpoint"], revision="",
                          workers=inputs["weights_workers"], fetch=f"{self._root}/roles/weights/files/fetch.py")
            own.update(weights_source="http", weights_hub_endpoint=f"{self._site.url}/{part}", weights_hub_token="")
        else:
            self.notes[self._name].append(f"weights_source is {source}, so {plan['model']['path']} is not collected; "
                                          "copy it to the nodes of the site.")
        if inputs["weights_distribution"] == "fanout":
            python = plan["release"]["python"]
            own["weights_swarm_wheels"] = self._add(f"wheels/{python}-{architecture}", "wheels", version=python,
                                                    architecture=architecture)
        if inputs["accuracy_enabled"] or "ais_bench" in inputs["benchmark_tools"]:
            default = f"{self._root}/roles/accuracy/files/requirements-ais-bench.txt"
            wheels = self._add("ais_bench", "ais_bench", accuracy_python=inputs["accuracy_python"],
                               packages=inputs["accuracy_requirements"] or default)
            own.update(accuracy_run_on="localhost", accuracy_wheels_path=wheels,
                       accuracy_requirements=f"{wheels}/requirements.txt",
                       accuracy_environment_path=f"{self._site.path}/ais_bench_environment")
        if inputs["accuracy_enabled"]:
            own["accuracy_datasets"] = [{**each, "path": self._dataset(each["name"], Path(each["path"]))}
                                        for each in inputs["accuracy_datasets"]]
        self.notes[self._name] += [f"{each} is {inputs[each]}, which is not collected; copy it to the nodes of the "
                                   "site." for each in NOT_COLLECTED if inputs[each]]
        return own

    def _dataset(self, name: str, path: Path) -> str:
        if not path.exists():
            self.refusals[self._name].append(f"accuracy_datasets has the path {path}, which this machine does not "
                                             "have; copy the dataset to this path.")
        return f"{self._add(f'datasets/{_safe(str(name))}', 'dataset', path=str(path))}/{path.name}"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]|^\.+", "-", name)
