"""qdqdoc: the executable manual of quantized ONNX."""

__version__ = "0.1.0"
