# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the image stage: can the node store and run the image, and is it the planned one after the pull?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ansible_collections.ascend.vllm.plugins.module_utils._docker import images
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Image, Release
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD, Context, Outcomes, Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import reason_line

CHECKS = (
    Check("release_architecture", CRITICAL, "The release has images for the node's architecture",
          "Choose a release of the catalogue that has them, or remove the node from the inventory."),
    Check("registry_architecture", CRITICAL, "The registry has the image for the node's architecture",
          "Set image_registry_mirror to a registry that has it for this architecture, or image_tag to such an image."),
    Check("archive", CRITICAL, "The archive has only the planned image, for the node's architecture",
          "Save only the planned image on a machine of this architecture: docker save -o <archive> <image>."),
    Check("free_space", CRITICAL, "The folder of Docker's images has enough space for the image",
          "Free space in the named folder (docker image prune), or move it to a larger disk: data-root in "
          "/etc/docker/daemon.json, or root in /etc/containerd/config.toml for the containerd image store."),
    Check("obtained", CRITICAL, "The image could be pulled or loaded, and inspected",
          "Remove the cause that the message names, and run the image role again."),
    Check("present", CRITICAL, "The node has the planned image",
          "Allow the node to reach the registry, set image_registry_mirror, or load it with image_archive."),
    Check("architecture", CRITICAL, "The image is built for the node's architecture",
          "Pull the image for this architecture; save an archive on a machine of this architecture."),
    Check("digest", CRITICAL, "The image is the one that image_digest pins",
          "Provide the pinned image in the registry or archive, or pin the digest that was found."),
    Check("vllm_ascend_version", CRITICAL, "The image has the vLLM Ascend version of the release",
          "Set plan_release to the release of the image, or image_tag to that of the release."),
    Check("vllm_version", CRITICAL, "The image has the vLLM version of the release",
          "Use the published image of the release, or one built from its Dockerfile."),
    Check("cann_version", WARNING, "The image has the CANN version of the release",
          "Use the published image of the release, or check that the driver supports this CANN version."),
    Check("torch_npu_version", WARNING, "The image has the torch-npu version of the release",
          "Use the published image of the release, or one built from its Dockerfile."),
)


RETURNED = ("needed", "source")
check_inputs = None
survey = None
#: The phase before a pull. In the other phase, the image has been pulled or loaded.
BEFORE = "before"


def request(context: Context) -> Request:
    """Return the request that inspects the image and, before a pull, the registry."""
    image, inputs = context.plan["image"], context.inputs
    copied = inputs["image_archive"] and not inputs["image_archive_remote_src"]
    planned = {"reference": image["reference"], "digest": image["digest"] or "",
               "docker_socket": context.plan["docker_socket"]}
    if context.phase != BEFORE:
        return Request("ascend.vllm.image_info", planned)
    return Request("ascend.vllm.image_info", {
        **planned, "mirror": inputs["image_registry_mirror"],
        "pull": "never" if inputs["image_archive"] else inputs["image_pull"],
        "folder": inputs["image_archive_path"] if copied else None,
    })


def judge(context: Context) -> Outcomes:
    """Judge the image stage, before or after a pull.

    ``context.measured`` contains ``archive`` (the return values of ``ascend.vllm.image_archive_info``) before a pull,
    and ``probe`` (the output of files/probe.py) after it.
    """
    checks = Checks(CHECKS)
    plan, observed, inputs = context.plan, cast("images.ImageObservation", context.observed), context.inputs
    engine, image = observed["docker_engine"], observed["image"]
    checks.expect("release_architecture", engine["architecture"] in plan["release"]["architectures"],
                  " or ".join(plan["release"]["architectures"]), engine["architecture"])
    if context.phase == BEFORE and observed["needed"] and inputs["image_pull"] != "never":
        _before(checks, context, observed)
        return checks.as_list()
    if context.failure:
        checks.expect("obtained", False, "the image on the node", "an error", message=reason_line(context.failure))
    checks.expect("present", image is not None, plan["image"]["reference"], image["id"] if image else "no such image")
    if image:
        checks.expect("architecture", image["architecture"] == engine["architecture"], engine["architecture"],
                      image["architecture"])
        if plan["image"]["digest"]:
            checks.expect("digest", images.holds(image, plan["image"]["digest"]), plan["image"]["digest"],
                          ", ".join([found.rpartition("@")[2] for found in image["digests"]] + [image["id"]]))
        _versions(checks, context.measured.get("probe"), plan["release"], plan["image"]["tag"])
    return checks.as_list()


