# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a judge is: the module ``judge`` in the room of each stage.

PRIVATE to the collection. Judges are pure: they are given everything in a `Context` and ask nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Check, CheckOutcome

# What a module returned, as plain data. The type of each is stated beside the code that fills it, in module_utils.
Observation = Mapping[str, Any]


class Request(NamedTuple):
    """What is asked of the node: a module of this collection, and its arguments."""

    module: str
    arguments: dict[str, Any]
    #: Saved with the answer, for judges that compare several hosts.
    noted: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Context:
    """All that is known of one host when its stage is judged."""

    host: str
    plan: Plan
    #: The inputs of the stage's role by their full names, each in the type of its argument spec.
    inputs: Mapping[str, Any]
    #: What the module of `Request` returned; empty where nothing was asked.
    observed: Observation = field(default_factory=dict)
    #: What other tasks of the role found, under names of the stage's own.
    measured: Mapping[str, Any] = field(default_factory=dict)
    #: Which part of the stage is judged, for stages that are judged more than once; see the stage's judge.
    phase: str = ""
    #: Why a task of the role failed, if one did.
    failure: str | None = None
    #: What ``survey`` found about this host among the others; None where the stage was not observed on all hosts first.
    survey: Any = None
    check_mode: bool = False
    #: On how many hosts Ansible works at once, and how many are left in the play.
    forks: int = 5
    play_hosts: int = 1


Survey = Callable[[Mapping[str, Observation], Mapping[str, Any]], dict[str, Any]]


class Judge(Protocol):
    """The interface of the modules ``_stages/<stage>/judge.py``."""

    @property
    def CHECKS(self) -> Sequence[Check]:
        """The checks of the stage, in the order of docs/checks.md."""

    @property
    def RETURNED(self) -> Sequence[str]:
        """Keys of the observation that the role needs; the action returns these and no others."""

    @property
    def survey(self) -> Survey | None:
        """Return what the judge of each host needs to know about the others, or None if hosts are judged one by one.

        ``survey({host: observation}, inputs)`` returns ``{host: plain data}``, found in one pass over the cluster.
        """

    def request(self, context: Context) -> Request | None:
        """Return what to ask of the node; None where there is nothing to ask.

        :param context: without an observation.
        :raises ValueError: for an input that cannot be used; the message is one sentence.
        """

    def judge(self, context: Context) -> list[CheckOutcome]:
        """Return the outcome of every check of the stage."""
