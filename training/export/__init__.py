"""A finished run in the formats that other software reads: `python -m training.export`.

monai_bundle.py   a MONAI bundle
bundle_readme.py  its README
film.py           its film reader, copied into it
onnx_model.py     ONNX
timm_weights.py   plain timm weights
facts.py          what every exported model says of itself
formats.py        which of them writes a run
__main__.py       the command
"""
