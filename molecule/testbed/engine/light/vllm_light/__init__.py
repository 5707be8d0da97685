# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for `vllm serve` that starts in a fraction of a second; standard library only.

It checks what the real server needs (arguments, weights, NPUs), fails like the real one when something is missing, has
the OpenAI routes of vLLM 0.11.0, and has faults that can be injected (see faults.py).
"""

VERSION = "0.11.0+empty"
