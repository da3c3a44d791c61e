# SPDX-License-Identifier: Apache-2.0
"""What a bench hears on ~/output/status, and what tests ask of it."""

from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray


class Told:
    """A status as a program reads it."""

    def __init__(self, message):
        (status,) = message.status
        self.stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self.name, self.severity, self.message = status.name, status.level[0], status.message
        self.values = {pair.key: pair.value for pair in status.values}
        self.level, self.outcome = self.values["level"], self.values["outcome"]
        pairs = filter(None, self.values["missing"].split("; "))
        self.missing = dict(pair.split(": ", 1) for pair in pairs)


def listen_to_status(bench):
    """Keep every status in `bench.told`."""
    bench.told = []
    bench.peer.create_subscription(
        DiagnosticArray,
        "/imkd_detector/output/status",
        lambda message: bench.told.append(Told(message)),
        50,
    )


def stamps_of(bench):
    """Return the stamps of the boxes that were heard."""
    stamps = (message.header.stamp for message in bench.boxes)
    return [stamp.sec * 10**9 + stamp.nanosec for stamp in stamps]


def feeds(bench, level, outcome="answered", **arguments):
    """Feed until a status of this level and outcome came; return it."""
    begin = len(bench.told)

    def found():
        fitting = [t for t in bench.told[begin:] if (t.level, t.outcome) == (level, outcome)]
        return fitting[0] if fitting else None

    assert bench.feed(found, **arguments), Counter((t.level, t.outcome) for t in bench.told[begin:])
    return found()
