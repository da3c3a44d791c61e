# SPDX-License-Identifier: Apache-2.0
"""The work behind `imkd evaluate`: detect scene by scene, judge, report."""
