# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the image of the plan on a node: before a pull whether it can run and fits, then whether it is the one."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._docker.images import (
    ImageError,
    choose_from_archive,
    describe_probe,
    holds,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import reason_line

CHECKS = (
    Check("release_architecture", CRITICAL, "The release has images for the node's processor",
          "Choose a release of the catalogue that has them, or take the node out of the inventory."),
    Check("registry_architecture", CRITICAL, "The registry has the image for the node's processor",
          "Set image_registry_mirror to a registry that has it for this processor, or image_tag to such an image."),
    Check("archive", CRITICAL, "The archive holds the image of the plan for the node's processor",
          "Save the planned image on a machine of this processor: docker save -o <archive> <image>."),
    Check("free_space", CRITICAL, "Docker's data folder has room for the image",
          "Make room below the named folder (docker image prune), or move Docker's data-root to a larger disk."),
    Check("obtained", CRITICAL, "The image could be brought to the node and read",
          "Remove the cause that the message names, and run the role image again."),
    Check("present", CRITICAL, "The node has the image of the plan",
          "Let the node reach the registry, set image_registry_mirror, or load it with image_archive."),
    Check("architecture", CRITICAL, "The image is built for the node's processor",
          "Pull the image for this architecture; an archive has to be saved on a machine of the same one."),
    Check("digest", CRITICAL, "The image is the one that image_digest pins",
          "Let the registry or the archive hold the pinned image, or pin the digest that is found."),
    Check("vllm_ascend_version", CRITICAL, "The image holds the release of vLLM Ascend",
          "Set plan_release to the release of the image, or image_tag to that of the release."),
    Check("vllm_version", CRITICAL, "The image holds the vLLM of the release",
          "Take the published image of the release, or one built from its Dockerfile."),
    Check("cann_version", WARNING, "The image holds the CANN of the release",
          "Take the published image of the release, or check that the driver fits this CANN."),
    Check("torch_npu_version", WARNING, "The image holds the torch-npu of the release",
          "Take the published image of the release, or one built from its Dockerfile."),
)


RETURNED = ("needed", "source")
survey = None
#: The phase ahead of a pull; the other one is when the image is there.
BEFORE = "before"


def request(context):
    """What to ask of the node, see `judging.Judge`."""
    image, inputs = context.plan["image"], context.inputs
    copied = inputs["image_archive"] and not inputs["image_archive_remote_src"]
    planned = {"reference": image["reference"], "digest": image["digest"] or "",
               "docker_socket": context.plan["docker_socket"]}
    if context.phase != BEFORE:
        return Request("ascend.vllm.image_info", planned)
    return Request("ascend.vllm.image_info", {
        **planned,
        "mirror": inputs["image_registry_mirror"],
        "pull": "never" if inputs["image_archive"] else inputs["image_pull"],
        "folder": inputs["image_archive_path"] if copied else None,
    })


def judge(context):
    """The checks of the stage image.

    :param context: ``observed`` is what ``ascend.vllm.image_info`` returned; ``measured`` has ``archive``, what
        ``ascend.vllm.image_archive_info`` returned (before), or ``probe``, the output of files/probe.py (after).
    """
    checks = Checks(CHECKS)
    plan, observed, inputs = context.plan, context.observed, context.inputs
    engine, image = observed["docker_engine"], observed["image"]
    checks.expect("release_architecture", engine["architecture"] in plan["release"]["architectures"],
                  " or ".join(plan["release"]["architectures"]), engine["architecture"])
    if context.phase == BEFORE and observed["needed"] and inputs["image_pull"] != "never":
        _before(checks, context)
        return checks.as_list()
    if context.failure:
        checks.expect("obtained", False, "the image on the node", "an error", message=reason_line(context.failure))
    if checks.expect("present", image is not None, plan["image"]["reference"],
                     image["id"] if image else "no such image"):
        checks.expect("architecture", image["architecture"] == engine["architecture"], engine["architecture"],
                      image["architecture"])
        if plan["image"]["digest"]:
            checks.expect("digest", holds(image, plan["image"]["digest"]), plan["image"]["digest"],
                          ", ".join([found.rpartition("@")[2] for found in image["digests"]] + [image["id"]]))
        _versions(checks, context.measured.get("probe"), plan["release"])
    return checks.as_list()


