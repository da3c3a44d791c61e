# SPDX-License-Identifier: Apache-2.0
"""The nuScenes v1.0 layout: real, simulated and recorded drives."""
