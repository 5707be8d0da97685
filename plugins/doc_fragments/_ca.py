# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """The option of the modules that send requests to a server with TLS."""

    DOCUMENTATION = r"""
options:
  ca: {type: str, description: "The CA certificates to trust as PEM. By default, those of the system are trusted."}
"""
