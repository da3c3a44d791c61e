# SPDX-License-Identifier: Apache-2.0
"""What starts and talks to a ROS graph: processes, environment, topics of bags."""
