# SPDX-License-Identifier: Apache-2.0
"""Losses, optimiser, checkpoints, the training loop (torch)."""
