# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholder for the source of vLLM Ascend in the real image."""
