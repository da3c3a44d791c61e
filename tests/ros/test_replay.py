# SPDX-License-Identifier: Apache-2.0
"""The offline replay answers every frame of a bag, the same way every time."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from imkd_core.__main__ import main
from imkd_core.config import MemorySpec
from imkd_core.data.bags.bag_writer import BagWriter
from imkd_core.data.bags.recording import open_bag
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import BackendError, BundleError, DataError
from imkd_core.runtime.tensorrt.cuda import load_cuda
from imkd_ros.bridge.parameter_file import read_settings
from imkd_ros.replay import DETECTIONS_TOPIC, Replay, read_answers, write_bag, write_jsonl
from tests.core.rigs import spec_of
from tests.core.runtime.made_up_bundle import make_bundle
from tests.ros.bag_tools import write_drive
from tests.ros.tiny_bundle import write_tiny_bundle

FRAMES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny bundle and a bag of four frames."""
    folder = tmp_path_factory.mktemp("replay")
    write_tiny_bundle(folder / "bundle")
    write_drive(folder, FRAMES)
    return folder


@pytest.fixture(scope="module")
def replay(place: Path):
    overrides = {"model.bundle": str(place / "bundle")}
    with Replay(read_settings(None, overrides)) as opened:
        yield opened


def test_what_runs_the_model_instead_of_what_is_told(place):
    try:
        load_cuda().device()
    except BackendError:
        pass
    else:
        pytest.skip("there is a GPU")
    lines = []
    overrides = {
        "model.bundle": str(place / "bundle"),
        "model.backend": "tensorrt",
        "model.cpu_fallback": True,
    }
    with Replay(read_settings(None, overrides), lines.append):
        pass
    assert any("runs the fp32 file: the bundle recommends no other" in line for line in lines)
    assert "ONNX Runtime takes over" in lines[-1]


def without(place: Path, path: Path, *parts: str, spoil: str = "") -> Path:
    """Copy the bag without the topics that hold one of some words; break one topic's messages."""
    with open_bag(place / "drive") as bag, BagWriter(path) as copy:
        for message in bag.messages():
            if not any(part in message.topic for part in parts):
                cdr = message.cdr[:20] if spoil and spoil in message.topic else message.cdr
                copy.write(message.topic, message.type_name, message.stamp_ns, cdr)
    return path


def test_every_key_frame_is_answered_with_all_sensors(replay, place):
    answers = list(replay.run(place / "drive"))
    assert len(answers) == FRAMES
    for frame, detections in answers:
        assert (len(frame.cameras), len(frame.radars)) == (6, 5)
        assert len(frame.reference_from_ego) >= 6
        assert detections.stamp_ns == frame.stamp_ns
        assert detections.center_m[0, 0] == 6, "the tiny model counts live cameras"
        assert detections.center_m[0, 2] == 1, "and says whether there is a radar"
        assert set(detections.stage_ms) >= {"preprocess", "inference", "decode"}
    assert set(replay.rig.cameras) == set(answers[0][0].cameras)
    steps_ns = np.diff([frame.stamp_ns for frame, _ in answers])
    np.testing.assert_array_equal(steps_ns, 500_000_000)


def test_the_frames_hold_the_pictures_of_the_dataroot(replay, place):
    sample = NuScenes(place / "root").samples()[1]
    frame, _ = list(replay.run(place / "drive"))[1]
    expected = sample.frame(target_width_px=64)
    for name, image in frame.cameras.items():
        np.testing.assert_array_equal(image.pixels, expected.cameras[name].pixels)
    for name, (cloud, *_) in frame.radars.items():
        np.testing.assert_array_equal(cloud.points, expected.radars[name][0].points)


def test_two_runs_give_the_same_numbers(replay, place):
    first, second = (list(replay.run(place / "drive")) for _ in range(2))
    for (_, one), (_, two) in zip(first, second, strict=True):
        for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert one.stamp_ns == two.stamp_ns


