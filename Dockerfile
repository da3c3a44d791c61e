# SPDX-License-Identifier: Apache-2.0
# docker build --target vehicle -t imkd .         the node on a ROS 2 image, without torch
# docker build --target train -t imkd-train .     training, export and the demo, without ROS below
ARG ROS_DISTRO=kilted

FROM ros:${ROS_DISTRO}-ros-base AS vehicle
ARG ROS_DISTRO
SHELL ["/bin/bash", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-jinja2 python3-numpy python3-opencv python3-pip python3-yaml \
      ros-${ROS_DISTRO}-launch-ros ros-${ROS_DISTRO}-message-filters \
      ros-${ROS_DISTRO}-sensor-msgs-py ros-${ROS_DISTRO}-tf2-ros ros-${ROS_DISTRO}-vision-msgs \
    && rm -rf /var/lib/apt/lists/*
# The two packages without a rosdep key, at the versions of requirements.lock.
COPY requirements.lock /tmp/requirements.lock
RUN grep -E '^(onnxruntime|rosbags)==' /tmp/requirements.lock > /tmp/pip.txt \
    && pip3 install --no-cache-dir --break-system-packages -r /tmp/pip.txt \
    && rm /tmp/pip.txt /tmp/requirements.lock
WORKDIR /ws
COPY . src/imkd_ros
RUN source "/opt/ros/${ROS_DISTRO}/setup.bash" && colcon build --packages-select imkd_ros \
    && rm -rf build log src
RUN useradd --create-home --uid 10001 imkd
USER imkd
ENV ROS_DISTRO=${ROS_DISTRO}
ENTRYPOINT ["/bin/bash", "-c", "source /opt/ros/${ROS_DISTRO}/setup.bash && source /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "imkd_ros", "detector.launch.py"]

FROM python:3.11-slim-bookworm AS train
RUN apt-get update && apt-get install -y --no-install-recommends \
      cmake g++ libgl1 libglib2.0-0 make ninja-build \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 imkd \
    && install -d -o imkd /project
USER imkd
WORKDIR /project
COPY --chown=imkd . .
RUN make setup
ENTRYPOINT [".venv/bin/imkd"]
CMD ["--help"]
