# SPDX-License-Identifier: Apache-2.0
"""Faults of sensors that still send: frozen, black, covered, blurred, empty, interfered ones."""
