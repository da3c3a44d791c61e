# SPDX-License-Identifier: Apache-2.0
"""From samples to what a network learns from: inputs, targets, taught maps."""
