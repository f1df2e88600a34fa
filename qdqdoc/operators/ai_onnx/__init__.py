"""Operators of ai.onnx, one file each."""
