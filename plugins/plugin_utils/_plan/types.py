# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of the catalogue and of a plan (schema ``ascend.vllm/plan/v1``).

A plan describes the deployment on one inventory host. It is plain data that is registered, printed and passed to
modules and filters. A tuple arrives there as a list. A ``NotRequired`` key is missing where it does not apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

OptionKind = Literal["value", "switch", "flag"]
Modality = Literal["text", "vision", "embedding", "rerank"]
Series = Literal["A2", "A3"]
#: How a release supports a model; ``unstated`` if the model's entry does not name releases.
Support = Literal["documented", "undocumented", "unstated"]
RouteKind = Literal["inference", "control", "information", "metrics", "health"]
SourceType = Literal["file", "directory"]
MountOrigin = Literal["host", "weights", "site", "patch", "health", "middleware", "secrets", "tls", "plog"]
#: First and last port of a range.
Ports = tuple[int, int]


# The catalogue ----------------------------------------------------------------------------------------------------


class OlderKernel(TypedDict):
    """An old kernel that the vendor nevertheless supports on this hardware, and its operating system."""

    system: str
    #: Version of the kernel: ``4.19`` includes every 4.19.
    version: str
    #: Regular expression for the kernel release (``uname -r``), which names the distribution that built the kernel.
    build: str
    #: ID in /etc/os-release, and a regular expression for PRETTY_NAME, for kernels whose release names no distribution.
    id: str
    name: str


class HardwareProfile(TypedDict):
    """The hardware of a node, an entry of ``hardware.yml``."""

    name: str
    npus: int
    chips_per_npu: int
    #: N of each ``/dev/davinciN``; missing if they are the numbers from 0 to ``npus`` × ``chips_per_npu`` - 1.
    device_numbers: NotRequired[list[int]]
    #: Names that ``npu-smi info`` prints for a chip of this hardware.
    chip_names: list[str]
    #: HBM of one chip in MB.
    hbm_mb: int
    series: Series
    architectures: list[str]
    #: Part of the image tag that names the chip; empty for the 910B, whose tags have no such part.
    image_suffix: str
    #: Device files that every container with NPUs needs in addition to the ``/dev/davinciN`` of its NPUs.
    shared_devices: list[str]
    older_kernels: list[OlderKernel]


class BadDriver(TypedDict):
    """Drivers with a known defect: those that match ``version``, or all that are older than ``below``."""

    #: A version, or a series such as ``25.5.x``.
    version: NotRequired[str]
    below: NotRequired[str]
    #: The defect has no effect on kernels with a lower major version.
    kernel: NotRequired[int]
    #: ``{"option", "value"}``: The defect has no effect if the value of this option of the model contains this string.
    unless: NotRequired[dict[str, str]]
    reason: str


class ReleaseImage(TypedDict):
    """The published images of a release."""

    repository: str
    #: Tag suffixes for other base systems.
    variants: list[str]
    #: Tag suffixes for chips other than the 910B.
    chips: list[str]


class WeightNz(TypedDict):
    """The setting of a release for the NZ layout of weights: an environment variable or a key of additional-config."""

    values: list[int]
    environment: NotRequired[str]
    additional_config: NotRequired[str]


class PatchEntry(TypedDict):
    """A patch in the catalogue. With the policy ``fixed`` only ``reason`` is present, otherwise all other keys are."""

    policy: Literal["required", "optional", "fixed"]
    #: The models that need it, as architectures or ids; missing for all models.
    models: NotRequired[list[str]]
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
    #: The value that does not work, or a string that such a value contains.
    value: bool | str
    #: Whether serving_args may set the value anyway.
    left_to_vllm: NotRequired[bool]
    reason: str


class KnownBug(TypedDict):
    """A bug of a release; the plan warns about a bug without ``mitigated_by``."""

    summary: str
    source: str
    mitigated_by: NotRequired[str]
    #: The affected models, as architectures or ids; missing for all models.
    models: NotRequired[list[str]]
    architectures: NotRequired[list[str]]


class ReleaseEntry(TypedDict):
    """A release of vLLM Ascend, an entry of ``releases.yml``."""

    final: bool
    vllm: str
    python: str
    cann: str
    torch: str
    torch_npu: str
    #: Major version; missing if the release accepts several.
    transformers: NotRequired[int]
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


