# SPDX-License-Identifier: Apache-2.0
"""ROS 2 plumbing around imkd_core: convert, offer, publish."""
