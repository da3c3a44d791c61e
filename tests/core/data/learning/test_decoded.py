# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core.bev_grid import BevGrid
from imkd_core.config import InputSpec
from imkd_core.data.learning.decoded import ByteCache, Decoding, decode, stale_picture
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.recipe import AugmentConfig
from tests.core.data.made_up import write_dataroot

SPEC = InputSpec(
    image_height_px=64,
    image_width_px=160,
    bev=BevGrid(x_min_m=-24.0, x_max_m=40.0, y_min_m=-24.0, y_max_m=24.0, cell_m=1.0),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive")
    write_dataroot(root, frames=2, lidar_points=300, sweeps=3)
    return NuScenes(root).samples()


def test_only_what_changes_need_is_read():
    plain = Decoding.of(SPEC, AugmentConfig(), with_lidar=True)
    assert (plain.is_cut_later, plain.radar_scans) == (False, 1)
    rich = Decoding.of(SPEC, AugmentConfig(rotation_deg=1, stale_radar=0.1), with_lidar=True)
    assert (rich.is_cut_later, rich.radar_scans) == (True, 3)
    assert not rich.exact.is_cut_later


@pytest.mark.parametrize("zoom", [0.0, 0.1])
def test_a_decoded_sample_is_small(records, zoom):
    decoded = decode(records[0], Decoding.of(SPEC, AugmentConfig(zoom=zoom), with_lidar=False))
    pixels = sum(picture.pixels.nbytes for picture in decoded.pictures.values())
    assert pixels <= 6 * 3 * 64 * 160 * 3  # 1600 x 900 pictures would take 26 MB
    assert pixels < decoded.nbytes < pixels + 100_000
    assert decoded.depth is None


def test_lidar_points_of_all_cameras_are_kept_for_moved_pictures(records):
    decoded = decode(records[0], Decoding.of(SPEC, AugmentConfig(), with_lidar=True))
    assert list(decoded.depth.points) == list(records[0].rig.cameras)
    assert all(len(points) and points.shape[1] == 3 for points in decoded.depth.points.values())
    assert (decoded.depth.bins >= 0).any()


def test_boxes_keep_their_annotations(records):
    truth = records[0].truth()
    decoded = decode(records[0], Decoding.of(SPEC, AugmentConfig(), with_lidar=False))
    assert len(decoded.boxes) == len(decoded.annotation_tokens) > 0
    for row, token in enumerate(decoded.annotation_tokens):
        index = truth.annotation_tokens.index(token)
        np.testing.assert_array_equal(decoded.boxes.center_m[row], truth.detections.center_m[index])


def test_a_stale_picture_is_the_one_before_with_its_own_pose(records):
    decoding = Decoding.of(SPEC, AugmentConfig(), with_lidar=False)
    assert stale_picture(records[0], "CAM_FRONT", decoding) is None  # the first of the drive
    picture, pose = stale_picture(records[1], "CAM_FRONT", decoding)
    before = decode(records[0], decoding)
    np.testing.assert_array_equal(picture.pixels, before.pictures["CAM_FRONT"].pixels)
    reading = records[0].readings["CAM_FRONT"]
    expected = records[1].reference_from_ego(reading) @ reading.ego_from_sensor
    np.testing.assert_allclose(pose, expected, atol=1e-9)


class _Blob:
    def __init__(self, nbytes):
        self.nbytes = nbytes


def test_the_cache_forgets_what_was_used_longest_ago_and_stays_in_its_limit():
    cache, made = ByteCache(100), []

    def get(key, size=40):
        return cache.get(key, lambda: made.append(key) or _Blob(size))

    first = get("a")
    get("b")
    assert get("a") is first
    get("c")  # b goes
    get("a")
    get("b")
    assert made == ["a", "b", "c", "b"]
    assert cache.used_bytes <= 100
    get("large", 200)  # is given, and not kept
    assert cache.used_bytes <= 100


def test_a_cache_without_memory_keeps_nothing():
    cache, made = ByteCache(0), []
    for _ in range(3):
        cache.get("a", lambda: made.append(1) or _Blob(1))
    assert len(made) == 3
    assert cache.used_bytes == 0
