# SPDX-License-Identifier: Apache-2.0
"""`imkd build-engine` with a real builder, for another machine's GPU.

Real exported students go through the same builder in tests/core/export/test_onnx_export.py.
"""

import pytest

from imkd_core.__main__ import main
from imkd_core.cli.build_engine import parse_compute_capability
from imkd_core.errors import BackendError, ConfigError
from imkd_core.runtime.tensorrt.cuda import load_cuda
from tests.core.runtime.tensorrt.tiny_onnx import ROLES, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle")).root


def needs_tensorrt_rtx():
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


@pytest.mark.parametrize("role", ROLES)
def test_an_engine_is_built_for_another_gpu_and_found_the_next_time(bundle, tmp_path, capsys, role):
    needs_tensorrt_rtx()
    arguments = ["build-engine", "--model", str(bundle), "--role", role, "--cameras", "3"]
    arguments += ["--compute-capability", "8.9", "--cache", str(tmp_path / "engines")]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert f"builds the {role} engine (0 s)" in first
    assert "compute capability 8.9" in first
    assert "cameras 3..3..3" in first
    assert "built in" in first
    (plan,) = (tmp_path / "engines").glob("*.plan")
    assert f"{plan.stat().st_size / 1e6:.1f} MB" in first
    assert f"file   {plan}" in first
    assert main(arguments) == 0
    second = capsys.readouterr().out
    assert "found" in second
    assert "builds" not in second


def test_without_a_role_the_file_is_built_that_the_node_would_run(bundle, tmp_path, capsys):
    needs_tensorrt_rtx()
    arguments = ["build-engine", "--model", str(bundle), "--compute-capability", "8.9"]
    assert main([*arguments, "--cache", str(tmp_path / "engines")]) == 0
    assert "builds the fp32 engine" in capsys.readouterr().out


def test_an_engine_that_cannot_be_kept_is_no_success(bundle, tmp_path, capsys):
    needs_tensorrt_rtx()
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "engines"
    arguments = ["build-engine", "--model", str(bundle), "--cache", str(cache)]
    assert main([*arguments, "--compute-capability", "8.9"]) == 1
    assert "not kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compute-capability", "9"], "takes X.Y"),
        (["--compute-capability", "8.9", "--role", "int3"], "no 'int3'"),
        (["--compute-capability", "8.9", "--cameras", "0"], "cameras must be"),
        (["--compute-capability", "3.0"], "only for"),
    ],
)
def test_wrong_arguments_are_errors_of_the_user(bundle, tmp_path, capsys, arguments, message):
    needs_tensorrt_rtx()
    given = ["build-engine", "--model", str(bundle), "--cache", str(tmp_path), *arguments]
    assert main(given) == 2
    assert message in capsys.readouterr().err


def test_without_a_gpu_another_machines_is_suggested(bundle, tmp_path, capsys):
    needs_tensorrt_rtx()
    try:
        load_cuda().device()
    except BackendError:
        pass
    else:
        pytest.skip("there is a GPU")
    assert main(["build-engine", "--model", str(bundle), "--cache", str(tmp_path)]) == 2
    assert "--compute-capability, as 8.9" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "pair"), [("8.9", (8, 9)), ("12.0", (12, 0))])
def test_compute_capabilities_are_read(text, pair):
    assert parse_compute_capability(text) == pair


@pytest.mark.parametrize("text", ["", "8", "89", "8.10", "a.b", "8.9 "])
def test_what_is_no_compute_capability_is_refused(text):
    with pytest.raises(ConfigError, match=r"X\.Y"):
        parse_compute_capability(text)
