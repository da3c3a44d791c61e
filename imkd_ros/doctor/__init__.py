# SPDX-License-Identifier: Apache-2.0
"""What `imkd doctor` sees on a graph or in a recording, and what it says of it."""
