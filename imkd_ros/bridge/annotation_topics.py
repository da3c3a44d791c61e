# SPDX-License-Identifier: Apache-2.0
"""Where the boxes over each camera's picture are published. No ROS in here."""

import re
from collections.abc import Iterable

#: Below the node's name; one for each camera behind it.
ANNOTATIONS = "debug/annotations"

#: What may stand between two slashes of a topic.
_TOKEN = re.compile(r"(?!.*__)[A-Za-z][A-Za-z0-9_]*")


def annotation_topics(cameras: Iterable[str]) -> dict[str, str]:
    """Return camera -> topic below the node's name; it ends with the camera's own name.

    Args:
        cameras: in the order of the sensor file. Where ROS allows no topic of such a name, it is
            the camera's number, as in "camera_2", or "camera_2b" where another is called that.
    """
    names = list(cameras)
    tokens = {name: name for name in names if _TOKEN.fullmatch(name)}
    for number, name in enumerate(names, start=1):
        token = f"camera_{number}"
        while name not in tokens and token in tokens.values():
            token += "b"
        tokens.setdefault(name, token)
    return {name: f"{ANNOTATIONS}/{tokens[name]}" for name in names}
