# SPDX-License-Identifier: GPL-3.0-or-later
# The image for weights_source quantize: an image of vLLM Ascend with msModelSlim and the transformers of its recipe for
# Qwen2.5-VL. This image has NOT been run on an NPU. Its vLLM cannot serve, because it needs another transformers.
#
# The build context is a checkout of github.com/Ascend/msmodelslim at this commit, see guide_choices.rst.
ARG BASE=quay.io/ascend/vllm-ascend:v0.11.0rc1
FROM ${BASE}
ARG REVISION=3de0a3c4e96577644289563b0d3c4dccfa552c1b
ARG PIP_INDEX_URL=https://pypi.org/simple
COPY . /tmp/msmodelslim
RUN test "$(cat /tmp/msmodelslim/.git/HEAD)" = "${REVISION}" \
    && cd /tmp/msmodelslim && umask 022 \
    && pip install --no-cache-dir . transformers==4.49.0 qwen-vl-utils==0.0.8 \
    && rm -rf /tmp/msmodelslim
