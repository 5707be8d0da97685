# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """The option of the modules that send requests over TLS."""

    DOCUMENTATION = r"""
options:
  ca: {type: str, description: "The CA certificates to trust, in PEM format. By default, the system's are trusted."}
"""
