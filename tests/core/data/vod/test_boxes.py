# SPDX-License-Identifier: Apache-2.0
"""View-of-Delft frames from files to AP."""

import numpy as np
import pytest

from imkd_core.data.vod.boxes import found_vod, score_vod, true_vod
from imkd_core.data.vod.reader import VOD_CLASSES, ViewOfDelft
from imkd_core.errors import ConfigError, DataError
from imkd_core.types import Detections
from tests.core.data.vod.vod_folder import label_line, write_vod

LABELS = (
    label_line("Car", (12.0, 1.0, -1.7), (4.2, 1.8, 1.5), 0.3),
    label_line("Pedestrian", (8.0, -3.0, -1.7), (0.6, 0.7, 1.8), 0.0),
    label_line("Cyclist", (30.0, 9.0, -1.7), (1.9, 0.7, 1.7), 2.0, occlusion=2),
    label_line("rider", (30.0, 9.0, -1.7), (1.9, 0.7, 1.7), 2.0),
    label_line("Car", (45.0, -9.0, -1.7), (4.0, 1.8, 1.5), 0.0, box_px=(10, 10, 40, 30)),
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("vod")
    write_vod(root, frames=60, labels=LABELS)
    return ViewOfDelft(root).samples("train")


def test_labels_given_back_are_found(samples):
    found = {sample.token: sample.truth().detections for sample in samples}
    metrics = score_vod(samples, found)
    area = metrics.regions["entire area"]["3d"]
    n = len(samples)
    assert {name: row.truth for name, row in area.items()} == dict.fromkeys(VOD_CLASSES, n)
    corridor = metrics.regions["driving corridor"]["3d"]
    assert [corridor[name].truth for name in VOD_CLASSES] == [n, n, 0]
    expected = min(n + 3, 44) // 4 / 11  # each hit gives at most one of the 41 samples
    assert [area[name].ap for name in VOD_CLASSES] == pytest.approx([expected] * 3)


def test_heights_of_found_boxes_are_those_of_their_projection(samples):
    boxes = found_vod(samples[0], samples[0].truth().detections)
    labels = true_vod(samples[0])
    np.testing.assert_allclose(boxes.position_cam_m, labels.position_cam_m, atol=1e-3)
    focal_px = 1495.468642
    # A standing pedestrian at 8 m, 1.8 m high, with some perspective of its depth.
    assert boxes.height_px[1] == pytest.approx(focal_px * 1.8 / 8.3, rel=0.15)
    behind = Detections(
        stamp_ns=1,
        class_names=VOD_CLASSES,
        center_m=[[-20, 0, 1]],
        size_m=[[4, 2, 1.5]],
        yaw_rad=[0],
        velocity_mps=[[0, 0]],
        scores=[0.5],
        labels=[0],
    )
    assert found_vod(samples[0], behind).height_px.tolist() == [0]


def test_missing_frames_and_foreign_classes_are_refused(samples):
    with pytest.raises(DataError, match="no detections"):
        score_vod(samples, {})
    foreign = Detections(
        stamp_ns=1,
        class_names=("car",),
        center_m=np.zeros((0, 3)),
        size_m=np.zeros((0, 3)),
        yaw_rad=np.zeros(0),
        velocity_mps=np.zeros((0, 2)),
        scores=np.zeros(0),
        labels=np.zeros(0, np.int64),
    )
    with pytest.raises(ConfigError, match="car"):
        found_vod(samples[0], foreign)
