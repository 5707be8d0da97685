# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the plugin's int8 layer with the float layer before quantization. Runs in the engine environment.

compare_w8a8.py MODEL_CODE_FOLDER

Prints a JSON object: {range of the inputs: largest error relative to the largest output}.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import torch
from ascend_standin import AscendW8A8LinearMethod

sys.path.insert(0, sys.argv[1])
import layouts

errors = {}
for low, high in ((-3.0, 3.0), (0.0, 5.0), (-1.0, 9.0)):
    torch.manual_seed(1)
    float_layer = torch.nn.Linear(64, 48)
    inputs = torch.rand(200, 64) * (high - low) + low
    tensors = layouts.quantize(float_layer.weight.detach(), float_layer.bias.detach(), low, high)
    expected = float_layer(inputs)
    found = AscendW8A8LinearMethod().apply(SimpleNamespace(**tensors), inputs)
    errors["%g..%g" % (low, high)] = ((found - expected).abs().max() / expected.abs().max()).item()
print(json.dumps(errors))
