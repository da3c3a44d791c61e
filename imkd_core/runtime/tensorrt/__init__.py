# SPDX-License-Identifier: Apache-2.0
"""TensorRT 10.3+, 11 and TensorRT-RTX: engines are built from ONNX, kept, checked and run.

Building was tried with TensorRT-RTX 1.7 on machines without a GPU. What needs a GPU (reading an
engine back, `backend`, most of `cuda`) never ran on one: tests run it against stand-ins.
"""
