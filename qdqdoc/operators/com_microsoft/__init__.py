"""Operators of com.microsoft, onnxruntime's own domain, one file each."""
