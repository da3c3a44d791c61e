# SPDX-License-Identifier: Apache-2.0
"""Readers of recorded data, training samples and targets."""
