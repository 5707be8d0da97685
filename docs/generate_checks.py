# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print docs/checks.md from the tables of the judges (`make docs`)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

_AnsibleCollectionFinder(paths=[str(Path(__file__).resolve().parents[1] / "playbooks" / "collections")])._install()


def main():
    utils = "ansible_collections.ascend.vllm.plugins.plugin_utils."
    results = import_module(utils + "_results.contract")
    print("<!-- Generated from the judges in plugins/plugin_utils/_stages/ by generate_checks.py: do not edit. -->")
    print("# Checks\n")
    print("Ids are stable. A failed `critical` check fails the host, a failed `warning` check only causes a warning.")
    print("A check that was not run is `not_run` or `unsupported`, never `passed`. `<stage>_waive` contains these ids.")
    print("In a report, `<stage>.current` with the status `stale` means that something has changed since the result.")
    for stage in results.STAGES:
        print(f"\n## {stage}\n\n| id | severity | passes when | otherwise |\n| --- | --- | --- | --- |")
        for check in import_module(f"{utils}_stages.{stage}.judge").CHECKS + results.COMMON:
            print(f"| `{stage}.{check.id}` | {check.severity} | {check.title} | {check.remedy} |")


if __name__ == "__main__":
    main()
