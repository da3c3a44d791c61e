# SPDX-License-Identifier: Apache-2.0
"""Quality of service of single topics from parameters, on real nodes."""

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from imkd_core.errors import ConfigError
from imkd_ros.node.qos_overrides import PUBLISHER, SUBSCRIPTION, qos_of, without_effect
from tests.ros.node_bench import CONFIGURE

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

SENSOR_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
IMAGE = "qos_overrides./a/image.subscription"
BOXES = "qos_overrides./imkd_detector/output/detections.publisher"


@pytest.fixture
def make_node():
    context = Context()
    rclpy.init(context=context)
    nodes = []

    def make(**values):
        node = rclpy.create_node(
            "overrides_test",
            context=context,
            namespace="/left",
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
            automatically_declare_parameters_from_overrides=True,
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_what_is_set_replaces_the_default_and_only_there(make_node):
    node = make_node(
        **{
            "qos_overrides./left/image.subscription.reliability": "reliable",
            "qos_overrides./left/image.subscription.depth": 7,
            "qos_overrides./left/image.subscription.history": "keep_all",
            "qos_overrides./left/image.subscription.durability": "transient_local",
            "qos_overrides./left/image.subscription.deadline": 200_000_000,
            "qos_overrides./left/image.publisher.depth": 9,
        }
    )
    qos = qos_of(node, SUBSCRIPTION, "image", SENSOR_QOS)
    assert (qos.reliability, qos.depth) == (ReliabilityPolicy.RELIABLE, 7)
    assert (qos.history, qos.durability) == (
        HistoryPolicy.KEEP_ALL,
        DurabilityPolicy.TRANSIENT_LOCAL,
    )
    assert qos.deadline == Duration(nanoseconds=200_000_000)
    assert qos_of(node, PUBLISHER, "image", SENSOR_QOS).depth == 9
    assert qos_of(node, SUBSCRIPTION, "other", SENSOR_QOS) == SENSOR_QOS
    assert (SENSOR_QOS.depth, SENSOR_QOS.reliability) == (2, ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize(
    ("policy", "value", "words"),
    [
        ("reliability", "sometimes", "'reliable' or 'best_effort'"),
        ("depth", 0, "at least 1"),
        ("depth", "2", "at least 1"),
        ("depth", True, "at least 1"),
        ("durability", 3, "'volatile'"),
        ("deadline", -5, "nanoseconds"),
        ("liveliness", "automatic", "no such policy; known: reliability"),
    ],
)
def test_what_a_policy_cannot_be_is_refused_by_name(make_node, policy, value, words):
    name = f"qos_overrides./left/image.subscription.{policy}"
    with pytest.raises(ConfigError, match=words) as refused:
        qos_of(make_node(**{name: value}), SUBSCRIPTION, "image", SENSOR_QOS)
    assert f"'{name}'" in str(refused.value)


def test_an_override_of_a_topic_that_is_not_there_is_told_with_a_guess(make_node):
    node = make_node(
        **{
            "qos_overrides./left/imgae.subscription.depth": 2,
            "qos_overrides./left/image.subscription.depth": 2,
            "qos_overrides./left/boxes.publisher.depth": 2,
            "qos_overrides./clock.subscription.depth": 2,
        }
    )
    (told,) = without_effect(node, SUBSCRIPTION, ["image", "radar"])
    assert "'qos_overrides./left/imgae.subscription.depth' has no effect" in told
    assert "did you mean '/left/image'?" in told
    (told,) = without_effect(node, PUBLISHER, ["output/detections"])
    assert "topics: /left/output/detections" in told


def test_the_detector_asks_for_what_was_set_and_offers_it(make_bench, capfd):
    bench = make_bench(
        **{
            f"{IMAGE}.reliability": "reliable",
            f"{BOXES}.durability": "transient_local",
            "qos_overrides./c/image.subscription.depth": 2,
        }
    )
    bench.start()
    assert "'qos_overrides./c/image.subscription.depth' has no effect" in capfd.readouterr().err

    def found(ends):
        return {(end.qos_profile.reliability, end.qos_profile.durability) for end in ends}

    reliable, best_effort = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
    volatile, latched = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
    node = bench.node
    assert found(node.get_subscriptions_info_by_topic("/a/image")) == {(reliable, volatile)}
    radar = node.get_subscriptions_info_by_topic("/radar/points")
    assert found(radar) == {(best_effort, volatile)}
    boxes = node.get_publishers_info_by_topic("/imkd_detector/output/detections")
    assert found(boxes) == {(reliable, latched)}


@pytest.mark.parametrize("name", [f"{IMAGE}.depth", f"{BOXES}.depth"])
def test_a_wrong_override_refuses_configure_by_name(make_bench, capfd, name):
    bench = make_bench(**{name: "many"})
    assert not bench.change(CONFIGURE)
    assert bench.state() == "unconfigured"
    log = capfd.readouterr().err
    assert f"parameter '{name}' must be a whole number of at least 1, got 'many'" in log
