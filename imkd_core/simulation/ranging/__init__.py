# SPDX-License-Identifier: Apache-2.0
"""LiDAR and radar: rays against convex solids, returns, weather."""
