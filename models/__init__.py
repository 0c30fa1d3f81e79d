"""EnD-CXR's classifiers, which hand out their bottleneck features beside their logits.

classifier.py      a timm backbone and a linear layer: features, logits
intermediates.py   features of its middle layers
simple_convnet.py  the network of the Biased MNIST literature, under timm's register
keywords.py        NAME=VALUE settings of a backbone
plain.py           a classifier as weights that timm alone can load
saliency.py        Grad-CAM, by MONAI
"""
