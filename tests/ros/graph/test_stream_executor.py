# SPDX-License-Identifier: Apache-2.0
"""The executor calls back all that rclpy's does, also what comes and goes while it spins."""

import threading
import time
from contextlib import ExitStack, suppress

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from imkd_ros.graph import stream_executor
from imkd_ros.graph.stream_executor import StreamExecutor

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros_environment")]

STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class Bench:
    """A node on the executor."""

    def __init__(self, kind=Node, executor=StreamExecutor):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = kind("bench", context=self.context)
        self.executor = executor(context=self.context)
        self.executor.add_node(self.node)

    def until(self, condition, seconds=10.0):
        end_s = time.monotonic() + seconds
        while not condition() and time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=0.1)
        return bool(condition())

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def make_bench(ros_environment):
    with ExitStack() as stack:

        def make(**kinds):
            bench = Bench(**kinds)
            stack.callback(bench.close)
            return bench

        yield make


@pytest.fixture
def bench(make_bench):
    return make_bench()


class Gathered(Node):
    """Has something done by another thread once it is gathered, when its subscriptions were."""

    meanwhile = None

    @property
    def timers(self):
        done, self.meanwhile = self.meanwhile, None
        if done is not None:
            thread = threading.Thread(target=done)
            thread.start()
            thread.join()
        return super().timers


class CountingExecutor(StreamExecutor):
    """Counts how often rclpy was asked what is ready."""

    asked = 0

    def wait_for_ready_callbacks(self, *arguments, **options):
        self.asked += 1
        return super().wait_for_ready_callbacks(*arguments, **options)


def publisher(bench, topic, count):
    """A publisher of so many numbers, once somebody listens."""
    made = bench.node.create_publisher(String, topic, QoSProfile(depth=count))
    assert bench.until(lambda: made.get_subscription_count() > 0)
    for number in range(count):
        made.publish(String(data=str(number)))
    return made


def test_every_message_comes_once_and_in_order(bench):
    heard = {"a": [], "b": []}
    for name, texts in heard.items():
        take = lambda message, texts=texts: texts.append(message.data)  # noqa: E731
        bench.node.create_subscription(String, f"/{name}", take, QoSProfile(depth=50))
    for name in heard:
        publisher(bench, f"/{name}", 50)
    assert bench.until(lambda: all(len(texts) == 50 for texts in heard.values()))
    bench.until(lambda: False, seconds=0.3)
    wanted = [str(number) for number in range(50)]
    assert heard == {"a": wanted, "b": wanted}


def test_a_callback_may_ask_for_the_message_with_its_source(bench):
    heard = []
    bench.node.create_subscription(
        String, "/a", lambda message, info: heard.append((message.data, info)), 5
    )
    publisher(bench, "/a", 1)
    assert bench.until(lambda: heard)
    ((text, info),) = heard
    assert text == "0"
    assert info["source_timestamp"] > 0


def test_raw_subscriptions_get_bytes(bench):
    heard = []
    bench.node.create_subscription(String, "/a", heard.append, 5, raw=True)
    publisher(bench, "/a", 1)
    assert bench.until(lambda: heard)
    assert isinstance(heard[0], bytes)


def test_timers_are_called_at_their_rate_until_they_are_cancelled(bench):
    calls = []
    timer = bench.node.create_timer(0.05, lambda: calls.append(time.monotonic()), clock=STEADY)
    assert bench.until(lambda: len(calls) == 6)
    assert calls[-1] - calls[0] > 0.2
    timer.cancel()
    bench.until(lambda: False, seconds=0.3)
    assert len(calls) == 6
    timer.reset()
    assert bench.until(lambda: len(calls) == 7)


