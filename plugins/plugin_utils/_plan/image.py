# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs: the image by its name and pin, and the one file of it that is replaced.

PRIVATE to the plan.
"""

from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup


def image(hardware, release, inputs, findings):
    """Return the name under which the nodes hold the image, and what pins it."""
    repository = inputs.text("image_repository") or release["image"]["repository"]
    variant, tag, pin = inputs.text("image_variant"), inputs.text("image_tag"), inputs.text("image_digest")
    if re.search(r"@|:[^/]*$", repository):
        findings.refuse(
            "image_repository",
            "image_repository is %s, but must not hold a tag or digest; write them in image_tag and image_digest.",
            repository)
    if variant and variant not in release["image"]["variants"]:
        findings.refuse(
            "image_variant",
            "image_variant is %s, but release %s has %s.",
            variant, release["id"], ", ".join(release["image"]["variants"]) or "no variants")
    suffix = hardware["image_suffix"]
    if suffix and suffix not in release["image"]["chips"]:
        findings.refuse(
            "plan_hardware",
            "plan_hardware is %s, for which release %s has no image: those have the suffix -%s.",
            hardware["id"], release["id"], suffix)
    expected = "-".join(part for part in (release["id"], suffix, variant) if part)
    tag = lookup.release_id(tag) if re.match(r"[0-9]+\.[0-9]+\.[0-9]+", tag) else tag
    if tag and tag != expected:
        _check_tag(tag, expected, hardware, release, findings)
    if pin and not re.match(r"^sha256:[0-9a-f]{64}$", pin):
        findings.refuse("image_digest", "image_digest must be sha256: and 64 hex digits, but is %s.", pin)
    if not pin:
        findings.warn(
            "image_digest",
            "image_digest is empty, so the tag alone decides what runs; pin the digest that the image stage reports.")
    tag = tag or expected
    return {"reference": repository + ":" + tag, "repository": repository, "tag": tag, "digest": pin or None,
            "archive": inputs.text("image_archive") or None}


def _check_tag(tag, expected, hardware, release, findings):
    """Refuse a tag that names another release or other chips; a tag of the site's own is only told."""
    named = re.match(r"^(v[0-9]+\.[0-9]+\.[0-9]+(?:rc[0-9]+|\.post[0-9]+)?)((?:-.+)?)$", tag)
    parts = named.group(2).split("-")[1:] if named else []
    chips, published = release["image"]["chips"], release["image"]["chips"] + release["image"]["variants"]
    for_chips = [part for part in parts if part in chips]
    if named and named.group(1) != release["id"]:
        findings.refuse(
            "image_tag",
            "image_tag is %s, an image of release %s, but plan_release is %s; set plan_release to %s, or image_tag to "
            "%s.", tag, named.group(1), release["id"], named.group(1), expected)
    elif named and for_chips != [suffix for suffix in [hardware["image_suffix"]] if suffix] and (
            for_chips or set(parts) <= set(published)):
        findings.refuse(
            "image_tag",
            "image_tag is %s, an image for %s, but plan_hardware is %s, whose images %s; set image_tag to %s.",
            tag, "the chips " + "-".join(for_chips) if for_chips else "the 910B", hardware["id"],
            "have the suffix -" + hardware["image_suffix"] if hardware["image_suffix"] else "have no suffix for chips",
            expected)
    else:
        findings.warn(
            "image_tag",
            "image_tag is %s where release %s on this hardware has %s; make sure that the image is of that release.",
            tag, release["id"], expected)


def patch(release, inputs, findings):
    """Return the patch to apply, or None. serving_patches is auto (what the release requires) or a list of ids."""
    patches, architecture = release["patches"], inputs.text("plan_architecture")
    required = [name for name, entry in patches.items() if entry["policy"] == "required"
                and architecture in ["", *entry["architectures"]]]
    wanted = required if inputs.is_auto("serving_patches") else [str(name) for name in inputs.items("serving_patches")]
    chosen = [name for name in wanted if _may_patch(name, release, inputs, findings)]
    for name in sorted(set(required) - set(wanted)):
        findings.warn(
            "serving_patches",
            "serving_patches leaves out %s, which release %s needs for right answers.", name, release["id"])
    if len(chosen) > 1:
        findings.refuse(
            "serving_patches",
            "serving_patches names %s, but one patch at a time is supported.", ", ".join(chosen))
    if not chosen:
        return None
    entry = patches[chosen[0]]
    path = "%s/patches/%s-%s.py" % (inputs.path("serving_state_path"), chosen[0], entry["patched_sha256"][:12])
    return {"id": chosen[0], "host_path": path,
            **{key: entry[key] for key in ("target", "pattern", "replacement", "sha256", "patched_sha256")}}


def _may_patch(name, release, inputs, findings):
    """Tell whether the patch exists for the release and the host's architecture, and refuse it otherwise."""
    entry, architecture = release["patches"].get(name), inputs.text("plan_architecture")
    if entry is None:
        why = "which release %s does not have" % release["id"]
    elif entry["policy"] == "fixed":
        why = "which release %s must not get: %s" % (release["id"], entry["reason"])
    elif architecture and architecture not in entry["architectures"]:
        why = "which release %s needs on %s only" % (release["id"], ", ".join(entry["architectures"]))
    else:
        return True
    findings.refuse("serving_patches", "serving_patches names %s, %s; take it out.", name, why)
    return False
