# SPDX-License-Identifier: Apache-2.0
"""What the doctor's checks share."""

import importlib
import importlib.metadata

from imkd_core.health.check import GREEN, Check


def check_module(module: str, remedy: str, level_if_absent: str) -> Check:
    """Check that a module imports, and say its version."""
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken install can raise anything on import
        found = f"cannot be imported: {error}".splitlines()[0]
        return Check(name=module, level=level_if_absent, found=found, remedy=remedy)
    version = getattr(loaded, "__version__", None) or distribution_version(module)
    return Check(name=module, level=GREEN, found=version)


def distribution_version(module: str) -> str:
    """Return the version of the distribution that brought a module, or "importable"."""
    root = module.split(".")[0].replace("_", "-")
    versions = (_version_or_none(name) for name in (root, f"ros-{root}"))
    return next((version for version in versions if version), "importable")


def _version_or_none(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
