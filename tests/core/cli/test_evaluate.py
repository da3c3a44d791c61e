# SPDX-License-Identifier: Apache-2.0
"""`imkd evaluate` from a made-up drive and a tiny bundle to figures and a report."""

import json
from dataclasses import replace

import numpy as np
import pytest

from imkd_core.__main__ import main
from imkd_core.cli.evaluation import detect
from imkd_core.cli.evaluation.report import choose_frames
from imkd_core.cli.evaluation.run import EvaluationOptions, choose_samples, evaluate_bundle
from imkd_core.config import HeadSpec
from imkd_core.data.nuscenes.boxes import score_detections
from imkd_core.data.nuscenes.reader import NuScenes
from imkd_core.errors import ConfigError, DataError
from imkd_core.evaluation.losses import Loss
from imkd_core.runtime.backends import BackendSettings
from imkd_core.runtime.tensorrt import backend as tensorrt_backend
from imkd_core.runtime.tensorrt import engine_cache
from imkd_core.runtime.tensorrt.builder import BuiltEngine
from imkd_core.runtime.tensorrt.cuda import Cuda
from tests.core.data.made_up import write_dataroot
from tests.core.runtime.made_up_bundle import make_bundle
from tests.core.runtime.tensorrt.stand_ins import (
    ILLEGAL_ADDRESS,
    StandInCudart,
    StandInTensorRt,
)

SCENES, FRAMES = 2, 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle").root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    return write_dataroot(root, frames=FRAMES, scenes=SCENES, sweeps=0).root


@pytest.fixture
def own_data(tmp_path):
    """A drive that a test may break."""
    return write_dataroot(tmp_path / "own", frames=3, cameras=("CAM_FRONT",), sweeps=0).root


def arguments(bundle, data, output, *more):
    paths = ("--model", bundle, "--data", data, "--output", output)
    return ["evaluate", *map(str, paths), "--workers", "1", *map(str, more)]


def test_the_verb_writes_figures_report_and_a_result_file(bundle, data, tmp_path, capsys):
    output, results = tmp_path / "out", tmp_path / "results.json"
    code = main(arguments(bundle, data, output, "--lose", "all-cameras", "--results-json", results))
    assert code == 0
    figures = json.loads((output / "metrics.json").read_text())
    assert figures["conditions"][0]["metrics"]["samples"] == SCENES * FRAMES
    assert [run["lost"] for run in figures["conditions"]] == [0, 6]
    assert figures["model"] == "tiny"
    assert figures["score_threshold"] == 0.01
    report = (output / "report.html").read_text()
    for words in ("without all cameras", "Precision over recall", "made-up-0", "data:image"):
        assert words in report
    assert len(json.loads(results.read_text())["results"]) == SCENES * FRAMES
    printed = capsys.readouterr().out
    assert f"NDS {figures['nds']:.4f}" in printed
    assert "construction_vehicle" in printed


def test_lost_sensors_reach_the_model_and_the_figures_are_those_of_its_boxes(
    bundle, data, tmp_path
):
    options = EvaluationOptions(losses=(Loss(sensors=("all-cameras",)),), report=False)
    evaluation = evaluate_bundle(bundle, data, tmp_path, options)
    job, loaded = job_of(bundle, data, tmp_path, options.losses)
    reader = NuScenes(data)
    for loss, condition in zip((Loss(), *options.losses), evaluation.conditions, strict=True):
        parts = [detect.stored(job, loaded, scene, loss).detections for scene in reader.scenes]
        found = {token: boxes for part in parts for token, boxes in part.items()}
        # The tiny model's first box tells how many sensors live (see made_up_bundle).
        live = {int(boxes.center_m[np.argmax(boxes.scores), 0]) for boxes in found.values()}
        assert live == ({5 + 6 + 10} if loss == Loss() else {5 + 0 + 10})
        again = score_detections(reader.samples(), found)
        assert again.nds == condition.metrics.nds


