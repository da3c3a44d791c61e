# SPDX-License-Identifier: Apache-2.0
"""Which file runs: what is asked for, else what the bundle recommends, else fp32."""

from dataclasses import replace

import pytest

from imkd_core.runtime.roles import AUTO_ROLE, RUNNERS, recommendations, role_for
from tests.core.runtime.made_up_bundle import make_bundle

ROLES = ("fp16", "fp32", "int8_u8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    bundle = make_bundle(tmp_path_factory.mktemp("models") / "tiny")
    return replace(bundle, files=dict.fromkeys(ROLES, bundle.files["fp32"]))


def recommending(bundle, said):
    return replace(bundle, provenance={"recommended": said})


@pytest.mark.parametrize("runner", RUNNERS)
def test_without_a_recommendation_fp32_runs(plain, runner):
    assert role_for(plain, AUTO_ROLE, runner) == "fp32"


def test_a_recommendation_is_for_its_runner_alone(plain):
    bundle = recommending(plain, {"cpu": "int8_u8", "tensorrt": "fp16"})
    assert [role_for(bundle, AUTO_ROLE, name) for name in RUNNERS] == ["fp16", "fp32", "int8_u8"]
    assert role_for(bundle, AUTO_ROLE, "a provider nobody measured") == "fp32"


def test_what_is_asked_for_is_taken_also_where_the_bundle_lacks_it(plain):
    bundle = recommending(plain, {"cpu": "int8_u8"})
    assert role_for(bundle, "fp16", "cpu") == "fp16"
    assert role_for(bundle, "int3", "cpu") == "int3"  # and refused by name when it is opened


@pytest.mark.parametrize("said", ["int8_u8", ["cpu"], {"cpu": "int8_s8"}, {"toaster": "fp16"}, {}])
def test_a_recommendation_that_makes_no_sense_is_none(plain, said):
    bundle = recommending(plain, said)
    assert recommendations(bundle) == {}
    assert role_for(bundle, AUTO_ROLE, "cpu") == "fp32"


def test_a_bundle_without_fp32_gives_its_first_file(plain):
    bundle = replace(plain, files={"fp16": plain.files["fp16"]})
    assert role_for(bundle, AUTO_ROLE, "cpu") == "fp16"
