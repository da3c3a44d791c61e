# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to model.onnx and bundle.json (torch)."""
