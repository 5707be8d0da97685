# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of the catalogue and of a plan (schema ``ascend.vllm/plan/v1``).

A plan describes one deployment on one inventory host. It is plain data: it is registered, printed and passed to modules
and filters, so a tuple arrives there as a list. A key marked ``NotRequired`` is missing where it does not apply.

PRIVATE to the collection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

OptionKind = Literal["value", "switch", "flag"]
SourceType = Literal["file", "directory"]
MountOrigin = Literal["host", "weights", "site", "patch", "health", "secrets"]
Ports = tuple[int, int]
"""First and last port of a range."""


# The catalogue ----------------------------------------------------------------------------------------------------


class HardwareProfile(TypedDict):
    """Hardware of a node, an entry of ``hardware.yml``."""

    name: str
    npus: int
    chips_per_npu: int
    chip_names: list[str]
    """Names that ``npu-smi info`` prints for a chip of this hardware."""
    hbm_mb: int
    """HBM of one chip in MB."""
    architectures: list[str]
    image_suffix: str
    """Part of the image tag that names the chip; empty for the 910B, whose tags have none."""
    shared_devices: list[str]
    """Device files that every container with NPUs needs besides its ``/dev/davinciN``."""


class BadDriver(TypedDict):
    """A driver version with a known defect."""

    version: str
    reason: str


class ReleaseImage(TypedDict):
    """The published images of a release."""

    repository: str
    variants: list[str]
    """Tag suffixes for other base systems."""
    chips: list[str]
    """Tag suffixes for other chips than the 910B."""


class WeightNz(TypedDict):
    """The setting of a release for the NZ layout of weights: an environment variable or a key of additional-config."""

    values: list[int]
    environment: NotRequired[str]
    additional_config: NotRequired[str]


class PatchEntry(TypedDict):
    """A patch in the catalogue. With the policy ``fixed`` there is a reason, otherwise everything else."""

    policy: Literal["required", "optional", "fixed"]
    reason: NotRequired[str]
    architectures: NotRequired[list[str]]
    target: NotRequired[str]
    pattern: NotRequired[str]
    replacement: NotRequired[str]
    sha256: NotRequired[str]
    patched_sha256: NotRequired[str]


class Conflict(TypedDict):
    """An option of ``vllm serve`` that does not work with some topologies."""

    topologies: list[str]
    option: str
    value: bool | str
    """Value that does not work, or a text that it contains."""
    left_to_vllm: NotRequired[bool]
    """Whether a value from serving_args is allowed all the same."""
    reason: str


class KnownBug(TypedDict):
    """A bug of a release; without ``mitigated_by`` it is a warning of the plan."""

    summary: str
    source: str
    mitigated_by: NotRequired[str]
    architectures: NotRequired[list[str]]


class ReleaseEntry(TypedDict):
    """A release of vLLM Ascend, an entry of ``releases.yml``."""

    final: bool
    vllm: str
    python: str
    cann: str
    torch: str
    torch_npu: str
    transformers: NotRequired[int]
    """Major version; missing where the release accepts several."""
    driver_minimum: str
    driver_recommended: str
    driver_known_bad: list[BadDriver]
    image: ReleaseImage
    architectures: list[str]
    environment: dict[str, str]
    environment_unwanted: dict[str, str]
    additional_config_ignored: dict[str, str]
    weight_nz: WeightNz
    patches: dict[str, PatchEntry]
    conflicts: list[Conflict]
    known_bugs: dict[str, KnownBug]


class Hub(TypedDict):
    """A repository on a model hub."""

    repository: str
    revision: NotRequired[str]


# Functional syntax, since "from" is a keyword.
Quantize = TypedDict("Quantize", {"from": str, "tool": str, "recipe": str})
"""How a quantised model is made: ``from`` is the id of the original model, ``recipe`` a path within the tool."""


class Sources(TypedDict):
    """Where the weights of a model can come from."""

    modelscope: NotRequired[Hub]
    huggingface: NotRequired[Hub]
    quantize: NotRequired[Quantize]


class ModelReleases(TypedDict):
    """Releases that serve a model: with and without upstream documentation for it."""

    documented: list[str]
    undocumented: list[str]


class ModelEntry(TypedDict):
    """A model, an entry of ``models.yml``."""

    name: str
    directory: str
    """Name of its folder in weights_path."""
    architecture: str
    served_name: str
    quantization: str | None
    weights_bytes: int
    weights_bytes_estimated: bool
    sources: Sources
    npus: int
    """NPUs (chips) that one instance uses by default."""
    attention_heads: int
    context_length: int
    """Longest sequence in tokens."""
    arguments: dict[str, Any]
    """Options of ``vllm serve`` by full name, without dashes."""
    releases: ModelReleases
    unsupported: dict[str, str]
    """Topologies that are refused, each with the reason."""
    untested: dict[str, str]
    """Topologies that are warned of, each with the reason."""


class Option(TypedDict):
    """An option of a vLLM command; a value follows it unless it is a switch or a flag."""

    switch: NotRequired[bool]
    """``--name`` and ``--no-name`` exist."""
    flag: NotRequired[bool]
    """Only ``--name`` exists."""
    frontend: NotRequired[bool]
    """Belongs to the HTTP server, so ``vllm bench latency`` and ``throughput`` do not have it."""
    since: NotRequired[str]
    """First vLLM version with the option."""
    until: NotRequired[str]
    """First vLLM version without it."""


class Catalogue(TypedDict):
    """The files of the catalogue merged into one; ``schema.json`` defines its shape."""

    hardware: dict[str, HardwareProfile]
    releases: dict[str, ReleaseEntry]
    models: dict[str, ModelEntry]
    vllm_versions: list[str]
    serve_options: dict[str, Option]
    bench_options: dict[str, dict[str, Option]]


