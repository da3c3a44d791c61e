# SPDX-License-Identifier: Apache-2.0
"""The errors a user can meet.

Every error says what happened and what to do. The command line prints an `ImkdError` and exits
with 2; the node logs it and refuses the transition. Anything else that is raised is a bug.

    ImkdError
    ├── ConfigError         a configuration or parameter is wrong
    ├── SensorError         a measurement cannot be what it says it is
    ├── CalibrationError    intrinsics, extrinsics or ego motion are missing or impossible
    ├── DataError           a file or folder of recorded data is missing or malformed
    ├── BundleError         a model bundle is missing, incomplete, altered or does not fit
    └── BackendError        an inference backend cannot be had or returned nonsense
        └── DeviceError     what runs the model failed while it ran: another may take over
"""


class ImkdError(Exception):
    """Base of all errors that are meant for a user."""


class ConfigError(ImkdError):
    """A configuration value or parameter is wrong."""


class SensorError(ImkdError):
    """A measurement is malformed and was refused."""


class CalibrationError(ImkdError):
    """Intrinsics, extrinsics or ego motion are missing or impossible."""


class DataError(ImkdError):
    """Recorded data are missing or malformed."""


class BundleError(ImkdError):
    """A model bundle is missing, incomplete, altered, or does not fit."""


class BackendError(ImkdError):
    """An inference backend cannot be had, or returned nonsense."""


class DeviceError(BackendError):
    """What runs the model (GPU, driver, provider) failed; the model and its inputs may be fine."""
