"""Films are linked, copied, written anew or left where they are, and no name of a foreign table leads anywhere else."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.prepare.layouts.film import Film
from datasets.prepare.placing import Placing, PlacingError
from datasets.prepare.request import Request
from tests.datasets.public_films import png


def film(file: str, sidecar: str = "") -> Film:
    return Film(file, "covid", "a", "p", "line 2", sidecar=sidecar)


def test_a_film_is_linked_and_a_second_run_leaves_it(tmp_path: Path) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    png(src / "a/1.png", 1)
    for _ in range(2):
        placing = Placing(Request("set", src, out))
        assert placing.put(film("./a/../a/1.png")) == "images/set/a/1.png"
        assert placing.placed["hard-linked"] + placing.placed["there already"] == 1 and not placing.placed["copied"]
    assert placing.placed["there already"] == 1
    assert (out / "images/set/a/1.png").samefile(src / "a/1.png")
    assert [file.name for file in (out / "images/set/a").iterdir()] == ["1.png"]


def test_where_no_link_can_be_made_the_film_is_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    src, out = tmp_path / "src", tmp_path / "out"
    png(src / "1.png", 1)
    placing = Placing(Request("set", src, out))
    placing.put(film("1.png"))
    assert placing.placed["copied"] == 1 and not (out / "images/set/1.png").samefile(src / "1.png")
    assert (out / "images/set/1.png").read_bytes() == (src / "1.png").read_bytes()
    again = Placing(Request("set", src, out))
    again.put(film("1.png"))
    assert (again.placed["there already"], again.placed["copied"]) == (1, 0)  # it is there: nothing is copied twice


def test_a_changed_film_replaces_the_old_name_and_not_its_file(tmp_path: Path) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    png(src / "1.png", 1)
    Placing(Request("set", src, out)).put(film("1.png"))
    old = tmp_path / "old.png"
    (src / "1.png").rename(old)
    before = old.read_bytes()
    png(src / "1.png", 2)
    Placing(Request("set", src, out)).put(film("1.png"))
    assert old.read_bytes() == before and (out / "images/set/1.png").samefile(src / "1.png")


@pytest.mark.parametrize("src", [".", "films/set"])
def test_what_is_below_the_cohort_stays_where_it_is(tmp_path: Path, src: str) -> None:
    png(tmp_path / src / "1.png", 1)
    placing = Placing(Request("set", tmp_path / src, tmp_path))
    assert (tmp_path / placing.put(film("1.png"))).samefile(tmp_path / src / "1.png")
    assert placing.placed["in place"] == 1 and not (tmp_path / "images").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside.png", "its path leaves the data set's folder"),
        ("a/../../outside.png", "its path leaves the data set's folder"),
        ("/etc/passwd", "its path leaves the data set's folder"),
        ("link.png", "its path leaves the data set's folder"),
        ("folder/outside.png", "its path leaves the data set's folder"),
        ("none.png", "its file does not exist"),
        ("a", "its file does not exist"),
        ("a\0b", "no name of a file"),
        ("x" * 5000, "no name of a file"),
        ("loop", "no name of a file"),
    ],
)
def test_names_that_lead_nowhere_or_out(tmp_path: Path, name: str, reason: str) -> None:
    src = tmp_path / "src"
    png(src / "a/1.png", 1)
    png(tmp_path / "outside.png", 2)
    (src / "link.png").symlink_to(tmp_path / "outside.png")
    (src / "folder").symlink_to(tmp_path)
    (src / "loop").symlink_to("loop")
    with pytest.raises(
        PlacingError, match=reason.replace("no name of a file", "no name of a file|its file does not exist")
    ):
        Placing(Request("set", src, tmp_path / "out")).put(film(name))
    assert not list((tmp_path / "out").rglob("*.png"))


def test_two_names_of_one_file_are_one_film(tmp_path: Path) -> None:
    png(tmp_path / "src/1.png", 1)
    (tmp_path / "src/2.png").symlink_to("1.png")
    placing = Placing(Request("set", tmp_path / "src", tmp_path / "out"))
    placing.put(film("1.png"))
    with pytest.raises(PlacingError, match="second row for one file"):
        placing.put(film("2.png"))


def test_a_cohort_whose_images_are_a_link_elsewhere_is_not_written_through(tmp_path: Path) -> None:
    png(tmp_path / "src/1.png", 1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlacingError, match="link that leaves it"):
        Placing(Request("set", tmp_path / "src", tmp_path / "out")).put(film("1.png"))


def test_raw_greys_are_written_anew_once(tmp_path: Path) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    Image.fromarray(np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)).save(src / "1.png")
    (src / "1.json").write_text(json.dumps({"00280004": {"Value": ["MONOCHROME1"]}, "00280101": {"Value": [12]}}))
    placing = Placing(Request("set", src, out))
    target = out / placing.put(film("1.png", "1.json"))
    greys = np.asarray(Image.open(target))
    assert placing.placed["written anew"] == 1 and (greys[0, 0], greys[-1, -1]) == (255, 0)  # 4095 is black
    changed = target.stat().st_mtime_ns
    Placing(Request("set", src, out)).put(film("1.png", "1.json"))
    assert target.stat().st_mtime_ns == changed
    (src / "1.json").write_text("{")
    with pytest.raises(PlacingError, match="does not say what its greys are"):
        Placing(Request("set", src, out)).put(film("1.png", "1.json"))
