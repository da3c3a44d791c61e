# SPDX-License-Identifier: Apache-2.0
"""Cameras: faces painted by depth, light, sky, weather, the sensor."""
