# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholder for the vLLM Ascend source code that the real image contains."""
