# SPDX-License-Identifier: Apache-2.0
"""Everything that runs on the vehicle; no torch."""
