# SPDX-License-Identifier: Apache-2.0
"""Which file runs: what is asked for, else what the bundle recommends, else fp32."""

from dataclasses import replace

import pytest

from imkd_core.export.quantize import record_costs
from imkd_core.runtime import processor
from imkd_core.runtime.bundle import write_bundle
from imkd_core.runtime.roles import AUTO_ROLE, RUNNERS, choose_role, recommendations, role_for
from tests.core.runtime.made_up_bundle import HEAD, SPEC, make_bundle

ROLES = ("fp16", "fp32", "int8_s8", "int8_u8")
CHEAP = {"nds_lost": 0.004, "map_lost": -0.001}
ON_CPU = {"runner": "onnxruntime 1.2 CPUExecutionProvider"}
ON_OPENVINO = {"runner": "onnxruntime 1.2 OpenVINOExecutionProvider"}
RAN_ON = {"int8_u8": ON_CPU, "int8_s8": ON_OPENVINO}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    bundle = make_bundle(tmp_path_factory.mktemp("models") / "tiny")
    return replace(bundle, files=dict.fromkeys(ROLES, bundle.files["fp32"]))


@pytest.fixture(autouse=True)
def has_vnni(monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: True)


def recommending(bundle, said):
    return replace(bundle, provenance={"recommended": said})


def measured(bundle, costs):
    """Each file's cost, measured with what it is for where nothing else is said."""
    told = {r: RAN_ON[r] | c if isinstance(c, dict) else c for r, c in costs.items()}
    return replace(bundle, producer={"int8": {r: {"cost": c} for r, c in told.items()}})


def chosen(bundle):
    """What each runner takes."""
    return tuple(role_for(bundle, AUTO_ROLE, runner) for runner in RUNNERS)


def test_without_a_recommendation_fp32_runs(plain):
    assert chosen(plain) == ("fp32", "fp32", "fp32")
    assert "no other" in choose_role(plain, AUTO_ROLE, "cpu").reason


def test_a_recommendation_is_for_its_runner_alone(plain):
    bundle = recommending(plain, {"cpu": "int8_u8", "tensorrt": "fp16"})
    assert chosen(bundle) == ("fp16", "fp32", "int8_u8")
    assert choose_role(bundle, AUTO_ROLE, "a provider nobody measured").role == "fp32"


def test_int8_files_that_were_measured_to_cost_little_run_where_they_are_made_for(plain):
    bundle = measured(plain, {"int8_u8": CHEAP, "int8_s8": CHEAP})
    assert chosen(bundle) == ("fp32", "int8_s8", "int8_u8")


def test_what_one_runner_measured_recommends_nothing_to_another(plain):
    bundle = measured(plain, {"int8_s8": CHEAP | ON_CPU, "int8_u8": CHEAP | {"runner": ""}})
    assert chosen(bundle) == ("fp32", "fp32", "fp32")


@pytest.mark.parametrize(("lost", "role"), [(0.005, "int8_u8"), (0.0051, "fp32")])
def test_what_the_quantiser_writes_down_is_what_is_read_here(tmp_path, lost, role):
    bundle = write_bundle(
        make_bundle(tmp_path / "b").root,
        name="tiny",
        inputs=SPEC,
        head=HEAD,
        files=dict.fromkeys(("fp32", "int8_u8"), "model.onnx"),
        provenance={},
        producer={"int8": {"int8_u8": {"for": "ONNX Runtime"}}},
    )
    bundle = record_costs(bundle, {"int8_u8": {**ON_CPU, "nds_lost": lost, "map_lost": 0.001}})
    assert role_for(bundle, AUTO_ROLE, "cpu") == role


@pytest.mark.parametrize(
    "cost",
    [
        {"nds_lost": 0.006, "map_lost": 0.0},
        {"nds_lost": 0.0, "map_lost": 0.006},
        {"nds_lost": 0.0},
        {"nds_lost": float("nan"), "map_lost": 0.0},
        {"nds_lost": "little", "map_lost": 0.0},
        "little",
        None,
    ],
)
def test_int8_files_that_cost_more_or_were_not_measured_do_not_run_by_themselves(plain, cost):
    assert chosen(measured(plain, {"int8_u8": cost})) == ("fp32", "fp32", "fp32")


def test_where_another_runner_is_recommended_int8_it_is_said_what_could_be_set(plain):
    bundle = recommending(plain, {"cpu": "int8_u8"})
    choice = choose_role(bundle, AUTO_ROLE, "openvino")
    assert choice.role == "fp32"
    for words in ("int8_u8 for cpu", "'model.precision: int8_s8'", "CPUExecutionProvider"):
        assert words in choice.reason
    assert "model." not in choose_role(bundle, AUTO_ROLE, "tensorrt").reason
    assert "model." not in choose_role(plain, AUTO_ROLE, "openvino").reason
    lacking = replace(bundle, files={"fp32": bundle.files["fp32"]})
    assert "model." not in choose_role(lacking, AUTO_ROLE, "openvino").reason


def test_nothing_in_8_bits_is_advised_to_a_processor_that_is_bad_at_it(plain, monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: False)
    bundle = recommending(plain, {"cpu": "int8_u8"})
    assert "int8" not in choose_role(bundle, AUTO_ROLE, "openvino").reason


def test_words_win_over_measurements(plain):
    bundle = measured(plain, {"int8_u8": CHEAP, "int8_s8": CHEAP})
    bundle = replace(bundle, provenance={"recommended": {"cpu": "fp32"}})
    assert chosen(bundle) == ("fp32", "int8_s8", "fp32")


def test_a_processor_that_is_bad_at_int8_runs_fp32_and_the_reason_is_told(plain, monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: False)
    bundle = measured(plain, {"int8_u8": CHEAP, "int8_s8": CHEAP})
    assert chosen(bundle) == ("fp32", "fp32", "fp32")
    assert "int8_u8, for which" in choose_role(bundle, AUTO_ROLE, "cpu").reason
    assert choose_role(bundle, "int8_u8", "cpu").role == "int8_u8"
    assert chosen(recommending(plain, {"tensorrt": "int8_s8"}))[0] == "int8_s8"  # a GPU has its own


def test_what_is_asked_for_is_taken_also_where_the_bundle_lacks_it(plain):
    bundle = recommending(plain, {"cpu": "int8_u8"})
    assert choose_role(bundle, "fp16", "cpu").role == "fp16"
    assert choose_role(bundle, "int3", "cpu").role == "int3"  # refused by name when it is opened


@pytest.mark.parametrize("said", ["int8_u8", ["cpu"], {"cpu": "int3"}, {"toaster": "fp16"}, {}])
def test_a_recommendation_that_makes_no_sense_is_none(plain, said):
    bundle = recommending(plain, said)
    assert recommendations(bundle) == {}
    assert chosen(bundle) == ("fp32", "fp32", "fp32")


def test_a_bundle_without_fp32_gives_its_first_file(plain):
    bundle = replace(plain, files={"fp16": plain.files["fp16"]})
    assert chosen(bundle) == ("fp16", "fp16", "fp16")
