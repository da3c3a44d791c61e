# SPDX-License-Identifier: Apache-2.0
"""Engines that were built before are found again; all others are built once and kept."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from imkd_core.errors import ConfigError
from imkd_core.runtime.tensorrt.builder import BuiltEngine, Source, build_engine
from imkd_core.runtime.tensorrt.keys import CameraRange, EngineKey, Target, differences
from imkd_core.runtime.tensorrt.packages import is_rtx
from imkd_core.runtime.tensorrt.private_files import UntrustedError
from imkd_core.runtime.tensorrt.private_store import Entry, PrivateStore
from imkd_core.runtime.tensorrt.progress import PERIOD_S
from imkd_core.runtime.tensorrt.pruning import Limits, prune

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that may be used here.

    Attributes:
        plan: serialised.
        key: what it is good for.
        path: where it is kept; None = it could not be kept.
        build_s: seconds of the build; None = it was found.
    """

    plan: bytes
    key: EngineKey
    path: Path | None
    build_s: float | None


class _Unlike(NamedTuple):
    """A kept engine that is of no use, in the order of how near it comes."""

    number: int
    idle: int
    name: str
    differences: tuple[str, ...]


def default_folder() -> Path:
    """Return $XDG_CACHE_HOME/imkd/engines, or ~/.cache/imkd/engines.

    Raises:
        ConfigError: the user has no home folder.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given) / "imkd" / "engines"
    try:
        return Path.home() / ".cache" / "imkd" / "engines"
    except RuntimeError:
        raise ConfigError(
            "no folder for TensorRT's engines: neither XDG_CACHE_HOME nor HOME is set; name one in "
            "model.engine_folder"
        ) from None


class EngineCache:
    """Engines in a folder of the user's own.

    Args:
        tensorrt: of `packages.import_tensorrt`; it builds what is missing.
        folder: see `private_store`.
        report: is told, at least every 5 s, what is under way, and why a kept engine is refused.
        limits: how much is kept; old engines go when a new one is written.
    """

    def __init__(
        self,
        tensorrt: Any,
        folder: Path,
        report: Report | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._tensorrt = tensorrt
        self._limits = limits or Limits()
        self._store = PrivateStore(folder)
        self._say: Report = report or _say_nothing

    def obtain(
        self, source: Source, target: Target, cameras: CameraRange, *, is_anew: bool = False
    ) -> Engine:
        """Return the engine that was kept, or build and keep it.

        Of two processes that want the same engine, one builds and the other waits and loads. A
        folder that cannot be used costs the keeping alone. For TensorRT-RTX an engine that was
        built ahead of time for the compute capability is as good.

        Args:
            source: the ONNX file.
            target: the GPU.
            cameras: numbers of cameras.
            is_anew: build even if one is there, and replace it.

        Raises:
            BackendError: TensorRT cannot build for this GPU, or not here.
            BundleError: TensorRT refuses the file.
        """
        key = source.key(self._tensorrt, target, cameras)
        keys = self._fitting(source, key)
        found = None if is_anew else self._find(keys)
        if found is not None:
            return found
        with ExitStack() as stack:
            is_kept = True
            try:
                stack.enter_context(self._store.locked(key.name, self._waiting(key)))
            except (OSError, UntrustedError) as error:
                is_kept = False
                self._say(f"engines cannot be kept in {self._store.folder}: {error}")
            if not is_anew:
                found = self._find(keys, is_refusal_said=True)
            if found is None and is_kept and not is_anew:
                self._say_what_changed(keys)
            return found or self._build(source, key, is_kept)

    @contextmanager
    def in_use(self, engine: Engine) -> Iterator[None]:
        """While this is open, nobody deletes the engine to make room for others."""
        held = None if engine.path is None else self._store.hold(engine.key.name)
        try:
            yield
        finally:
            if held is not None:
                os.close(held)

    def _fitting(self, source: Source, key: EngineKey) -> Sequence[EngineKey]:
        if not is_rtx(self._tensorrt) or key.target.is_ahead_of_time:
            return (key,)
        ahead = Target.ahead_of_time(key.target.compute_capability)
        return key, source.key(self._tensorrt, ahead, key.cameras)

    def _find(self, keys: Sequence[EngineKey], is_refusal_said: bool = False) -> Engine | None:
        for key in keys:
            reading = self._store.read(key.name, key.facts)
            path = self._store.path(key.name)
            if reading.content is not None:
                self._say(f"engine {path} is loaded")
                return Engine(plan=reading.content, key=key, path=path, build_s=None)
            if reading.refusal and is_refusal_said:
                self._say(f"{path} is not loaded: {reading.refusal}; it is built again")
        return None

    def _say_what_changed(self, keys: Sequence[EngineKey]) -> None:
        """Say of the engine that comes next to what is wanted why it is of no use; none is read."""
        try:
            entries = self._store.entries()
        except (OSError, UntrustedError):
            return  # said where the folder was locked
        nearest = min(_unlike(entries, keys), default=None)
        if nearest is not None:
            path, words = self._store.path(nearest.name), ", ".join(nearest.differences)
            self._say(
                f"{path} is of the same model and not loaded: it is for {words}; one is built"
            )

    def _build(self, source: Source, key: EngineKey, is_kept: bool) -> Engine:
        timing = self._store.read(key.timing_name, key.timing_facts)
        built = build_engine(
            self._tensorrt,
            source,
            key.target,
            key.cameras,
            timing=timing.content or b"",
            report=self._say,
        )
        path = self._keep(key, built) if is_kept else None
        return Engine(plan=built.plan, key=key, path=path, build_s=built.seconds)

    def _keep(self, key: EngineKey, built: BuiltEngine) -> Path | None:
        """Keep what was built; a full disk costs the keeping alone."""
        made = datetime.now(timezone.utc).isoformat(timespec="seconds")
        notes = {"built": made, "seconds": round(built.seconds, 3)}
        try:
            self._store.write(key.name, key.facts, built.plan, notes)
        except (OSError, UntrustedError) as error:
            self._say(
                f"the engine cannot be kept in {self._store.folder} ({error}) and is built again "
                "next time; make room, or name another folder"
            )
            return None
        if built.timing:
            self._keep_timing(key, built.timing, notes)
        self._make_room(key)
        return self._store.path(key.name)

    def _make_room(self, fresh: EngineKey) -> None:
        try:
            for line in prune(self._store, self._limits, fresh.name):
                self._say(line)
        except (OSError, UntrustedError) as error:
            self._say(f"old engines in {self._store.folder} cannot be deleted: {error}")

    def _keep_timing(self, key: EngineKey, timing: bytes, notes: Mapping[str, Any]) -> None:
        try:
            with self._store.locked(key.timing_name):
                self._store.write(key.timing_name, key.timing_facts, timing, notes)
        except (OSError, UntrustedError) as error:
            self._say(f"the timing cache cannot be kept ({error}); later builds take longer")

    def _waiting(self, key: EngineKey) -> Callable[[], None]:
        """Return what says now and then that another process builds."""
        said_s = -PERIOD_S
        start_s = time.monotonic()

        def wait() -> None:
            nonlocal said_s
            waited_s = time.monotonic() - start_s
            if waited_s - said_s >= PERIOD_S:
                said_s = waited_s
                self._say(
                    f"another process builds the {key.precision} engine; waiting ({waited_s:.0f} s)"
                )

        return wait


def _unlike(entries: Sequence[Entry], keys: Sequence[EngineKey]) -> Iterator[_Unlike]:
    """Yield the kept engines of the same file, precision and cameras that fit none of the keys."""
    for entry in entries:
        for key in keys:
            found = differences(key.facts, entry.facts)
            if found:
                yield _Unlike(len(found), -entry.used_ns, entry.name, tuple(found))


def _say_nothing(_text: str) -> None:
    """Take a line and drop it."""
