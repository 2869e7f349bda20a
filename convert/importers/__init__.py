"""Models of other frameworks, brought to ONNX by the frameworks' own exporters."""
