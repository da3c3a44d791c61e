# SPDX-License-Identifier: Apache-2.0
"""The check of exports asks the one builder; real students are in test_onnx_export."""

import os
import platform
import sys

import pytest
import torch

from imkd_core.errors import BackendError
from imkd_core.export import tensorrt_check
from imkd_core.export.graph import deploy
from imkd_core.export.tensorrt_check import check_tensorrt, is_tensorrt_installed
from imkd_core.model.example import example_inputs
from imkd_core.runtime.tensorrt.keys import CameraRange
from tests.core.model.small import INPUTS, small_student
from tests.core.runtime.tensorrt.tiny_onnx import ROLES, tiny_source

#: Set to 1 by who tests without TensorRT on a machine that could have it.
WITHOUT = "IMKD_WITHOUT_TENSORRT"

HAS_WHEELS = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.mark.skipif(not HAS_WHEELS, reason="tensorrt-rtx has wheels for Linux on x86_64")
@pytest.mark.skipif(os.environ.get(WITHOUT) == "1", reason=f"{WITHOUT}=1")
def test_the_tests_of_tensorrt_are_not_skipped_where_they_could_run():
    try:
        import tensorrt_rtx  # noqa: F401 - that it can be is what is tested
    except (ImportError, OSError) as error:
        pytest.fail(
            f"tensorrt_rtx cannot be imported ({error}), so that all tests of TensorRT skip: run "
            f"tools/setup.sh --fresh, or set {WITHOUT}=1 to test without it"
        )


@pytest.mark.skipif(not is_tensorrt_installed(), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("role", ROLES)
def test_a_file_of_each_precision_passes(tmp_path, role):
    report = check_tensorrt(tiny_source(tmp_path, role).path, CameraRange.exactly(2))
    assert report.plan_bytes > 1000
    assert report.package.startswith("tensorrt")


def test_without_tensorrt_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_check, "PACKAGES", ("no_such_tensorrt",))
    assert not is_tensorrt_installed()
    with pytest.raises(BackendError, match="pip install tensorrt"):
        check_tensorrt(tiny_source(tmp_path).path)


@pytest.mark.parametrize("cameras", [1, 3])
def test_masked_cameras_that_fill_up_a_rig_change_nothing(cameras):
    """What lets an engine for five cameras serve fewer; see TensorRtBackend.run."""
    torch.manual_seed(0)
    inputs = example_inputs(INPUTS, cameras, seed=1)
    per_camera = ("images", "camera_mask", "camera_params", "frustum_mask")
    filled = dict(inputs)
    for name in per_camera:
        more = torch.zeros((5 - cameras, *inputs[name].shape[1:]), dtype=inputs[name].dtype)
        filled[name] = torch.cat([inputs[name], more])
    network = deploy(small_student().eval(), inputs)
    with torch.no_grad():
        expected, found = network(**inputs), network(**filled)
    for value, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-4)
