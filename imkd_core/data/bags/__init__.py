# SPDX-License-Identifier: Apache-2.0
"""Recordings: rosbag2 written and read without ROS, and made into data sets."""
