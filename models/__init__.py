"""Classifiers that hand out their bottleneck features beside their logits."""
