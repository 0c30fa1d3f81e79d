"""Pictures as part of the page itself.

Streamlit keeps pictures as files of its server and deletes those that no page names at that moment: with several visitors, a
page can name a file that is gone. A picture inside the page needs no file.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image


def put(place: Any, picture: np.ndarray, caption: str) -> None:
    """Put a picture over the whole width of a place.

    Args:
        place: a column or an empty place of the page.
        picture: rows x columns of grey, or x 3 of RGB; uint8, or float in [0, 1].
    """
    if picture.dtype != np.uint8:
        picture = (255 * np.clip(picture, 0, 1)).round().astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=92)
    address = f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
    place.image(address, caption=caption, alt=caption.replace("\\", ""), width="stretch")
