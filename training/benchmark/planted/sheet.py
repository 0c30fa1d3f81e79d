"""A picture of planted films: a row a film, a column a signature, each as large as the network sees it."""

from pathlib import Path

from PIL import Image, ImageDraw
from rich.console import Console

from datasets.phantom.signature import Signature
from training.benchmark.planted.films import PlantedFilms, as_picture
from training.benchmark.planted.study import Study

EACH = 2  # films of each class


def sheet(films: PlantedFilms, signatures: dict[str, Signature]) -> Image.Image:
    """The first column has the films as they are."""
    table, size = films.cohort.table, films.reading.size
    shown = table.drop_duplicates("patient").groupby("target").head(EACH).sort_values("target", kind="stable")
    columns: dict[str, Signature | None] = {"as it is": None, **signatures}
    cell, left, top = size + 4, 72, 18
    page = Image.new("L", (left + len(columns) * cell, top + len(shown) * cell), 0)
    pen = ImageDraw.Draw(page)
    for column, (name, signature) in enumerate(columns.items()):
        pen.text((left + column * cell, 3), name, fill=230)
        for row, position in enumerate(shown.index):
            page.paste(as_picture(films.greys(position, signature)), (left + column * cell, top + row * cell))
    for row, label in enumerate(shown["target_name"]):
        pen.text((3, top + row * cell + size // 2), str(label)[:11], fill=230)
    return page


def write_sheet(study: Study, file: Path, console: Console) -> None:
    """Write the picture beside the record, where something is planted."""
    planted = {name: signature for name, signature in study.design.signatures.items() if signature is not None}
    if planted:
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet(study.films, planted).save(file)
        console.print(f"Planted films, as the network sees them: {file}", markup=False, highlight=False)