#: The recipe of a quantized model: ``from`` is the id of the original model, ``recipe`` is a path within the tool,
#: and ``transformers`` is the version that the recipe needs. In functional syntax, because "from" is a keyword.
Quantize = TypedDict("Quantize", {"from": str, "tool": str, "recipe": str, "transformers": str})


class Sources(TypedDict):
    """The sources of the weights of a model."""

    modelscope: NotRequired[Hub]
    huggingface: NotRequired[Hub]
    quantize: NotRequired[Quantize]


class Draft(TypedDict):
    """The draft model of speculative decoding (EAGLE3), whose weights are in a separate folder."""

    directory: str
    sources: Sources
    #: In a plan: the folder on the node, and the source from which it is staged.
    path: NotRequired[str]
    source: NotRequired[str]
    repository: NotRequired[str]
    endpoint: NotRequired[str]


class VersionRange(TypedDict):
    """A range of releases of vLLM Ascend, or of versions of vLLM. Without ``since`` or ``until``, it is open."""

    #: The first version in the range.
    since: NotRequired[str]
    #: The first version after the range.
    until: NotRequired[str]


class ModelReleases(TypedDict, total=False):
    """The releases that can serve a model, with and without upstream documentation; empty if nothing is known."""

    documented: VersionRange
    undocumented: VersionRange


class ModelReference(TypedDict):
    """A published score. With a tolerance (in points), the accuracy stage requires it on its product."""

    dataset: str
    score: float
    tolerance: NotRequired[float]
    series: NotRequired[Series]
    source: str


class Override(VersionRange, total=False):
    """Keys of a model for one product, or for a range of releases."""

    series: Series
    npus: int
    replicas: int
    minimum_nodes: int
    arguments: dict[str, Any]
    environment: dict[str, str]
    quantization_names: list[list[str]]


class ModelEntry(TypedDict):
    """A model, an entry of ``models.yml``."""

    name: str
    #: Name of its folder in weights_path.
    directory: str
    modality: Modality
    #: Missing if config.json may name any architecture.
    architecture: NotRequired[str]
    served_name: str
    quantization: str | None
    weights_bytes: int
    weights_bytes_estimated: bool
    sources: Sources
    #: Only used if the arguments have a speculative-config with the method eagle3 and without a model.
    draft: NotRequired[Draft]
    #: NPUs (chips) that one instance uses by default.
    npus: int
    #: The most NPUs over which the release can split it; missing without a limit.
    maximum_npus: NotRequired[int]
    #: Instances on each node by default; with data parallelism, ranks.
    replicas: int
    attention_heads: int
    kv_heads: NotRequired[int]
    #: Elements of a head.
    head_size: NotRequired[int]
    #: With MLA, elements of the latent vector of a token in a layer, with its rotary part.
    latent_size: NotRequired[int]
    #: Layers with a KV cache.
    layers: NotRequired[int]
    #: Heads of the vision encoder.
    vision_heads: NotRequired[int]
    #: The most tokens of a picture, a square number, and the side of the square that becomes one token, in pixels.
    image_tokens: NotRequired[int]
    image_token_px: NotRequired[int]
    #: Numbers in an embedding.
    embedding_size: NotRequired[int]
    #: Bytes of the weights that expert parallelism divides; missing if it divides nearly all.
    expert_bytes: NotRequired[int]
    #: Why the size of the KV cache is not computed.
    kv_cache_unknown: NotRequired[str]
    #: Longest sequence in tokens.
    context_length: int
    #: Options of ``vllm serve`` by full name, without dashes.
    arguments: dict[str, Any]
    releases: ModelReleases
    #: Refused topologies, each with the reason.
    unsupported: dict[str, str]
    #: Topologies that cause a warning, each with the reason.
    untested: dict[str, str]
    #: The products for which upstream documents the model.
    series: list[Series]
    #: Minimum number of nodes, because of their memory.
    minimum_nodes: int
    #: Environment variables of the container.
    environment: dict[str, str]
    #: The sets of prefixes of tensor names that a quantization description may have; missing for the usual ones.
    quantization_names: NotRequired[list[list[str]]]
    #: Other values of the keys above for some products and releases.
    overrides: list[Override]
    #: Pages of the documentation, tests that upstream runs, published results, and what is missing: for docs/models.md.
    documentation: list[str]
    ci: list[dict[str, str]]
    references: list[ModelReference]
    throughput: list[dict[str, Any]]
    notes: list[str]