def _before(checks, context):
    """What can be known of an image before it is brought to the node."""
    plan, observed, archive = context.plan, context.observed, context.measured.get("archive")
    engine, registry = observed["docker_engine"], observed.get("registry")
    if registry and registry["error"]:
        checks.not_run("registry_architecture", "The registry was not asked: %s" % registry["error"])
    elif registry and not registry["architectures"]:
        checks.not_run("registry_architecture", "The registry does not tell the architecture of the image.")
    elif registry:
        checks.expect("registry_architecture", engine["architecture"] in registry["architectures"],
                      engine["architecture"], ", ".join(registry["architectures"]),
                      message="%s is there for other processors only" % observed["source"])
    if archive:
        _archive(checks, plan["image"], engine, archive)
    _free_space(checks, engine, context.inputs, observed.get("folder"), archive)
    checks.not_run("present", "The image is brought to the node after these checks.")


def _archive(checks, planned, engine, archive):
    found = choose_from_archive(archive["images"], planned["reference"])
    fits = bool(found) and found["architecture"] == engine["architecture"] and holds(
        dict(found, digests=[]), planned["digest"])
    checks.expect(
        "archive", fits, " ".join(part for part in (
            planned["reference"], planned["digest"], "for", engine["architecture"]) if part),
        "; ".join("%s %s for %s" % (", ".join(image["tags"]) or "no name", image["id"], image["architecture"])
                  for image in archive["images"]) or "no image", subject=archive["path"])


def _free_space(checks, engine, inputs, folder, archive):
    free, wanted = engine["free_bytes"] / 2.0**30, inputs["image_free_space_gib"]
    copy = archive["size_bytes"] / 2.0**30 if archive and folder else 0.0
    if copy and folder["same_disk"]:
        wanted += copy
    asked = "image_free_space_gib asks for %.1f" % inputs["image_free_space_gib"]
    checks.expect("free_space", free >= wanted, "%.1f GiB" % wanted, "%.1f GiB" % free,
                  message="%s has %.1f GiB free, %s%s" % (
                      engine["data_root"], free, asked,
                      " and the copy of the archive takes %.1f" % copy if copy and folder["same_disk"] else ""))
    if copy and not folder["same_disk"]:
        free = folder["free_bytes"] / 2.0**30
        checks.expect("free_space", free >= copy, "%.1f GiB" % copy, "%.1f GiB" % free, subject=folder["path"],
                      message="%s has %.1f GiB free, the copy of the archive takes %.1f" % (folder["path"], free, copy))


def _versions(checks, probe, release):
    try:
        versions, why = describe_probe(probe), "The image was not asked for its versions."
    except ImageError as error:
        versions, why = None, str(error)
    wanted = (("vllm_ascend_version", "vllm-ascend", release["id"].lstrip("v")),
              ("vllm_version", "vllm", release["vllm"]),
              ("torch_npu_version", "torch-npu", release["torch_npu"]))
    if versions is None:
        for check in ("vllm_ascend_version", "vllm_version", "torch_npu_version", "cann_version"):
            checks.not_run(check, why)
        return
    for check, package, version in wanted:
        _version(checks, check, version, versions["packages"].get(package), package)
    _version(checks, "cann_version", release["cann"], versions["cann"], "CANN")


def _version(checks, check, wanted, found, name):
    if found is None:
        checks.not_run(check, "The image does not tell its version of %s." % name)
    else:
        # Builds for no device or one device only say so in a local part: 0.11.0+empty.
        checks.expect(check, found.partition("+")[0].upper() == str(wanted).partition("+")[0].upper(), wanted, found)
