# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module describes a model and its draft model."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.modules import weights_info


class Exit(Exception):
    """Raised by exit_json and fail_json, with the return values."""


@pytest.mark.parametrize("draft", [None, "draft"])
def test_draft_model_is_described_like_the_model(monkeypatch, tmp_path, draft):
    for name, architecture in (("model", "A"), ("draft", "Eagle3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"architectures": [architecture]}))

    class Module:
        check_mode = True
        params = {"path": str(tmp_path / "model"), "draft": draft and str(tmp_path / draft), "verify": "changed",
                  "workers": 1, "digest_cache": str(tmp_path / "cache")}

        def __init__(self, **_specification):
            pass

        def exit_json(self, **result):
            raise Exit(result)

    monkeypatch.setattr(weights_info, "AnsibleModule", Module)
    monkeypatch.setattr(weights_info.lease, "hold", lambda _module: None)
    with pytest.raises(Exit) as end:
        weights_info.main()
    (found,) = end.value.args
    assert found["config"]["architectures"] == ["A"]
    assert (found["draft"] and found["draft"]["config"]["architectures"]) == (["Eagle3"] if draft else None)
