"""ONNX files: brought to a plain form, observed, quantized, made small."""
