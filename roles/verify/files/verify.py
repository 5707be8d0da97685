# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run playbooks/verify.yml within a time limit, and run a command if its verdict differs from that of the last run.

The service of the timer runs ``verify.py OPTIONS``. The exit code is that of the verdict, or 1 without a verdict.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile

# Timeouts in seconds: of the playbook after each signal to stop, and of the command.
STOP_S, COMMAND_S = 60, 60
NO_VERDICT = 1


def verify(options, folder):
    """Run the playbook and return its verdict, or the verdict ``error`` if it ended without one."""
    path = os.path.join(folder, "verdict.json")
    argv = [*options["argv"], "--extra-vars", json.dumps({"verify_result_path": path})]
    problem = "the playbook ended without a verdict; read its output above"
    try:
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                process.wait(options["timeout_s"])
            except subprocess.TimeoutExpired:
                problem = "the playbook took longer than verify_timeout_s (%d s) and was stopped" % options["timeout_s"]
                for number in (signal.SIGTERM, signal.SIGKILL):
                    os.killpg(process.pid, number)
                    try:
                        process.wait(STOP_S)
                        break
                    except subprocess.TimeoutExpired:
                        continue
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError) or error.filename != path:
            problem = str(error)
    return {"verdict": "error", "exit_code": NO_VERDICT, "reasons": [problem], "report": options["report"]}


def notify(command, found, previous):
    """Run the command with the verdict in its environment. Return whether it succeeded."""
    environment = dict(os.environ, ASCEND_VLLM_VERDICT=found["verdict"], ASCEND_VLLM_PREVIOUS_VERDICT=previous,
                       ASCEND_VLLM_REASONS="\n".join(found["reasons"]), ASCEND_VLLM_REPORT=found["report"])
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, timeout=COMMAND_S, check=False)
        problem = "exited with %d" % done.returncode if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = "failed: %s" % error
    if problem:
        print("verify_command %s; it runs again after the next run." % problem, file=sys.stderr)
    return not problem


def main(path):
    """Verify with the options in a file, and notify. Return the exit code."""
    with open(path, encoding="utf-8") as stream:
        options = json.load(stream)
    with tempfile.TemporaryDirectory() as folder:
        found = verify(options, folder)
    last = os.path.join(os.environ["STATE_DIRECTORY"], "last-verdict")
    previous = "healthy"  # before the first run, so that only a problem is reported
    if os.path.exists(last):
        with open(last, encoding="utf-8") as stream:
            previous = stream.read().strip()
    print("\n".join(["Verdict: %s (the last was %s)" % (found["verdict"], previous), *found["reasons"]]), flush=True)
    if found["verdict"] == previous or not options["command"] or notify(options["command"], found, previous):
        with open(last + ".new", "w", encoding="utf-8") as stream:
            stream.write(found["verdict"] + "\n")
        os.rename(last + ".new", last)
    return found["exit_code"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