def _before(checks: Checks, context: Context, observed: images.ImageObservation) -> None:
    """Judge the properties of an image that are known before it is pulled or loaded."""
    plan, archive = context.plan, context.measured.get("archive")
    engine, registry = observed["docker_engine"], observed.get("registry")
    if registry and registry["error"]:
        checks.not_run("registry_architecture", "The query of the registry failed: %s" % registry["error"])
    elif registry and not registry["architectures"]:
        checks.not_run("registry_architecture", "The registry does not state the architecture of the image.")
    elif registry:
        checks.expect("registry_architecture", engine["architecture"] in registry["architectures"],
                      engine["architecture"], ", ".join(registry["architectures"]),
                      message="%s exists only for other architectures" % observed["source"])
    if archive:
        _archive(checks, plan["image"], engine, archive)
    _free_space(checks, engine, context.inputs, observed.get("folder"), archive)
    checks.not_run("present", "%s load %s." % (WOULD, archive["path"]) if context.check_mode and archive else
                   "%s pull %s." % (WOULD, observed["source"]) if context.check_mode else
                   "The image is pulled or loaded after these checks.")


def _archive(checks: Checks, planned: Image, engine: images.DockerEngineWithSpace, archive: images.ArchiveObservation
             ) -> None:
    found = images.choose_from_archive(archive["images"], planned["reference"])
    matches = found is not None and found["architecture"] == engine["architecture"] and images.holds(
        {**found, "digests": []}, planned["digest"])
    wanted = " ".join(filter(None, (planned["reference"], planned["digest"], "for", engine["architecture"])))
    listed = ["%s %s for %s" % (", ".join(image["tags"]) or "no name", image["id"], image["architecture"])
              for image in archive["images"]]
    checks.expect("archive", matches, wanted, "; ".join(listed) or "no image", archive["path"])


def _free_space(checks: Checks, engine: images.DockerEngineWithSpace, inputs: Mapping[str, Any],
                folder: images.FolderFacts | None, archive: images.ArchiveObservation | None) -> None:
    free, wanted = engine["free_bytes"] / 2.0**30, inputs["image_free_space_gib"]
    reserved = "image_free_space_gib requires %.1f" % wanted
    copy = archive["size_bytes"] / 2.0**30 if archive and folder else 0.0
    if folder and copy and folder["same_disk"]:
        wanted += copy
        reserved += " and the copy of the archive %.1f" % copy
    checks.expect("free_space", free >= wanted, "%.1f GiB" % wanted, "%.1f GiB" % free,
                  message="%s has %.1f GiB free, %s" % (engine["image_root"], free, reserved))
    if folder and copy and not folder["same_disk"]:
        free = folder["free_bytes"] / 2.0**30
        checks.expect("free_space", free >= copy, "%.1f GiB" % copy, "%.1f GiB" % free, folder["path"],
                      "%s has %.1f GiB free, the copy of the archive requires %.1f" % (folder["path"], free, copy))


def _versions(checks: Checks, probe: str | None, release: Release, tag: str) -> None:
    try:
        versions, why = images.describe_probe(probe), "The versions in the image were not read."
    except images.ImageError as error:
        versions, why = None, str(error)
    if versions is None:
        for check in ("vllm_ascend_version", "vllm_version", "torch_npu_version", "cann_version"):
            checks.not_run(check, why)
        return
    wanted = [("vllm_version", "vllm", release["vllm"]), ("torch_npu_version", "torch-npu", release["torch_npu"])]
    # The tag of a post-release states its version. Nothing states the version of a nightly image.
    if not tag.startswith(("nightly-", "releases-")):
        tagged = tag.partition("-")[0] if tag.startswith(release["id"].partition("-")[0]) else release["id"]
        wanted.append(("vllm_ascend_version", "vllm-ascend", tagged.lstrip("v")))
    for check, package, version in wanted:
        _version(checks, check, version, versions["packages"].get(package), package)
    _version(checks, "cann_version", release["cann"], versions["cann"], "CANN")


def _version(checks: Checks, check: str, wanted: str, found: str | None, name: str) -> None:
    if found is None:
        checks.not_run(check, "The image does not state its version of %s." % name)
    else:
        # The local part of a version (0.11.0+empty) is ignored: it names the device for which vLLM was built.
        versions = [each.partition("+")[0].upper() for each in wanted.split(" or ")]
        checks.expect(check, found.partition("+")[0].upper() in versions, wanted, found)
