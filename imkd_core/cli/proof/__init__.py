# SPDX-License-Identifier: Apache-2.0
"""The steps of `imkd prove-real`: fit and play, judge, report."""