# The plan ---------------------------------------------------------------------------------------------------------


class Finding(TypedDict):
    """A refusal or a warning. The id is the variable that it is about, or ``<topic>.<detail>``."""

    id: str
    message: str


class Hardware(HardwareProfile):
    """The hardware profile of the node, its device files and its driver."""

    id: str
    npu_devices: list[int]
    """Each N for which the node has a ``/dev/davinciN``: ``npus`` times ``chips_per_npu`` numbers from 0."""
    driver_path: str
    """Folder of the Ascend driver on the node."""
    driver_version_file: str
    """File on the node with the version of the installed driver."""


class Release(ReleaseEntry):
    """The release to deploy."""

    id: str


class Model(ModelEntry):
    """The model to serve. ``served_name`` and ``arguments`` are those of the deployment."""

    id: str
    path: str
    """Folder on the node with the weights."""
    quantize_from_path: str | None
    """Folder on the node with the original model, for weights_source quantize; None where the model has no recipe."""


class Image(TypedDict):
    """The image to run."""

    reference: str
    """``repository:tag``, the name by which the nodes know it."""
    repository: str
    tag: str
    digest: str | None
    """``sha256:…`` that the image must have; None accepts whatever has the tag."""
    archive: str | None
    """File to load the image from; None pulls it."""


class Patch(TypedDict):
    """An edit of one file of the image, mounted over the original."""

    id: str
    host_path: str
    """The patched file on the node."""
    target: str
    """The file in the image."""
    pattern: str
    replacement: str
    sha256: str
    patched_sha256: str


class Mount(TypedDict):
    """A bind mount."""

    source: str
    target: str
    type: SourceType
    """What the source must be."""
    read_only: bool
    origin: MountOrigin
    """Who provides the source: the driver (host), the inventory (site), or a role of this collection."""


class HealthCheck(TypedDict):
    """What the health checks of all instances have in common."""

    host_path: str
    """The script of the health check on the node."""
    interval_s: int
    timeout_s: int
    """Limit for one answer of the server."""
    retries: int
    start_period_s: int
    restart: bool
    """Whether the check ends a hung server, so that Docker restarts it."""


class DockerHealthCheck(TypedDict):
    """The health check of one container as Docker takes it: durations are text with a unit (``30s``)."""

    test: list[str]
    interval: str
    timeout: str
    retries: int
    start_period: str


class HcclPorts(TypedDict):
    """The ports of HCCL on the host and on the NPUs."""

    host: Ports
    npu: Ports


class ContainerSettings(TypedDict):
    """What the containers of a host have in common, as Docker takes it."""

    bind: str
    """Address that the API listens on."""
    shm_size: str
    """Size of /dev/shm (``1g``)."""
    privileged: bool
    cap_drop: list[str]
    restart_policy: str
    log_max_size: str
    """Size of a log file (``100m``)."""
    log_max_files: int


class Membership(TypedDict, total=False):
    """What only an instance in a group has."""

    address: str
    """IPv4 address for the other members."""
    interface: str | None
    """Network interface for the other members; None is looked up on the node by the address."""
    group_port: int | None
    """Port of the head for the other members; None on the others."""


class Instance(ContainerSettings, Membership):
    """One container: a vLLM server, or a Ray worker of a group."""

    index: int
    name: str
    npus: list[int]
    """Each N of its ``/dev/davinciN``."""
    serves: bool
    """Whether it has an HTTP API; in a group only the head has one."""
    port: int | None
    """Port of the API; None without an API."""
    url: str | None
    """URL of the API for clients; None without an API."""
    devices: list[str]
    mounts: list[Mount]
    environment: dict[str, str]
    hccl_ports: HcclPorts | None
    """None stands for the defaults of HCCL."""
    secrets_path: str | None
    """File on the node with the API key; None without a key."""
    launcher: list[str]
    """Program that starts the command in the container; empty if the command is run directly."""
    command: list[str]
    health: DockerHealthCheck | None
    """None without a health check, and for an instance without an API."""
    hash: str
    """Changes when a running container has to be replaced."""
    labels: dict[str, str]


class Member(TypedDict):
    """A host of a group."""

    host: str
    address: str
    """IPv4 address by which the other members reach it."""
    hash: NotRequired[str]
    """Hash of its instance; missing in a refused plan."""


class Group(TypedDict):
    """Hosts that serve one model together. The first member is the head: it has rank 0 and the API."""

    topology: str
    host: str
    rank: int
    port: int
    """Port of the head for the other members."""
    members: list[Member]
    tensor_parallel_size: NotRequired[int]
    size: NotRequired[int]
    """With data parallelism: ranks of the whole group."""
    local: NotRequired[int]
    """With data parallelism: ranks on this host."""
    start: NotRequired[int]
    """With data parallelism: the first rank on this host."""


class Plan(TypedDict):
    """What is deployed on a host.

    Only ``schema``, ``warnings`` and ``refusals`` of a plan with refusals may be used: the parts that could not be
    resolved are None or empty.
    """

    schema: str
    hash: str | None
    """Changes with the image name and the hash of any instance; None without instances."""
    hardware: Hardware
    release: Release
    model: Model
    image: Image
    patch: Patch | None
    """None where the image runs unchanged."""
    group: Group | None
    """None where each instance serves by itself."""
    docker_socket: str
    """Unix socket of the Docker engine on the node."""
    npus: list[int]
    """Numbers N of the ``/dev/davinciN`` that the deployment may use (serving_npus)."""
    health_check: HealthCheck | None
    instances: list[Instance]
    warnings: list[Finding]
    refusals: list[Finding]
    """Empty for a plan that can be deployed."""
