# SPDX-License-Identifier: Apache-2.0
"""Our copies of vision_msgs and tf2_msgs are the official ones on the wire: same type hashes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS = ROOT / "tools" / "ros_wheels"
# Type hashes (RIHS01) of vision_msgs 4.1.1 and of tf2_msgs, as ROS 2 Jazzy and Kilted have them.
OFFICIAL = {
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "vision_msgs/msg/BoundingBox3D": (
        "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698"
    ),
    "vision_msgs/msg/Detection3D": (
        "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b"
    ),
    "vision_msgs/msg/Detection3DArray": (
        "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    ),
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/msg/ObjectHypothesis": (
        "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90"
    ),
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc"
    ),
    "vision_msgs/msg/VisionClass": (
        "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a"
    ),
}


def test_every_definition_has_an_official_hash():
    ours = {f"{path.parts[-3]}/msg/{path.stem}" for path in DEFINITIONS.glob("*/msg/*.msg")}
    assert ours == set(OFFICIAL)


@pytest.mark.ros
@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_the_built_message_has_the_official_type_hash(name):
    package, _, message = name.split("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    if not Path(spec.origin).is_relative_to(sys.prefix):
        pytest.skip(f"{package} comes from a ROS installation, not from tools/ros_wheels")
    description = Path(sys.prefix) / "share" / package / "msg" / f"{message}.json"
    hashes = json.loads(description.read_text(encoding="utf-8"))["type_hashes"]
    found = {entry["type_name"]: entry["hash_string"] for entry in hashes}
    assert found[name] == f"RIHS01_{OFFICIAL[name]}"


def test_the_definitions_hash_to_the_official_ones_without_ros():
    rosbags_typesys = pytest.importorskip("rosbags.typesys")
    store = rosbags_typesys.get_typestore(rosbags_typesys.Stores.ROS2_KILTED)
    types = {}
    for path in sorted(DEFINITIONS.glob("*/msg/*.msg")):
        name = f"{path.parts[-3]}/msg/{path.stem}"
        types.update(rosbags_typesys.get_types_from_msg(path.read_text(encoding="utf-8"), name))
    store.register({name: types[name] for name in types if name not in store.types})
    hashes = {name: store.hash_rihs01(name) for name in OFFICIAL}
    assert hashes == {name: f"RIHS01_{value}" for name, value in OFFICIAL.items()}
