# SPDX-License-Identifier: Apache-2.0
"""The steps of `imkd replay --report`: one recording, a fleet of them, and their figures."""
