# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints docs/checks.md from the tables of the judges (`make docs`)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

_AnsibleCollectionFinder(paths=[str(Path(__file__).resolve().parents[1] / "playbooks" / "collections")])._install()


def main():
    utils = "ansible_collections.ascend.vllm.plugins.plugin_utils."
    results = import_module(utils + "_results.contract")
    print("<!-- Made by docs/generate_checks.py from the judges in plugins/plugin_utils/_stages/: do not edit. -->")
    print("# Checks\n")
    print("Ids are stable. A `critical` check that does not hold fails the host, a `warning` one is warned of.")
    print("What could not be checked is `not_run` or `unsupported`, never passed. `<stage>_waive` takes these ids.")
    for stage in results.STAGES:
        print(f"\n## {stage}\n\n| id | severity | holds when | otherwise |\n| --- | --- | --- | --- |")
        for check in import_module(f"{utils}_stages.{stage}.judge").CHECKS + results.COMMON:
            print(f"| `{stage}.{check.id}` | {check.severity} | {check.title} | {check.remedy} |")


if __name__ == "__main__":
    main()
