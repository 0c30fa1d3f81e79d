import io
import logging
import pickle
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import MAX_PIXELS, RadiographError, check_size, silenced
from datasets.film.read import read_radiograph

GREY_8 = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
GREY_16 = (np.arange(24, dtype=np.uint16) * 2849).reshape(4, 6)  # the last is 65527


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds a tenth of one row of it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(width // 10))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_full_range_not_own_extremes(kind: str) -> None:
    film = read_radiograph(saved(GREY_8, kind))
    np.testing.assert_array_equal(film.pixels, GREY_8.astype(np.float32) / 255)
    assert film.pixels.dtype == np.float32
    assert film.facts == {"format": kind, "bits": 8, "colour": False, "alpha": False} | {
        "looks_inverted": False,
        "damaged": False,
    }
    film = read_radiograph(saved(GREY_16, kind))
    np.testing.assert_array_equal(film.pixels, GREY_16.astype(np.float32) / 65535)
    assert film.facts["bits"] == 16


def test_twelve_bits_in_sixteen_are_not_guessed() -> None:
    assert read_radiograph(saved(GREY_16 // 16)).pixels.max() == pytest.approx(4095 / 65535)


def test_jpeg() -> None:
    grey = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))
    film = read_radiograph(saved(grey, "JPEG", quality=100))
    assert film.pixels.shape == (16, 24)
    np.testing.assert_allclose(film.pixels, grey / 255, atol=2 / 255)


def test_big_endian_and_white_is_zero_tiff() -> None:
    def tiff(order: str, photometric: int, bits: int, values: np.ndarray) -> bytes:
        entries = [(256, 6), (257, 4), (258, bits), (259, 1), (262, photometric), (273, 8 + 2 + 9 * 12 + 4)]
        entries += [(277, 1), (278, 4), (279, values.nbytes)]
        directory = struct.pack(f"{order}H", len(entries))
        directory += b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
        magic = b"II*\0" if order == "<" else b"MM\0*"
        return magic + struct.pack(f"{order}I", 8) + directory + bytes(4) + values.tobytes()

    normal = GREY_16.astype(np.float32) / 65535
    np.testing.assert_array_equal(read_radiograph(tiff(">", 1, 16, GREY_16.astype(">u2"))).pixels, normal)
    np.testing.assert_array_equal(read_radiograph(tiff("<", 1, 16, GREY_16)).pixels, normal)
    np.testing.assert_allclose(read_radiograph(tiff("<", 0, 16, GREY_16)).pixels, 1 - normal, atol=1e-7)
    inverted_8 = read_radiograph(tiff("<", 0, 8, GREY_8)).pixels
    np.testing.assert_allclose(inverted_8, 1 - GREY_8.astype(np.float32) / 255, atol=1e-7)


def test_colour_is_reduced_to_luminance() -> None:
    grey = read_radiograph(saved(GREY_8)).pixels
    same = read_radiograph(saved(np.stack([GREY_8] * 3, axis=-1)))
    np.testing.assert_array_equal(same.pixels, grey)
    assert same.facts["colour"]
    np.testing.assert_array_equal(read_radiograph(saved(Image.fromarray(GREY_8).convert("P"))).pixels, grey)
    red = read_radiograph(saved(GREY_8[..., None] * np.array([1, 0, 0], np.uint8))).pixels
    np.testing.assert_allclose(red, 0.299 * grey, atol=1 / 255)
    with pytest.raises(RadiographError, match="next to no different greys"):
        read_radiograph(saved(Image.fromarray(np.eye(9, dtype=np.uint8) * 255).convert("1")))


def test_alpha_is_composited_on_black() -> None:
    alpha = np.where(GREY_8 < 30, 0, np.where(GREY_8 < 60, 51, 255))
    grey_alpha = np.stack([GREY_8, alpha], axis=-1).astype(np.uint8)
    expected = (GREY_8 / 255 * alpha / 255).astype(np.float32)
    rgba = np.concatenate([np.repeat(grey_alpha[..., :1], 3, axis=-1), grey_alpha[..., 1:]], axis=-1)
    for array in (grey_alpha, rgba):
        film = read_radiograph(saved(array))
        np.testing.assert_allclose(film.pixels, expected, atol=1e-6)
        assert film.facts["alpha"]
    for grey in (GREY_8, GREY_16):  # one grey value declared transparent
        film = read_radiograph(saved(grey, transparency=int(grey[1, 1])))
        assert film.pixels[1, 1] == 0
        assert film.pixels[1, 2] > 0


def test_orientation_tag_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_radiograph(saved(GREY_8, exif=exif)).pixels.shape == GREY_8.shape


def test_told_by_content_and_error_shows_no_path(tmp_path: Path) -> None:
    film = tmp_path / "doe_jane.dcm"
    film.write_bytes(saved(GREY_8))
    assert read_radiograph(film).pixels.shape == GREY_8.shape
    for path, content in ((tmp_path / "doe_jane.png", b"hello" * 100), (tmp_path / "doe_none.png", None)):
        if content:
            path.write_bytes(content)
        with pytest.raises(RadiographError) as caught:
            read_radiograph(path)
        assert "doe" not in repr(caught.value)
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"x", "not a film"),
        (b"GIF89a" + bytes(200), "not a film"),
        (saved(GREY_8)[:60], "truncated"),
        (saved(NOISE)[:-200], "truncated"),
        (saved(NOISE, "JPEG")[:-30], "damaged"),
        (saved(NOISE, "JPEG")[:1500], "damaged"),
        (saved(GREY_8, "TIFF")[:-30], "truncated"),
        (saved(GREY_8)[:40] + b"\xff" * 30, "undecodable"),
        (saved(GREY_8, "TIFF", save_all=True, append_images=[Image.fromarray(GREY_8)]), "multi-frame"),
        (saved(GREY_8, save_all=True, append_images=[Image.fromarray(GREY_8.T.copy().reshape(4, 6))]), "multi-frame"),
        (saved(GREY_8.astype(np.float32), "TIFF"), "undecodable"),
        (saved(GREY_8.astype(np.int32), "TIFF"), "undecodable"),
        (png_header(11000, 9500), "too large"),
        (png_header(60000, 60000), "too large"),
        (png_header(60000, 1), "strip"),
        (png_header(1, 60000), "strip"),
        (saved(np.tile(NOISE[:20], (1, 6))), "strip"),
    ],
)
def test_refused_in_words(data: bytes, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RadiographError, match=r"\w+ \w+ \w+") as caught:
            read_radiograph(data)
    assert caught.value.reason == reason
    assert caught.value.__context__ is None


