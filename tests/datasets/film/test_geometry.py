"""Pixels that aren't square, films stored turned or mirrored, and tags of one frame."""

import io
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from datasets.film.dicom import read_dicom
from datasets.film.geometry import pixel_aspect, with_square_pixels
from datasets.film.radiograph import RadiographError
from tests.datasets.film.test_dicom import film, lut

GREYS = np.add.outer(np.arange(40) * 30, np.arange(30) * 40)


def read(**tags: Any) -> Any:
    buffer = io.BytesIO()
    film(GREYS, **tags).save_as(buffer, enforce_file_format=True)
    return read_dicom(buffer.getvalue())


@pytest.mark.parametrize(
    ("tags", "aspect"),
    [
        ({}, 1),
        ({"PixelAspectRatio": ["2", "1"]}, 2),
        ({"PixelAspectRatio": ["1", "2"]}, 0.5),
        ({"PixelAspectRatio": ["0", "1"]}, 1),
        ({"PixelAspectRatio": ["1"]}, 1),
        ({"PixelAspectRatio": ["9", "1"]}, 1),  # no reader has such pixels
        ({"PixelSpacing": ["0.2", "0.1"]}, 2),
        ({"ImagerPixelSpacing": ["0,15", "0,1"]}, 1.5),
        ({"PixelSpacing": ["0.1439", "0.1440"]}, 1),
        ({"PixelSpacing": ["0.1", "0.1"], "PixelAspectRatio": ["2", "1"]}, 1),
        ({"PixelSpacing": ["x", "0.1"], "PixelAspectRatio": ["2", "1"]}, 2),
    ],
)
def test_height_over_width(tags: dict[str, Any], aspect: float) -> None:
    assert pixel_aspect(tags) == pytest.approx(aspect)


@pytest.mark.parametrize(
    ("tags", "shape"),
    [
        ({"PixelAspectRatio": [2, 1]}, (80, 30)),
        ({"PixelAspectRatio": [3, 4]}, (40, 40)),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (80, 30)),
        ({"PixelSpacing": [0.1, 0.15]}, (40, 45)),
    ],
)
def test_a_film_is_resampled_and_says_so(tags: dict[str, Any], shape: tuple[int, int]) -> None:
    stretched, plain = read(**tags), read()
    assert stretched.pixels.shape == shape and plain.pixels.shape == (40, 30)
    assert (stretched.facts["corrected"], plain.facts["corrected"]) == ("pixel aspect", None)
    assert abs(stretched.pixels.mean() - plain.pixels.mean()) < 0.01
    assert (np.diff(stretched.pixels[2:-2, 2:-2], axis=0) > 0).all()


def test_square_pixels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.radiograph.MAX_PIXELS", 2000)
    with pytest.raises(RadiographError, match="more than the 2000"):
        with_square_pixels(np.zeros((40, 30), np.float32), 2)


@pytest.mark.parametrize(
    ("orientation", "view", "stored"),
    [
        (["L", "F"], "FRONTAL", "upright"),
        (["R", "H"], "FRONTAL", "rotated"),
        (["F", "R"], "FRONTAL", "rotated"),
        (["R", "F"], "FRONTAL", "mirrored"),
        (["LA", "FP"], "FRONTAL", "upright"),
        (["", "F"], "UNKNOWN", None),
        (["L"], "UNKNOWN", None),
        (["X", "Y"], "UNKNOWN", None),
    ],
)
def test_how_a_film_is_stored_is_marked_and_never_changed(
    orientation: list[str], view: str, stored: str | None
) -> None:
    result = read(PatientOrientation=orientation)
    np.testing.assert_array_equal(result.pixels, read().pixels)
    assert (result.facts["view_position"], result.facts["orientation"]) == (view, stored)


@pytest.mark.parametrize("tags", [{"FieldOfViewRotation": 90}, {"FieldOfViewHorizontalFlip": "YES"}])
def test_the_detector_s_own_rotation_is_no_reason_to_turn_it_again(tags: dict[str, Any]) -> None:
    """These tell what was done to the detector's matrix: the stored pixels are already so."""
    np.testing.assert_array_equal(read(**tags).pixels, read().pixels)


def test_overlays_in_the_high_bits_are_no_greys() -> None:
    overlay = np.zeros(GREYS.shape, int)
    overlay[5:9, 5:20] = 1
    tags = {"OverlayBitsAllocated": 16, "OverlayBitPosition": 12, "OverlayRows": 40, "OverlayColumns": 30}
    dataset = film(GREYS | overlay << 12 | overlay << 15)
    for keyword, value in tags.items():
        dataset.add_new({"OverlayRows": 0x60000010, "OverlayColumns": 0x60000011}.get(keyword, 0x60000100), "US", value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(buffer.getvalue()).pixels, read().pixels)


def test_a_shutter_hides_nothing_of_the_film() -> None:
    """It is of the display; what lies under it was exposed and is in the training films too."""
    tags = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 5, "ShutterRightVerticalEdge": 20}
    np.testing.assert_array_equal(read(**tags).pixels, read().pixels)


def test_explanations_of_windows_change_nothing() -> None:
    windows = {"WindowCenter": [1000, 200], "WindowWidth": [2000, 100]}
    explained = read(**windows, WindowCenterWidthExplanation=["WINDOW1", "BONE"])
    np.testing.assert_array_equal(explained.pixels, read(WindowCenter=1000, WindowWidth=2000).pixels)


def group(name: str, **tags: Any) -> Dataset:
    inner, outer = Dataset(), Dataset()
    for keyword, value in tags.items():
        setattr(inner, keyword, value)
    setattr(outer, name, [inner])
    return outer


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_tags_of_the_only_frame_of_an_enhanced_object(groups: str) -> None:
    window = {"WindowCenter": "1000", "WindowWidth": "2000"}
    enhanced = {"SOPClassUID": uid.EnhancedXAImageStorage, "NumberOfFrames": 1}
    seen = read(**enhanced, **{groups: [group("FrameVOILUTSequence", **window)]})
    assert seen.facts["voi"] == "LINEAR"
    np.testing.assert_array_equal(seen.pixels, read(**window).pixels)
    own = read(**enhanced, WindowCenter=500, WindowWidth=900, **{groups: [group("FrameVOILUTSequence", **window)]})
    np.testing.assert_array_equal(own.pixels, read(WindowCenter=500, WindowWidth=900).pixels)
    scaled = group("PixelValueTransformationSequence", RescaleSlope=-1, RescaleIntercept=3000)
    assert read(**enhanced, **{groups: [scaled]}).facts["modality_lut"] == "rescale"
    table = group("FrameVOILUTSequence", VOILUTSequence=lut(list(range(0, 4096, 2)), 0, 12, False))
    assert read(**enhanced, **{groups: [table]}).facts["voi"] == "lut"
    stretched = group("PixelMeasuresSequence", PixelSpacing=[0.2, 0.1])
    assert read(**enhanced, **{groups: [stretched]}).pixels.shape == (80, 30)


def test_the_part_of_the_only_frame() -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "69536005", "SCT", "Head"
    anatomy = group("FrameAnatomySequence", AnatomicRegionSequence=[region], FrameLaterality="U")
    with pytest.raises(RadiographError, match="isn't of the chest"):
        read(SharedFunctionalGroupsSequence=[anatomy])
