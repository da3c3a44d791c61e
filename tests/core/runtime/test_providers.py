# SPDX-License-Identifier: Apache-2.0
"""Which provider runs a graph: OpenVINO by itself where it can, and a clear word where not.

A made-up plugin stands in for OpenVINO's, which takes Intel processors alone; with the real one
and such a processor the last test runs it.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from imkd_core.errors import BackendError, ConfigError, DeviceError
from imkd_core.preprocess import prepare_inputs
from imkd_core.runtime.backends import BackendSettings, OnnxRuntimeBackend, open_backend
from imkd_core.runtime.providers import (
    AUTO,
    CPU_PROVIDER,
    OPENVINO_PROVIDER,
    ProviderSettings,
    has_openvino,
    open_session,
    openvino_devices,
)
from tests.core.rigs import frame_of, rig_of
from tests.core.runtime.made_up_bundle import SPEC, make_bundle, save_model

onnxruntime = pytest.importorskip("onnxruntime")

REAL_SESSION = onnxruntime.InferenceSession
EXPLICIT = ProviderSettings(providers=(OPENVINO_PROVIDER,), threads=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "m.onnx")


class MadeUp:
    """A plugin that is installed; what ONNX Runtime is asked is kept."""

    def __init__(self, monkeypatch):
        name = "onnxruntime_ep_openvino"
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.get_library_path = lambda: "/made/up/plugin.so"
        monkeypatch.setitem(sys.modules, name, module)
        self.registered, self.devices, self.asked, self.error = [], [], [], None
        self.kinds = ("NPU", "CPU")
        monkeypatch.setattr(onnxruntime, "register_execution_provider_library", self.register)
        monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: list(self.devices))
        monkeypatch.setattr(onnxruntime, "SessionOptions", self.options)
        monkeypatch.setattr(onnxruntime, "InferenceSession", self.session)

    def register(self, name, path):
        self.registered.append((name, path))
        if self.error is not None:
            raise self.error
        kinds = [getattr(onnxruntime.OrtHardwareDeviceType, kind) for kind in self.kinds]
        self.devices = [
            SimpleNamespace(ep_name=OPENVINO_PROVIDER, device=SimpleNamespace(type=kind))
            for kind in kinds
        ]

    def options(self):
        options = SimpleNamespace(add_session_config_entry=lambda *_: None)
        options.add_provider_for_devices = lambda devices, config: self.asked.append(
            (devices, config)
        )
        return options

    def session(self, path, options, names):
        return SimpleNamespace(path=path, names=names)


@pytest.fixture
def plugin(monkeypatch):
    return MadeUp(monkeypatch)


def config_of(plugin):
    ((devices, values),) = plugin.asked
    assert [device.device.type for device in devices] == [onnxruntime.OrtHardwareDeviceType.CPU]
    return json.loads(values["load_config"])["CPU"]


@pytest.mark.parametrize("names", [(AUTO,), (OPENVINO_PROVIDER,)])
def test_the_plugin_runs_on_the_cpu_in_fp32_with_the_threads_that_were_asked_for(
    plugin, model, names
):
    said = []
    session = open_session(model, ProviderSettings(providers=names, threads=3), said.append)
    assert config_of(plugin) == {
        "INFERENCE_NUM_THREADS": "3", "INFERENCE_PRECISION_HINT": "f32"
    }  # fmt: skip
    assert session.names is None
    assert said == []


def test_on_request_the_precision_is_left_to_openvino_and_never_forced(plugin, model):
    open_session(model, ProviderSettings(openvino_precision="device"))
    assert config_of(plugin) == {"INFERENCE_NUM_THREADS": "2"}


def test_the_plugin_is_registered_once(plugin, model):
    for _ in range(2):
        open_session(model, EXPLICIT)
    assert len(plugin.registered) == 1


def test_one_that_another_registered_is_no_error(plugin, model):
    plugin.error = RuntimeError("EP library is already registered under x")
    with pytest.raises(BackendError, match="no CPU device"):
        open_session(model, EXPLICIT)


def failing_library(plugin, monkeypatch):
    plugin.error = RuntimeError("wrong ABI")


def foreign_processor(plugin, monkeypatch):
    plugin.kinds = ("GPU",)


def graph_refused(plugin, monkeypatch):
    def session(path, options, names):
        if names is None:
            raise RuntimeError("unsupported operator")
        return SimpleNamespace(names=names)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def old_runtime(plugin, monkeypatch):
    monkeypatch.delattr(onnxruntime, "register_execution_provider_library")


FAULTS = [
    (failing_library, "cannot be loaded: wrong ABI"),
    (foreign_processor, "no CPU device on this machine"),
    (graph_refused, "unsupported operator"),
    (old_runtime, r"needs 1\.23"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_by_itself_the_cpu_takes_over_and_the_reason_is_told(
    plugin, monkeypatch, model, spoil, message
):
    spoil(plugin, monkeypatch)
    said = []
    assert open_session(model, ProviderSettings(), said.append).names == [CPU_PROVIDER]
    (text,) = said
    assert text.startswith("OpenVINO is installed and not used, CPUExecutionProvider runs: ")
    with pytest.raises(BackendError, match=message):
        raise BackendError(text)


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_where_it_was_asked_for_nothing_takes_over(plugin, monkeypatch, model, spoil, message):
    spoil(plugin, monkeypatch)
    with pytest.raises(BackendError, match=message):
        open_session(model, EXPLICIT)


@pytest.fixture
def pretended(plugin, monkeypatch, tmp_path):
    """OpenVINO that is the CPU provider under its name; `fail` makes its runs fail."""
    state = SimpleNamespace(fail=False, bundle=make_bundle(tmp_path / "tiny"))

    class Session:
        def __init__(self, path, options, names):
            self.is_openvino = names is None
            self.real = REAL_SESSION(path, providers=[CPU_PROVIDER])
            self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs

        def get_providers(self):
            return [OPENVINO_PROVIDER if self.is_openvino else CPU_PROVIDER]

        def run(self, names, inputs):
            if self.is_openvino and state.fail:
                raise RuntimeError("primitive not implemented")
            return self.real.run(names, inputs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return state


def inputs_of(cameras):
    rig = rig_of(cameras=cameras)
    return prepare_inputs(frame_of(rig), rig, SPEC)


def test_a_graph_that_fails_at_its_first_run_alone_goes_to_the_cpu_and_says_why(pretended):
    pretended.fail, said = True, []
    backend = open_backend(pretended.bundle, BackendSettings(threads=1), said.append)
    assert backend.name.endswith(CPU_PROVIDER)
    assert backend.substitution == ""  # "auto" leaves it to us
    (text,) = said
    assert "primitive not implemented" in text
    assert f"not used, {CPU_PROVIDER} runs" in text
    explicit = BackendSettings(threads=1, providers=(OPENVINO_PROVIDER,))
    with pytest.raises(DeviceError, match="primitive not implemented"):
        open_backend(pretended.bundle, explicit)


def test_openvino_that_fails_later_is_replaced_in_that_very_frame(pretended):
    said = []
    backend = open_backend(pretended.bundle, BackendSettings(threads=1), said.append)
    assert backend.name.endswith(OPENVINO_PROVIDER)
    assert backend.run(inputs_of(3))
    pretended.fail = True
    assert backend.run(inputs_of(3))["boxes"].shape == (4, 10)
    assert backend.name.endswith(CPU_PROVIDER)
    assert said == [backend.substitution]
    assert "primitive not implemented" in backend.substitution


def test_where_it_is_not_installed_the_cpu_runs_and_nobody_is_told(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    said = []
    assert open_session(model, ProviderSettings(), said.append).get_providers() == [CPU_PROVIDER]
    assert said == []
    with pytest.raises(BackendError, match="pip install onnxruntime-ep-openvino"):
        open_session(model, EXPLICIT)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"providers": (AUTO, CPU_PROVIDER)}, "chooses by itself"),
        ({"providers": ("",)}, "at least one"),
        ({"openvino_precision": "bf16"}, "f32 or device"),
    ],
)
def test_names_that_cannot_be_are_refused(values, message):
    for settings in (ProviderSettings, BackendSettings):
        with pytest.raises(ConfigError, match=message):
            settings(**values)


def test_the_real_plugin_gives_the_numbers_of_the_cpu_provider(tmp_path):
    if not has_openvino():
        pytest.skip("onnxruntime_ep_openvino is not installed")
    try:
        openvino_devices()
    except BackendError as error:
        pytest.skip(str(error))
    bundle, inputs = make_bundle(tmp_path / "tiny"), inputs_of(3)
    backend = open_backend(bundle, BackendSettings(threads=1))
    assert OPENVINO_PROVIDER in backend.name
    expected = OnnxRuntimeBackend(bundle.path("fp32"), threads=1).run(inputs)
    for name, value in backend.run(inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
