# SPDX-License-Identifier: Apache-2.0
"""`imkd evaluate` with a model that remembers: each scene and each loss has its own past."""

import json

import numpy as np
import pytest

from imkd_core.cli.evaluation import detect
from imkd_core.cli.evaluation.run import EvaluationOptions, choose_samples, evaluate_bundle
from imkd_core.cli.evaluation.sequences import RECURRENT_INTERVALS, sequences_of
from imkd_core.config import MemorySpec
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import DataError
from imkd_core.evaluation.losses import Loss
from tests.core.data.made_up import write_dataroot
from tests.core.rigs import spec_of
from tests.core.runtime.made_up_bundle import make_bundle

FRAMES = 5
MEMORIES = {
    "window": MemorySpec(kind="window", frames=2, channels=2),
    "recurrent": MemorySpec(kind="recurrent", frames=1, channels=2),
}
ALL_SENSORS, NO_CAMERAS = Loss(), Loss(sensors=("all-cameras",))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Kind -> bundle whose first box tells of the past that it was given."""
    root = tmp_path_factory.mktemp("models")
    return {kind: make_bundle(root / kind, spec_of(memory=m)) for kind, m in MEMORIES.items()}


def drives(root, frames=FRAMES, scenes=2):
    return write_dataroot(
        root, frames, scenes=scenes, cameras=("CAM_FRONT",), radars=(), sweeps=0, lidar_points=9
    ).root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return drives(tmp_path_factory.mktemp("drives"))


def evaluate(bundle, data, output, **options):
    options = EvaluationOptions(report=False, losses=(NO_CAMERAS,), **options)
    return evaluate_bundle(bundle.root, data, output, options)


def pasts(output, loss=ALL_SENSORS):
    """Return token -> (maps, sum of their levels, metres to them) as the model was given them."""
    found = {}
    for path in sorted((output / "predictions" / loss.name.replace(" ", "_")).iterdir()):
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            parts = {name: file[name] for name in ("scores", "center_m", "velocity_mps")}
        ends = np.cumsum(about["counts"])
        for token, begin, end in zip(about["tokens"], [0, *ends], ends, strict=False):
            best = begin + int(np.argmax(parts["scores"][begin:end]))
            told = parts["center_m"][best, 2], *parts["velocity_mps"][best]
            found[token] = tuple(round(float(value), 2) for value in told)
    return found


def test_every_scene_begins_without_a_past_and_every_loss_has_its_own(bundles, data, tmp_path):
    evaluate(bundles["recurrent"], data, tmp_path)
    reader = NuScenes(data)
    for loss in (ALL_SENSORS, NO_CAMERAS):
        found = pasts(tmp_path, loss)
        for scene in reader.scenes:
            told = [found[token] for token in reader.sample_tokens(scene)]
            assert [(maps, level) for maps, level, _ in told] == [
                (0, 0),
                *((1, level) for level in range(1, FRAMES)),
            ]
            assert all(metres > 0.5 for _, _, metres in told[1:]), "the drive goes forward"


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_limit_does_not_starve_the_memory(bundles, data, tmp_path, kind):
    evaluate(bundles[kind], data, tmp_path / "all")
    evaluation = evaluate(bundles[kind], data, tmp_path / "some", limit=3)
    everything, some = pasts(tmp_path / "all"), pasts(tmp_path / "some")
    assert len(some) == 3 == evaluation.conditions[0].metrics.samples
    for token, told in some.items():
        maps, level, metres = everything[token]
        assert told == (maps, told[1], metres)
        # A window may begin later than the scene, and what came before it has no level then.
        assert told[1] == level if kind == "recurrent" else told[1] <= level
    assert any(maps for maps, _, _ in some.values())


def test_predictions_are_used_again_only_for_the_samples_that_led_to_them(
    bundles, data, tmp_path, monkeypatch
):
    ran = []
    detect_one = detect.SceneRunner._detect

    def counting(self, token, *rest):
        ran.append(token)
        return detect_one(self, token, *rest)

    monkeypatch.setattr(detect.SceneRunner, "_detect", counting)
    bundle, reader = bundles["window"], NuScenes(data)
    evaluate(bundle, data, tmp_path, limit=2)
    tokens = choose_samples(reader, limit=2)
    sequences = sequences_of(reader, tokens, MEMORIES["window"])
    assert ran == [token for scene in sequences.values() for token in scene]
    assert len(ran) > 2
    ran.clear()
    evaluate(bundle, data, tmp_path, limit=2)
    assert not ran
    told = pasts(tmp_path)
    (tmp_path / "predictions" / "all_sensors" / "made-up-1.npz").unlink()
    evaluate(bundle, data, tmp_path, limit=2)
    assert ran == list(sequences["made-up-1"])
    assert pasts(tmp_path) == told


def test_the_samples_before_those_that_are_judged_are_run_as_far_as_the_memory_reaches(tmp_path):
    reader = NuScenes(drives(tmp_path, frames=10, scenes=1))
    scene, every = reader.scenes[0], reader.sample_tokens()

    def indices(judged, memory):
        tokens = {scene: tuple(every[i] for i in judged)}
        return [every.index(token) for token in sequences_of(reader, tokens, memory)[scene]]

    window = MemorySpec(kind="window", frames=3, channels=2, interval_s=1.0)
    assert indices([1, 9], MemorySpec()) == [1, 9]
    assert indices([0], MEMORIES["window"]) == [0]
    assert indices([4, 9], MEMORIES["window"]) == [2, 3, 4, 7, 8, 9]
    assert indices([4, 6], MEMORIES["window"]) == [2, 3, 4, 5, 6]
    assert indices([9], window) == [3, 4, 5, 6, 7, 8, 9]
    assert indices([9], MEMORIES["recurrent"]) == [*range(9 - RECURRENT_INTERVALS, 10)]
    assert indices(range(10), window) == [*range(10)]


def test_a_sample_that_was_to_be_remembered_and_is_torn_is_named_and_may_be_left_out(
    bundles, tmp_path
):
    root = drives(tmp_path / "drives", frames=3, scenes=1)
    images = sorted((root / "samples" / "CAM_FRONT").iterdir())
    images[1].write_bytes(b"torn")
    with pytest.raises(DataError, match=images[1].name):
        evaluate(bundles["window"], root, tmp_path / "out", limit=2)  # judges the first and last
    evaluation = evaluate(bundles["window"], root, tmp_path / "out", limit=2, skip_bad=True)
    assert evaluation.conditions[0].metrics.samples == 2
    assert len(evaluation.skipped) == 1
    assert [maps for maps, _, _ in pasts(tmp_path / "out").values()] == [0, 1]
