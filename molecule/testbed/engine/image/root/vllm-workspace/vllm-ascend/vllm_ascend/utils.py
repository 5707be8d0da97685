# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholder for the real file, with the one entry that a deployment of v0.11.0rc1 edits."""


class AscendSiluAndMul:
    """Placeholder for a layer that runs on an NPU."""


class AscendMRotaryEmbedding:
    """Placeholder for a layer that computes wrong results on an NPU."""


def register_ascend_customop() -> dict[str, type]:
    """Return the operators that replace vLLM's own, by the name of the replaced class."""
    REGISTERED_ASCEND_OPS = {
        "SiluAndMul": AscendSiluAndMul,
        "MRotaryEmbedding": AscendMRotaryEmbedding,
    }
    return REGISTERED_ASCEND_OPS
