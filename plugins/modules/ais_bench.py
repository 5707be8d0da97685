#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: ais_bench
short_description: Measure the accuracy or performance of a served model with AISBench
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Starts AISBench in the background, so that a run of several hours survives a lost connection.
  - A run is a job, a private folder with configuration, API key and predictions. O(state=absent) removes it.
  - AISBench exits with 0 even if every request failed, so check RV(rows) and RV(answers) rather than RV(exit_code).
extends_documentation_fragment:
  - ascend.vllm._attributes
options:
  state:
    description:
      - V(started) starts a run.
      - V(watched) returns its progress, or its results if it has ended.
      - V(absent) stops it and removes its folder.
    type: str
    choices: [started, watched, absent]
    required: true
  job:
    description:
      - The job, as RV(job) of O(state=started).
      - Required if O(state=watched) or O(state=absent).
    type: path
  executable:
    description:
      - The path of the program C(ais_bench).
      - Required if O(state=started).
    type: path
  server:
    description:
      - The server to measure.
      - Required if O(state=started).
    type: dict
    suboptions:
      url:
        description: The base URL, such as V(http://10.0.0.1:8888).
        type: str
        required: true
      model:
        description: The served name of the model.
        type: str
        required: true
      concurrency:
        description: The maximum number of requests at a time.
        type: int
        required: true
      maximum_tokens:
        description: The maximum length of an answer in tokens.
        type: int
        required: true
  api_key:
    description: The API key of the server.
    type: str
    default: ""
  datasets:
    description: The datasets of an accuracy run.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: V(textvqa), V(gsm8k), V(mmlu), V(ceval), or any name for a C(.jsonl) file.
        type: str
        required: true
      path:
        description:
          - The folder of the dataset on the node.
          - For other datasets, a C(.jsonl) file with an object per line that has C(question) and C(answer), and for a
            multiple choice the options C(A), C(B) and so on.
        type: path
        required: true
  load:
    description: The load of a performance run. If it is set, the performance is measured, not the accuracy.
    type: dict
    suboptions:
      requests:
        description: The number of requests.
        type: int
        required: true
      input_tokens:
        description: The length of a prompt in tokens.
        type: int
        required: true
      output_tokens:
        description: The length of an answer in tokens.
        type: int
        required: true
      request_rate:
        description: Requests per second. V(0) sends all requests at once.
        type: float
        required: true
      statistics:
        description: The statistics to compute, such as V(Average) and V(P99).
        type: list
        elements: str
        required: true
      tokenizer:
        description: The folder with the tokenizer of the model.
        type: path
        required: true
      file:
        description: A C(.jsonl) file with an object per line that has C(prompt). If empty, synthetic prompts are sent.
        type: str
        default: ""
      warm_up:
        description: The number of requests that are sent before the measurement.
        type: int
        default: 1
  num_prompts:
    description: The number of questions of each dataset. V(0) means all.
    type: int
    default: 0
  wait_s:
    description: Seconds that O(state=watched) waits for the end of the run.
    type: float
    default: 0
attributes:
  check_mode:
    support: none
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Start an accuracy run
  ascend.vllm.ais_bench:
    state: started
    executable: /var/lib/ascend-vllm/ais_bench/bin/ais_bench
    server: {url: "http://10.0.0.1:8888", model: qwen25_vl, concurrency: 32, maximum_tokens: 2048}
    datasets:
      - {name: gsm8k, path: /data/datasets/gsm8k}
  register: started

- name: Wait for its results
  ascend.vllm.ais_bench:
    state: watched
    job: "{{ started.job }}"
    wait_s: 60
  register: watched
  until: not watched.running
  retries: 60
  delay: 0

- name: Remove the job
  ascend.vllm.ais_bench:
    state: absent
    job: "{{ started.job }}"

- name: Start a performance run
  ascend.vllm.ais_bench:
    state: started
    executable: /var/lib/ascend-vllm/ais_bench/bin/ais_bench
    server: {url: "http://10.0.0.1:8888", model: qwen25_vl, concurrency: 16, maximum_tokens: 256}
    load:
      requests: 100
      input_tokens: 1024
      output_tokens: 256
      request_rate: 2
      statistics: [Average, Median, P99]
      tokenizer: /data/Qwen2.5-VL-32B-Instruct-w8a8
"""

RETURN = r"""
job:
  description: The folder of the run, or null if it could not be started.
  type: str
  returned: with O(state=started)
  sample: /var/tmp/ascend-vllm-accuracy-x1y2z3
problem:
  description: Why the run could not be started, or null.
  type: str
  returned: with O(state=started)
data:
  description: A digest of the files of each dataset, with its name as key.
  type: dict
  returned: with O(state=started)
running:
  description: Whether the run is in progress.
  type: bool
  returned: with O(state=watched)
progress:
  description: The progress of each task, with its name as key.
  type: dict
  returned: with O(state=watched), while the run is in progress
  contains:
    status:
      description: The status of the task in the words of AISBench, or null.
      type: str
    finish_count:
      description: The number of finished requests, or null.
      type: int
    total_count:
      description: The number of all requests, or null.
      type: int
exit_code:
  description: The exit code of AISBench, or null if it was killed.
  type: int
  returned: with O(state=watched), after the end of the run
rows:
  description: The rows of the summary with the name of the column as key. A missing score is V(-).
  type: list
  elements: dict
  returned: with O(state=watched), after the end of the run
  sample: [{dataset: gsm8k, version: 1d7fe4, metric: accuracy, mode: gen, model: "93.10"}]
answers:
  description: The number of requests of each task, with its name as key.
  type: dict
  returned: with O(state=watched), after the end of the run
  contains:
    answered:
      description: Requests with an answer.
      type: int
    failed:
      description: Requests without an answer.
      type: int
performance:
  description: The result files of a performance run.
  type: dict
  returned: with O(state=watched), after the end of the run
  contains:
    totals:
      description: The JSON text of the totals, or null if AISBench wrote none.
      type: str
    latencies:
      description: The CSV text of the latencies, or null if AISBench wrote none.
      type: str
log:
  description: The last lines of the log, and of the logs of the tasks if a score is missing.
  type: list
  elements: str
  returned: with O(state=watched), after the end of the run
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import job

SERVER = {
    "url": {"type": "str", "required": True},
    "model": {"type": "str", "required": True},
    "concurrency": {"type": "int", "required": True},
    "maximum_tokens": {"type": "int", "required": True, "no_log": False},
}
LOAD = {
    "requests": {"type": "int", "required": True},
    "input_tokens": {"type": "int", "required": True, "no_log": False},
    "output_tokens": {"type": "int", "required": True, "no_log": False},
    "request_rate": {"type": "float", "required": True},
    "statistics": {"type": "list", "elements": "str", "required": True},
    "tokenizer": {"type": "path", "required": True, "no_log": False},
    "file": {"type": "str", "default": ""},
    "warm_up": {"type": "int", "default": 1},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "watched", "absent"], "required": True},
            "job": {"type": "path"},
            "executable": {"type": "path"},
            "server": {"type": "dict", "options": SERVER},
            "api_key": {"type": "str", "default": "", "no_log": True},
            "datasets": {"type": "list", "elements": "dict", "default": [], "options": {
                "name": {"type": "str", "required": True}, "path": {"type": "path", "required": True}}},
            "load": {"type": "dict", "options": LOAD},
            "num_prompts": {"type": "int", "default": 0},
            "wait_s": {"type": "float", "default": 0},
        },
        required_if=[("state", "started", ["executable", "server"]), ("state", "watched", ["job"]),
                     ("state", "absent", ["job"])])
    options = module.params
    if options["job"] and not options["job"].startswith(job.JOBS):
        module.fail_json(msg="job has to be what state=started returned, but is %s." % options["job"])
    if options["state"] == "started":
        module.exit_json(changed=True, **job.start(options))
    if options["state"] == "watched":
        module.exit_json(changed=False, **job.watch(options["job"], options["wait_s"], options["api_key"]))
    module.exit_json(changed=job.remove(options["job"]))


if __name__ == "__main__":
    main()
