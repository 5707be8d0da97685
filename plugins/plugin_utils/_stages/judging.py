# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of the judges ``_stages/<stage>/judge.py``, which are pure functions of a `Context`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Catalogue, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Check, CheckOutcome

# The beginning of the messages of checks that are not run in check mode.
WOULD = "Without --check, the run would"
# The remedy for NPUs that another deployment of this collection uses, for example because plan_model was changed.
OTHER_DEPLOYMENT = (
    "Set serving_npus to other NPUs, or set serving_container_name to the name of this container (without the number "
    "of the instance) and replace it with upgrade.yml.")


def other_deployment(container: Any, plan: Plan) -> str | None:
    """Return the remedy for planned NPUs that a container uses, or None if it is not a container of this collection."""
    if not container or not labels.own(container["labels"]):
        return None
    name = labels.base_name(container["name"])
    owner = next((host for host, other in plan.get("neighbors", {}).items() if labels.is_instance(name, other)), None)
    return OTHER_DEPLOYMENT if owner is None else (
        "This container is of %s on the same node, whose plan has other NPUs: run upgrade.yml for it first." % owner)


# The return values of a module as plain data. Their types are defined in module_utils, next to the code of the module.
Observation = Mapping[str, Any]
# The outcomes of the checks of a stage on a host.
Outcomes = list[CheckOutcome]


class Request(NamedTuple):
    """A module of this collection to call on the node, and its arguments."""

    module: str
    arguments: dict[str, Any]
    #: Data to save with the return values, for judges that compare hosts.
    noted: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Context:
    """All data about one host that is available when a stage is judged."""

    host: str
    plan: Plan
    #: The inputs of the stage's role by their full names, each in the type of its argument spec.
    inputs: Mapping[str, Any]
    #: The plans of the deployments for which the node is observed (plan_node). Empty stands for ``plan``.
    node_plans: Sequence[Plan] = ()
    #: Return values of the module in the `Request`. Empty if there is no request.
    observed: Observation = field(default_factory=dict)
    #: Results of other tasks of the role, under names that the stage defines.
    measured: Mapping[str, Any] = field(default_factory=dict)
    #: The phase of a stage that is judged more than once. The judge of the stage defines its phases.
    phase: str = ""
    #: Error message of a task of the role that failed, or None.
    failure: str | None = None
    #: Result of ``survey`` for this host. None if not all hosts were observed before.
    survey: Any = None
    check_mode: bool = False
    #: The number of forks of Ansible, and the number of hosts that are still in the play.
    forks: int = 5
    play_hosts: int = 1
    #: None unless the inputs are checked for the plan.
    catalogue: Catalogue | None = None


InputCheck = Callable[[Context], Iterator[str]]
Survey = Callable[[Mapping[str, Observation], Mapping[str, Any]], dict[str, Any]]


class Judge(Protocol):
    """The interface of a judge module."""

    @property
    def CHECKS(self) -> Sequence[Check]:
        """The checks of the stage, in the order of docs/checks.md."""

    @property
    def RETURNED(self) -> Sequence[str]:
        """Keys of the observation that the role needs. The action returns only these keys."""

    @property
    def check_inputs(self) -> InputCheck | None:
        """Return a function that yields a sentence per mistake in the inputs, or None if their types are sufficient.

        Its context has the plan, the inputs in their types, and possibly the catalogue, but no observation.
        """

    @property
    def survey(self) -> Survey | None:
        """Return a function that compares all hosts, or None if each host is judged on its own.

        ``survey({host: observation}, inputs)`` returns ``{host: plain data}`` for the judge of each host.
        """

    def request(self, context: Context) -> Request | None:
        """Return the request to the node, or None.

        :param context: the context of the host, without an observation.
        :raises ValueError: if an input is invalid. The message is one sentence.
        """

    def judge(self, context: Context) -> Outcomes:
        """Return the outcome of every check of the stage."""