def test_a_callback_may_destroy_what_is_ready_beside_it(bench):
    heard, subscriptions = [], {}

    def on_message(name, _message):
        heard.append(name)
        for other in [key for key in subscriptions if key != name]:
            bench.node.destroy_subscription(subscriptions.pop(other))

    for name in ("a", "b"):
        subscriptions[name] = bench.node.create_subscription(
            String, "/same", lambda message, name=name: on_message(name, message), 20
        )
    made = bench.node.create_publisher(String, "/same", 20)
    assert bench.until(lambda: made.get_subscription_count() == 2)
    for _ in range(10):
        made.publish(String(data="x"))
    assert bench.until(lambda: len(heard) >= 10)
    bench.until(lambda: False, seconds=0.3)
    assert len(set(heard)) == 1
    assert len(heard) == 10


def test_what_a_callback_creates_is_called_back(bench):
    heard = []

    def on_first(_message):
        bench.node.create_subscription(String, "/second", lambda m: heard.append(m.data), 5)

    bench.node.create_subscription(String, "/first", on_first, 5)
    publisher(bench, "/first", 1)
    publisher(bench, "/second", 1)
    assert bench.until(lambda: heard == ["0"])


def test_what_is_destroyed_is_given_back_to_the_middleware(bench):
    subscription = bench.node.create_subscription(String, "/a", lambda _: None, 5)
    made = bench.node.create_publisher(String, "/a", 5)
    assert bench.until(lambda: made.get_subscription_count() == 1)
    bench.node.destroy_subscription(subscription)
    assert bench.until(lambda: made.get_subscription_count() == 0)


def test_services_and_clients_are_answered(bench):
    def answer(_request, response):
        response.message = "yes"
        return response

    bench.node.create_service(Trigger, "/ask", answer)
    client = bench.node.create_client(Trigger, "/ask")
    assert bench.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    assert bench.until(future.done)
    assert future.result().message == "yes"


def test_tasks_and_guard_conditions_are_run(bench):
    calls = []
    guard = bench.node.create_guard_condition(lambda: calls.append("guard"))
    bench.executor.create_task(lambda: calls.append("task"))
    assert bench.until(lambda: calls == ["task"])
    guard.trigger()
    assert bench.until(lambda: calls == ["task", "guard"])


def test_two_whose_qos_does_not_fit_are_both_told(bench):
    told = []
    bench.node.create_subscription(
        String,
        "/events",
        lambda _message: None,
        QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=told.append),
    )
    bench.node.create_publisher(
        String,
        "/events",
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        event_callbacks=PublisherEventCallbacks(incompatible_qos=told.append),
    )
    assert bench.until(lambda: len(told) == 2)
    assert [event.total_count for event in told] == [1, 1]


@pytest.mark.parametrize("kind", ["message", "timer"])
def test_what_a_callback_raises_ends_the_spinning(bench, kind):
    def broken(*_arguments):
        raise KeyError(kind)

    if kind == "timer":
        bench.node.create_timer(0.01, broken, clock=STEADY)
    else:
        bench.node.create_subscription(String, "/a", broken, 5)
        publisher(bench, "/a", 1)
    with pytest.raises(KeyError, match=kind):
        bench.until(lambda: False)


def test_a_wait_without_work_ends_in_time(bench):
    bench.until(lambda: False, seconds=0.2)  # discovery
    begin_s = time.monotonic()
    bench.executor.spin_once(timeout_sec=0.05)
    assert time.monotonic() - begin_s < 5.0


def test_spinning_ends_when_the_context_does(bench):
    spins, ended = threading.Event(), []
    bench.node.create_timer(0.01, spins.set, clock=STEADY)

    def spin():
        with suppress(ExternalShutdownException):  # while it waited; between two waits it returns
            bench.executor.spin()
        ended.append(True)

    thread = threading.Thread(target=spin)
    thread.start()
    assert spins.wait(10.0)
    bench.context.try_shutdown()
    thread.join(10.0)
    assert ended


