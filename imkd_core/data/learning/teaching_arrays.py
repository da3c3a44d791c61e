# SPDX-License-Identifier: Apache-2.0
"""What the teachers say about a sample, as arrays that follow the sample's change.

Sources: method.md 4.3 (label mask), 5.6 (teacher's boxes), 12.1 (cached maps), 13 (label-only).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imkd_core.config import BOX_CODE, RADAR_GRID_CHANNELS, InputSpec
from imkd_core.data.changes.bev_change import BevChange, warp_map
from imkd_core.data.learning.targets import MAX_OBJECTS, encode_boxes, objects_on
from imkd_core.data.samples import Teaching, TeachingSource
from imkd_core.errors import DataError
from imkd_core.recipe import Config
from imkd_core.types import Detections

Arrays = dict[str, NDArray[np.float32]]

#: Seed of the order in which the shuffled control takes its samples.
_SHUFFLE_SEED = 20_240_601


def taught_maps(teaching: Teaching | None, config: Config, change: BevChange) -> Arrays:
    """Return the maps of the teachers in the frame of a changed scene.

    Names: f_lidar, f_label (Kp, Y, X); i_lidar (Y, X); heat_teacher (classes, Y, X); has_lidar and
    teacher_quality (1,). All zeros where there is no teaching, so that batches can be mixed.

    Raises:
        DataError: the maps are not those of this configuration.
    """
    grid, channels = config.inputs.bev, config.distill.channels or config.teacher.channels
    shapes = {
        "f_lidar": (channels, *grid.shape),
        "f_label": (channels, *grid.shape),
        "i_lidar": grid.shape,
        "heat_teacher": (len(config.head.class_names), *grid.shape),
    }
    if teaching is None:
        maps = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        none = np.zeros(1, np.float32)
        return {**maps, "has_lidar": none, "teacher_quality": none.copy()}
    given = {
        "f_lidar": teaching.f_lidar,
        "f_label": teaching.f_label,
        "i_lidar": teaching.i_lidar,
        "heat_teacher": teaching.heat,
    }
    for name, shape in shapes.items():
        if given[name].shape != shape:
            raise DataError(
                f"teacher map {name} is {given[name].shape}, the configuration needs {shape}; "
                "write the teacher cache again with this configuration"
            )
    return {
        **{name: warp_map(values, grid, change) for name, values in given.items()},
        "has_lidar": np.array([teaching.has_lidar], np.float32),
        "teacher_quality": np.array([teaching.quality], np.float32),
    }


def taught_codes(
    teaching: Teaching | None,
    truth: Detections,
    annotation_tokens: Sequence[str],
    config: Config,
    change: BevChange,
) -> Arrays:
    """Return code_teacher (MAX_OBJECTS, 10) and code_teacher_weight (MAX_OBJECTS,).

    Row i is the teacher's box for the i-th object of `make_targets`, coded at that object's cell;
    its weight is c_k, and 0 where the teacher has no box for it.

    Args:
        teaching: what the teachers say, unchanged.
        truth: true boxes in the frame of the changed scene.
        annotation_tokens: of `truth`.
        config: grid of the codes.
        change: of the scene.
    """
    grid = config.inputs.bev
    code = np.zeros((MAX_OBJECTS, len(BOX_CODE)), np.float32)
    weight = np.zeros(MAX_OBJECTS, np.float32)
    if teaching is not None:
        known = {token: row for row, token in enumerate(teaching.annotation_tokens)}
        kept, cells = objects_on(truth, grid)
        rows = np.array([known.get(annotation_tokens[i], -1) for i in kept], np.int64)
        slots = np.flatnonzero(rows >= 0)
        boxes = change.apply_to_boxes(teaching.boxes.select(rows[slots]))
        code[slots] = np.nan_to_num(encode_boxes(boxes, grid, cells[slots]))
        weight[slots] = boxes.scores
    return {"code_teacher": code, "code_teacher_weight": weight}


def radar_occupied(radar_grid: NDArray[np.generic], spec: InputSpec) -> NDArray[np.float32]:
    """Return (Y, X) float32, 1 where any radar cell of the (12, r*Y, r*X) grid has a return."""
    fine = radar_grid[RADAR_GRID_CHANNELS.index("occupancy")]
    rows, columns = spec.bev.shape
    factor = spec.radar_refinement
    blocks = fine.reshape(rows, factor, columns, factor)
    return np.asarray(blocks.max(axis=(1, 3)), dtype=np.float32)


def shuffled_tokens(tokens: Sequence[str]) -> Mapping[str, str]:
    """Return a fixed map of each token to another one: the control that teaches nonsense.

    One ring through all tokens in a fixed order of chance, so no sample gets its own maps.

    Raises:
        DataError: there is only one sample.
    """
    ordered = sorted(set(tokens))
    if len(ordered) < 2:
        raise DataError("distill.shuffle needs two samples or more")
    ring = np.random.default_rng(_SHUFFLE_SEED).permutation(len(ordered))
    return {ordered[a]: ordered[b] for a, b in zip(ring, np.roll(ring, 1), strict=True)}


class ShuffledTeaching:
    """A source that gives each sample the teaching of another one.

    Args:
        source: the true one.
        tokens: of all samples.

    Raises:
        DataError: there is only one sample.
    """

    def __init__(self, source: TeachingSource, tokens: Sequence[str]) -> None:
        self._source, self._other = source, shuffled_tokens(tokens)

    def load(self, token: str) -> Teaching | None:
        """Return the teaching of another sample than `token`."""
        return self._source.load(self._other[token])
