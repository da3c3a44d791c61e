# SPDX-License-Identifier: Apache-2.0
"""Which of a bundle's files runs, where the settings leave that to the bundle.

The bundle recommends a file for a runner either in so many words, in its provenance, as
`"recommended": {"openvino": "int8_s8", "tensorrt": "fp16", "cpu": "int8_u8"}`, or by what
`imkd quantize --test` measured: an int8 file that costs at most 0.5 points of NDS and of mAP, run
by the runner that it was made for, is recommended for it. All else runs in fp32, and so do
processors that lack the instructions for int8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imkd_core.runtime import processor
from imkd_core.runtime.bundle import Bundle

#: Takes what the bundle recommends.
AUTO_ROLE = "auto"

#: Key of the recommendations in a bundle's provenance.
RECOMMENDED = "recommended"

#: What can run a file: TensorRT, and ONNX Runtime with OpenVINO's plugin or with its own CPU code.
RUNNERS = ("tensorrt", "openvino", "cpu")

#: Most that an int8 file may lose to be taken by itself: half a point of NDS, and of mAP.
MAX_LOSS = 0.005

#: Key of what a bundle knows of its int8 files, and the runner that each is for. TensorRT could
#: run int8_s8, but nothing was measured on a GPU that would recommend it over others.
_INT8_KEY = "int8"
_INT8_RUNNERS: Mapping[str, str] = {"openvino": "int8_s8", "cpu": "int8_u8"}

#: What the runner is called where a cost was measured: OpenVINO's int8 differs from ONNX Runtime's.
_MEASURED_WITH: Mapping[str, str] = {"openvino": "OpenVINO", "cpu": "CPUExecutionProvider"}

_SAFE_ROLE = "fp32"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A role, and why it was chosen."""

    role: str
    reason: str


def recommendations(bundle: Bundle) -> dict[str, str]:
    """Return runner -> role, of the files that the bundle has."""
    said = bundle.provenance.get(RECOMMENDED, {})
    words = dict(said) if isinstance(said, Mapping) else {}
    measured = {
        runner: role
        for runner, role in _INT8_RUNNERS.items()
        if _costs_little(bundle, role, _MEASURED_WITH[runner])
    }
    every = measured | {name: role for name, role in words.items() if name in RUNNERS}
    return {name: role for name, role in every.items() if role in bundle.files}


def choose_role(bundle: Bundle, role: str, runner: str) -> Choice:
    """Return the role that a runner takes.

    Args:
        bundle: with one file or more.
        role: as the settings say it; anything but `AUTO_ROLE` is taken as it is.
        runner: of `RUNNERS`; others are recommended nothing.
    """
    if role != AUTO_ROLE:
        return Choice(role=role, reason="it was asked for")
    safe = _SAFE_ROLE if _SAFE_ROLE in bundle.files else next(iter(bundle.files))
    wanted = recommendations(bundle).get(runner, "")
    if not wanted:
        return Choice(role=safe, reason=_lack(bundle, runner))
    is_int8_here = runner in _INT8_RUNNERS and wanted in _INT8_RUNNERS.values()
    if is_int8_here and not processor.has_int8_products():
        reason = f"the bundle recommends {wanted}, for which this processor lacks VNNI"
        return Choice(role=safe, reason=reason)
    return Choice(role=wanted, reason="the bundle recommends it")


def role_for(bundle: Bundle, role: str, runner: str) -> str:
    """Return the role of `choose_role`."""
    return choose_role(bundle, role, runner).role


def _lack(bundle: Bundle, runner: str) -> str:
    """Return why a runner is recommended nothing, and what could be set where others are."""
    reason = "the bundle recommends no other for it"
    others = [f"{role} for {name}" for name, role in recommendations(bundle).items()]
    own = _INT8_RUNNERS.get(runner, "")
    if not others or own not in bundle.files or not processor.has_int8_products():
        return reason
    return (
        f"{reason}, but {' and '.join(others)}; its own {own} was not measured with it, so that "
        f"nobody takes it by itself: 'model.precision: {own}' does, 'model.provider: "
        "CPUExecutionProvider' runs the model as recommended"
    )


def _costs_little(bundle: Bundle, role: str, measured_with: str) -> bool:
    """Whether a bundle says that a runner ran a file, which lost no more than `MAX_LOSS`."""
    cost: Any = bundle.producer
    for key in (_INT8_KEY, role, "cost"):
        cost = cost.get(key) if isinstance(cost, Mapping) else None
    if not isinstance(cost, Mapping) or measured_with not in str(cost.get("runner", "")):
        return False
    lost = [cost.get(name) for name in ("nds_lost", "map_lost")]
    return all(isinstance(value, int | float) and value <= MAX_LOSS for value in lost)
