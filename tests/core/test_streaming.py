# SPDX-License-Identifier: Apache-2.0
"""Frame by frame on the vehicle equals all frames at once in training (method.md 3.5, 12.2).

The vehicle: `Detector`, its memory, and ONNX Runtime on the exported file. Training: the torch
network, given every frame with its past frames in one batch.
"""

import numpy as np
import pytest
import torch
from torch import nn

from imkd_core.config import MemorySpec
from imkd_core.evaluation.proof import largest_difference
from imkd_core.export.onnx_export import export_onnx
from imkd_core.geometry import rigid_transform
from imkd_core.model.center_head import decode
from imkd_core.model.example import INPUT_NAMES
from imkd_core.model.sequence import with_history
from imkd_core.postprocess import Thresholds, decode_boxes
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.backends import BackendSettings, open_backend
from imkd_core.runtime.detector import Detector
from imkd_core.types import Frame
from tests.core.model.remembering import config_with, remembering_student
from tests.core.model.small import MODEL
from tests.core.rigs import STAMP_NS, frame_of, rig_of, rotation

RIG = rig_of(cameras=2, radars=1)
STEPS = 6
INTERVAL_S = 0.5
MEMORIES = {
    "window": MemorySpec(kind="window", frames=3, channels=MODEL.fused_channels),
    "recurrent": MemorySpec(kind="recurrent", frames=1, channels=MODEL.fused_channels),
}

#: Where the vehicle is: x, y (metres), yaw (radians); it speeds up and turns, on a slope.
PLACES = [(100 + 1.5 * t + 0.1 * t * t, -40 + 0.2 * t * t, 0.4 + 0.07 * t) for t in range(STEPS)]


def frames():
    """Half a second apart; of the fourth a camera is missing, of the fifth the radar."""
    lost = {3: "CAM_1", 4: "RADAR_0"}
    found = []
    for step, (x, y, yaw) in enumerate(PLACES):
        frame = frame_of(RIG, seed=step)
        found.append(
            Frame(
                stamp_ns=STAMP_NS + step * round(INTERVAL_S * 1e9),
                cameras={n: v for n, v in frame.cameras.items() if n != lost.get(step)},
                radars={n: v for n, v in frame.radars.items() if n != lost.get(step)},
                odom_from_ego=rigid_transform(rotation(yaw, 0, 0), (x, y, 3.0 + 0.1 * step)),
            )
        )
    return found


def motion(newer, older):
    """(2, 3) that takes a point of the newer frame to the older one; from the plane alone."""
    (x, y, yaw), (x_old, y_old, yaw_old) = PLACES[newer], PLACES[older]
    turn, cos, sin = yaw - yaw_old, np.cos(-yaw_old), np.sin(-yaw_old)
    shift = np.array([[cos, -sin], [sin, cos]]) @ (x - x_old, y - y_old)
    rows = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return torch.tensor(np.column_stack([rows, shift]), dtype=torch.float32)


def all_at_once(memory, arrays):
    """The frames as one batch for `with_history`, each with the frames before it, newest first."""
    length = memory.frames if memory.kind == "window" else STEPS - 1
    present = {name: torch.stack([frame[name] for frame in arrays]) for name in INPUT_NAMES}
    past = {
        f"past_{n}": torch.zeros(STEPS, length, *v.shape[1:], dtype=v.dtype)
        for n, v in present.items()
    }
    past["past_transform"] = torch.eye(2, 3).repeat(STEPS, length, 1, 1)
    past["past_age_s"] = torch.zeros(STEPS, length)
    past["past_mask"] = torch.zeros(STEPS, length)
    for step in range(STEPS):
        for place in range(min(length, step)):
            older = step - 1 - place
            newer = older + 1 if memory.kind == "recurrent" else step
            for name in INPUT_NAMES:
                past[f"past_{name}"][step, place] = arrays[older][name]
            past["past_transform"][step, place] = motion(newer, older)
            past["past_age_s"][step, place] = INTERVAL_S * (newer - older)
            past["past_mask"][step, place] = 1
    return present | past


