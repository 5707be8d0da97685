# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of the observation of the benchmark stage, from one run of a client to the result of a host.

Metrics have the names of ``vllm bench``. Metrics that end in ``_ms`` are in milliseconds, throughputs are per second,
``duration`` and ``avg_latency`` are in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Figure

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.benchmark import ServiceContainer

Metrics = dict[str, float]
#: ``{metric: value}`` for metrics that do not meet their limits; None for a metric without a value.
Missed = dict[str, "float | None"]


class Identity(TypedDict):
    """Properties of a service that must not change during a measurement. A property is None if it is unknown."""

    #: The id of the container.
    container: str | None
    #: The id of the image.
    image: str | None
    started_at: str | None
    restarts: int | None
    instance_hash: str | None
    #: SHA-256 of the manifest of the model.
    weights: str | None
    #: SHA-256 of the version file of the driver.
    driver: str | None


#: ``{name of an instance: its identity}`` for the instances of a node.
Snapshot = dict[str, Identity]


class PlannedRun(TypedDict):
    """A run that has not started yet."""

    id: str
    #: Number of the repeat, from 1.
    repeat: int
    seed: int
    #: ``instance``, ``node`` or ``balancer``.
    target: str


class Outcome(TypedDict):
    """The result of a run."""

    #: See `result_files`; None if there is no result.
    kind: str | None
    metrics: Metrics
    #: Path of the raw result, relative to the results folder.
    file: str | None


class ClientRun(Outcome):
    """A run of one client."""

    #: Seconds from the start of the client until it exited or timed out.
    seconds: float
    exit_code: int | None
    timed_out: bool
    #: The last lines of the log of the client.
    log: list[str]
    command: NotRequired[list[str]]
    #: Seconds since the epoch.
    ended_at: NotRequired[float | None]


class Run(PlannedRun, Outcome):
    """A run against a target. If a single client sent all requests, the keys of its ClientRun are included."""

    #: Identities after the run. Empty if they are not observed for each run.
    services: Snapshot
    #: Percentage of the time during which all clients were running. None if there is only one client.
    overlap_percent: float | None
    #: The number of requests of other clients that the engines had at the same time. None if it is unknown.
    others: int | None
    clients: NotRequired[list[ClientRun]]


class Traffic(TypedDict):
    """The number of requests that run or wait in the measured engines, and of those that the engines have finished."""

    active: int
    finished: int


class OfflineRun(ClientRun):
    """A run of ``vllm bench latency`` or ``throughput``."""

    id: str
    #: The expected kind of the result.
    wanted: str


class Spread(TypedDict):
    """Statistics of a metric over the repeats."""

    median: float
    minimum: float
    maximum: float
    #: Coefficient of variation; None for a single run.
    cv_percent: float | None


class Change(TypedDict):
    """A metric in two measurements."""

    metric: str
    label: str
    unit: str
    before: float
    after: float
    #: ``after / before``; None if ``before`` is 0.
    ratio: float | None
    #: None if both are equal.
    better: bool | None
    #: The value beyond which ``after`` is a regression, and whether it is one. Absent if there is no verdict.
    limit: NotRequired[float]
    worse: NotRequired[bool]


class Regression(TypedDict):
    """The verdict on a measurement, see `regression`."""

    #: ``passed``, ``failed`` or ``inconclusive``.
    verdict: str
    #: The metrics that are worse, or why there is no verdict.
    reason: str
    rows: list[Change]


class BaselineKey(TypedDict):
    """The properties that must be the same in two measurements that are compared."""

    model: str
    release: str
    hardware: str
    #: Number of NPUs per instance.
    npus: int
    #: The host, or an empty string for a balancer.
    host: str
    #: The name of the measurement.
    name: str
    target: str
    #: Number of measured instances.
    instances: int
    tool: str
    image: str
    driver: str | None
    #: Inputs, see `statistics.workload`.
    workload: dict[str, object]


class Baseline(TypedDict):
    """The content of the file of a baseline or of the last good run."""

    schema: str
    key: BaselineKey
    host: str
    #: UTC, ISO 8601.
    recorded_at: str
    #: The metrics of each repeat.
    repeats: list[Metrics]


class BaselineComparison(TypedDict):
    """The earlier run with which a measurement is compared."""

    #: Name of the file.
    file: str
    recorded_at: str
    #: The release of the earlier run.
    release: str
    #: Whether it is the last good run of another deployment, because this deployment has no baseline.
    fallback: bool
    repeats: list[Metrics]
    #: Absent until all hosts have measured.
    result: NotRequired[Regression]


class MeasuredPoint(TypedDict):
    """A measured load of a sweep: requests per second, or concurrent requests."""

    value: float
    run: Run


class SweepPoint(MeasuredPoint):
    """A measured load with the metrics that miss the objective."""

    missed: Missed


class SweepResult(TypedDict):
    """The curve over the load, and the highest load that meets the objective."""

    #: ``request_rate`` or ``max_concurrency``.
    variable: str
    #: ``{metric: limit in milliseconds}``.
    objective: dict[str, float]
    points: list[SweepPoint]
    #: Highest load that meets the objective, and lowest load that misses it.
    best: float | None
    failing: float | None
    #: See `statistics.knee`.
    knee: float | None
    #: The points of an earlier sweep, as ``[[load, metrics]]``, and what it measured.
    earlier: NotRequired[list[tuple[float, Metrics]]]
    earlier_name: NotRequired[str]


class WarmUp(TypedDict):
    """The result of the requests that are sent before a measurement."""

    #: Served names, or the error of the query.
    models: list[str] | str | None
    sent: int
    answered: int
    #: Whether all requests succeeded and the planned name is served.
    good: bool
    errors: list[str]


class ObservedInstance(TypedDict):
    """A planned instance and its container."""

    name: str
    url: str | None
    serves: bool
    hash: str
    warm_up: WarmUp | None
    #: None if there is no container.
    service: ServiceContainer | None


class Measurement(TypedDict):
    """The measurement of a target."""

    name: str
    target: str
    #: ``vllm`` or ``ais_bench``.
    tool: str
    #: Base URLs to which the requests are sent.
    urls: list[str]
    #: Number of instances behind these URLs, and their hosts.
    instances: int
    hosts: list[str]
    #: Number of requests in a run.
    num_prompts: int
    #: Number of tokens that the requests of a run generate.
    output_tokens: int
    warm_up: WarmUp | None
    runs: list[Run]
    summary: dict[str, Spread]
    baseline: BaselineComparison | None
    sweep: SweepResult | None


class Steps(TypedDict):
    """The targets to measure, and whether the steps ``ais_bench`` and ``balancer`` are needed."""

    targets: list[str]
    ais_bench: bool
    balancer: bool


class BenchmarkSurvey(TypedDict):
    """The snapshots of the other hosts behind the measured balancer, by host, and the verdicts, by measurement."""

    snapshots: dict[str, list[Snapshot]]
    verdicts: dict[str, Regression]


class BenchmarkObservation(TypedDict):
    """The observation of a host; each step of the stage adds to it."""

    wanted: Steps
    #: Snapshots at the beginning, after each step that needs one, and before the last step.
    snapshots: list[Snapshot]
    #: URLs of the instances with an API.
    serving: list[str]
    measurements: list[Measurement]
    instances: NotRequired[list[ObservedInstance]]
    #: The reason why nothing is measured.
    not_run: NotRequired[str]
    offline: NotRequired[list[OfflineRun]]
    #: Whether the service that was stopped for offline runs is ready again; None if it was not stopped.
    restored: NotRequired[bool | None]
    figures: NotRequired[list[Figure]]