class Option(VersionRange):
    """An option of a vLLM command, and the versions that have it. It takes a value unless it is a switch or a flag."""

    #: ``--name`` and ``--no-name`` exist.
    switch: NotRequired[bool]
    #: Only ``--name`` exists.
    flag: NotRequired[bool]
    #: Belongs to the HTTP server, so ``vllm bench latency`` and ``throughput`` do not have it.
    frontend: NotRequired[bool]


class Route(VersionRange):
    """A route of the HTTP server of vLLM, and the versions that have it, an entry of ``routes.yml``."""

    kind: RouteKind


class Catalogue(TypedDict):
    """The files of the catalogue merged into one; ``schema.json`` defines its shape."""

    hardware: dict[str, HardwareProfile]
    releases: dict[str, ReleaseEntry]
    models: dict[str, ModelEntry]
    vllm_versions: list[str]
    serve_options: dict[str, Option]
    routes: dict[str, Route]
    additional_config_keys: dict[str, VersionRange]
    bench_options: dict[str, dict[str, Option]]


# The plan ---------------------------------------------------------------------------------------------------------


class Finding(TypedDict):
    """A refusal or a warning. The id is the name of the variable, or ``<topic>.<detail>``."""

    id: str
    message: str


class Hardware(HardwareProfile):
    """The hardware profile of the node, its device files and its driver."""

    id: str
    #: Every N for which the node has a ``/dev/davinciN``.
    npu_devices: list[int]
    #: Folder of the Ascend driver on the node.
    driver_path: str
    #: File on the node with the version of the installed driver.
    driver_version_file: str


class Release(ReleaseEntry):
    """The release to deploy."""

    id: str
    #: ``{path: kind}`` of the routes of its HTTP server.
    routes: dict[str, RouteKind]
    #: The releases with images for the hardware that support the model, in order.
    usable: list[str]


class Model(ModelEntry):
    """The model to serve. ``served_name`` and ``arguments`` contain the overrides of the inventory."""

    id: str
    #: Folder on the node with the weights.
    path: str
    #: Default name of the container of the first instance.
    container_name: str
    #: Folder on the node with the original model, for weights_source quantize; None if the model has no recipe.
    quantize_from_path: str | None


class Image(TypedDict):
    """The image to run."""

    #: ``repository:tag``, the name of the image on the nodes.
    reference: str
    repository: str
    tag: str
    #: Digest that the image must have (``sha256:…``); None accepts any image with the tag.
    digest: str | None
    #: File from which the image is loaded; None if it is pulled.
    archive: str | None


class Patch(TypedDict):
    """A patched copy of one file of the image, which is mounted over the original."""

    id: str
    #: The patched file on the node.
    host_path: str
    #: The file in the image.
    target: str
    pattern: str
    replacement: str
    sha256: str
    patched_sha256: str


class Mount(TypedDict):
    """A bind mount."""

    source: str
    target: str
    #: Required type of the source.
    type: SourceType
    read_only: bool
    #: Provider of the source: the driver (host), the inventory (site), or a role of this collection.
    origin: MountOrigin


class HealthCheck(TypedDict):
    """Settings of the health checks of all instances."""

    #: The script of the health check on the node.
    host_path: str
    interval_s: int
    #: Timeout of one request to the server.
    timeout_s: int
    retries: int
    start_period_s: int
    #: Whether the check terminates a hung server, so that Docker restarts it.
    restart: bool


class DockerHealthCheck(TypedDict):
    """Docker's options for the health check of one container. Durations are strings with a unit (``30s``)."""

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
    """Settings that all containers of a host share."""

    #: Address that the API listens on.
    bind: str
    #: Size of /dev/shm (``1g``).
    shm_size: str
    privileged: bool
    cap_drop: list[str]
    #: Values of Docker's --security-opt.
    security_opts: list[str]
    restart_policy: str
    #: Size of a log file (``100m``).
    log_max_size: str
    log_max_files: int