class Recorder:
    """A backend that keeps what the model gave."""

    def __init__(self, backend):
        self.outputs = []
        self._backend = backend

    def run(self, inputs):
        self.outputs.append(self._backend.run(inputs))
        return self.outputs[-1]


@pytest.fixture(scope="module", params=MEMORIES)
def student(request):
    """A student whose norms and memory have something to say."""
    torch.manual_seed(1)
    student = remembering_student(MEMORIES[request.param])
    for norm in (part for part in student.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
    return student.eval()


@pytest.fixture(scope="module")
def streamed(student, tmp_path_factory):
    """What the vehicle finds, frame by frame, and what its model gave."""
    config = config_with(student.inputs.memory)
    bundle = export_onnx(
        student, config, tmp_path_factory.mktemp("bundle"), "small", {}, roles=("fp32",)
    )
    recorder = Recorder(open_backend(bundle, BackendSettings(threads=1)))
    thresholds = Thresholds(default_score=0.0)
    detector = Detector(bundle, recorder, RIG, thresholds)
    return [detector.detect(frame) for frame in frames()], recorder.outputs


@pytest.fixture(scope="module")
def sequence(student):
    """The frames as a training batch."""
    arrays = [
        {name: torch.from_numpy(np.asarray(value)) for name, value in made.items()}
        for made in (prepare_inputs(frame, RIG, student.inputs) for frame in frames())
    ]
    return all_at_once(student.inputs.memory, arrays)


def answers_of(student, inputs):
    """Outputs of the torch network for all frames at once, by name, with the batch in front."""
    with torch.no_grad():
        maps = student(**with_history(student, inputs))
        found = decode(maps.heatmap_logits, maps.codes, student.head_spec, student.inputs.bev)
    return {
        "scores": found.scores.numpy(),
        "labels": found.labels.numpy(),
        "boxes": found.boxes.numpy(),
        "i_cam": maps.i_cam[:, 0].numpy(),
        "i_rad": maps.i_rad[:, 0].numpy(),
        "memory": maps.memory.numpy(),
    }


def in_the_order_of(wanted, boxes):
    """Return the same boxes, each in the place of the one most like it; each place is taken.

    By their scores two may change places, where these differ in the seventh digit.
    """
    columns = ("center_m", "size_m", "yaw_rad", "velocity_mps", "scores", "labels")
    one, other = (
        np.column_stack([getattr(some, name) for name in columns]) for some in (wanted, boxes)
    )
    order = np.abs(one[:, None] - other[None]).max(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(boxes)))
    return boxes.select(order)


def test_streaming_equals_batch(student, streamed, sequence):
    batch = answers_of(student, sequence)
    for step, (found, given) in enumerate(zip(*streamed, strict=True)):
        expected = {name: value[step] for name, value in batch.items()}
        for name in ("memory", "scores", "i_cam", "i_rad"):
            np.testing.assert_allclose(given[name], expected[name], atol=1e-4, err_msg=name)
        every = Thresholds(default_score=0.0)
        wanted = decode_boxes(expected, student.head_spec, found.stamp_ns, every)
        assert len(found) > 10
        assert largest_difference(in_the_order_of(wanted, found), wanted) < 1e-4


@pytest.mark.parametrize("change", ["past_mask", "past_transform", "past_age_s"])
def test_without_what_is_remembered_the_answers_are_others(student, sequence, change):
    """Or else the two would be equal without any memory; the first frame has no past."""
    batch = answers_of(student, sequence)["scores"]
    other = {**sequence, change: torch.zeros_like(sequence[change])}
    difference = np.abs(answers_of(student, other)["scores"] - batch).max(axis=1)
    assert difference[0] < 1e-6
    assert (difference[1:] > 1e-3).all()
