"""The manifest lists every usable film with its split and hash."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.manifest import main


def test_manifest_of_a_small_cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append((f"{number}.png", ("covid", "normal")[number % 2], ("a", "b")[number // 2 % 2], number // 2))
    pd.DataFrame(rows, columns=["path", "label", "source", "patient_id"]).to_csv(tmp_path / "metadata.csv", index=False)
    main(["--data-dir", str(tmp_path), "--external-sources", "b", "--output", str(tmp_path / "m.csv")])
    assert "wrote 40 films" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--data-dir", str(tmp_path), "--output", str(tmp_path / "metadata.csv")])
    assert "the cohort's own table" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--data-dir", str(tmp_path), "--output", str(tmp_path)])
    assert f"--output {tmp_path} is a folder: name a file" in capsys.readouterr().err
    assert "patient_id" in (tmp_path / "metadata.csv").read_text()
    (tmp_path / "labels.csv").write_text("file,label\n")
    with pytest.raises(SystemExit):
        main(["--data-dir", str(tmp_path), "--output", str(tmp_path / "labels.csv")])
    assert "labels.csv is there already and is no manifest" in capsys.readouterr().err
    assert (tmp_path / "labels.csv").read_text() == "file,label\n"
    main(["--data-dir", str(tmp_path), "--external-sources", "b", "--output", str(tmp_path / "m.csv")])  # once more
    table = pd.read_csv(tmp_path / "m.csv", keep_default_na=False)
    assert table.columns.tolist() == ["source", "label", "patient", "split", "url", "sha1"]
    assert set(table["split"][table["source"] == "b"]) == {"external"}
    assert table["sha1"][3] == hashlib.sha1((tmp_path / "3.png").read_bytes()).hexdigest()


def test_a_missing_cohort_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data-dir", str(tmp_path), "--output", str(tmp_path / "m.csv")])
    assert "metadata.csv" in capsys.readouterr().err
