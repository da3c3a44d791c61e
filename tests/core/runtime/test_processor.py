# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from imkd_core.runtime.processor import has_int8_products, inference_threads, usable_cores

X86 = "processor\t: 0\nflags\t\t: fpu avx2 {}\nbugs\t\t: avx_vnni\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format("avx512_vnni"), True),
        (X86.format("avx_vnni"), True),
        (X86.format("amx_int8"), True),
        (ARM.format("asimddp"), True),
        (X86.format("avx512f"), False),
        (ARM.format(""), False),
        ("", False),
        ("\xff\x00:::", False),
    ],
)
def test_the_instructions_for_int8_are_found_in_the_features_alone(tmp_path, text, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(text, encoding="latin-1")
    assert has_int8_products(path) == expected


def test_where_linux_does_not_tell_the_answer_is_no(tmp_path):
    assert not has_int8_products(tmp_path / "none")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000\n", 6),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("900000 100000\n", 6),
        ("0 0\n", 1),
        ("nonsense", 6),
        (None, 6),
    ],
)
def test_a_container_has_the_cores_that_it_was_given(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6), raising=False)
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota, "ascii")
    assert usable_cores(path) == expected


def test_one_core_is_left_to_messages_and_more_than_four_are_not_taken():
    assert [inference_threads(cores) for cores in (1, 2, 3, 5, 32)] == [1, 1, 2, 4, 4]
