# SPDX-License-Identifier: Apache-2.0
"""Messages to values and back, without ROS: shared by the node and the offline replay."""
