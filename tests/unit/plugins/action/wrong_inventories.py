# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong inventories, each with a part of the plan's refusal or warning."""

from __future__ import annotations

ENABLED = {"accuracy_enabled": True}
BALANCED = {"balancer_enabled": True, "groups": {"npu_nodes": ["node1"]}}
DATASET = {"name": "gsm8k", "path": "/data/gsm8k"}

REFUSED = [
    # Choices and types, also of the command line, where every value is a string.
    ({"weights_source": "nfs"}, "weights_source must be one of local, modelscope, huggingface, http, quantize, but i"),
    ({"weights_distribution": "foo"}, "weights_distribution must be one of each, shared, fanout, but is 'foo'."),
    ({"benchmark_repeats": "many"}, "benchmark_repeats must be an integer, but is 'many'."),
    ({"benchmark_repeats": None}, "benchmark_repeats must be an integer, but is None."),
    ({"benchmark_repeats": True}, "benchmark_repeats must be an integer, but is True."),
    ({"benchmark_baseline_save": "maybe"}, "benchmark_baseline_save must be true or false, but is 'maybe'."),
    ({"benchmark_targets": ["nodes"]}, "benchmark_targets must be a list of auto, instance, node, balancer, but is"),
    ({"benchmark_offline": ["startup"]}, "benchmark_offline must be a list of latency, throughput, but is"),
    ({"benchmark_sweep": "fast"}, "benchmark_sweep must be one of none, request_rate, max_concurrency, but is 'fast'."),
    ({"benchmark_dataset": "sharegpt"}, "benchmark_dataset must be one of random, random-mm, custom, textvqa, trace,"),
    ({"benchmark_percentiles": ["high"]}, "benchmark_percentiles must be a list of numbers, but is ['high']."),
    ({"hccl_rail_switches": "leaf-0"}, "hccl_rail_switches must be a mapping, but is 'leaf-0'."),
    ({"hccl_interface": ["eth0"]}, "hccl_interface must be a string, but is ['eth0']."),
    ({"hccl_optical_limits": {"snr_db": 1}}, "hccl_optical_limits must be a mapping, but: missing required arguments"),
    ({"diagnostics_log_lines": "all"}, "diagnostics_log_lines must be an integer, but is 'all'."),
    ({"accuracy_datasets": ["gsm8k"]}, "accuracy_datasets must be a list of mappings, but is ['gsm8k']."),
    ({"weights_environment": "secret"}, "weights_environment must be a mapping."),
    ({"serving_env": "secret"}, "serving_env must be a mapping of names to values, but is '***'."),
    ({"serving_tls_key": ["secret"]}, "serving_tls_key must be the absolute path of a PEM file, not its content"),
    ({"report_fail_on": ["warned"]}, "report_fail_on must be a list of failed, stale, not_run, but is "),
    ({"report_fail_on": ["stale"]}, "report_fail_on must contain failed, because a failed stage fails"),
    ({"report_query": "findings[?"}, "report_query must be a JMESPath expression, but is 'findings[?' ("),
    ({"report_max_age_h": "week"}, "report_max_age_h must be a number, but is 'week'."),
    # Ranges
    ({"hccl_ping_timeout_s": -1}, "hccl_ping_timeout_s must be above 0, but is -1.0."),
    ({"benchmark_num_prompts": 0}, "benchmark_num_prompts must be at least 1, but is 0."),
    ({"benchmark_offline_guard_s": 0.5}, "benchmark_offline_guard_s must be an integer, but is 0.5."),
    ({"benchmark_warmup_prompts": -1}, "benchmark_warmup_prompts must be at least 0, but is -1."),
    ({"benchmark_sweep_minimum": 0}, "benchmark_sweep_minimum must be above 0, but is 0.0."),
    ({"weights_swarm_port": 70000}, "weights_swarm_port must be at least 1 and at most 65535, but is 70000."),
    ({"benchmark_percentiles": [50, 101]}, "benchmark_percentiles must be at least 0 and at most 100, but is 101.0."),
    ({"functional_timeout_s": "nan"}, "functional_timeout_s must be above 0, but is nan."),
    ({"serving_port": 0}, "serving_port must be an integer from 1 to 65535, but is 0."),
    # Checks of several inputs
    ({"npu_driver_temperature_warning_c": 200}, "npu_driver_temperature_warning_c (200.0) must be at most npu_driver"),
    ({"hccl_collective_sizes_bytes": []}, "hccl_collective_sizes_bytes is empty; set it"),
    ({"hccl_collective_bus_bandwidth_minimum_gbs": "fast"}, "must be empty or a number in GB/s, but is 'fast'."),
    ({"hccl_waive": ["lnk"]}, "hccl_waive names the check 'lnk', which this stage does not have; did you mean 'link'?"),
    ({"serving_waive": [{"reason": "old"}]}, "serving_waive must be a list of ids of checks, or of mappings with id"),
    ({"weights_source": "http"}, "weights_source is http, but weights_hub_endpoint is empty; set it to the URL"),
    ({"weights_hub_endpoint": "http://someone:pa55@hub"}, "weights_hub_endpoint must be a URL that begins with http:"),
    ({"weights_digest": "abc"}, "weights_digest must be 64 hexadecimal digits, but is 'abc'."),
    ({"weights_source": "quantize", "plan_model": "qwen2_5_vl_32b_instruct"}, "the catalogue has no such source of"),
    ({"functional_image": "/none.png"}, "functional_image has to be a .jpeg, .jpg, .png, .webp file on the controller"),
    (ENABLED, "accuracy_datasets is empty, but accuracy_enabled is true: add the datasets to measure with."),
    ({"accuracy_datasets": [{"name": "gsm8k", "file": "/d"}]}, "accuracy_datasets has to contain mappings with name"),
    ({"accuracy_datasets": [{**DATASET, "minimum": "eighty"}]}, "minimum of gsm8k has to be a number, but is 'eighty"),
    ({"accuracy_datasets": [DATASET, DATASET]}, "accuracy_datasets contains gsm8k twice."),
    ({**ENABLED, "accuracy_datasets": [DATASET], "accuracy_compare_with": "/none.json"}, "has to be the accuracy.jso"),
    ({"benchmark_slo": {"p99_ttff_ms": 2}}, "benchmark_slo has the unknown metric 'p99_ttff_ms'; use mean, median or"),
    ({"benchmark_sweep": "request_rate", "benchmark_sweep_compare_with": "/none.json"}, "benchmark_sweep_compare_with"),
    ({"benchmark_sweep": "request_rate", "benchmark_slo": {"p99_ttft_ms": 2}, "benchmark_sweep_minimum": 20},
     "benchmark_sweep_minimum (20.0) must be below benchmark_sweep_maximum (16.0)."),
    ({"benchmark_dataset": "custom"}, "benchmark_dataset_path must be the absolute path of a .jsonl file on the node"),
    ({"benchmark_request_rate": "fast"}, "benchmark_request_rate must be a number of requests per second above 0, or"),
    ({"benchmark_targets": ["balancer"]}, "benchmark_targets contains balancer, but there is no balancer; set"),
    ({"benchmark_balancer_url": "10.0.0.9"}, "benchmark_balancer_url must be auto, empty or a URL such as"),
    ({"benchmark_args": {"max-concurency": 3}}, "has no option max-concurency; did you mean max-concurrency?"),
    ({"benchmark_offline": ["latency"], "serving_replicas": "auto"}, "benchmark_offline needs 2 NPUs, but only 0 are"),
    ({"benchmark_tools": ["ais_bench"], "benchmark_percentiles": [99.9]}, "accepts at most 4 whole percentiles"),
    ({"benchmark_tools": ["ais_bench"], "accuracy_timeout_s": "soon"}, "accuracy_timeout_s must be an integer, but is"),
    ({**BALANCED, "balancer_port": 8888}, "balancer_port is 8888, which instance vllm-ascend-qwen25-vl on node1 uses"),
    ({**BALANCED, "balancer_hosts": ["lb"]}, "balancer_hosts must name hosts of the inventory, but on node1 it names"),
    ({**BALANCED, "balancer_bind": "eth0"}, "balancer_bind must be an IPv4 address"),
    ({"image_registry_mirror": "https://registry.example.com"}, "image_registry_mirror must be the address of a regi"),
    ({"image_archive": "images/vllm.tar"}, "image_archive must be an absolute path, but is images/vllm.tar"),
    # The plan itself
    ({"plan_model": "qwen2_5_vl_32b_instruct_w8a9"}, "plan_model is qwen2_5_vl_32b_instruct_w8a9, which is not in th"),
    ({"plan_release": "v9"}, "plan_release is v9, which is not in the catalogue"),
    ({"serving_args": {"max-num-seq": 1}}, "nearest is max-num-seqs"),
    ({"serving_npus": [0, 0]}, "serving_npus must be auto or a list of different NPU numbers from 0 to 7, but is 0,"),
    ({"serving_balancer_port": 1}, "The variable serving_balancer_port is now named balancer_port; rename it"),
    ({"plan_catalogue": ["site.yml"]}, "plan_catalogue must be absolute paths on the controller"),
    ({"plan_strict_names": True, "servin_port": 1}, "The variable servin_port is not an input of this collection"),
]

# {variable: nearest input}
NAMES = {
    "servin_port": "serving_port", "serving_prot": "serving_port", "serving_api_kye": "serving_api_key",
    "plan_modell": "plan_model", "serving_replica": "serving_replicas", "serving_instances": "serving_interface",
    "serving_balancer": "balancer_port", "serving_balancer_enable": "balancer_enabled", "plan_releases": "plan_release",
    "weights_quantice_from": "weights_quantize_from", "accuracy_dataset": "accuracy_datasets",
    "benchmarkrepeats": "benchmark_repeats", "hcl_enabled": "hccl_enabled",
}
# Variables of a site or of Ansible that are not intended as inputs.
OTHERS = ("service_port", "server_port", "planet_name", "imaging_host", "vault_token", "ansible_user", "group_names",
          "playbook_dir", "environment", "__serving_running", "_serving_prot", "diagnostics_from", "balancer_wait_s")
