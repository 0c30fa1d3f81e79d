"""A finished run in the formats that other software reads: a MONAI bundle, plain timm weights, ONNX."""
