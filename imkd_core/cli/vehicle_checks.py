# SPDX-License-Identifier: Apache-2.0
"""The doctor on what the node would run, with its own parameters: model, provider, speed, load."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from imkd_core.errors import BackendError, BundleError, ConfigError, ImkdError
from imkd_core.health.check import AMBER, GREEN, RED, Check
from imkd_core.runtime.processor import usable_cores

if TYPE_CHECKING:
    from imkd_core.runtime.backends import Backend
    from imkd_core.runtime.bundle import Bundle
    from imkd_ros.bridge.parameters import NodeSettings

#: Runs of the session that are timed.
_RUNS = 8

#: Share of the time between two frames that inference may take; decoding and the rest need some.
_BUSY_SHARE = 0.7


def check_vehicle_model(
    settings: "NodeSettings", cameras: int, frames_hz: float
) -> Iterator[Check]:
    """Check the model, what runs it, and whether this machine is fast enough for the cameras.

    Args:
        settings: the node's parameters.
        cameras: of the sensor file.
        frames_hz: rate of the cameras as observed; 0 where it is not known.
    """
    from imkd_core.resources import bundle_folder
    from imkd_core.runtime.backends import open_backend
    from imkd_core.runtime.bundle import load_bundle
    from imkd_ros.bridge.assembly import backend_settings

    try:
        bundle = load_bundle(bundle_folder(settings.text("model.bundle")))
    except ImkdError as error:
        yield Check(
            name="model",
            level=RED,
            found=f"missing or broken: {error}",
            remedy="name the folder of a bundle in model.bundle (or with --model), or copy it "
            "again whole",
        )
        return
    yield Check(name="model", level=GREEN, found=f"{bundle.name} in {bundle.root}")
    reasons: list[str] = []
    try:
        wanted = backend_settings(settings, cameras)
        backend = open_backend(bundle, wanted, reasons.append)
    except (BackendError, BundleError, ConfigError) as error:
        yield no_provider(str(error))
        return
    try:
        yield Check(
            name="provider", level=GREEN, found=f"{backend.name}{'; '.join(['', *reasons])}"
        )
        yield speed_check(_inference_s(bundle, backend, cameras), frames_hz)
    finally:
        backend.close()
    yield load_check(os.getloadavg()[0], usable_cores(), wanted.threads)


def no_provider(error: str) -> Check:
    """Return the line of a model that nothing here can run.

    Args:
        error: why.
    """
    return Check(
        name="provider",
        level=RED,
        found=f"nothing runs the model as asked: {error}",
        remedy="set model.provider to auto, model.backend to onnxruntime and model.precision to "
        "auto, or install what they name ('imkd doctor' lists what is here)",
    )


def speed_check(inference_s: float, frames_hz: float) -> Check:
    """Judge the time of an inference against the cameras' rate.

    Args:
        inference_s: median time.
        frames_hz: rate of the frames; 0 where it is not known.
    """
    fastest_hz = _BUSY_SHARE / max(inference_s, 1e-9)
    found = f"{inference_s * 1e3:.0f} ms an inference: about {fastest_hz:.0f} frames a second"
    if fastest_hz >= frames_hz:
        return Check(name="speed", level=GREEN, found=found)
    return Check(
        name="speed",
        level=AMBER,
        found=f"{found}; the cameras send {frames_hz:.0f}",
        remedy="frames are left out, the newest wins; raise model.threads, see what else runs "
        "here, take an int8 file or a GPU (docs/performance.md), or lower the cameras' rate",
    )


def load_check(load: float, cores: int, threads: int) -> Check:
    """Judge what is left of the processor.

    Args:
        load: processes that ran or waited in the last minute, the node's own among them.
        cores: that this process may use.
        threads: of one inference.
    """
    found = f"load {load:.1f} on {cores} cores, model.threads {threads}"
    if threads > cores:
        return Check(
            name="CPU",
            level=AMBER,
            found=found,
            remedy="set model.threads to the number of cores at most",
        )
    if load > cores:
        return Check(
            name="CPU",
            level=AMBER,
            found=f"{found}: nothing is left",
            remedy="see with top what runs here, and end or move what is not needed",
        )
    return Check(name="CPU", level=GREEN, found=found)


def _inference_s(bundle: "Bundle", backend: "Backend", cameras: int) -> float:
    """Return the median time of an inference of made-up inputs."""
    from imkd_core.runtime.checked import zero_inputs
    from imkd_core.runtime.contract import input_contract

    inputs = zero_inputs(input_contract(bundle.inputs), cameras)
    for name in ("camera_mask", "radar_mask"):
        inputs[name] = np.ones_like(inputs[name])
    times_s = []
    for _ in range(_RUNS):
        start_s = time.monotonic()
        with suppress(BackendError):  # what is not finite took the same time
            backend.run(inputs)
        times_s.append(time.monotonic() - start_s)
    return float(np.median(times_s))