@pytest.mark.parametrize("threads", [0, 3])
def test_the_number_of_decoding_threads_changes_no_number(replay, place, threads):
    overrides = {"model.bundle": str(place / "bundle"), "decode.threads": threads}
    with Replay(read_settings(None, overrides)) as other:
        found = list(other.run(place / "drive"))
        counters = dict(other.counters)
    expected = list(replay.run(place / "drive"))
    assert counters == dict(replay.counters)
    for (frame, one), (wanted, two) in zip(found, expected, strict=True):
        for name, image in wanted.cameras.items():
            np.testing.assert_array_equal(frame.cameras[name].pixels, image.pixels)
        np.testing.assert_array_equal(one.center_m, two.center_m)
        np.testing.assert_array_equal(one.scores, two.scores)


def test_the_decoding_threads_end_with_the_replay(place):
    with Replay(read_settings(None, {"model.bundle": str(place / "bundle")})) as opened:
        assert len(list(opened.run(place / "drive"))) == FRAMES
        pool = opened._pipeline._pool
        assert len(pool._threads) == 1
        (thread,) = pool._threads
        assert thread.is_alive()
    assert not thread.is_alive()


def test_a_missing_camera_is_masked_and_waits_for_nobody(replay, place, tmp_path):
    path = without(place, tmp_path / "b", "cam_back_left/image")
    answers = list(replay.run(path))
    assert len(answers) == FRAMES
    assert [detections.center_m[0, 0] for _, detections in answers] == [5.0] * FRAMES


def test_messages_that_cannot_be_read_are_counted_and_left_out(replay, place, tmp_path):
    path = without(place, tmp_path / "b", spoil="cam_back/image")
    answers = list(replay.run(path))
    assert replay.unreadable == {"/sensing/cam_back/image/compressed": FRAMES}
    assert [detections.center_m[0, 0] for _, detections in answers] == [5.0] * FRAMES


def test_without_radar_the_cameras_answer(replay, place, tmp_path):
    answers = list(replay.run(without(place, tmp_path / "b", "radar")))
    assert len(answers) == FRAMES
    assert {float(detections.center_m[0, 2]) for _, detections in answers} == {0.0}


def test_a_bag_of_other_topics_is_refused_with_what_it_has(replay, place, tmp_path):
    path = without(place, tmp_path / "b", "/sensing")
    with pytest.raises(DataError, match=r"none of the topics of the sensor file.*/odometry"):
        list(replay.run(path))
    with pytest.raises(DataError, match="there is no bag"):
        list(replay.run(tmp_path / "none"))


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError):
        Replay(read_settings(None, {"model.bundle": str(tmp_path / "none")}))


def test_the_number_of_boxes_can_be_limited(place):
    overrides = {"model.bundle": str(place / "bundle"), "post.max_boxes": 1}
    with Replay(read_settings(None, overrides)) as opened:
        sizes = [len(detections) for _, detections in opened.run(place / "drive")]
    assert sizes == [1] * FRAMES


def test_answers_come_back_from_a_bag(replay, place, tmp_path):
    answers = [detections for _, detections in replay.run(place / "drive")]
    assert write_bag(answers, tmp_path / "out") == FRAMES
    back = read_answers(tmp_path / "out", replay.class_names)
    for one, two in zip(answers, back, strict=True):
        assert one.stamp_ns == two.stamp_ns
        assert one.names == two.names
        for name in ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    with open_bag(tmp_path / "out") as bag:
        assert bag.topics[DETECTIONS_TOPIC].count == FRAMES
    with pytest.raises(DataError, match="exists"):
        write_bag(answers, tmp_path / "out")


@pytest.mark.parametrize("option", ["--jsonl", "--output"])
def test_the_boxes_of_several_bags_do_not_go_into_one_file(place, tmp_path, option, capsys):
    assert main(["replay", *map(str, (place / "drive", "other", option, tmp_path / "x"))]) == 2
    assert "one by one" in capsys.readouterr().err