def test_another_thread_may_create_and_destroy_and_end_it(bench):
    heard = []
    thread = threading.Thread(target=bench.executor.spin)
    thread.start()
    try:
        for _ in range(20):
            gone = bench.node.create_subscription(String, "/gone", lambda _: None, 5)
            bench.node.destroy_subscription(gone)
        bench.node.create_subscription(String, "/a", lambda m: heard.append(m.data), 5)
        made = bench.node.create_publisher(String, "/a", 5)
        end_s = time.monotonic() + 10.0
        while not heard and time.monotonic() < end_s:
            made.publish(String(data="x"))
            time.sleep(0.05)
    finally:
        bench.executor.shutdown()
        thread.join(10.0)
    assert heard
    assert not thread.is_alive()


def test_what_another_thread_creates_while_all_is_gathered_is_waited_for(make_bench, monkeypatch):
    monkeypatch.setattr(stream_executor, "EVENTS_S", 3600.0)
    bench = make_bench(kind=Gathered)
    bench.executor.spin_once(timeout_sec=0.0)  # looks at events, for the last time
    made = bench.node.create_publisher(String, "/late", 5)
    heard = []
    bench.node.meanwhile = lambda: bench.node.create_subscription(String, "/late", heard.append, 5)
    bench.executor.spin_once(timeout_sec=0.0)
    assert bench.until(lambda: made.get_subscription_count() > 0)
    made.publish(String(data="x"))
    assert bench.until(lambda: heard, seconds=5.0)


def test_a_request_leaves_the_messages_after_it_on_the_short_way(make_bench):
    bench = make_bench(executor=CountingExecutor)
    heard = []
    made = bench.node.create_publisher(String, "/busy", 100)

    def on_message(message):
        heard.append(message)
        made.publish(message)  # one is always ready
        bench.executor.wake()  # the next turn begins at once

    bench.node.create_subscription(String, "/busy", on_message, 100)
    bench.node.create_service(Trigger, "/ask", lambda _request, response: response)
    client = bench.node.create_client(Trigger, "/ask")
    assert bench.until(lambda: made.get_subscription_count() and client.service_is_ready())
    for _ in range(20):
        made.publish(String(data="x"))
    future = client.call_async(Trigger.Request())
    assert bench.until(future.done)
    asked, wanted = bench.executor.asked, len(heard) + 300
    begin_s = time.monotonic()
    assert bench.until(lambda: len(heard) >= wanted)
    looks = 1 + (time.monotonic() - begin_s) / stream_executor.EVENTS_S
    assert bench.executor.asked - asked < 100 * looks  # at most each message asked for itself


def test_an_executor_that_was_shut_down_spins_no_more(bench):
    calls = []
    bench.node.create_timer(0.01, lambda: calls.append("timer"), clock=STEADY)
    assert bench.until(lambda: calls)
    bench.executor.shutdown()
    calls.clear()
    bench.executor.spin_once(timeout_sec=0.1)
    bench.executor.spin()
    assert not calls


def test_shutdown_waits_for_the_callback_of_another_thread_or_says_that_it_did_not_end(bench):
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def on_timer():
        begun.set()
        may_end.wait(10.0)
        ended.append(True)

    bench.node.create_timer(0.01, on_timer, clock=STEADY)
    thread = threading.Thread(target=bench.executor.spin)
    thread.start()
    assert begun.wait(10.0)
    assert not bench.executor.shutdown(timeout_sec=0.05)
    assert not ended
    threading.Timer(0.1, may_end.set).start()
    assert bench.executor.shutdown()
    assert ended == [True]
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_callback_may_end_the_executor_and_nothing_is_called_after_it(bench):
    heard = []

    def on_message(message):
        heard.append(message)
        bench.executor.shutdown()

    made = bench.node.create_publisher(String, "/same", 5)
    for _ in range(2):
        bench.node.create_subscription(String, "/same", on_message, 5)
    assert bench.until(lambda: made.get_subscription_count() == 2)
    made.publish(String(data="x"))
    bench.executor.spin()
    assert len(heard) == 1
