# SPDX-License-Identifier: Apache-2.0
"""The builder, with a real TensorRT-RTX, which needs no GPU to build."""

import functools
import hashlib

import pytest

from imkd_core.errors import BackendError, BundleError
from imkd_core.runtime.tensorrt import builder
from imkd_core.runtime.tensorrt.builder import Source, build_engine
from imkd_core.runtime.tensorrt.keys import CameraRange, Target
from imkd_core.runtime.tensorrt.progress import Progress
from tests.core.runtime.tensorrt.tiny_onnx import ROLES, refused_source, tiny_source

tensorrt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

ADA = Target.ahead_of_time((8, 9))


@pytest.mark.parametrize("role", ROLES)
def test_each_precision_builds_from_the_types_of_its_file_alone(tmp_path, role):
    built = build_engine(tensorrt, tiny_source(tmp_path, role), ADA, CameraRange())
    assert len(built.plan) > 1000
    assert built.seconds > 0


def test_progress_is_told_from_the_start_and_phases_while_it_builds(tmp_path, monkeypatch):
    fast = functools.partial(Progress, period_s=0.002)
    monkeypatch.setattr(builder, "Progress", fast)
    lines = []
    build_engine(tensorrt, tiny_source(tmp_path), ADA, CameraRange(), report=lines.append)
    assert "builds the fp32 engine (0 s)" in lines[0]
    assert any(": " in line and "of" in line for line in lines[1:])


def test_ctrl_c_in_a_phase_stops_the_build(tmp_path, monkeypatch):
    def interrupt(progress, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "note", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_engine(tensorrt, tiny_source(tmp_path), ADA, CameraRange())


def test_the_parsers_words_are_in_the_error(tmp_path):
    with pytest.raises(BundleError, match=r"parser refuses .*scatter"):
        build_engine(tensorrt, refused_source(tmp_path), ADA, CameraRange())


def test_what_is_no_onnx_is_refused(tmp_path):
    source = Source(path=tmp_path / "x.onnx", content=b"no onnx", precision="fp32")
    with pytest.raises(BundleError, match="parser refuses"):
        build_engine(tensorrt, source, ADA, CameraRange())


def test_a_gpu_that_tensorrt_rtx_does_not_know_is_refused_with_those_it_does(tmp_path):
    with pytest.raises(BackendError, match=r"8\.7, only for .*SM89"):
        build_engine(tensorrt, tiny_source(tmp_path), Target.ahead_of_time((8, 7)), CameraRange())


def test_the_key_is_of_what_was_read_and_not_of_what_stands_there_later(tmp_path):
    source = tiny_source(tmp_path)
    digest = hashlib.sha256(source.content).hexdigest()
    source.path.write_bytes(b"exchanged")
    key = source.key(tensorrt, ADA, CameraRange())
    assert (key.onnx_sha256, key.package) == (digest, "tensorrt_rtx")
    assert build_engine(tensorrt, source, ADA, CameraRange()).plan


def test_a_file_that_is_not_there_is_an_error_of_the_bundle(tmp_path):
    with pytest.raises(BundleError, match="copy it again"):
        Source.read(tmp_path / "none.onnx", "fp32")
