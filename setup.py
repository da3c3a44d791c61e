# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 package imkd_ros (ament_python); holds the Python packages imkd_core and imkd_ros."""

import os
from glob import glob

from setuptools import find_packages, setup

PACKAGE = "imkd_ros"


def files(pattern: str) -> list[str]:
    """Return the files a pattern finds, in a fixed order, folders left out."""
    return sorted(path for path in glob(pattern) if os.path.isfile(path))


def model_files() -> list[tuple[str, list[str]]]:
    """Return one data_files entry for each model folder: share/imkd_ros/models/<name>."""
    folders = sorted(glob("models/*/"))
    return [(f"share/{PACKAGE}/{folder.rstrip('/')}", files(f"{folder}*")) for folder in folders]


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Camera-radar 3D object detection in bird's-eye view, as a ROS 2 node",
    author="IMKD maintainers",
    maintainer="IMKD maintainers",
    maintainer_email="nobody@example.com",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["imkd_core", "imkd_core.*", "imkd_ros", "imkd_ros.*"]),
    package_data={"imkd_core": ["py.typed", "**/*.html", "**/*.j2"], "imkd_ros": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", files("launch/*")),
        (f"share/{PACKAGE}/config", files("config/*")),
        (f"share/{PACKAGE}/config/experiments", files("config/experiments/*")),
        (f"share/{PACKAGE}/config/foxglove", files("config/foxglove/*")),
        (f"share/{PACKAGE}/config/radars", files("config/radars/*")),
        (f"share/{PACKAGE}/config/sros2", files("config/sros2/*")),
        (f"share/{PACKAGE}/models", files("models/*")),
        *model_files(),
    ],
    zip_safe=False,
    # OpenCV is an extra, for a ROS installation brings it under no pip name.
    install_requires=["setuptools", "numpy>=1.21", "PyYAML>=5.4"],
    extras_require={
        "opencv": ["opencv-python>=4.5"],
        "onnx": ["onnxruntime>=1.18"],
        "bag": ["rosbags>=0.10"],
        "report": ["jinja2>=3.0", "rich>=12"],
        "fleet": ["ray>=2.9"],  # `imkd replay --ray`
        "fuzz": ["atheris>=3.0; python_version >= '3.11'"],  # half of the fault suite's fuzzing
        "train": [
            "torch>=2.5",
            "onnx>=1.16",
            "onnxscript>=0.1",
            "safetensors>=0.4",
            "jaxtyping>=0.2.34",
            "scipy>=1.8",
            "threadpoolctl>=3",
        ],
        "dev": [
            "pytest>=8",
            "pytest-cov>=5",
            "pytest-timeout>=2.2",
            "hypothesis>=6.100",
            "beartype>=0.18",
            "ruff>=0.8",
            "mypy>=1.13",
            "types-PyYAML",
            "import-linter>=2.1",
        ],
        "test": ["pytest"],  # `colcon test` looks for this name
    },
    entry_points={
        "console_scripts": [
            "imkd = imkd_core.__main__:main",
            "detector_node = imkd_ros.detector_node:main",
            "bag_player = imkd_ros.player:main",
            "bag_recorder = imkd_ros.recorder:main",
        ],
    },
)
