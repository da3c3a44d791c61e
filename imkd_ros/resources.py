# SPDX-License-Identifier: Apache-2.0
"""Where the files that ship with the package lie: installed share folder, or the checkout."""

from pathlib import Path

from imkd_core.errors import BundleError

_CHECKOUT = Path(__file__).resolve().parents[1]


def share_folder() -> Path:
    """Return the folder that holds `config`, `launch` and `models`."""
    try:
        from ament_index_python.packages import (  # absent where no ROS is
            PackageNotFoundError,
            get_package_share_directory,
        )
    except ImportError:
        return _CHECKOUT
    try:
        return Path(get_package_share_directory("imkd_ros"))
    except (PackageNotFoundError, OSError):  # OSError: AMENT_PREFIX_PATH is not set
        return _CHECKOUT


def sensors_file(given: str) -> Path:
    """Return the sensor file that is meant; empty = the one of the package."""
    return Path(given).expanduser() if given else share_folder() / "config" / "sensors.yaml"


def bundle_folder(given: str) -> Path:
    """Return the model bundle that is meant; empty = the one of the package.

    Raises:
        BundleError: the package ships none, or more than one.
    """
    if given:
        return Path(given).expanduser()
    models = share_folder() / "models"
    found = sorted(path.parent for path in models.glob("*/bundle.json"))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise BundleError(f"{models} holds several bundles ({names}); name one in model.bundle")
    raise BundleError(
        f"no model ships with this version ({models} holds no bundle); train and export one "
        "(`imkd train`, `imkd export`, or `make prove-real`) and name its folder in model.bundle"
    )
