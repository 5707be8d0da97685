# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a plan: its name, its digest, and the patch of one file in it."""

from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import base_release, concerns, release_id
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Hardware, Image, Model, Patch, Release


def resolve_image(hardware: Hardware, release: Release, inputs: Inputs, findings: Findings) -> Image:
    """Return the image to run. The default is the image that the release publishes for the hardware."""
    repository = inputs.text("image_repository") or release["image"]["repository"]
    variant, tag, digest = inputs.text("image_variant"), inputs.text("image_tag"), inputs.text("image_digest")
    if re.search(r"@|:[^/]*$", repository):
        findings.refuse("image_repository", "image_repository is %s, but must not contain a tag or digest; set them in "
                        "image_tag and image_digest.", repository)
    if variant and variant not in release["image"]["variants"]:
        variants = release["image"]["variants"]
        findings.refuse("image_variant", "image_variant is %s, but release %s has %s; choose an existing variant or "
                        "leave image_variant empty.", variant, release["id"],
                        "the variants " + ", ".join(variants) if variants else "no variants")
    suffix = hardware["image_suffix"]
    if suffix and suffix not in release["image"]["chips"]:
        findings.refuse(
            "plan_hardware",
            "plan_hardware is %s, but release %s has no image for it (tag suffix -%s); %s.",
            hardware["id"], release["id"], suffix,
            "set plan_release to one of " + ", ".join(release["usable"]) if release["usable"]
            else "correct plan_hardware")
    expected = "-".join(part for part in (release["id"], suffix, variant) if part)
    tag = release_id(tag) if re.match(r"[0-9]+\.[0-9]+\.[0-9]+", tag) else tag
    if tag and tag != expected:
        _check_tag(tag, expected, hardware, release, findings)
    if digest and not re.match(r"^sha256:[0-9a-f]{64}$", digest):
        findings.refuse(
            "image_digest", "image_digest must be sha256: followed by 64 hexadecimal digits, but is %s.", digest)
    if not digest:
        findings.warn("image_digest", "image_digest is empty, so the tag alone decides which image runs; set it to the "
                      "digest that the image stage reports.")
    tag, archive, mirror = tag or expected, inputs.text("image_archive"), inputs.text("image_registry_mirror")
    if archive and not archive.startswith("/"):
        findings.refuse("image_archive", "image_archive must be an absolute path, but is %s; start it with "
                        "inventory_dir, for example.", archive)
    if mirror and not re.match(r"[\w.-]+(:[0-9]+)?(/[\w./-]+)?$", mirror):
        findings.refuse(
            "image_registry_mirror",
            "image_registry_mirror must be the address of a registry without a scheme, such as "
            "registry.example.com:5000, but is %s.", mirror)
    return {"reference": repository + ":" + tag, "repository": repository, "tag": tag, "digest": digest or None,
            "archive": archive or None}


def _check_tag(tag: str, expected: str, hardware: Hardware, release: Release, findings: Findings) -> None:
    """Refuse a tag of another release or for other chips. Warn about a tag that upstream does not publish."""
    match = re.match(r"^((?:nightly-|releases-)*v[0-9]+\.[0-9]+\.[0-9]+(?:rc[0-9]+|\.post[0-9]+)?)((?:-.+)?)$", tag)
    parts = match.group(2).split("-")[1:] if match else []
    chips, published = release["image"]["chips"], release["image"]["chips"] + release["image"]["variants"]
    for_chips = [part for part in parts if part in chips]
    tagged = match.group(1) if match else ""
    if match and release["id"] not in (tagged, base_release(tagged)):
        suggested = tagged if tagged in release["usable"] else base_release(tagged)
        findings.refuse("image_tag", "image_tag is %s, an image of release %s, but plan_release is %s; set %simage_tag "
                        "to %s.", tag, tagged, release["id"],
                        "plan_release to %s, or " % suggested if suggested in release["usable"] else "", expected)
    elif match and for_chips != [suffix for suffix in [hardware["image_suffix"]] if suffix] and (
            for_chips or set(parts) <= set(published)):
        findings.refuse(
            "image_tag", "image_tag is %s, an image for %s, but plan_hardware is %s, whose images %s; set image_tag to "
            "%s.", tag, "the chips " + "-".join(for_chips) if for_chips else "the 910B", hardware["id"],
            "have the suffix -" + hardware["image_suffix"] if hardware["image_suffix"] else "have no suffix for chips",
            expected)
    else:
        findings.warn("image_tag", "image_tag is %s, but the image of release %s for this hardware is tagged %s; make "
                      "sure that yours is of that release.", tag, release["id"], expected)


def resolve_patch(release: Release, model: Model, inputs: Inputs, findings: Findings) -> Patch | None:
    """Return the patch to apply, or None. With serving_patches auto, it is the patch that the model requires."""
    patches, architecture = release["patches"], inputs.text("plan_architecture")
    required = [name for name, entry in patches.items() if entry["policy"] == "required"
                and concerns(entry, model) and architecture in ["", *entry["architectures"]]]
    wanted = required if inputs.is_auto("serving_patches") else [str(name) for name in inputs.items("serving_patches")]
    chosen = [name for name in wanted if _is_applicable(name, release, inputs, findings)]
    for name in sorted(set(required) - set(wanted)):
        findings.warn("serving_patches", "serving_patches leaves out %s, which release %s needs for correct answers.",
                      name, release["id"])
    if len(chosen) > 1:
        findings.refuse("serving_patches", "serving_patches names %s, but only one patch can be applied; keep one of "
                        "them.", ", ".join(chosen))
    if not chosen:
        return None
    entry = patches[chosen[0]]
    path = "%s/patches/%s-%s.py" % (inputs.path("serving_state_path"), chosen[0], entry["patched_sha256"][:12])
    return {"id": chosen[0], "host_path": path, "target": entry["target"], "pattern": entry["pattern"],
            "replacement": entry["replacement"], "sha256": entry["sha256"], "patched_sha256": entry["patched_sha256"]}


def _is_applicable(name: str, release: Release, inputs: Inputs, findings: Findings) -> bool:
    """Return whether the release has the patch for the architecture of the host. If not, refuse the patch."""
    entry, architecture = release["patches"].get(name), inputs.text("plan_architecture")
    if entry is None:
        reason = "which release %s does not have" % release["id"]
    elif entry["policy"] == "fixed":
        reason = "which must not be applied to release %s: %s" % (release["id"], entry["reason"])
    elif architecture and architecture not in entry["architectures"]:
        reason = "which release %s needs on %s only" % (release["id"], ", ".join(entry["architectures"]))
    else:
        return True
    findings.refuse("serving_patches", "serving_patches names %s, %s; remove it.", name, reason)
    return False