def test_answers_are_written_as_lines_of_json(replay, place, tmp_path):
    answers = [detections for _, detections in replay.run(place / "drive")]
    assert write_jsonl(answers, tmp_path / "out.jsonl") == FRAMES
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["stamp_ns"] for line in lines] == [item.stamp_ns for item in answers]
    box = lines[0]["boxes"][0]
    assert (box["class"], box["center_m"][0]) == ("car", 6.0)
    assert box["velocity_mps"] == pytest.approx(answers[0].velocity_mps[0].tolist())
    with pytest.raises(DataError, match="name another file"):
        write_jsonl(answers, tmp_path / "no" / "such" / "folder.jsonl")


# --- a model that remembers ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def remembering(place: Path):
    """A replay of a model whose first box tells of the maps that it was given (made_up_bundle)."""
    memory = MemorySpec(kind="recurrent", frames=1, channels=2)
    bundle = make_bundle(place / "remembering", spec_of(memory=memory))
    with Replay(read_settings(None, {"model.bundle": str(bundle.root)})) as opened:
        yield opened


def pasts(answers):
    """Level of the remembered map and metres to it, frame by frame."""
    return np.array([found.velocity_mps[0] for _, found in answers])


def test_a_model_remembers_the_frames_of_a_bag_and_nothing_of_the_bag_before(remembering, place):
    answers = list(remembering.run(place / "drive"))
    np.testing.assert_allclose(pasts(answers)[:, 0], range(FRAMES), atol=1e-5)
    poses = [frame.odom_from_ego for frame, _ in answers]
    moved = [np.linalg.inv(a) @ b for a, b in pairwise(poses)]
    expected = [0.0, *(pose[:2, 3].sum() for pose in moved)]
    np.testing.assert_allclose(pasts(answers)[:, 1], expected, atol=1e-4)
    assert abs(expected[1]) > 0.5, "the drive goes forward"
    again = list(remembering.run(place / "drive"))
    np.testing.assert_array_equal(pasts(again), pasts(answers))


def test_what_is_remembered_hangs_on_stamps_and_not_on_the_time_of_arrival(
    remembering, place, tmp_path
):
    with open_bag(place / "drive") as bag, BagWriter(tmp_path / "late") as copy:
        for i, message in enumerate(bag.messages()):
            late_ns = 8_000_000 + 300_000 * (i % 7)
            copy.write(message.topic, message.type_name, message.stamp_ns + late_ns, message.cdr)
    late = list(remembering.run(tmp_path / "late"))
    expected = list(remembering.run(place / "drive"))
    assert [frame.stamp_ns for frame, _ in late] == [frame.stamp_ns for frame, _ in expected]
    np.testing.assert_allclose(pasts(late), pasts(expected), atol=1e-5)


def test_without_ego_motion_every_frame_of_a_bag_is_answered_alone(remembering, place, tmp_path):
    with open_bag(place / "drive") as bag, BagWriter(tmp_path / "bag") as copy:
        for message in bag.messages():
            if message.topic != "/tf":
                copy.write(message.topic, message.type_name, message.stamp_ns, message.cdr)
    answers = list(remembering.run(tmp_path / "bag"))
    assert len(answers) == FRAMES
    assert not pasts(answers).any()


def test_a_bag_that_starts_again_in_mid_air_is_remembered_anew(remembering, place, tmp_path):
    with open_bag(place / "drive") as bag, BagWriter(tmp_path / "twice") as copy:
        messages = list(bag.messages())
        length_ns = messages[-1].stamp_ns - messages[0].stamp_ns + 100_000_000
        for repeat in range(2):
            for message in messages:
                log_ns = message.stamp_ns + repeat * length_ns
                copy.write(message.topic, message.type_name, log_ns, message.cdr)
    answers = list(remembering.run(tmp_path / "twice"))
    levels = pasts(answers)[:, 0]
    np.testing.assert_allclose(levels, [*range(FRAMES), *range(FRAMES)], atol=1e-5)


def test_a_memory_can_be_switched_off(place, remembering):
    overrides = {"model.bundle": str(place / "remembering"), "model.memory": False}
    with Replay(read_settings(None, overrides)) as opened:
        answers = list(opened.run(place / "drive"))
    assert len(answers) == FRAMES
    assert not pasts(answers).any()
