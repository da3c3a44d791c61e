# SPDX-License-Identifier: Apache-2.0
"""The parameter table: ranges hold, wrong values are named, the shipped file says the same."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError
from imkd_ros.bridge.parameters import (
    SPECS,
    NodeSettings,
    class_values,
    is_foreign,
    unknown_parameter,
)

RANGED = [spec for spec in SPECS.values() if spec.low is not None]
CLASSES = ("car", "pedestrian")


def flat(prefix, values):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def test_the_shipped_file_holds_every_parameter_with_its_default(project_root):
    path = project_root / "config" / "detector.param.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    shipped = dict(flat("", raw["/**"]["ros__parameters"]))
    assert shipped == {name: spec.default for name, spec in SPECS.items()}
    assert [type(value) for value in shipped.values()] == [
        type(SPECS[name].default) for name in shipped
    ]


def test_defaults_are_within_their_own_ranges():
    assert NodeSettings(values={}).values == {n: s.default for n, s in SPECS.items()}


@pytest.mark.parametrize("spec", RANGED, ids=lambda spec: spec.name)
@given(data=st.data())
def test_a_number_is_taken_if_and_only_if_it_is_in_range(spec, data):
    if isinstance(spec.default, float):
        value = data.draw(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf]))
    else:
        value = data.draw(st.integers(-1000, 1000))
    if spec.low <= value <= spec.high:
        assert spec.checked(value) == value
    else:
        with pytest.raises(ConfigError, match=spec.name.replace(".", r"\.")):
            spec.checked(value)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_a_value_of_another_type_is_refused_with_what_is_allowed(spec):
    wrong = 1.5 if isinstance(spec.default, str | bool | int) else "much"
    with pytest.raises(ConfigError) as raised:
        spec.checked(wrong)
    assert spec.name in str(raised.value)
    assert spec.allowed in str(raised.value)


def test_a_whole_number_may_stand_for_a_float_but_a_switch_may_not():
    assert SPECS["sync.deadline_ms"].checked(80) == 80.0
    assert isinstance(SPECS["sync.deadline_ms"].checked(80), float)
    with pytest.raises(ConfigError):
        SPECS["model.threads"].checked(True)


@pytest.mark.parametrize("name", ["sync.deadline_ms", "model.threads"])
def test_a_number_beyond_64_bits_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=name):
        SPECS[name].checked(10**400)


def test_an_unknown_name_is_refused_with_a_guess():
    assert "did you mean 'sync.deadline_ms'?" in unknown_parameter("sync.deadline")
    assert "known: model.bundle" in unknown_parameter("zzz")
    with pytest.raises(ConfigError, match="unknown parameter 'tolerance'"):
        NodeSettings(values={"tolerance": 1.0})


def test_parameters_of_ros_itself_are_left_alone():
    assert is_foreign("use_sim_time")
    assert is_foreign("qos_overrides./tf.subscription.depth")
    assert not is_foreign("sync.deadline_ms")


def test_durations_come_in_nanoseconds():
    settings = NodeSettings(values={"sync.deadline_ms": 0.5 * 100, "diagnostics.period_sec": 2})
    assert settings.nanoseconds("sync.deadline_ms") == 50_000_000
    assert settings.nanoseconds("diagnostics.period_sec") == 2_000_000_000


def test_replaced_settings_are_checked_and_the_old_ones_stay():
    settings = NodeSettings(values={})
    assert settings.replaced({"model.threads": 3}).count("model.threads") == 3
    assert settings.count("model.threads") == 0
    with pytest.raises(ConfigError, match=r"model\.threads"):
        settings.replaced({"model.threads": -1})


def values_of(text):
    settings = NodeSettings(values={"post.class_score_thresholds": text})
    return class_values(settings, "post.class_score_thresholds", CLASSES, 1.0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("car=0.4", {"car": 0.4}),
        (" car = 0.4 ,pedestrian=1, ", {"car": 0.4, "pedestrian": 1.0}),
    ],
)
def test_values_of_classes_are_read(text, values):
    assert values_of(text) == values


@pytest.mark.parametrize("text", ["tram=0.4", "car", "car=", "car=2", "car=-1", "car=nan", "0.3"])
def test_malformed_values_of_classes_are_refused_by_name(text):
    with pytest.raises(ConfigError, match=r"post\.class_score_thresholds"):
        values_of(text)
