# SPDX-License-Identifier: GPL-3.0-or-later
# The variables of the script of the same name in the Ascend Transformer Boost library that a deployment can read.
export ATB_HOME_PATH=/usr/local/Ascend/nnal/atb/latest/atb/cxx_abi_1
export ATB_STREAM_SYNC_EVERY_KERNEL_ENABLE=0
