"""TFLite files: made of ONNX graphs, observed, quantized."""
