# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Common options of the modules that observe the planned instances."""

    DOCUMENTATION = r"""
options:
  image: {type: str, description: "The name of the planned image. By default, RV(image) is null."}
  served_name: {type: str, description: "The name of the model in requests to the instances."}
  api_key: {type: str, default: "", description: "The API key of the service; empty if it requires none."}
  server_name: {type: str, description: "The name in the certificates of the instances. By default, their address."}
"""