def job_of(bundle, data, output, losses=()):
    loaded = detect.load_bundle(bundle)
    reader = NuScenes(data)
    job = detect.DetectionJob(
        bundle=loaded.root,
        data=data,
        version=reader.tables.version,
        output=output / "predictions",
        tokens=choose_samples(reader),
        losses=(Loss(), *losses),
    )
    return job, loaded


def test_a_second_run_detects_nothing_again_and_a_missing_scene_alone(
    bundle, data, tmp_path, monkeypatch
):
    options = EvaluationOptions(report=False)
    first = evaluate_bundle(bundle, data, tmp_path, options)
    frames = []
    detect_one = detect.SceneRunner._detect

    def counting(self, token, losses, detector):
        frames.append(token)
        return detect_one(self, token, losses, detector)

    monkeypatch.setattr(detect.SceneRunner, "_detect", counting)
    assert evaluate_bundle(bundle, data, tmp_path, options).nds == first.nds
    assert not frames
    (tmp_path / "predictions" / "all_sensors" / "made-up-1.npz").unlink()
    assert evaluate_bundle(bundle, data, tmp_path, options).nds == first.nds
    assert frames == list(NuScenes(data).sample_tokens("made-up-1"))
    frames.clear()
    other = EvaluationOptions(report=False, score_threshold=0.7)
    evaluate_bundle(bundle, data, tmp_path, other)
    assert len(frames) == SCENES * FRAMES


def test_processes_give_what_one_gives(bundle, data, tmp_path):
    one = evaluate_bundle(bundle, data, tmp_path / "one", EvaluationOptions(report=False))
    told = []
    two = evaluate_bundle(
        bundle,
        data,
        tmp_path / "two",
        EvaluationOptions(report=False, workers=2),
        lambda done, scene: told.append((done, scene)),
    )
    first, second = (one.to_json()["conditions"][0]["metrics"] for one in (one, two))
    assert first == second
    assert sorted(scene for _, scene in told) == ["made-up-0", "made-up-1"]
    assert told[-1][0] == SCENES * FRAMES


def test_figures_of_another_provider_are_not_taken_for_those_of_this_one(bundle, data, tmp_path):
    job, loaded = job_of(bundle, data, tmp_path)
    keys = {
        replace(job, backend=backend).key(loaded, "made-up-0", Loss())
        for backend in (
            BackendSettings(),
            BackendSettings(threads=7, cpu_fallback=True),
            BackendSettings(providers=("CPUExecutionProvider",)),
            BackendSettings(openvino_precision="device"),
            BackendSettings(backend="tensorrt"),
        )
    }
    assert len(keys) == 4


def test_tensorrt_is_chosen_as_the_node_chooses_it(bundle, own_data, tmp_path, monkeypatch, capsys):
    cudart = StandInCudart()
    monkeypatch.setattr(tensorrt_backend, "load_cuda", lambda: Cuda(cudart))
    monkeypatch.setattr(tensorrt_backend, "import_tensorrt", lambda: StandInTensorRt(cudart))

    def build(tensorrt, source, target, cameras, *, timing, report):
        report("builds the engine: phase 1 (4 s)")
        return BuiltEngine(plan=source.content, timing=b"", seconds=4.0)

    monkeypatch.setattr(engine_cache, "build_engine", build)
    few = ("--limit", "1", "--pictures", "0")
    more = (*few, "--backend", "tensorrt", "--engine-folder", tmp_path / "engines")
    assert main(arguments(bundle, own_data, tmp_path / "gpu", *more)) == 0
    assert "builds the engine: phase 1 (4 s)" in capsys.readouterr().err
    assert list((tmp_path / "engines").glob("*.plan"))
    assert main(arguments(bundle, own_data, tmp_path / "cpu", *few)) == 0
    figures = [json.loads((tmp_path / f / "metrics.json").read_text()) for f in ("gpu", "cpu")]
    assert figures[0]["nds"] == figures[1]["nds"]
    cudart.fail("StreamQuery", ILLEGAL_ADDRESS)
    assert main(arguments(bundle, own_data, tmp_path / "broken", *more)) == 2
    assert "error 700" in capsys.readouterr().err


