"""Two shortcuts on one film: the invented hospital, and the invented device that took it.

A hospital leaves its marker and the collimator's border, a device its film curve, blur and grain. Each follows the label by
itself: who breaks the rule of one is drawn apart from who breaks that of the other.
"""

import dataclasses
from itertools import product

from datasets.phantom.signature import Signature
from training.benchmark.planted.signatures import SIGNATURES

DEVICE = "device"
"""The column of the second shortcut; the first is the source."""
BOTH = f"source,{DEVICE}"
SITES = {signature.name: signature for signature in SIGNATURES[:2]}
DEVICES = dict(zip(("scanner-1", "scanner-2"), SIGNATURES[:2], strict=True))
OF_DEVICE = ("exposure", "contrast", "gamma", "blur", "grain")
OWN_DEVICE = {name: 1 - place % 2 for place, name in enumerate(DEVICES)}
"""The target that is each device's own, as `signatures.OWN`."""


def signature_name(site: str, device: str) -> str:
    """Of a film that a device took at a hospital."""
    return f"{site} {device}"


def pair_signatures() -> dict[str, Signature]:
    """Every hospital with every device."""
    return {
        signature_name(site, device): dataclasses.replace(
            SITES[site],
            name=signature_name(site, device),
            **{name: getattr(DEVICES[device], name) for name in OF_DEVICE},
        )
        for site, device in product(SITES, DEVICES)
    }
