"""Trained models on the path: ONNX bytes read with bounds, compiled to a blob, or run by ONNX Runtime's C API.

onnx_reader   the protobuf walk: structure, bounds, allowlists
compile       graph -> blob (ffi/include/model.h); lower_* hold the operators, blob the format
executor      one class over both executors
"""
