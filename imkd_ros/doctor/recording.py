# SPDX-License-Identifier: Apache-2.0
"""A recording -> what was observed in it. No ROS in here."""

from functools import partial
from pathlib import Path

from imkd_core.data.bags.recording import Bag, open_bag
from imkd_ros.doctor.driving import look_at_driving
from imkd_ros.doctor.facts import Endpoint, Observation
from imkd_ros.doctor.observer import Observer
from imkd_ros.doctor.wanted import Wanted


def observe_bag(path: Path, wanted: Wanted, with_pictures: bool = True) -> Observation:
    """Look through a recording.

    Args:
        path: folder of a bag (MCAP or SQLite), or its file.
        wanted: what the node would listen to.
        with_pictures: decode the images and look at them and at the scans frame by frame, too.

    Raises:
        DataError: the bag is missing or damaged.
    """
    observer = Observer(wanted)
    with open_bag(path) as bag:
        found = set(observer.topics) & {name for name, facts in bag.topics.items() if facts.count}
        right = {name for name in found if _has_type(bag, name, observer)}
        for message in bag.messages(right):
            decode = partial(bag.decode, message)
            observer.take(message.topic, message.stamp_ns, message.cdr, decode)
        publishers = {name: _offered(bag, name) for name in bag.topics}
        return observer.observation(
            f"the bag {path}",
            (bag.start_ns, bag.end_ns),
            publishers,
            subscribers={},
            driven=look_at_driving(bag, wanted) if with_pictures else None,
        )


def _has_type(bag: Bag, topic: str, observer: Observer) -> bool:
    return bag.topics[topic].type_name == observer.topics[topic].type_name


def _offered(bag: Bag, topic: str) -> tuple[Endpoint, ...]:
    facts = bag.topics[topic]
    if not facts.count:
        return ()
    return (
        Endpoint(
            node="",
            type_name=facts.type_name,
            is_reliable=facts.is_reliable,
            is_latched=facts.is_latched,
        ),
    )
