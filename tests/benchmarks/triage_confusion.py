# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the label of each labeled log with the cause that the log triage lists first.

    .venv/bin/python tests/benchmarks/triage_confusion.py [--all] [FOLDER ...]

A folder contains logs `X.txt` with labels `X.expected.json` (`{"cause", "accepted"}`). Without arguments, the program
reads the public logs of the unit test and, if they exist, the folder `vllm-logs` in the corpus (ASCEND_VLLM_CORPUS) and
the one in the folder `cases` next to the corpus. With --all, it also prints the rows without a wrong cause. Exits with
1 if a cause is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import UNKNOWN
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose

PUBLIC = ROOT / "tests" / "unit" / "plugins" / "module_utils" / "_vllm" / "public_logs.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    corpus = Path(os.environ.get("ASCEND_VLLM_CORPUS", ROOT.parent / "shared" / "corpus"))
    folders = options.folders or [corpus / "vllm-logs", corpus.parent / "cases" / "vllm-logs"]
    wrong = 0
    for folder in folders:
        if folder.is_dir():
            wrong += show(str(folder), labeled(folder), options.all)
    if not options.folders:
        wrong += show(PUBLIC.name, public(), options.all)
    return int(wrong > 0)


def labeled(folder):
    """Yield (name, accepted causes, text) for each log in a folder. The first of the causes is the label."""
    for path in sorted(folder.glob("*.expected.json")):
        label = json.loads(path.read_text("utf-8"))
        accepted = [label["cause"], *label.get("accepted", ())]
        yield path.name, accepted, path.with_name(path.name.replace(".expected.json", ".txt")).read_text("utf-8")


def public():
    """Yield (source, accepted causes, text) for each public log."""
    for block in PUBLIC.read_text("utf-8").split("\n=== ")[1:]:
        title, _newline, text = block.partition("\n")
        source, _arrow, causes = title.partition(" => ")
        yield source, causes.split(", "), text


def show(title, logs, everything: bool) -> int:
    """Print the confusion table, and return the number of logs with a wrong cause."""
    table, verdicts, misread = defaultdict(Counter), Counter(), []
    for name, accepted, text in logs:
        first = diagnose(text)[0]["cause"]
        verdict = "right" if first in accepted else UNKNOWN if first == UNKNOWN else "misleading"
        verdicts[verdict] += 1
        table[accepted[0]][first if verdict != "right" else accepted[0]] += 1
        if verdict != "right":
            misread.append("    %s: %s instead of %s" % (name, first, " or ".join(dict.fromkeys(accepted))))
    total = sum(verdicts.values())
    print("%s: %d logs: %d right (%.0f %%), %d unknown, %d misleading" % (
        title, total, verdicts["right"], 100 * verdicts["right"] / total, verdicts[UNKNOWN], verdicts["misleading"]))
    for label, found in sorted(table.items()):
        if everything or set(found) != {label}:
            print("  %-34s %s" % (label, ", ".join("%d %s" % (count, cause) for cause, count in found.most_common())))
    print("\n".join(misread), end="\n" if misread else "")
    return len(misread)


if __name__ == "__main__":
    sys.exit(main())
