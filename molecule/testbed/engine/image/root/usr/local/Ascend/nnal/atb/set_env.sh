# SPDX-License-Identifier: GPL-3.0-or-later
# The variables of the Ascend Transformer Boost library's script of this name that a deployment can see.
export ATB_HOME_PATH=/usr/local/Ascend/nnal/atb/latest/atb/cxx_abi_1
export ATB_STREAM_SYNC_EVERY_KERNEL_ENABLE=0
