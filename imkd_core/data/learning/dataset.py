# SPDX-License-Identifier: Apache-2.0
"""From recorded samples to training samples: change, prepare, make targets.

The inputs come from `preprocess.assemble_inputs`, the function that the vehicle uses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from imkd_core.data.changes.augmentation import (
    SampleChange,
    lost_boxes,
    sample_change,
    seen_only_by,
)
from imkd_core.data.changes.bev_change import BevChange
from imkd_core.data.changes.sensor_dropout import RadarReturns, disturbed_points, live_mask
from imkd_core.data.changes.views import (
    View,
    sample_views,
    view_depth_bins,
    view_images,
    views_geometry,
)
from imkd_core.data.learning.decoded import ByteCache, DecodedSample, Decoding, decode
from imkd_core.data.learning.doppler import doppler_targets
from imkd_core.data.learning.history import (
    Drives,
    disturbed_motion,
    draw_gaps,
    past_change,
    stack_past,
    static_mask,
)
from imkd_core.data.learning.label_maps import soft_mask
from imkd_core.data.learning.perspective import perspective_classes
from imkd_core.data.learning.targets import DetectionTargets, make_targets
from imkd_core.data.learning.teaching_arrays import (
    ShuffledTeaching,
    radar_occupied,
    taught_codes,
    taught_maps,
)
from imkd_core.data.samples import Sample, Teaching, TeachingSource
from imkd_core.errors import DataError
from imkd_core.preprocess import Arrays, assemble_inputs
from imkd_core.recipe import Config
from imkd_core.types import Detections
from imkd_core.view_lut import ViewGeometry

#: Memory for decoded samples; a sample of `imkd_tiny` takes 1 to 2 MB.
CACHE_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True)
class TrainingSample:
    """One sample as arrays; the training engine stacks several into a batch.

    Attributes:
        inputs: the model's inputs by name (see `preprocess.prepare_inputs`); with a memory also
            those of past frames (see `model.sequence.with_history`).
        targets: heat maps and box codes.
        depth_bin: (N, Hf, Wf) int64 depth bins, -1 where unknown or where the camera is blanked.
        image_class: (N, Hf, Wf) int64 classes that image cells show, -1 where unknown; None where
            nobody asks.
        teaching: what teachers say, by name (see `teaching_arrays`); label_mask (Y, X) and
            radar_occupied (Y, X); and static_mask (Y, X), 1 where nothing moves. Each is there
            only where it is asked for.
    """

    inputs: Arrays
    targets: DetectionTargets
    depth_bin: NDArray[np.int64]
    image_class: NDArray[np.int64] | None = None
    teaching: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def target_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the fields of `targets`, `depth_bin`, `image_class` and `teaching`, by name."""
        targets = {item.name: getattr(self.targets, item.name) for item in fields(self.targets)}
        shown = {} if self.image_class is None else {"image_class": self.image_class}
        return {**targets, "depth_bin": self.depth_bin, **shown, **self.teaching}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What the changed sensors show of a key frame.

    Attributes:
        views: of the cameras.
        live: (P,) which of the decoded radar returns are left.
        returns: those, in the changed frame.
        inputs: the network's, of this frame alone.
    """

    views: tuple[View, ...]
    live: NDArray[np.bool_]
    returns: RadarReturns
    inputs: Arrays


class DetectionDataset:
    """Training samples made from recorded ones.

    Args:
        records: samples of a reader, all with the same sensors.
        config: the student; its `augment` section says how samples are changed.
        teaching: what the teachers say; depth then comes from there, too, and no LiDAR file is
            opened. `config.distill.shuffle` gives each sample the maps of another one.
        cache_bytes: memory for decoded samples; 0 reads files each time.

    Raises:
        DataError: there is no sample.
    """

    def __init__(
        self,
        records: Sequence[Sample],
        config: Config,
        teaching: TeachingSource | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if not records:
            raise DataError("no samples to train on; check the data folder and the scene filter")
        self._records = tuple(records)
        self._config = config
        self._own_teaching = self._teaching = teaching
        if teaching is not None and config.distill.shuffle:
            self._teaching = ShuffledTeaching(teaching, [r.token for r in self._records])
        self._drives = Drives(self._records)
        self._decoding = Decoding.of(config.inputs, config.augment, with_lidar=teaching is None)
        self._samples = ByteCache[DecodedSample](cache_bytes)
        self._geometries = ByteCache[ViewGeometry](cache_bytes // 2)

    def __len__(self) -> int:
        """Return the number of recorded samples."""
        return len(self._records)

    def sample(self, index: int, rng: np.random.Generator | None) -> TrainingSample:
        """Return one training sample, changed by `rng`; unchanged where `rng` is None.

        Raises:
            DataError: a file is missing or malformed; the message names it.
        """
        config, spec = self._config, self._config.inputs
        decoding = self._decoding if rng is not None else self._decoding.exact
        decoded = self._decoded(index, decoding)
        change = SampleChange()
        if rng is not None:
            change = sample_change(rng, decoded.rig, config.augment, spec.radar_sweeps)
        seen = self._seen(index, decoded, decoding, change)
        keep = self._kept(decoded, change, seen.live)
        boxes = change.bev.apply_to_boxes(decoded.boxes)
        truth = boxes.select(keep)
        doppler = doppler_targets(seen.returns, decoded.on_box[keep][:, seen.live], truth)
        past = self._past(index, change, seen.inputs, rng)
        teaching = {}
        if self._teaching is not None or config.distill.gate > 0:
            teaching["label_mask"] = soft_mask(boxes, spec.bev)
            teaching["radar_occupied"] = radar_occupied(seen.inputs["radar_grid"], spec)
        if self._teaching is not None:
            tokens = [decoded.annotation_tokens[i] for i in np.flatnonzero(keep)]
            teaching |= self._taught(index, change.bev, truth, tokens)
        if past and config.train.weight_consistency > 0:
            age_s = float(past["past_age_s"][0])
            teaching["static_mask"] = static_mask(
                boxes.center_m, boxes.size_m, boxes.velocity_mps, age_s, spec.bev
            )
        return TrainingSample(
            inputs=seen.inputs | past,
            targets=make_targets(truth, spec.bev, config.head, doppler),
            depth_bin=self._depth(index, decoded, seen.views),
            image_class=perspective_classes(seen.views, decoded.boxes, spec)
            if config.train.weight_perspective > 0
            else None,
            teaching=teaching,
        )

    def _seen(
        self, index: int, decoded: DecodedSample, decoding: Decoding, change: SampleChange
    ) -> "_Seen":
        """Return what the changed sensors show of one key frame, past or present."""
        spec = self._config.inputs
        views = sample_views(self._records[index], decoded, decoding, change)
        live = live_mask(decoded.returns, change.radar, spec.radar_sweeps)
        has_radar, live = live is not None, _none_of(decoded) if live is None else live
        returns = decoded.returns.select(live).changed(change.bev)
        points = disturbed_points(returns, change.radar, spec.bev) if has_radar else None
        inputs = assemble_inputs(
            images=view_images(views, spec),
            camera_mask=np.array([view.is_live for view in views], np.float32),
            geometry=self._geometry(index, views, change),
            radar_points=points,
            spec=spec,
        )
        return _Seen(views=views, live=live, returns=returns, inputs=inputs)

    def _past(
        self, index: int, key: SampleChange, present: Arrays, rng: np.random.Generator | None
    ) -> Arrays:
        """Return the arrays of past frames; none for a student without a memory."""
        memory, augment = self._config.inputs.memory, self._config.augment
        if memory.kind == "none":
            return {}
        sweeps = self._config.inputs.radar_sweeps
        decoding = self._decoding if rng is not None else self._decoding.exact
        count = memory.frames if memory.kind == "window" else self._config.train.history_frames
        gaps_s = draw_gaps(memory, count, augment, rng)
        past, motions, ages_s = [], [], []
        for frame in self._drives.past_frames(index, gaps_s, memory):
            decoded = self._decoded(frame.index, decoding)
            own = SampleChange()
            if rng is not None:
                own = sample_change(rng, decoded.rig, augment, sweeps)
            change = past_change(own, key)
            past.append(self._seen(frame.index, decoded, decoding, change).inputs)
            motion = disturbed_motion(frame.past_from_newer, augment, rng)
            motions.append(key.bev.apply_to_motion(motion))
            ages_s.append(frame.age_s)
        return stack_past(present, past, motions, ages_s, count)

    def _decoded(self, index: int, decoding: Decoding) -> DecodedSample:
        key = (index, decoding.is_cut_later)
        return self._samples.get(key, lambda: decode(self._records[index], decoding))

    def _geometry(self, index: int, views: tuple[View, ...], change: SampleChange) -> ViewGeometry:
        """Return the geometry of the views; kept where it is that of the recorded sample."""
        spec = self._config.inputs
        if change.keeps_geometry and not any(view.is_stale for view in views):
            return self._geometries.get(index, lambda: views_geometry(views, None, spec))
        bev = change.bev
        return views_geometry(views, None if bev.is_identity else bev.changed_from_ego, spec)

    def _kept(
        self, decoded: DecodedSample, change: SampleChange, live: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return (N,) which true boxes are still to be found."""
        radar_keeps = self._config.augment.radar_keeps
        if not change.blanked and (live.all() or not radar_keeps):
            return np.ones(len(decoded.boxes), np.bool_)
        if not radar_keeps:
            return ~seen_only_by(decoded.visible, change.blanked)
        usual = decoded.returns.scan < self._config.inputs.radar_sweeps
        returns_left, returns_before = decoded.on_box & live, decoded.on_box & usual
        return ~lost_boxes(decoded.visible, change.blanked, returns_left, returns_before)

    def _depth(
        self, index: int, decoded: DecodedSample, views: tuple[View, ...]
    ) -> NDArray[np.int64]:
        spec = self._config.inputs
        if decoded.depth is not None:
            return view_depth_bins(views, decoded.depth.bins, decoded.depth.points, spec)
        own = self._load(self._own_teaching, index)
        points = own.depth_points if own is not None else {}
        return view_depth_bins(views, None, points, spec)

    def _taught(
        self, index: int, change: BevChange, truth: Detections, tokens: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        teaching = self._load(self._teaching, index)
        codes = taught_codes(teaching, truth, tokens, self._config, change)
        return taught_maps(teaching, self._config, change) | codes

    def _load(self, source: TeachingSource | None, index: int) -> Teaching | None:
        return source.load(self._records[index].token) if source is not None else None


def _none_of(decoded: DecodedSample) -> NDArray[np.bool_]:
    return np.zeros(len(decoded.returns.scan), np.bool_)
