# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on tiny real graphs: what does not fit is refused at the border."""

import sys

import numpy as np
import pytest

from imkd_core.config import HeadSpec
from imkd_core.errors import BackendError, BundleError, ConfigError, DeviceError
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.backends import (
    BackendSettings,
    OnnxRuntimeBackend,
    describe_providers,
    open_backend,
)
from imkd_core.runtime.contract import input_contract
from tests.core.rigs import frame_of, rig_of, spec_of
from tests.core.runtime.made_up_bundle import HEAD, SPEC, make_bundle, save_model

RIG = rig_of(cameras=3)


@pytest.fixture(scope="module")
def inputs():
    return prepare_inputs(frame_of(RIG), RIG, SPEC)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def backend(bundle):
    backend = open_backend(bundle, BackendSettings(threads=1))
    yield backend
    backend.close()


def test_a_graph_runs_and_its_outputs_come_by_name(backend, inputs):
    outputs = backend.run(inputs)
    assert {name: value.shape for name, value in outputs.items()} == {
        "scores": (4,),
        "labels": (4,),
        "boxes": (4, 10),
        "i_cam": SPEC.bev.shape,
        "i_rad": SPEC.bev.shape,
    }
    assert outputs["boxes"][0, 0] == pytest.approx(5 + 3 + 10)
    assert outputs["boxes"][0, 1] == pytest.approx(inputs["images"].mean() / 255, abs=1e-4)


def test_the_name_says_what_runs_it(backend):
    assert backend.name.startswith("onnxruntime 1.")
    assert backend.name.endswith("CPUExecutionProvider")


@pytest.mark.parametrize("cameras", [1, 2, 6])
def test_an_open_number_of_cameras_takes_any_rig(backend, cameras):
    rig = rig_of(cameras=cameras)
    outputs = backend.run(prepare_inputs(frame_of(rig), rig, SPEC))
    assert outputs["boxes"][0, 0] == pytest.approx(5 + cameras + 10)


def test_a_fixed_number_of_cameras_refuses_another_rig(tmp_path, inputs):
    six = {"images": ("uint8", (6, 3, 64, 160)), "camera_mask": ("float32", (6,))}
    backend = OnnxRuntimeBackend(
        save_model(tmp_path / "m.onnx", inputs=six), inputs=SPEC, head=HEAD
    )
    with pytest.raises(BackendError, match=r"input 'images' is uint8 \[3, 3, 64, 160\].*\[6, 3"):
        backend.run(inputs)


@pytest.mark.parametrize("name", sorted(input_contract(SPEC)))
def test_inputs_of_another_dtype_or_shape_or_none_are_refused(backend, inputs, name):
    wrong = inputs[name].astype(np.float64)
    with pytest.raises(BackendError, match=f"input '{name}' is float64"):
        backend.run({**inputs, name: wrong})
    with pytest.raises(BackendError, match=f"input '{name}' is"):
        backend.run({**inputs, name: inputs[name][None]})
    rest = {key: value for key, value in inputs.items() if key != name}
    with pytest.raises(BackendError, match=rf"missing \['{name}'\]"):
        backend.run(rest)


def test_unknown_inputs_are_refused(backend, inputs):
    with pytest.raises(BackendError, match=r"unknown \['lidar'\]"):
        backend.run({**inputs, "lidar": np.zeros(3)})