def test_a_torn_image_is_named_and_can_be_left_out(bundle, own_data, tmp_path, capsys):
    image = sorted((own_data / "samples" / "CAM_FRONT").iterdir())[0]
    image.write_bytes(image.read_bytes()[:200])
    assert main(arguments(bundle, own_data, tmp_path / "out")) == 2
    message = capsys.readouterr().err
    assert image.name in message
    assert "--skip-bad" in message
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert main(arguments(bundle, own_data, tmp_path / "out", "--skip-bad")) == 0
    assert "1 samples were skipped" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert image.name in next(iter(figures["skipped"].values()))
    assert figures["conditions"][0]["metrics"]["samples"] == 2
    assert "left out" in (tmp_path / "out" / "report.html").read_text()
    assert main(arguments(bundle, own_data, tmp_path / "out")) == 2


def test_a_true_box_with_nan_is_a_bad_sample(bundle, own_data, tmp_path, capsys):
    table = own_data / "v1.0-mini" / "sample_annotation.json"
    rows = json.loads(table.read_text())
    rows[0]["translation"][1] = float("nan")
    table.write_text(json.dumps(rows))
    assert main(arguments(bundle, own_data, tmp_path / "out")) == 2
    assert rows[0]["token"] in capsys.readouterr().err
    assert main(arguments(bundle, own_data, tmp_path / "out", "--skip-bad")) == 0
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(figures["skipped"]) == 2  # the next sample takes a velocity from the broken box


def test_samples_that_are_all_bad_are_refused(bundle, own_data, tmp_path):
    for image in (own_data / "samples" / "CAM_FRONT").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="all 3 samples were skipped"):
        evaluate_bundle(bundle, own_data, tmp_path / "out", EvaluationOptions(skip_bad=True))


def test_a_model_of_other_classes_is_refused_before_any_work(data, tmp_path, capsys):
    names = ("car", "tram")
    radius = dict.fromkeys(names, 1.0)
    head = HeadSpec(class_names=names, tasks=(names,), nms_radius_m=radius, candidates=4)
    other = make_bundle(tmp_path / "other", head=head)
    assert main(arguments(other.root, data, tmp_path / "out")) == 2
    assert "tram" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--lose", "CAM_TOP"), "CAM_TOP"),
        (("--limit", "0"), "limit"),
        (("--score", "1.5"), "score"),
        (("--scenes", "scene-9"), "scene-9"),
        (("--version", "v1.0-test"), "v1.0-test"),
        (("--role", "int8"), "int8"),
        (("--role", "auto"), "must name one file"),
        (("--provider", "DreamProvider"), "DreamProvider is not available"),
    ],
)
def test_wrong_options_are_refused_in_words(bundle, data, tmp_path, capsys, more, words):
    assert main(arguments(bundle, data, tmp_path / "out", *more)) == 2
    assert words in capsys.readouterr().err


def test_a_limit_spreads_the_frames_over_the_scenes(data):
    reader = NuScenes(data)
    chosen = choose_samples(reader, limit=2)
    every = reader.sample_tokens()
    assert [token for tokens in chosen.values() for token in tokens] == [every[0], every[-1]]
    assert choose_samples(reader, limit=99) == choose_samples(reader)
    assert list(choose_samples(reader, ("made-up-1",))) == ["made-up-1"]


def test_frames_to_show_are_different_ones(data):
    records = NuScenes(data).samples()
    for count in (0, 1, 3, 6):
        shown = [record.token for record in choose_frames(records, count)]
        assert len(shown) == len(set(shown)) == count
    assert choose_frames(records[:1], 3) == [records[0]]


def test_options_out_of_range_are_refused():
    for wrong in (
        {"max_boxes": 501},
        {"workers": 0},
        {"pictures": -1},
        {"limit": 0},
        {"score_threshold": 1.0},
        {"role": "auto"},
        {"backend": BackendSettings(cpu_fallback=True)},
    ):
        with pytest.raises(ConfigError):
            EvaluationOptions(**wrong)
