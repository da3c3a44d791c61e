# SPDX-License-Identifier: Apache-2.0
"""Times of the node's stages, as a recording of its latency topic holds them."""

from collections.abc import Mapping
from pathlib import Path

from imkd_core.data.bags.recording import open_bag

LATENCY_TOPIC = "/imkd_detector/debug/latency"


def read_stages(recording: Path, topic: str = LATENCY_TOPIC) -> dict[int, Mapping[str, float]]:
    """Return stamp -> stage -> milliseconds of each answered frame; empty without the topic.

    Raises:
        DataError: there is no such bag, or it is damaged.
    """
    with open_bag(recording) as bag:
        if topic not in bag.topics:
            return {}
        arrays = [bag.decode(message) for message in bag.messages([topic])]
    return {
        array.header.stamp.sec * 1_000_000_000 + array.header.stamp.nanosec: {
            pair.key: float(pair.value) for pair in array.status[0].values
        }
        for array in arrays
    }
