# SPDX-License-Identifier: Apache-2.0
"""Frames that hang together by rigid transforms, fixed (/tf_static) or moving (/tf)."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from imkd_core.errors import CalibrationError
from imkd_core.geometry import Float64, checked_transform, invert_transform
from imkd_core.runtime.ego_motion import PoseBuffer


class TransformTree:
    """A tree of frames; every frame has at most one parent, as in tf2.

    Args:
        max_extrapolation_ns: how far beyond its stamps a moving link is still used; 0 as in tf2.
        keep_ns: how long a moving link's past is kept.
        max_frames: links beyond this number are refused.
    """

    def __init__(
        self,
        *,
        max_extrapolation_ns: int = 0,
        keep_ns: int = 10_000_000_000,
        max_frames: int = 1000,
    ) -> None:
        self._max_extrapolation_ns = max_extrapolation_ns
        self._keep_ns = keep_ns
        self._max_frames = max_frames
        self._parents: dict[str, str] = {}
        self._links: dict[str, Float64 | PoseBuffer] = {}
        self._revision = 0

    @property
    def revision(self) -> int:
        """A number that changes with every fixed link and every frame that is new or different.

        New poses of a moving link leave it as it is; see `is_fixed`.
        """
        return self._revision

    @property
    def frames(self) -> frozenset[str]:
        """Names of all frames, with those that are only parents."""
        return frozenset(self._parents) | frozenset(self._parents.values())

    def clear(self) -> None:
        """Forget everything."""
        self._parents.clear()
        self._links.clear()
        self._revision += 1

    def set_static(self, parent: str, child: str, parent_from_child: ArrayLike) -> None:
        """Set a fixed link; setting it again replaces it.

        Raises:
            CalibrationError: not rigid, a second parent, a cycle, or too many frames.
        """
        parent, child = self._checked_names(parent, child)
        pose = checked_transform(parent_from_child, f"transform {parent} <- {child}")
        self._join(parent, child)
        known = self._links.get(child)
        if isinstance(known, PoseBuffer) or known is None or not np.array_equal(known, pose):
            self._links[child] = pose
            self._revision += 1

    def push(self, parent: str, child: str, stamp_ns: int, parent_from_child: ArrayLike) -> None:
        """Add the pose of a moving link at one time.

        Raises:
            CalibrationError: not rigid, a second parent, a cycle, or too many frames.
        """
        parent, child = self._checked_names(parent, child)
        pose = checked_transform(parent_from_child, f"transform {parent} <- {child}")
        self._join(parent, child)
        link = self._links.get(child)
        if not isinstance(link, PoseBuffer):
            link = self._links[child] = PoseBuffer(
                max_extrapolation_ns=self._max_extrapolation_ns,
                max_gap_ns=self._keep_ns,
                keep_ns=self._keep_ns,
            )
            self._revision += 1
        link.push(stamp_ns, pose)

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> Float64:
        """Return `target_from_source` at a time.

        Args:
            target: frame to go to.
            source: frame to come from.
            stamp_ns: None: the newest time that all moving links on the way have.

        Raises:
            CalibrationError: a frame is unknown, the two are not connected, or a moving link on
                the way has no pose for that time; the message names it.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        for name in (target, source) if target != source else ():
            self._require_known(name, target, source)
        up, down = self._chain(source), self._chain(target)
        if up[-1] != down[-1]:
            raise CalibrationError(
                f"no transform {target} <- {source}: '{source}' hangs on '{up[-1]}', '{target}' "
                f"on '{down[-1]}'; publish the link between these two trees on /tf_static or /tf"
            )
        while len(up) > 1 and len(down) > 1 and up[-2] == down[-2]:
            up.pop()
            down.pop()
        links = [*up[:-1], *down[:-1]]
        at_ns = self._newest_common_ns(links) if stamp_ns is None else stamp_ns
        ancestor_from_source = self._compose(up[:-1], at_ns)
        ancestor_from_target = self._compose(down[:-1], at_ns)
        return invert_transform(ancestor_from_target) @ ancestor_from_source

    def is_fixed(self, target: str, source: str) -> bool:
        """Return whether no moving link lies between two frames.

        What `lookup` says of them then holds, a refusal too, as long as `revision` stays.
        """
        between = {*self._chain(target.lstrip("/"))} ^ {*self._chain(source.lstrip("/"))}
        return not any(isinstance(self._links.get(name), PoseBuffer) for name in between)

    def _checked_names(self, parent: str, child: str) -> tuple[str, str]:
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child:
            raise CalibrationError(
                f"transform '{parent}' <- '{child}': a frame name is empty; set header.frame_id "
                "and child_frame_id in the publisher"
            )
        return parent, child

    def _join(self, parent: str, child: str) -> None:
        known = self._parents.get(child)
        if known == parent:
            return
        if child in self._chain(parent):
            raise CalibrationError(
                f"transform {parent} <- {child} would close a cycle: '{parent}' already hangs on "
                f"'{child}'; stop one of the two publishers"
            )
        if known is not None:
            raise CalibrationError(
                f"frame '{child}' has two parents, '{known}' and '{parent}'; stop one of the "
                "two publishers"
            )
        if len(self._parents) >= self._max_frames:
            raise CalibrationError(
                f"more than {self._max_frames} frames on /tf; transform {parent} <- {child} is "
                "not taken"
            )
        self._parents[child] = parent

    def _require_known(self, name: str, target: str, source: str) -> None:
        if name not in self._parents and name not in self._parents.values():
            known = ", ".join(sorted(self.frames)) or "none"
            raise CalibrationError(
                f"no transform {target} <- {source}: nothing on /tf or /tf_static names "
                f"'{name}' (known frames: {known[:400]}); start the vehicle description"
            )

    def _chain(self, name: str) -> list[str]:
        """Return a frame, its parent, and so on up to the root."""
        chain = [name]
        while (parent := self._parents.get(chain[-1])) is not None:
            chain.append(parent)
        return chain

    def _newest_common_ns(self, children: Iterable[str]) -> int:
        moving = [(child, self._links[child]) for child in children]
        newest_ns = [
            (link.newest_ns, child) for child, link in moving if isinstance(link, PoseBuffer)
        ]
        for stamp_ns, child in newest_ns:
            if stamp_ns is None:
                raise CalibrationError(f"{self._link_name(child)} has no pose yet")
        return min((stamp_ns for stamp_ns, _ in newest_ns if stamp_ns is not None), default=0)

    def _compose(self, children: Iterable[str], stamp_ns: int) -> Float64:
        ancestor_from_frame = np.eye(4)
        for child in children:
            ancestor_from_frame = self._pose(child, stamp_ns) @ ancestor_from_frame
        return ancestor_from_frame

    def _pose(self, child: str, stamp_ns: int) -> Float64:
        link = self._links[child]
        if not isinstance(link, PoseBuffer):
            return link
        pose = link.pose_at(stamp_ns)
        if pose is None:
            held = "none" if link.span_ns is None else "{}..{} ns".format(*link.span_ns)
            raise CalibrationError(
                f"{self._link_name(child)} has no pose at {stamp_ns} ns (held: {held}, at most "
                f"{self._max_extrapolation_ns / 1e6:g} ms beyond); check that its publisher runs "
                "and uses the same clock as the sensors"
            )
        return pose

    def _link_name(self, child: str) -> str:
        return f"moving transform {self._parents[child]} <- {child}"
