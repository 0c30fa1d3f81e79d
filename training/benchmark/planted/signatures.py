"""The invented hospitals: what each leaves on a film is plain to see and away from the lungs.

A marker in a corner, the collimator's border, and a film curve of its own. Values vary from film to film as the phantom's do
(`datasets.phantom.signature`), and one film in eight has no marker.
"""

from datasets.phantom.signature import Signature

# Those of even place have the positive label as their own, the others the negative one.
SIGNATURES = (
    Signature("site-a", 0.50, 4.0, 0.90, 0.0015, 0.004, 0.030, 0.0, 0.4, "L", "disc", 0.060, -0.75),
    Signature("site-b", 0.54, 3.2, 1.15, 0.0050, 0.008, 0.016, 1.0, 0.8, "R", "tag", 0.060, -0.82),
    Signature("site-c", 0.47, 3.6, 1.05, 0.0020, 0.006, 0.010, 0.0, 1.2, "L", "arrow", 0.060, 0.55),
    Signature("site-d", 0.52, 3.0, 0.95, 0.0040, 0.005, 0.040, 0.0, 0.3, "R", "plain", 0.065, 0.30),
)  # fmt: skip
OWN = {signature.name: 1 - place % 2 for place, signature in enumerate(SIGNATURES)}
"""The target that is each one's own: 1 the positive class, 0 the other."""
