# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is taken, and what is said when there is none that will do."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from imkd_core.errors import BackendError
from imkd_core.runtime.tensorrt import packages
from imkd_core.runtime.tensorrt.packages import import_tensorrt, is_rtx, is_tensorrt_installed


def installed(patch, **versions):
    """Have exactly these packages, by name and version."""
    for name in packages.PACKAGES:
        module = SimpleNamespace(__name__=name, __version__=versions.get(name))
        patch.setitem(sys.modules, name, module if name in versions else None)


def test_the_full_tensorrt_is_the_first_choice(monkeypatch):
    installed(monkeypatch, tensorrt="11.4.0.106", tensorrt_rtx="1.7")
    assert not is_rtx(import_tensorrt())
    installed(monkeypatch, tensorrt_rtx="1.7")
    assert is_rtx(import_tensorrt())


def test_the_order_may_be_another(monkeypatch):
    installed(monkeypatch, tensorrt="11.4.0.106", tensorrt_rtx="1.7")
    assert is_rtx(import_tensorrt(tuple(reversed(packages.PACKAGES))))


def test_none_is_said_with_all_reasons_and_what_to_install(monkeypatch):
    installed(monkeypatch)
    with pytest.raises(BackendError, match=r"tensorrt: .*tensorrt_rtx: .*pip install tensorrt"):
        import_tensorrt()


@pytest.mark.parametrize("version", ["8.6.1", "10.2.0"])
def test_one_that_is_too_old_is_refused(monkeypatch, version):
    installed(monkeypatch, tensorrt=version)
    with pytest.raises(BackendError, match=r"too old; 10\.3"):
        import_tensorrt()


@pytest.mark.parametrize("version", ["10.3.0", "10.13.2.6", "11.0.0b1"])
def test_the_oldest_and_newer_ones_are_taken(monkeypatch, version):
    installed(monkeypatch, tensorrt=version)
    assert import_tensorrt().__version__ == version


def test_a_package_whose_libraries_are_missing_is_passed_over(monkeypatch):
    def load(name):
        if name == "tensorrt":
            raise ImportError("libnvonnxparser.so.11: cannot open shared object file")
        return SimpleNamespace(__name__=name, __version__="1.7")

    monkeypatch.setattr(importlib, "import_module", load)
    assert is_rtx(import_tensorrt())


def test_whether_one_is_installed():
    assert is_tensorrt_installed(("json",))
    assert not is_tensorrt_installed(("no_such_package",))
