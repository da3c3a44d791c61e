# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkd_core.errors import ConfigError
from imkd_core.mapping import from_mapping, read_yaml, to_mapping, with_overrides


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float
    count: int = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner
    is_on: bool = False
    sizes: tuple[int, ...] = ()
    pair: tuple[str, float] = ("a", 1.0)
    groups: tuple[tuple[str, ...], ...] = ()
    radius_m: Mapping[str, float] = field(default_factory=dict)
    limit: int | None = None
    old_style: Optional[float] = None  # noqa: UP045
    others: tuple[Inner, ...] = ()


inners = st.builds(Inner, rate=st.floats(allow_nan=False), count=st.integers())
outers = st.builds(
    Outer,
    name=st.text(),
    inner=inners,
    is_on=st.booleans(),
    sizes=st.lists(st.integers()).map(tuple),
    pair=st.tuples(st.text(), st.floats(allow_nan=False)),
    groups=st.lists(st.lists(st.text()).map(tuple)).map(tuple),
    radius_m=st.dictionaries(st.text(), st.floats(allow_nan=False)),
    limit=st.none() | st.integers(),
    old_style=st.none() | st.floats(allow_nan=False),
    others=st.lists(inners, max_size=3).map(tuple),
)


@given(outers)
def test_there_and_back_is_the_identity(value):
    assert from_mapping(Outer, to_mapping(value)) == value


def test_whole_numbers_become_floats_where_floats_are_asked():
    rate = from_mapping(Inner, {"rate": 2}).rate
    assert type(rate) is float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, "unknown config key 'nmae'; did you mean 'name'"),
        ({"zzzz": 1}, "known: name, inner"),
        ({"inner": {"rate": 1.0, "cuont": 2}}, "'inner.cuont'; did you mean 'count'"),
        ({"inner": {}}, "'inner.rate' is missing"),
        ({"inner": None}, "inner must be a mapping"),
        ({"inner": {"rate": "fast"}}, "inner.rate must be of type float"),
        ({"inner": {"rate": True}}, "inner.rate must be of type float"),
        ({"inner": {"rate": 1.0, "count": 2.5}}, "inner.count must be of type int"),
        ({"inner": {"rate": 1.0, "count": False}}, "inner.count must be of type int"),
        ({"is_on": 1}, "is_on must be of type bool"),
        ({"name": 5}, "name must be of type str"),
        ({"sizes": "abc"}, "sizes must be a list"),
        ({"sizes": [1, "b"]}, "sizes must be of type int"),
        ({"pair": ["a"]}, "pair must hold 2 values"),
        ({"groups": [["a"], "b"]}, "groups must be a list"),
        ({"radius_m": [1]}, "radius_m must be a mapping"),
        ({"radius_m": {"car": "wide"}}, "radius_m must be of type float"),
        ({"limit": "x"}, "limit must be of type int"),
        ({"old_style": "x"}, "old_style must be of type float"),
        ({"others": [{"count": 1}]}, "'others.rate' is missing"),
        ({1: 2}, "unknown config key '1'"),
        ({"inner": {"rate": 10**400}}, "inner.rate must be a number, got one beyond all floats"),
        (
            {"inner": {"rate": 1.0, "count": 10**400}},
            "inner.count must be a number, got one beyond",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_dotted_name(change, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, {"name": "n", "inner": {"rate": 1.0}, **change})


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused(raw):
    with pytest.raises(ConfigError, match="Outer must be a mapping"):
        from_mapping(Outer, raw)


def test_yaml_files_are_read_and_all_else_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: {b: 1}\n")
    assert read_yaml(path) == {"a": {"b": 1}}
    for content, message in (
        (b"a: [", "not YAML"),
        (b"\xff\xfe\xff", "not YAML"),
        (b"- 1\n", "must hold a mapping of keys, got list"),
        (b"", "got NoneType"),
        (b"a: !!python/object/apply:os.system [ls]", "not YAML"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_yaml(path)
    with pytest.raises(ConfigError, match="no configuration file"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path)


def test_overrides_set_dotted_keys_and_leave_the_original_alone():
    raw = {"train": {"steps": 1, "seed": 2}, "empty": None}
    changed = with_overrides(raw, {"train.steps": 9, "model.width": 4, "empty.x": 1, "name": "n"})
    assert changed == {
        "train": {"steps": 9, "seed": 2},
        "empty": {"x": 1},
        "model": {"width": 4},
        "name": "n",
    }
    assert raw == {"train": {"steps": 1, "seed": 2}, "empty": None}


def test_an_override_through_a_plain_value_is_refused():
    with pytest.raises(ConfigError, match=r"'train.steps.x': 'steps' is 1"):
        with_overrides({"train": {"steps": 1}}, {"train.steps.x": 2})
