# SPDX-License-Identifier: Apache-2.0
"""A float32 graph run on real frames: how large its tensors are, how far another graph is from it.

Everything is computed by ONNX Runtime on the CPU, from files in a folder that is the caller's.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper

from imkd_core.errors import BackendError
from imkd_core.runtime.providers import (
    CPU_PROVIDER,
    LOG_SEVERITY_ERROR,
    import_onnxruntime,
    session_failures,
)

Arrays = Mapping[str, NDArray[Any]]

#: Candidates of a frame that are compared, the likeliest.
COMPARED = 150

#: Differences of a candidate that count as if it were not there: metres, metres a second.
LOST_AT_M, LOST_AT_MPS = 2.0, 4.0

#: Most bytes of tensors that one run gives out while they are counted.
_GROUP_BYTES = 1 << 29


class Meter(Protocol):
    """Takes the values of a tensor in, frame by frame."""

    def add(self, values: NDArray[Any]) -> None:
        """Take one frame's values in."""


AnyMeter = TypeVar("AnyMeter", bound=Meter)


def observe(
    model: ModelProto,
    tensors: Collection[str],
    frames: Sequence[Arrays],
    folder: Path,
    meter: Callable[[], AnyMeter],
) -> dict[str, AnyMeter]:
    """Return a meter of each tensor, which has seen its values over frames.

    Args:
        model: in float32, with the shapes of its tensors.
        tensors: names; inputs of the graph as well.
        frames: inputs, one mapping a frame.
        folder: for a file that is written and removed.
        meter: makes one.

    Raises:
        BundleError: a value is not finite.
        BackendError: the graph cannot be loaded.
    """
    meters = {name: meter() for name in tensors}
    given = {item.name for item in model.graph.input}
    for frame in frames:
        for name in given & set(tensors):
            meters[name].add(frame[name])
    for names in _groups(model, [name for name in tensors if name not in given], frames[0]):
        session = _session(with_outputs(model, names), folder)
        for frame in frames:
            values = session.run(names, dict(frame))
            for name, value in zip(names, values, strict=True):
                meters[name].add(value)
    return meters


def with_outputs(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """Return a copy of a graph whose outputs are the named tensors."""
    copied = ModelProto()
    copied.CopyFrom(model)
    del copied.graph.output[:]
    kind = onnx.TensorProto.FLOAT
    copied.graph.output.extend(helper.make_tensor_value_info(n, kind, None) for n in names)
    return copied


def _groups(model: ModelProto, names: Sequence[str], frame: Arrays) -> list[list[str]]:
    """Return the names in groups whose tensors fit into memory together."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = {item.name: item.type.tensor_type for item in inferred.value_info}
    groups: list[list[str]] = []
    room = 0
    for name in names:
        dims = values[name].shape.dim if name in values else []
        size = 4 * int(np.prod([dim.dim_value or open_size(model, frame) for dim in dims]))
        if not groups or size > room:
            groups.append([])
            room = _GROUP_BYTES
        groups[-1].append(name)
        room -= size
    return groups


def open_size(model: ModelProto, frame: Arrays) -> int:
    """Return what the open axis of a graph's inputs, the cameras, is in a frame; 1 without one."""
    for item in model.graph.input:
        dims = item.type.tensor_type.shape.dim
        for dim, size in zip(dims, frame[item.name].shape, strict=True):
            if not dim.dim_value:
                return int(size)
    return 1


class Judge:
    """Knows what a float32 graph finds on some frames, and tells how far another is from it.

    Args:
        model: in float32.
        frames: inputs, one mapping a frame.
        folder: for files that are written and removed.
        is_fused: let ONNX Runtime compute with integers; the faster way for unsigned activations
            alone.
    """

    def __init__(
        self, model: ModelProto, frames: Sequence[Arrays], folder: Path, is_fused: bool = True
    ) -> None:
        self._model = model
        self._frames = list(frames)
        self._folder = folder
        self._is_fused = is_fused
        self._expected = self._run(model)

    @property
    def cameras(self) -> int:
        """Cameras of the first frame."""
        return open_size(self._model, self._frames[0])

    def error(self, model: ModelProto) -> float:
        """Return the mean over the frames of `moved_share`."""
        found = self._run(model)
        pairs = zip(self._expected, found, strict=True)
        return float(np.mean([moved_share(expected, actual) for expected, actual in pairs]))

    def _run(self, model: ModelProto) -> list[Arrays]:
        session = _session(model, self._folder, self._is_fused)
        names = ["scores", "labels", "boxes"]
        outputs = [session.run(names, dict(frame)) for frame in self._frames]
        return [dict(zip(names, values, strict=True)) for values in outputs]


def moved_share(expected: Arrays, actual: Arrays) -> float:
    """Return which share of the expected scores is missing or elsewhere, 0..1.

    Each of the likeliest expected candidates is held against that candidate of its class which
    suits it best. What is charged is the difference of the scores, plus the score times the
    differences of place and velocity in units of `LOST_AT_M` and `LOST_AT_MPS`; at most the score.
    """
    best = np.argsort(-expected["scores"], kind="stable")[:COMPARED]
    scores, labels, boxes = (expected[name][best] for name in ("scores", "labels", "boxes"))
    apart_m = _distances(boxes[:, :2], actual["boxes"][:, :2])
    apart_mps = _distances(boxes[:, 8:], actual["boxes"][:, 8:])
    cost = np.abs(scores[:, None] - actual["scores"][None])
    cost = cost + scores[:, None] * (apart_m / LOST_AT_M + apart_mps / LOST_AT_MPS)
    cost[labels[:, None] != actual["labels"][None]] = np.inf
    charged = np.minimum(cost.min(axis=1, initial=np.inf), scores)
    return float(charged.sum() / max(float(scores.sum()), 1e-9))


def _distances(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    return np.linalg.norm(ours[:, None] - theirs[None], axis=2)


def _session(model: ModelProto, folder: Path, is_fused: bool = True) -> Any:
    """Return a session of a graph; without fusing, Q/DQ pairs are computed as they are written.

    Integer kernels give the same numbers up to their rounding; those for signed activations are
    several times slower than float32.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = LOG_SEVERITY_ERROR
    options.add_session_config_entry("session.disable_quant_qdq", "0" if is_fused else "1")
    path = folder / "trial.onnx"
    onnx.save(model, path)
    try:
        return onnxruntime.InferenceSession(str(path), options, [CPU_PROVIDER])
    except session_failures() as error:
        raise BackendError(f"ONNX Runtime cannot load the quantised graph: {error}") from None
    finally:
        path.unlink()
