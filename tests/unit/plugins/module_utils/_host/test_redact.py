# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import MASK, redact


@pytest.mark.parametrize("text", [
    "VLLM_API_KEY=s3cret-value",
    '"VLLM_API_KEY=s3cret-value",',
    "args: {'api_key': 's3cret-value', 'port': 8888}",
    '{"hf_token": "s3cret-value"}',
    "vllm serve /data/m --api-key s3cret-value --port 8888",
    '["--api-key", "s3cret-value"]',
    "Authorization: Bearer s3cret-value",
    "http://user:s3cret-value@proxy.example:3128/",
    'password="first line\ns3cret-value"',
])
def test_secrets_are_masked(text):
    redacted = redact(text)
    assert "s3cret-value" not in redacted
    assert MASK in redacted


@pytest.mark.parametrize("text", [
    "max_num_batched_tokens=50000",
    "'max_num_batched_tokens': 50000, 'port': 8888",
    "Avg prompt throughput: 12.3 tokens/s",
    "api_key=None",
    "vllm serve /data/m --port 8888",
])
def test_other_text_stays(text):
    assert redact(text) == text


def test_json_stays_json():
    text = json.dumps({"Env": ["HF_TOKEN=s3cret", "A=b"], "Labels": {"ascend.vllm.secrets": "1.5", "b": "c"}}, indent=2)
    assert json.loads(redact(text)) == {
        "Env": [f"HF_TOKEN={MASK}", "A=b"], "Labels": {"ascend.vllm.secrets": MASK, "b": "c"}}


def test_known_values_are_masked_wherever_they_occur():
    assert redact("the engine said hunter22 aloud", ["hunter22"]) == f"the engine said {MASK} aloud"
