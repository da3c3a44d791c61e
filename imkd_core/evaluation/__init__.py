# SPDX-License-Identifier: Apache-2.0
"""Metrics and reports on detections; no torch."""
