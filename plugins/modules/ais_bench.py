#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: ais_bench
short_description: Measure the accuracy or performance of a served model with AISBench
version_added: 0.9.0
description:
  - Starts AISBench in the background, so that a run of several hours survives a lost connection.
    A run that is not queried for 15 minutes is stopped, and its folder is removed.
  - Each run has a job, which is a folder that only its owner can read. It contains the configuration, the API key and
    the predictions. O(state=absent) removes the folder.
  - AISBench exits with 0 even if every request failed. Therefore check RV(rows) and RV(answers) rather than
    RV(exit_code).
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._options.ca]
options:
  state:
    description:
      - V(started) starts a run.
      - V(watched) returns the progress of a run, or its results if the run has ended.
      - V(absent) stops a run if necessary, and removes its folder.
    type: str
    choices: [started, watched, absent]
    required: true
  job: {type: path, description: "The folder of the run, which O(state=started) returned in RV(job). Other paths are
    refused. Required if O(state=watched) or O(state=absent)."}
  executable: {type: path, description: "The path of the program C(ais_bench). Required if O(state=started)."}
  server:
    description: The server to measure. Required if O(state=started).
    type: dict
    suboptions:
      url: {type: str, required: true, description: "The base URL, such as V(http://10.0.0.1:8888)."}
      model: {type: str, required: true, description: "The served name of the model."}
      concurrency: {type: int, required: true, description: "The maximum number of concurrent requests."}
      maximum_tokens: {type: int, required: true, description: "The maximum number of tokens in an answer."}
  api_key: {type: str, default: "", description: "The API key of the server; empty if it requires none."}
  datasets:
    description: The datasets with which the accuracy is measured. This option is ignored if O(load) is set.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {type: str, required: true, description: "The name of the dataset. V(aime2024), V(aime2025), V(ceval),
        V(gpqa), V(gsm8k), V(math500), V(mmlu), V(mmmu) and V(textvqa) are datasets that AISBench supports. Any other
        name is the name of a dataset in a C(.jsonl) file."}
      path: {type: path, required: true, description: "The folder of the dataset on the host that runs the module, if
        AISBench supports the dataset. For any other dataset, the path of a C(.jsonl) file of questions, as the README
        of the role P(ascend.vllm.accuracy#role) describes."}
  load:
    description: The load of a performance run. If it is set, the performance is measured instead of the accuracy.
    type: dict
    suboptions:
      requests: {type: int, required: true, description: "The number of requests."}
      input_tokens: {type: int, required: true, description: "The length of each synthetic prompt in tokens."}
      output_tokens: {type: int, required: true, description: "The number of tokens that the model generates for each
        synthetic prompt. This option is ignored if O(load.file) is set."}
      request_rate: {type: float, required: true, description: "The requests per second. V(0) sends all at once."}
      statistics: {type: list, elements: str, required: true, description: "Statistics, such as V(Average) and V(P99)."}
      tokenizer: {type: path, required: true, description: "The folder that contains the tokenizer of the model."}
      file: {type: str, default: "", description: "The path of a C(.jsonl) file with prompts. Each line is an object
        with the key C(prompt). The prompts are repeated if there are fewer prompts than requests. When empty, synthetic
        prompts are sent. If it is a folder, it is the folder of TextVQA, and its questions about pictures are sent."}
      warm_up: {type: int, default: 1, description: "The number of warm-up requests before the measurement."}
  num_prompts: {type: int, default: 0, description: "The number of questions from each dataset, or V(0) for all."}
  wait_s: {type: float, default: 0, description: "With O(state=watched), the seconds to wait for the end."}
attributes: {check_mode: {support: none}}
"""

EXAMPLES = r"""
- name: Start an accuracy run
  ascend.vllm.ais_bench:
    state: started
    executable: ~/.cache/ascend-vllm/ais_bench/bin/ais_bench
    server: {url: "http://10.0.0.1:8888", model: qwen25_vl, concurrency: 32, maximum_tokens: 2048}
    datasets: [{name: gsm8k, path: /data/datasets/gsm8k}]
  register: started

- name: Wait for the results
  ascend.vllm.ais_bench:
    state: watched
    job: "{{ started.job }}"
    wait_s: 60
  register: watched
  until: not watched.running
  retries: 60
  delay: 0

- name: Remove the folder of the run
  ascend.vllm.ais_bench:
    state: absent
    job: "{{ started.job }}"

- name: Start a performance run
  ascend.vllm.ais_bench:
    state: started
    executable: ~/.cache/ascend-vllm/ais_bench/bin/ais_bench
    server: {url: "http://10.0.0.1:8888", model: qwen25_vl, concurrency: 16, maximum_tokens: 256}
    load:
      {requests: 100, input_tokens: 1024, output_tokens: 256, request_rate: 2, statistics: [Average, Median, P99],
       tokenizer: /data/Qwen2.5-VL-32B-Instruct-w8a8}
"""

RETURN = r"""
job: {type: str, sample: /var/tmp/ascend-vllm-accuracy-x1y2z3, returned: with O(state=started), description: "The folder
  of the run, or null if the run could not be started."}
problem: {type: str, returned: with O(state=started), description: "The reason why the run was not started, or null."}
data: {type: dict, returned: with O(state=started), description: "The SHA-256 digests of the datasets, by name."}
running: {type: bool, returned: with O(state=watched), description: "Whether the run is in progress."}
progress: {type: dict, returned: "with O(state=watched), while the run is in progress", description: "The progress of
  each task, with the name of the task as key: its C(status) as AISBench reports it, and the numbers of finished and of
  all requests (C(finish_count), C(total_count)). A value that is unknown is null."}
exit_code: {type: int, returned: "with O(state=watched), after the end of the run", description: "The exit code of
  AISBench, or null if AISBench was killed."}
rows:
  description: The rows of the summary. The keys of each row are the names of the columns. A missing score is V(-).
  type: list
  elements: dict
  returned: with O(state=watched), after the end of the run
  sample: [{dataset: gsm8k, version: 1d7fe4, metric: accuracy, mode: gen, model: "93.10"}]
answers: {type: dict, returned: "with O(state=watched), after the end of the run", description: "The numbers of
  C(answered) and C(failed) requests of each task, with the name of the task as key."}
outcomes: {type: dict, returned: "with O(state=watched), after the end of the run", sample: {own: "1101"}, description:
  "The outcome of each question of each task: V(1) if the answer is right, otherwise V(0)."}
performance: {type: dict, returned: "with O(state=watched), after the end of the run", description: "The result files of
  a performance run: the JSON text of the C(totals) and the CSV text of the C(latencies). A text that AISBench did not
  write is null."}
log: {type: list, elements: str, returned: "with O(state=watched), after the end of the run", description: "The last
  lines of the log of AISBench. If a score is missing, the last lines of the logs of the tasks follow."}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import job
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease

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
            "ca": {"type": "str"},
            "datasets": {"type": "list", "elements": "dict", "default": [], "options": {
                "name": {"type": "str", "required": True}, "path": {"type": "path", "required": True}}},
            "load": {"type": "dict", "options": LOAD},
            "num_prompts": {"type": "int", "default": 0},
            "wait_s": {"type": "float", "default": 0},
        },
        required_if=[("state", "started", ["executable", "server"]), ("state", "watched", ["job"]),
                     ("state", "absent", ["job"])])
    lease.hold(module)
    options = module.params
    if options["job"] and not options["job"].startswith(job.JOBS):
        module.fail_json(msg="job must be the folder that state=started returned, but is %s." % options["job"])
    if options["state"] == "started":
        started = job.start(options)
        lease.hold(module, *([started["job"]] if started["job"] else []))
        module.exit_json(changed=True, **started)
    if options["state"] == "watched":
        module.exit_json(changed=False, **job.watch(options["job"], options["wait_s"], options["api_key"]))
    module.exit_json(changed=job.remove(options["job"]))


if __name__ == "__main__":
    main()