def test_size_is_bounded_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.read._grey", lambda image: pytest.fail("decoded"))
    with pytest.raises(RadiographError, match="4001 x 10000"):
        read_radiograph(png_header(10000, MAX_PIXELS // 10000 + 1))


def test_long_films_are_films() -> None:
    check_size(4000, 1000)  # a spine
    check_size(1000, 100)
    with pytest.raises(RadiographError, match="1001 x 100 pixels: a strip, one side more than 10 times the other"):
        check_size(1001, 100)


def test_bugs_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.read._grey", lambda image: np.no_such_name)
    with pytest.raises(AttributeError, match="no_such_name"):
        read_radiograph(saved(GREY_8))


def test_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(saved(GREY_8))
    monkeypatch.setattr("datasets.film.radiograph.MAX_BYTES", 50)
    for source in (tmp_path / "a", saved(GREY_8)):
        with pytest.raises(RadiographError, match="50 allowed") as caught:
            read_radiograph(source)
        assert caught.value.reason == "too large"


def test_damaged_files_raise_nothing_else() -> None:
    rng = np.random.default_rng(1)
    originals = [saved(GREY_8), saved(GREY_16, "TIFF"), saved(np.tile(GREY_8, (8, 8)), "JPEG")]
    for data in originals:
        for _ in range(150):
            damaged = bytearray(data[: rng.integers(8, len(data) + 1)])
            for place in rng.integers(8, len(damaged), 3) if len(damaged) > 8 else []:
                damaged[place] = rng.integers(256)
            try:
                pixels = read_radiograph(bytes(damaged)).pixels
            except RadiographError:
                continue
            assert pixels.dtype == np.float32
            assert 0 <= pixels.min() <= pixels.max() <= 1


def test_error_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(RadiographError("a sentence", reason="too large")))  # noqa: S301
    assert (str(error), error.reason) == ("a sentence", "too large")


def test_png_path_never_imports_pydicom(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(GREY_8))
    code = (
        "import sys, pathlib; from datasets.film.read import read_radiograph;"
        "read_radiograph(pathlib.Path(sys.argv[1])); sys.exit(bool({'pydicom', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=False).returncode == 0


def test_silence_of_overlapping_threads_ends() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with silenced():
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with silenced():
            thread.start()
            entered.wait(5)
            warnings.warn("while both are inside", stacklevel=1)
        warnings.warn("while the other still is", stacklevel=1)
        leave.set()
        thread.join()
        with pytest.raises(UserWarning, match="after both"):
            warnings.warn("after both", stacklevel=1)


def test_pydicom_says_nothing_inside_and_all_again_after(caplog: pytest.LogCaptureFixture) -> None:
    own, heard = logging.getLogger("pydicom"), logging.Handler()
    heard.emit = caplog.records.append  # type: ignore[method-assign]
    own.addHandler(heard)
    try:
        for inside in (True, False):
            with silenced() if inside else nullcontext():
                for name in ("pydicom", "pydicom.pixels.utils"):
                    logging.getLogger(name).critical("inside" if inside else "outside")
    finally:
        own.removeHandler(heard)
    assert [record.getMessage() for record in caplog.records] == ["outside"] * 4  # by its own handler, and the root's


FILM = np.add.outer(np.arange(96), np.arange(80) * 2).astype(np.uint8)
COLOURS = {
    "grey": FILM,
    "16 bits": FILM.astype(np.uint16) * 257,
    "colour": np.stack([FILM, FILM, FILM], -1),
    "transparency": np.stack([FILM, FILM, FILM, np.full_like(FILM, 255)], -1),
    "grey and transparency": np.stack([FILM, np.full_like(FILM, 255)], -1),
    "palette": Image.fromarray(FILM).convert("P"),
}


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG: kind and content."""
    found, position = [], 8
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        found.append((kind, png[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def with_data(png: bytes, change: Any) -> bytes:
    """The PNG whose inflated data a function has changed; checksums fit."""
    parts, whole = chunks(png), b"".join(content for kind, content in chunks(png) if kind == b"IDAT")
    data = zlib.compress(change(zlib.decompress(whole)))
    kept = [part for part in parts if part[0] not in (b"IDAT", b"IEND")] + [(b"IDAT", data), (b"IEND", b"")]
    return png[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in kept
    )


def interlaced(greys: np.ndarray) -> bytes:
    """An 8-bit PNG in the seven passes of Adam7, which Pillow doesn't write."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    data = b"".join(
        b"\0" + row.tobytes() for left, top, across, down in passes for row in greys[top::down, left::across]
    )
    plain = bytearray(with_data(saved(greys), lambda _: data))
    plain[28] = 1
    plain[29:33] = struct.pack(">I", zlib.crc32(plain[12:29]))
    return bytes(plain)


@pytest.mark.parametrize("kind", COLOURS)
@pytest.mark.parametrize("keep", [0.2, 0.7, 0.99])
def test_a_png_whose_rows_are_missing_is_damaged(kind: str, keep: float) -> None:
    whole = saved(COLOURS[kind])
    assert read_radiograph(with_data(whole, lambda data: data)).facts["damaged"] is False
    short = with_data(whole, lambda data: data[: int(len(data) * keep)])
    with pytest.raises(RadiographError) as caught:
        read_radiograph(short)
    assert caught.value.reason in ("damaged", "truncated")
    if caught.value.reason == "damaged":
        film = read_radiograph(short, policy=DicomPolicy(accept_damaged=True))
        assert film.facts["damaged"] is True and film.pixels.shape == FILM.shape


def test_an_interlaced_png() -> None:
    whole = interlaced(FILM)
    np.testing.assert_array_equal(read_radiograph(whole).pixels, FILM.astype(np.float32) / 255)
    for keep in (0.3, 0.6, 0.95):
        with pytest.raises(RadiographError) as caught:
            read_radiograph(with_data(whole, lambda data, keep=keep: data[: int(len(data) * keep)]))
        assert caught.value.reason in ("damaged", "truncated")


def test_a_film_whose_last_rows_are_black_is_whole() -> None:
    black = FILM.copy()
    black[-30:] = 0
    for image in (black, black.astype(np.uint16) * 257, Image.fromarray(black).convert("P")):
        assert read_radiograph(saved(image)).facts["damaged"] is False


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_png_with_a_wrong_checksum(at: float) -> None:
    data = bytearray(saved(NOISE))
    data[int(len(data) * at)] ^= 0x10
    with pytest.raises(RadiographError):
        read_radiograph(bytes(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_an_inverted_film_is_marked_in_every_format(kind: str) -> None:
    rows, columns = np.mgrid[0:1:240j, 0:1:200j]
    chest = 0.25 + 0.6 * np.exp(-(((columns - 0.5) / 0.08) ** 2)) + 0.1 * rows
    for film, inverted in ((chest, False), (1 - chest, True)):
        for greys in (255 * film, 65535 * film) if kind != "JPEG" else (255 * film,):
            stored = np.rint(greys).astype(np.uint8 if greys.max() < 256 else np.uint16)
            assert read_radiograph(saved(stored, kind)).facts["looks_inverted"] is inverted


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("value", [0, 117, 255])
def test_a_film_of_one_grey_is_none(kind: str, value: int) -> None:
    blank = np.full((64, 64), value, np.uint8)
    blank[30, 30] ^= 0x40
    with pytest.raises(RadiographError, match="next to no different greys") as caught:
        read_radiograph(saved(blank, kind))
    assert caught.value.reason == "no picture"
