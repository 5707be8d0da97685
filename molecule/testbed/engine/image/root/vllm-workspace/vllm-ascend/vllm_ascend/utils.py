# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands where the real file lies, with the one entry that a deployment of v0.11.0rc1 edits."""


class AscendSiluAndMul:
    """Would run on an NPU."""


class AscendMRotaryEmbedding:
    """Would run on an NPU, wrongly."""


def register_ascend_customop() -> dict[str, type]:
    """The operators that replace vLLM's own, by the name of the class that they replace."""
    REGISTERED_ASCEND_OPS = {
        "SiluAndMul": AscendSiluAndMul,
        "MRotaryEmbedding": AscendMRotaryEmbedding,
    }
    return REGISTERED_ASCEND_OPS
