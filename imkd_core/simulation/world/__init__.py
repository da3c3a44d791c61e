# SPDX-License-Identifier: Apache-2.0
"""What there is: shapes, roads, traffic, weather; a drive and its snapshots."""
