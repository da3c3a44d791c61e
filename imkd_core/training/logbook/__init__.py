# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to read: log.jsonl and TensorBoard."""