class Membership(TypedDict, total=False):
    """Keys that only an instance in a group has."""

    #: IPv4 address at which the other members reach it.
    address: str
    #: Network interface for the traffic with the other members; if None, the node looks it up by the address.
    interface: str | None
    #: On the head: the port that the other members connect to. None on the other members.
    group_port: int | None


class Instance(ContainerSettings, Membership):
    """One container: a vLLM server, or a Ray worker of a group."""

    index: int
    name: str
    #: N of each of its ``/dev/davinciN``.
    npus: list[int]
    #: Whether it has an HTTP API; in a group, only the head has one.
    serves: bool
    #: Port of the API; None without an API.
    port: int | None
    #: URL of the API for clients; None without an API.
    url: str | None
    devices: list[str]
    mounts: list[Mount]
    environment: dict[str, str]
    #: None means the defaults of HCCL.
    hccl_ports: HcclPorts | None
    #: File on the node with the API key; None without a key.
    secrets_path: str | None
    #: File on the node with the middleware that requires the API key; None without a key.
    middleware_path: str | None
    #: Folder on the node with plog; None if plog stays in the container.
    plog_path: str | None
    #: Whether the API uses HTTPS.
    tls: bool
    #: Program that starts the command in the container; empty if the command is run directly.
    launcher: list[str]
    command: list[str]
    #: None if there is no health check or no API.
    health: DockerHealthCheck | None
    #: A running container with a different hash has to be replaced.
    hash: str
    labels: dict[str, str]


class Member(TypedDict):
    """A host of a group."""

    host: str
    #: IPv4 address at which the other members reach it.
    address: str
    #: Hash of its instance; missing in a refused plan.
    hash: NotRequired[str]


class Memory(TypedDict):
    """The memory of each NPU of an instance."""

    weights_gib: float
    #: Memory for activations, graphs and communication buffers.
    reserve_gib: float
    #: Memory that gpu-memory-utilization leaves for the KV cache.
    kv_cache_gib: float
    bytes_per_token: NotRequired[int]
    #: Number of tokens in the KV cache.
    tokens: NotRequired[int]
    #: Number of sequences of max-model-len tokens in the KV cache.
    sequences: NotRequired[float]
    #: Why the tokens are not computed.
    unsupported: NotRequired[str]


class Group(TypedDict):
    """Hosts that serve one model together. The first member is the head: it has rank 0 and the API."""

    topology: str
    host: str
    rank: int
    #: Port of the head that the other members connect to.
    port: int
    members: list[Member]
    tensor_parallel_size: NotRequired[int]
    #: With data parallelism: the number of ranks in the group.
    size: NotRequired[int]
    #: With data parallelism: the number of ranks on this host.
    local: NotRequired[int]
    #: With data parallelism: the first rank on this host.
    start: NotRequired[int]


class Plan(TypedDict):
    """The deployment on a host.

    If a plan has refusals, only ``schema``, ``warnings`` and ``refusals`` may be used: parts that could not be resolved
    are None or empty.
    """

    schema: str
    #: Depends on the image and the hash of each instance; None without instances.
    hash: str | None
    hardware: Hardware
    release: Release
    model: Model
    image: Image
    #: None if the image runs unchanged.
    patch: Patch | None
    #: None if every instance serves the model independently.
    group: Group | None
    #: The CA certificates as PEM that our clients trust; None for those of the system.
    ca: str | None
    #: Unix socket of the Docker engine on the node.
    docker_socket: str
    #: Folder on the node for patched files and secrets.
    state_path: str
    #: Name of the node (plan_node).
    node: str | None
    #: ``{host: name of its first container}`` of the other deployments on the node.
    neighbors: dict[str, str]
    #: N of each ``/dev/davinciN`` that the deployment may use (serving_npus).
    npus: list[int]
    #: None in a refused plan.
    memory: Memory | None
    health_check: HealthCheck | None
    instances: list[Instance]
    warnings: list[Finding]
    #: Empty if the plan can be deployed.
    refusals: list[Finding]
