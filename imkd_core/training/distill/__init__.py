# SPDX-License-Identifier: Apache-2.0
"""The terms of IMKD, their schedule and their guard."""