def test_a_run_that_fails_inside_is_an_error_and_the_backend_lives(tmp_path, inputs):
    backend = OnnxRuntimeBackend(save_model(tmp_path / "m.onnx", is_fragile=True))
    with pytest.raises(BackendError, match=r"inference of .*m\.onnx failed"):
        backend.run(inputs)
    rig = rig_of(cameras=1)
    assert backend.run(prepare_inputs(frame_of(rig), rig, SPEC))["scores"].shape == (4,)


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_refused(tmp_path, inputs, scale):
    backend = OnnxRuntimeBackend(save_model(tmp_path / "m.onnx", scale=scale))
    with pytest.raises(BackendError, match="not finite in 'boxes'"):
        backend.run(inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": {"images": ("uint8", (None, 3, 64, 96))}},
            r"'images' is uint8 \[\?, 3, 64, 96",
        ),
        ({"inputs": {"lut_weight": ("float32", (2560, 8))}}, r"'lut_weight' is float32 \[2560, 8"),
        ({"inputs": {"lut_index": ("float32", (2560, 16))}}, "'lut_index' is float32"),
        ({"inputs": {"frustum_mask": ("float32", (None, 64, 4))}}, "'frustum_mask'"),
        ({"inputs": {"lut_index": None}}, r"missing \['lut_index'\]"),
        ({"inputs": {"history": ("float32", (4,))}}, r"unknown \['history'\]"),
        ({"outputs": {"i_cam": None}}, r"outputs do not fit: missing \['i_cam'\]"),
        ({"outputs": {"speeds": ("float32", (4,))}}, r"unknown \['speeds'\]"),
    ],
)
def test_a_model_that_is_not_what_the_bundle_says_is_refused(tmp_path, changes, message):
    path = save_model(tmp_path / "m.onnx", **changes)
    with pytest.raises(BackendError, match=message):
        OnnxRuntimeBackend(path, inputs=SPEC, head=HEAD)


def test_a_model_of_another_grid_or_head_is_refused(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    with pytest.raises(BackendError, match=r"'radar_grid'|'lut_"):
        OnnxRuntimeBackend(path, inputs=spec_of(lut_taps=8), head=HEAD)
    with pytest.raises(BackendError, match=r"output '(scores|labels|boxes)' is .*\[4"):
        OnnxRuntimeBackend(path, inputs=SPEC, head=HeadSpec(candidates=5))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09\x12\x04tiny"])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=r"cannot load .*broken\.onnx"):
        OnnxRuntimeBackend(path)


def test_a_truncated_model_is_refused(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BackendError, match="cannot load"):
        OnnxRuntimeBackend(path)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(BackendError, match=r"cannot load .*absent\.onnx"):
        OnnxRuntimeBackend(tmp_path / "absent.onnx")


def test_a_closed_backend_refuses_to_run_and_closes_twice(tmp_path, inputs):
    backend = OnnxRuntimeBackend(save_model(tmp_path / "m.onnx"))
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="is closed"):
        backend.run(inputs)


def test_a_provider_that_is_not_there_is_refused_and_not_replaced(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    with pytest.raises(BackendError, match=r"DreamProvider is not available.*CPUExecution"):
        OnnxRuntimeBackend(path, providers=("DreamProvider", "CPUExecutionProvider"))


def test_a_role_that_the_bundle_lacks_is_refused(bundle):
    with pytest.raises(BundleError, match="no 'fp16' model"):
        open_backend(bundle, BackendSettings(role="fp16"))


def test_threads_and_spinning_reach_the_session(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    for spinning, expected in ((False, "0"), (True, "1")):
        backend = OnnxRuntimeBackend(path, threads=3, allow_spinning=spinning)
        options = backend._session.get_session_options()
        assert options.intra_op_num_threads == 3
        assert options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == expected


@pytest.mark.parametrize(
    "values", [{"threads": 0}, {"threads": 1000}, {"log_severity": 5}, {"providers": ()}]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        BackendSettings(**values)


def test_what_fails_at_its_first_run_fails_when_it_is_opened(tmp_path):
    fragile = make_bundle(tmp_path / "b", is_fragile=True)
    with pytest.raises(DeviceError, match="failed on onnxruntime"):
        open_backend(fragile, BackendSettings(threads=1, cameras=3))
    open_backend(fragile, BackendSettings(threads=1, cameras=1)).close()


def test_a_model_that_gives_nonsense_for_zeros_is_opened_and_judged_by_its_frames(tmp_path, inputs):
    backend = open_backend(make_bundle(tmp_path / "b", scale=np.nan), BackendSettings(threads=1))
    with pytest.raises(BackendError, match="not finite"):
        backend.run(inputs)


def test_the_cpu_provider_is_described():
    assert describe_providers()["CPUExecutionProvider"].startswith("onnxruntime ")


def test_without_onnx_runtime_the_remedy_is_named(monkeypatch, bundle):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        describe_providers()
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        open_backend(bundle)
