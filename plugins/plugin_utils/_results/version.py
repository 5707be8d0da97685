# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of this collection, as in galaxy.yml.

An installed collection may have neither galaxy.yml nor MANIFEST.json, so the version cannot be read from these files.
"""

from __future__ import annotations

COLLECTION_VERSION = "0.9.0"
