# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands where the source of vLLM Ascend lies in the real image."""
