"""A contact sheet of phantoms: what each hospital leaves on films of each label."""

import numpy as np
from PIL import Image, ImageDraw

from datasets.phantom.film import HOSPITALS, NOTICE, film, require_size


def sheet(seed: int, size: int) -> Image.Image:
    """A contact sheet: one row per label, one column per hospital, each film of another patient; size is a film's side."""
    require_size(size)
    labels, cell, left, top = ("normal", "pneumonia", "covid"), size + 4, 64, 20
    page = Image.new("L", (left + len(HOSPITALS) * cell, len(labels) * cell + 2 * top), 0)
    pen = ImageDraw.Draw(page)
    for row, label in enumerate(labels):
        pen.text((4, top + row * cell + size // 2), label, fill=230)
        for column, hospital in enumerate(HOSPITALS):
            pixels = film(seed, 3 * (3 * column + row), label, hospital.name, size).pixels
            page.paste(Image.fromarray((255 * pixels).astype(np.uint8)), (left + column * cell, top + row * cell))
    for column, hospital in enumerate(HOSPITALS):
        pen.text((left + column * cell, 4), hospital.name, fill=230)
    pen.text((left, top + len(labels) * cell + 2), NOTICE, fill=230)
    return page
