# SPDX-License-Identifier: Apache-2.0
"""What the teachers say about each sample, written once."""
