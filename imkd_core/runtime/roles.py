# SPDX-License-Identifier: Apache-2.0
"""Which of a bundle's files runs, where the settings leave that to the bundle.

A bundle says in its provenance what it recommends for each runner, after it measured what that
costs: `"recommended": {"openvino": "int8_s8", "tensorrt": "fp16", "cpu": "int8_u8"}`. What it does
not speak of runs in fp32.
"""

from collections.abc import Mapping

from imkd_core.runtime.bundle import Bundle

#: Takes what the bundle recommends.
AUTO_ROLE = "auto"

#: Key of the recommendations in a bundle's provenance.
RECOMMENDED = "recommended"

#: What can run a file: TensorRT, and ONNX Runtime with OpenVINO's plugin or with its own CPU code.
RUNNERS = ("tensorrt", "openvino", "cpu")

_SAFE_ROLE = "fp32"


def recommendations(bundle: Bundle) -> dict[str, str]:
    """Return runner -> role, of the files that the bundle has."""
    said = bundle.provenance.get(RECOMMENDED, {})
    if not isinstance(said, Mapping):
        return {}
    return {name: role for name, role in said.items() if name in RUNNERS and role in bundle.files}


def role_for(bundle: Bundle, role: str, runner: str) -> str:
    """Return the role that a runner takes.

    Args:
        bundle: with one file or more.
        role: as the settings say it; anything but `AUTO_ROLE` is returned as it is.
        runner: of `RUNNERS`; others are recommended nothing.
    """
    if role != AUTO_ROLE:
        return role
    safe = _SAFE_ROLE if _SAFE_ROLE in bundle.files else next(iter(bundle.files))
    return recommendations(bundle).get(runner, safe)
