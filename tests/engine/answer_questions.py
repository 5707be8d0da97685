# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer questions with the tiny model, which runs in transformers instead of vLLM, in the engine environment.

answer_questions.py MODEL_CODE_FOLDER MODEL [PICTURE QUESTION]…   prints a JSON list of answers
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image
from transformers import AutoProcessor

sys.path.insert(0, sys.argv[1])
import layouts

model = layouts.load(Path(sys.argv[2]))
processor = AutoProcessor.from_pretrained(sys.argv[2])
answers = []
for picture, question in zip(sys.argv[3::2], sys.argv[4::2]):
    parts = [{"type": "image", "image": Image.open(picture).convert("RGB")}, {"type": "text", "text": question}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    output = model.generate(**inputs, max_new_tokens=40, do_sample=False)[0][inputs["input_ids"].shape[1] :]
    answers.append(processor.tokenizer.decode(output, skip_special_tokens=True))
print(json.dumps(answers))
