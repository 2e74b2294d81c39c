"""Back ends: the reference interpreter, PyTorch source and ONNX."""
