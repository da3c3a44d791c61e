# SPDX-License-Identifier: Apache-2.0
"""A tiny simulated dataroot for tests that need made-up drives: two of 3 s, small images.

root = simulated_dataroot(tmp_path_factory.mktemp("simulated"))
nuscenes = NuScenes(root, version="v1.0-simulated")
"""

from imkd_core.simulation.simulate import SimulationOptions, simulate

DRIVES = 2
OPTIONS = SimulationOptions(
    seed=5, size_px=(320, 128), conditions=("clear", "night"), duration_s=3.0
)


def simulated_dataroot(folder):
    """Write the drives below a folder and return the dataroot."""
    root = folder / "simulated"
    simulate(root, DRIVES, OPTIONS)
    return root
