"""Real files, where `END_CXR_DICOM` names a folder of them: every one gives a film or a RadiographError."""

import os
from pathlib import Path

import numpy as np
import pytest

from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph


@pytest.mark.skipif("END_CXR_DICOM" not in os.environ, reason="END_CXR_DICOM names no folder of DICOM samples")
def test_real_samples() -> None:
    everything = DicomPolicy(
        modalities=("CR", "DX", "MG", "MR", "OT"),
        views=("PA", "AP", "UNKNOWN", "OTHER"),
        body_parts=("CHEST", "OTHER", "UNKNOWN"),
    )
    films = {}
    for path in sorted(Path(os.environ["END_CXR_DICOM"]).iterdir()):
        for policy in (DicomPolicy(), everything):
            try:
                films[path.name] = read_radiograph(path, policy=policy)
            except RadiographError as error:
                assert error.reason
                assert error.__context__ is None
    assert len(films) >= 10
    same = [film.pixels for name, film in films.items() if name.startswith("wg04_RG3") and not film.facts["lossy"]]
    assert len(same) == 4
    assert all(np.array_equal(same[0], other) for other in same)
    for film_ in films.values():
        assert 0 <= film_.pixels.min() <= film_.pixels.max() <= 1
        assert not film_.facts["looks_inverted"]
