# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed: clusters of simulated NPU nodes on one Debian machine. See ../README.md."""
