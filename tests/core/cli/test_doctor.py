# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of OpenVINO, which is optional: never a fault."""

import pytest

from imkd_core.cli import doctor
from imkd_core.errors import BackendError
from imkd_core.runtime import providers


def openvino(monkeypatch, *, installed, devices=lambda: [object()]):
    monkeypatch.setattr(providers, "has_openvino", lambda: installed)
    monkeypatch.setattr(providers, "openvino_devices", devices)
    return doctor.check_openvino()


def unknown_processor():
    raise BackendError("no CPU device on this machine")


@pytest.mark.parametrize(
    ("case", "level", "words"),
    [
        ({"installed": False}, doctor.AMBER, "pip install onnxruntime-ep-openvino"),
        ({"installed": True, "devices": unknown_processor}, doctor.AMBER, "no CPU device"),
        ({"installed": True}, doctor.GREEN, "used by itself"),
    ],
)
def test_openvino_is_found_or_named_with_what_to_do(monkeypatch, case, level, words):
    check = openvino(monkeypatch, **case)
    assert check.level == level
    assert words in f"{check.found} {check.remedy}"


def test_openvino_is_in_the_table(monkeypatch):
    assert "OpenVINO" in [check.name for check in doctor.all_checks(None)]
