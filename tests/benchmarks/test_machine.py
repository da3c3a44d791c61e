# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import torch

from benchmarks import machine
from benchmarks.machine import (
    SHAPES,
    Convolution,
    Product,
    busy_cores,
    convolution_flops,
    convolution_peak,
    gemm_peak,
    idle_warnings,
    machine_facts,
    memory_peak_mb,
    package_version,
)


def test_the_facts_of_this_machine_can_be_written_as_json():
    facts = json.loads(json.dumps(machine_facts(), allow_nan=False))
    assert facts["cpu"]
    assert {"cpu_family_model", "cpu_stepping"} <= set(facts)
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["packages"]["numpy"] == np.__version__


def test_a_package_that_is_not_there_has_no_version():
    assert package_version("no-such-package-at-all") == ""


def test_work_of_others_is_warned_of_and_an_idle_machine_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_GOVERNOR", tmp_path / "absent")
    assert idle_warnings(0.0) == []
    (text,) = idle_warnings(1.3)
    assert "other processes use 1.3 of" in text
    assert "idle machine" in text


def test_a_governor_that_saves_power_is_warned_of(monkeypatch, tmp_path):
    governor = tmp_path / "scaling_governor"
    monkeypatch.setattr(machine, "_GOVERNOR", governor)
    governor.write_text("performance\n")
    assert idle_warnings(0.0) == []
    governor.write_text("powersave\n")
    assert "'powersave'" in idle_warnings(0.0)[0]


def test_busy_cores_are_the_ticks_that_were_worked(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    monkeypatch.setattr(machine, "_STAT", stat)
    texts = iter(["cpu  100 20 30 999 0\n", "cpu  150 20 30 5000 0\n"])
    monkeypatch.setattr(machine, "_text", lambda path: next(texts))
    monkeypatch.setattr(machine.os, "sysconf", lambda name: 100)
    assert 0.5 < busy_cores(0.5) <= 1.0  # 50 ticks of 10 ms in 0.5 s and a little
    monkeypatch.setattr(machine, "_text", lambda path: "")
    assert busy_cores(0.01) is None


def test_the_peak_is_measured_with_every_library_and_scales_with_the_work():
    shapes = (Product(96, 96, 96), Product(160, 64, 32))
    peaks = gemm_peak(threads=1, shapes=shapes, rounds=2)
    assert set(peaks) == {"numpy", "torch", "onnxruntime"}
    assert all(0.01 < value < 100_000 for value in peaks.values())


def test_the_peak_is_that_of_the_fastest_shape_for_each_library(monkeypatch):
    first, second = SHAPES[:2]
    rates = {first: {"numpy": 1.0, "torch": 5.0}, second: {"numpy": 2.0, "torch": 4.0}}
    monkeypatch.setattr(machine, "_gemm_rates", lambda threads, shape, rounds: rates[shape])
    assert gemm_peak(2, (first, second)) == {"numpy": 2.0, "torch": 5.0}


def test_convolutions_have_a_peak_and_their_operations_are_counted():
    shape = Convolution(2, 16, 12, 20)
    assert 0.01 < convolution_peak(threads=1, shapes=[shape], rounds=2) < 100_000
    layer = torch.nn.Conv2d(16, 16, 3, bias=False)
    maps, operations = torch.ones(2, 16, 12, 20), 0
    with torch.no_grad():
        for _ in range(4):
            maps = layer(maps)
            operations += 2 * maps.numel() * layer.weight[0].numel()
    assert convolution_flops(shape) == operations


def test_the_memory_peak_is_that_of_this_process():
    block = np.ones(30_000_000, np.uint8)
    assert memory_peak_mb() > 30 + block[0] * 0
