# SPDX-License-Identifier: Apache-2.0
"""The detector on a tiny real graph whose first box tells what the graph was given."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkd_core.config import MemorySpec
from imkd_core.errors import BackendError, ConfigError, SensorError
from imkd_core.geometry import rigid_transform
from imkd_core.postprocess import Thresholds
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.detector import Detector
from imkd_core.runtime.memory import RESET_FAILED, RESET_NO_POSE, RESET_TIME, FusedMemory
from imkd_core.runtime.view_cache import POSE_TOLERANCE_M, POSE_TOLERANCE_RAD
from imkd_core.types import CameraModel, Frame, SensorRig
from tests.core.rigs import STAMP_NS, camera_of, frame_of, rig_of, rotation, spec_of
from tests.core.runtime.made_up_bundle import make_bundle

RIG = rig_of(cameras=3, radars=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def backend(bundle):
    backend = open_backend(bundle, BackendSettings(threads=1))
    yield backend
    backend.close()


class Recorder:
    """A backend that keeps what it was given, around the real one."""

    def __init__(self, backend):
        self.name = backend.name
        self.inputs = []
        self._backend = backend

    def run(self, inputs):
        self.inputs.append({name: value.copy() for name, value in inputs.items()})
        return self._backend.run(inputs)

    def close(self):
        pass


def part(frame: Frame, names, **changes) -> Frame:
    values = {
        "stamp_ns": frame.stamp_ns,
        "cameras": {n: c for n, c in frame.cameras.items() if n in names},
        "radars": {n: c for n, c in frame.radars.items() if n in names},
    }
    return Frame(**{**values, **changes})


def driven(pose: np.ndarray) -> Frame:
    """All cameras saw the world from a pose of the ego at their exposure."""
    return frame_of(RIG, reference_from_ego={STAMP_NS: pose})


@given(st.sets(st.sampled_from([*RIG.cameras, *RIG.radars])))
@settings(max_examples=20)
def test_any_subset_of_sensors_answers_with_its_masks(bundle, backend, names):
    found = Detector(bundle, backend, RIG).detect(part(frame_of(RIG), names))
    live, radar = len(names & {*RIG.cameras}), bool(names & {*RIG.radars})
    assert found.stamp_ns == STAMP_NS
    np.testing.assert_allclose(found.center_m[0, 0], 5 + live + 10 * radar, rtol=1e-5)
    assert set(found.stage_ms) == {"preprocess", "inference", "decode"}
    assert all(value > 0 for value in found.stage_ms.values())
    assert found.reliability["camera"].shape == bundle.inputs.bev.shape


def test_a_rig_without_a_camera_is_answered_by_its_radars(bundle, backend):
    recorder = Recorder(backend)
    blind = SensorRig(cameras={}, radars=RIG.radars)
    frame = part(frame_of(RIG), RIG.radars)
    found = Detector(bundle, recorder, blind).detect(frame)
    np.testing.assert_allclose(found.center_m[0, 0], 5 + 10, rtol=1e-5)
    (inputs,) = recorder.inputs
    assert inputs["camera_mask"].tolist() == [0]
    assert not inputs["images"].any()
    assert not inputs["lut_weight"].any()


def test_a_rig_that_is_set_while_a_frame_is_answered_holds_from_the_next_on(bundle, backend):
    class Overtaken(dict):
        def __bool__(self):
            detector.set_rig(SensorRig(cameras={}, radars=RIG.radars))
            return True

    rig = SensorRig(cameras=RIG.cameras, radars=RIG.radars)
    object.__setattr__(rig, "cameras", Overtaken(rig.cameras))
    detector = Detector(bundle, backend, rig)
    found = detector.detect(frame_of(RIG))
    np.testing.assert_allclose(found.center_m[0, 0], 5 + 3 + 10, rtol=1e-5)
    assert not detector.rig.cameras


def test_the_same_frame_gives_the_same_boxes(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    first, second = detector.detect(frame_of(RIG)), detector.detect(frame_of(RIG))
    np.testing.assert_array_equal(first.center_m, second.center_m)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_a_frame_is_prepared_while_another_waits_for_its_answer(bundle, backend):
    recorder = Recorder(backend)
    detector = Detector(bundle, recorder, RIG)
    frames = [frame_of(RIG, seed) for seed in range(3)]
    for frame in frames:
        detector.detect(frame)
    first, second = detector.prepare(frames[0]), detector.prepare(frames[1])
    detector.answer(first)
    third = detector.prepare(frames[2])
    detector.answer(second)
    detector.answer(third)
    for apart, overlapped in zip(recorder.inputs[:3], recorder.inputs[3:], strict=True):
        np.testing.assert_array_equal(apart["images"], overlapped["images"])
        np.testing.assert_array_equal(apart["radar_grid"], overlapped["radar_grid"])


def test_the_geometry_is_built_once_for_a_rig_at_rest(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    for seed in range(3):
        detector.detect(frame_of(RIG, seed))
    assert detector.geometry_builds == 1


def test_a_camera_that_comes_and_goes_rebuilds_nothing(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    full = frame_of(RIG)
    for names in ({*RIG.cameras}, {"CAM_0"}, set(), {*RIG.cameras}):
        detector.detect(part(full, names))
    assert detector.geometry_builds == 1


def test_a_new_rig_holds_in_the_very_next_frame(bundle, backend):
    recorder = Recorder(backend)
    detector = Detector(bundle, recorder, RIG)
    detector.detect(frame_of(RIG))
    turned = SensorRig(
        cameras={name: camera_of(0.4 + i) for i, name in enumerate(RIG.cameras)}, radars=RIG.radars
    )
    detector.set_rig(turned)
    assert detector.rig is turned
    detector.detect(frame_of(turned))
    assert detector.geometry_builds == 2
    fresh = Recorder(backend)
    Detector(bundle, fresh, turned).detect(frame_of(turned))
    for name, value in fresh.inputs[0].items():
        np.testing.assert_array_equal(recorder.inputs[1][name], value, err_msg=name)
    assert not np.array_equal(recorder.inputs[0]["lut_index"], recorder.inputs[1]["lut_index"])


def test_an_equal_rig_changes_nothing(bundle, backend):
    detector = Detector(bundle, backend, rig_of(cameras=3, radars=2))
    detector.detect(frame_of(RIG))
    detector.set_rig(rig_of(cameras=3, radars=2))
    detector.detect(frame_of(RIG))
    assert detector.geometry_builds == 1


def test_new_intrinsics_alone_rebuild(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    detector.detect(frame_of(RIG))
    camera = RIG.cameras["CAM_1"]
    k = camera.pixel_from_cam.copy()
    k[0, 0] += 1e-6
    changed = CameraModel(
        width_px=camera.width_px,
        height_px=camera.height_px,
        pixel_from_cam=k,
        ego_from_cam=camera.ego_from_cam,
    )
    detector.set_rig(SensorRig(cameras={**RIG.cameras, "CAM_1": changed}, radars=RIG.radars))
    detector.detect(frame_of(RIG))
    assert detector.geometry_builds == 2


@pytest.mark.parametrize(("share", "builds"), [(0.9, 1), (1.1, 2)])
@pytest.mark.parametrize("kind", ["shift", "turn"])
def test_own_motion_rebuilds_beyond_the_tolerance(bundle, backend, kind, share, builds):
    detector = Detector(bundle, backend, RIG)
    if kind == "shift":
        pose = rigid_transform(np.eye(3), (share * POSE_TOLERANCE_M, 0, 0))
    else:
        # About a camera's own optical centre, so that its place stays.
        turn = rigid_transform(rotation(share * POSE_TOLERANCE_RAD, 0, 0), (0, 0, 0))
        center = rigid_transform(np.eye(3), RIG.cameras["CAM_0"].ego_from_cam[:3, 3])
        pose = center @ turn @ np.linalg.inv(center)
    detector.detect(part(driven(np.eye(4)), {"CAM_0"}))
    moved = part(driven(pose), {"CAM_0"}, reference_from_ego={STAMP_NS: pose})
    detector.detect(moved)
    assert detector.geometry_builds == builds


def test_on_the_move_a_lost_camera_rebuilds_nothing_and_a_found_one_does(bundle, backend):
    pose = rigid_transform(np.eye(3), (0.5, 0.0, 0.0))
    motion = {"reference_from_ego": {STAMP_NS: pose}}
    builds = []
    detector = Detector(bundle, backend, RIG)
    for names in ({*RIG.cameras}, {"CAM_0"}, {*RIG.cameras}):
        detector.detect(part(driven(pose), names, **motion))
        builds.append(detector.geometry_builds)
    assert builds == [1, 1, 1]
    detector = Detector(bundle, backend, RIG)
    for names in ({"CAM_0"}, {"CAM_0", "CAM_1"}):
        detector.detect(part(driven(pose), names, **motion))
    assert detector.geometry_builds == 2


def test_slow_creeping_cannot_sum_up_unseen(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    for step in range(5):
        detector.detect(driven(rigid_transform(np.eye(3), (0.6 * POSE_TOLERANCE_M * step, 0, 0))))
    assert detector.geometry_builds == 3  # at 0, 1.2 and 2.4 tolerances


def test_unknown_sensors_are_refused_by_name_and_the_detector_lives(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    with pytest.raises(SensorError, match="CAM_3"):
        detector.detect(frame_of(rig_of(cameras=4)))
    assert len(detector.detect(frame_of(RIG))) == 4


def test_thresholds_can_be_changed_between_frames(bundle, backend):
    detector = Detector(bundle, backend, RIG)  # cars of scores 0.9, 0.8, 0.7, 0.6
    assert len(detector.detect(frame_of(RIG))) == 4
    detector.thresholds = Thresholds(score={"car": 0.75})
    assert len(detector.detect(frame_of(RIG))) == 2
    assert detector.thresholds.score == {"car": 0.75}
    with pytest.raises(ConfigError, match="dragon"):
        detector.thresholds = Thresholds(score={"dragon": 0.5})
    assert len(detector.detect(frame_of(RIG))) == 2
    with pytest.raises(ConfigError, match="dragon"):
        Detector(bundle, backend, RIG, Thresholds(score={"dragon": 0.5}))


def test_a_model_that_returns_nonsense_is_an_error_and_no_box(tmp_path):
    bundle = make_bundle(tmp_path / "broken", scale=np.nan)
    with pytest.raises(BackendError, match="not finite"):
        Detector(bundle, open_backend(bundle), RIG).detect(frame_of(RIG))


def test_the_rig_may_change_while_another_thread_detects(bundle, backend):
    """Every answer belongs to one rig as a whole: the number of cameras tells which."""
    rigs = [rig_of(cameras=n, radars=2) for n in (1, 3)]
    frames = [part(frame_of(rigs[0]), {"CAM_0"})] * 20
    recorder = Recorder(backend)
    detector = Detector(bundle, recorder, rigs[0])
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for rig in rigs:
                detector.set_rig(rig)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for frame in frames:
            detector.detect(frame)
    finally:
        stop.set()
        thread.join()
    for inputs in recorder.inputs:
        count = len(inputs["images"])
        assert count in (1, 3)
        assert len(inputs["camera_params"]) == len(inputs["frustum_mask"]) == count


# --- memory --------------------------------------------------------------------------------------

MEMORIES = {
    "window": MemorySpec(kind="window", frames=2, channels=3),
    "recurrent": MemorySpec(kind="recurrent", frames=1, channels=3),
}


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    """Kind -> bundle of a graph that tells what it is given of the past, and fears the dark."""
    root = tmp_path_factory.mktemp("remembering")
    return {
        kind: make_bundle(root / kind, spec_of(memory=memory), is_afraid_of_the_dark=True)
        for kind, memory in MEMORIES.items()
    }


def moment(step, x_m=None, is_dark=False):
    """A frame every half second; 2 m further each, where nothing else is said."""
    pose = rigid_transform(np.eye(3), (2.0 * step if x_m is None else x_m, 0, 0))
    stamp_ns = STAMP_NS + step * 500_000_000
    frame = frame_of(RIG, seed=step, stamp_ns=stamp_ns, odom_from_ego=pose)
    return part(frame, set(), stamp_ns=stamp_ns, odom_from_ego=pose) if is_dark else frame


def past(detections):
    """Number of maps, sum of their means, sum of their shifts."""
    z, (vx, vy) = detections.center_m[0, 2], detections.velocity_mps[0]
    return round(float(z)), round(float(vx), 3), round(float(vy), 3)


EXPECTED = {
    # A map's level is 1 plus the sum of those before it; the maps lie 2 m and 4 m behind.
    "window": [(0, 0, 0), (1, 1, 2), (2, 3, 6), (2, 6, 6), (2, 11, 6)],
    "recurrent": [(0, 0, 0), (1, 1, 2), (1, 2, 2), (1, 3, 2), (1, 4, 2)],
}


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_model_with_a_memory_is_given_what_it_said_before(remembering, kind):
    detector = Detector(remembering[kind], open_backend(remembering[kind]), RIG)
    assert [past(detector.detect(moment(step))) for step in range(5)] == EXPECTED[kind]
    facts = detector.memory
    assert (facts.kind, facts.maps) == (kind, MEMORIES[kind].frames)


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_frame_that_is_prepared_early_is_given_what_the_one_before_it_said(remembering, kind):
    detector = Detector(remembering[kind], open_backend(remembering[kind]), RIG)
    found, ready = [], detector.prepare(moment(0))
    for step in range(1, 6):
        following = detector.prepare(moment(step))
        found.append(past(detector.answer(ready)))
        ready = following
    assert found == EXPECTED[kind]


@pytest.mark.parametrize("when", ["offered", "prepared"])
@pytest.mark.parametrize("kind", MEMORIES)
def test_a_frame_from_before_a_reset_is_answered_alone_and_not_remembered(remembering, kind, when):
    detector = Detector(remembering[kind], open_backend(remembering[kind]), RIG)
    detector.detect(moment(0))
    resets = detector.resets
    ready = detector.prepare(moment(1)) if when == "prepared" else None
    detector.reset_memory("asked to")
    found = detector.answer(ready or detector.prepare(moment(1), resets))
    assert past(found) == (0, 0, 0)
    assert detector.memory.last_reset == "asked to"
    assert [past(detector.detect(moment(step))) for step in (2, 3)] == EXPECTED[kind][:2]


def test_a_frame_that_is_given_up_gives_its_array_to_the_next(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    given_up = detector.prepare(frame_of(RIG))
    detector.release(given_up)
    assert detector.prepare(frame_of(RIG)).inputs["images"] is given_up.inputs["images"]


def test_a_model_without_memory_answers_frames_without_poses_in_any_order(bundle, backend):
    detector = Detector(bundle, backend, RIG)
    for step in (3, 1, 1):
        assert len(detector.detect(frame_of(RIG, stamp_ns=STAMP_NS + step))) == 4
    assert (detector.memory.kind, detector.memory.last_reset) == ("none", "")


def test_a_model_that_returns_nan_loses_its_memory_and_the_frame_and_lives(remembering):
    detector = Detector(remembering["window"], open_backend(remembering["window"]), RIG)
    for step in range(3):
        detector.detect(moment(step))
    with pytest.raises(BackendError, match="not finite"):
        detector.detect(moment(3, is_dark=True))
    assert detector.memory.maps == 0
    assert dict(detector.memory.resets) == {RESET_FAILED: 1}
    assert [past(detector.detect(moment(step))) for step in (4, 5)] == EXPECTED["window"][:2]


def test_a_frame_that_never_reached_the_model_leaves_the_memory_alone(remembering):
    detector = Detector(remembering["window"], open_backend(remembering["window"]), RIG)
    for step in range(2):
        detector.detect(moment(step))
    with pytest.raises(SensorError):
        detector.detect(frame_of(rig_of(cameras=4), odom_from_ego=np.eye(4)))
    assert past(detector.detect(moment(2))) == EXPECTED["window"][2]


def test_the_memory_ends_with_the_pose_the_order_of_time_or_on_demand(remembering):
    bundle = remembering["recurrent"]
    detector = Detector(bundle, open_backend(bundle), RIG)
    begin = EXPECTED["recurrent"][:2]

    def restart():
        return [past(detector.detect(moment(step))) for step in (0, 1)]

    assert restart() == begin
    assert restart() == begin
    assert detector.memory.last_reset == RESET_TIME
    for step in (2, 6):  # a frame without a pose, and one that is too late to wait for it
        lost = moment(step)
        lost = Frame(stamp_ns=lost.stamp_ns, cameras=lost.cameras, radars=lost.radars)
        assert past(detector.detect(lost)) == (0, 0, 0)
    assert detector.memory.last_reset == RESET_NO_POSE
    assert restart() == begin
    detector.reset_memory("deactivated")
    assert detector.memory.last_reset == "deactivated"
    assert past(detector.detect(moment(2))) == (0, 0, 0)


def test_several_sequences_may_go_through_one_detector_each_with_its_memory(remembering):
    bundle = remembering["window"]
    detector = Detector(bundle, open_backend(bundle), RIG)
    memories = [FusedMemory(bundle.inputs.memory, bundle.inputs.bev) for _ in range(2)]
    answers = [[past(detector.detect(moment(step), one)) for one in memories] for step in range(5)]
    assert [first for first, _ in answers] == [second for _, second in answers]
    assert [first for first, _ in answers] == EXPECTED["window"]
    assert detector.memory.maps == 0
