"""ONNX operators in terms of TFLite's, a module for each family."""
