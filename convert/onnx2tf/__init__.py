"""TFLite files that onnx2tf makes, in an environment of its own."""
