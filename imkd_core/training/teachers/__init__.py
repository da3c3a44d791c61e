# SPDX-License-Identifier: Apache-2.0
"""Stages 1 and 2: the LiDAR teacher and the label encoder, trained, frozen, asked."""
