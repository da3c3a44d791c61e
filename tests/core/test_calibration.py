# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from imkd_core import calibration, types
from imkd_core.calibration import CameraModel, SensorRig
from imkd_core.errors import CalibrationError

K = np.array([[1250.0, 0, 800], [0, 1250.0, 450], [0, 0, 1]])


def camera(**changes):
    values = {"width_px": 1600, "height_px": 900, "pixel_from_cam": K, "ego_from_cam": np.eye(4)}
    return CameraModel(**{**values, **changes})


def test_calibration_is_one_with_what_types_offers():
    for name in ("CameraModel", "SensorRig", "DISTORTION_MODELS"):
        assert getattr(types, name) is getattr(calibration, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width_px": 0}, "empty"),
        ({"height_px": -5}, "empty"),
        ({"pixel_from_cam": np.zeros((3, 3))}, "K all zeros"),
        ({"pixel_from_cam": np.eye(4)}, "intrinsics"),
        ({"pixel_from_cam": K * np.nan}, "intrinsics"),
        ({"pixel_from_cam": np.diag([1250.0, 1250.0, 0.0])}, "intrinsics"),
        ({"pixel_from_cam": np.diag([-1250.0, 1250.0, 1.0])}, "intrinsics"),
        ({"pixel_from_cam": []}, "intrinsics"),
        ({"pixel_from_cam": [[1, 2], [3]]}, "intrinsics"),
        ({"ego_from_cam": np.zeros((4, 4))}, "ego_from_cam"),
        ({"distortion_model": "fisheye"}, "use one of none, plumb_bob"),
        ({"distortion_model": "plumb_bob", "distortion": (0.1,)}, "plumb_bob"),
        ({"distortion_model": "plumb_bob", "distortion": (np.nan,) * 5}, "finite"),
        ({"distortion": (0.1,)}, "none"),
        ({"width_px": 70_000}, "65535 px"),
        ({"height_px": 40}, "32 times"),
        ({"pixel_from_cam": K * [[1e300], [1], [1]]}, "no camera's"),
        ({"pixel_from_cam": np.add(K, [[0, 0, 1e300], [0, 0, 0], [0, 0, 0]])}, "no camera's"),
        ({"pixel_from_cam": K * [[1e-9], [1], [1]]}, "no camera's"),
        ({"distortion_model": "plumb_bob", "distortion": (1e300, 0, 0, 0)}, "within"),
    ],
)
def test_an_impossible_calibration_is_refused(change, message):
    with pytest.raises(CalibrationError, match=message):
        camera(**change)


def test_only_a_camera_with_coefficients_is_distorted():
    assert not camera().is_distorted
    assert not camera(distortion_model="plumb_bob", distortion=(0, 0, 0, 0, 0)).is_distorted
    assert camera(distortion_model="equidistant", distortion=(0.1, 0, 0, 0)).is_distorted


def test_a_calibration_is_a_copy_that_compares_number_by_number():
    k = K.copy()
    value = camera(pixel_from_cam=k)
    k[0, 0] = 7
    assert value.pixel_from_cam[0, 0] == 1250
    assert value.same_as(camera())
    moved = np.eye(4)
    moved[0, 3] = 1e-9
    for change in (
        {"pixel_from_cam": k},
        {"ego_from_cam": moved},
        {"width_px": 1601},
        {"distortion_model": "plumb_bob", "distortion": (0, 0, 0, 0)},
    ):
        assert not value.same_as(camera(**change))


def test_rigs_compare_by_sensors_order_and_numbers():
    cameras, radars = {"a": camera(), "b": camera()}, {"r": np.eye(4), "s": np.eye(4)}
    rig = SensorRig(cameras=cameras, radars=radars)
    assert rig.same_as(SensorRig(cameras=dict(cameras), radars=dict(radars)))
    swapped = {"b": camera(), "a": camera()}
    moved = np.eye(4)
    moved[2, 3] = 1
    assert not rig.same_as(SensorRig(cameras=swapped, radars=radars))
    assert not rig.same_as(SensorRig(cameras=cameras, radars={"r": np.eye(4), "s": moved}))
    assert not rig.same_as(SensorRig(cameras=cameras, radars={"r": np.eye(4)}))
    cameras.clear()
    assert list(rig.cameras) == ["a", "b"]
    with pytest.raises(CalibrationError, match="ego_from_radar of 'r'"):
        SensorRig(cameras={}, radars={"r": np.ones((4, 4))})
