"""8-bit JPEG by libjpeg-turbo, which goes on after a gap and only warns: here the warning is heard. Free of pydicom.

Asked not to be strict, simplejpeg also returns what there was before an error; so whatever is said is damage, except
for what some writers do to sound pictures.
"""

import re

import numpy as np
import simplejpeg

_HARMLESS = re.compile("Invalid SOS parameters for sequential JPEG|unknown JFIF revision|Unknown Adobe color transform")


def decoded(content: bytes, colourspace: str) -> tuple[np.ndarray, bool]:
    """The pixels of a JPEG, and whether the decoder guessed a part of them.

    Args:
        colourspace: GRAY or RGB.

    Returns:
        uint8, rows x columns x samples.

    Raises:
        ValueError: there are no pixels to be had.
    """
    try:
        return simplejpeg.decode_jpeg(content, colourspace, strict=True), False
    except ValueError as warning:
        guessed = not _HARMLESS.search(str(warning))
    return simplejpeg.decode_jpeg(content, colourspace, strict=False), guessed
