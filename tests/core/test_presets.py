# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from imkd_core.errors import ConfigError
from imkd_core.presets import PRESETS, preset_overrides
from imkd_core.recipe import load_config

CONFIGS = sorted(Path("config").glob("imkd_*.yaml"))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_preset_fits_every_configuration(name, path):
    config = load_config(path, preset_overrides(name))
    assert config.distill.needs_teacher == (name != "none")


def test_ours_has_the_weights_of_the_method():
    distill = load_config(CONFIGS[0], preset_overrides("ours")).distill
    assert (distill.lidar_to_radar, distill.lidar_to_fused, distill.label_to_fused) == (0.3,) * 3
    assert (distill.response, distill.gate) == (1.0, 0.05)
    assert (distill.l2r_form, distill.response_form) == ("masked", "quality")


def test_the_literal_preset_has_none_of_our_repairs():
    config = load_config(CONFIGS[0], preset_overrides("paper_literal"))
    distill = config.distill
    assert (distill.l2r_form, distill.response_form) == ("literal", "ld_exact")
    assert not any((distill.reliability_swap, distill.teacher_quality, distill.guard_ratio))
    assert distill.object_floor == distill.huber == distill.gate == distill.doppler == 0
    assert config.intensity.variant == "literal"
    assert config.augment.drop_radar == config.augment.blank_camera == 0


def test_an_override_behind_a_preset_wins():
    overrides = {**preset_overrides("ours"), "distill.response": 0.0}
    assert load_config(CONFIGS[0], overrides).distill.response == 0


def test_an_unknown_preset_is_refused_with_a_guess():
    with pytest.raises(ConfigError, match="unknown preset 'our'; did you mean 'ours'"):
        preset_overrides("our")
