# SPDX-License-Identifier: Apache-2.0
"""How training samples are changed: images, scene, sensors."""
