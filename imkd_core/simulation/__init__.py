# SPDX-License-Identifier: Apache-2.0
"""Made-up drives: a world, its sensors, and a writer in the nuScenes layout."""
