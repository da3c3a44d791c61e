# SPDX-License-Identifier: Apache-2.0
"""View-of-Delft."""
