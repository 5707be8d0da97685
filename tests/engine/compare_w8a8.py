# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the plugin's int8 layer with the float layer that it was made from. Runs in the engine environment.

compare_w8a8.py MODEL_CODE_FOLDER LOW HIGH   prints the largest error for inputs in LOW..HIGH, over the largest output
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch
from ascend_standin import AscendW8A8LinearMethod

sys.path.insert(0, sys.argv[1])
import layouts

low, high = float(sys.argv[2]), float(sys.argv[3])
torch.manual_seed(1)
float_layer = torch.nn.Linear(64, 48)
inputs = torch.rand(200, 64) * (high - low) + low
inputs[0, 0], inputs[0, 1] = low, high
tensors = layouts.quantise(float_layer.weight.detach(), float_layer.bias.detach(), low, high)
expected = float_layer(inputs)
given = AscendW8A8LinearMethod().apply(SimpleNamespace(**tensors), inputs)
print(((given - expected).abs().max() / expected.abs().max()).item())
