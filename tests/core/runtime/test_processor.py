# SPDX-License-Identifier: Apache-2.0
import pytest

from imkd_core.runtime.processor import has_int8_products

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
