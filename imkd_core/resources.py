# SPDX-License-Identifier: Apache-2.0
"""Where the package's own files lie: config, launch, models.

In a source tree they stand beside the Python packages; an installation puts them under
`share/imkd_ros` of one of the prefixes in AMENT_PREFIX_PATH, or of the Python environment.
"""

import os
import sys
from pathlib import Path

from imkd_core.errors import BundleError, ConfigError

_PACKAGE = "imkd_ros"


def share_folder() -> Path:
    """Return the folder that holds `config`, `launch` and `models`.

    Raises:
        ConfigError: neither a source tree nor an installation is found.
    """
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    candidates = [
        Path(__file__).resolve().parents[1],
        *(prefix / "share" / _PACKAGE for prefix in (*prefixes, Path(sys.prefix))),
    ]
    for folder in candidates:
        if (folder / "package.xml").is_file() and (folder / "config").is_dir():
            return folder
    raise ConfigError(
        f"the files of {_PACKAGE} are not installed; source the workspace's setup script, or run "
        "from the source tree"
    )


def bundles() -> list[Path]:
    """Return the folders of the model bundles that came with the package."""
    return sorted(path.parent for path in (share_folder() / "models").glob("*/bundle.json"))


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
    found = bundles()
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise BundleError(f"the package holds several bundles ({names}); name one in model.bundle")
    raise BundleError(
        f"no model ships with this version ({share_folder() / 'models'} holds no bundle); train "
        "and export one (`imkd train`, `imkd export`, or `make prove-real`) and name its folder in "
        "model.bundle"
    )
