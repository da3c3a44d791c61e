# SPDX-License-Identifier: Apache-2.0
"""Camera-radar 3D detection: the IMKD method and its real-time path; never imports ROS."""
