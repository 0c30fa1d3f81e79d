"""A run into one of the formats: which module writes it, and what the user is told of the result."""

from pathlib import Path

from training.export.facts import ExportError, notice, reading
from training.run.checkpoint import Checkpoint, load_checkpoint
from training.run.checkpoint_header import checkpoint_file


def export(form: str, run: Path, place: Path, backbone: bool = False) -> list[str]:
    """Write a run to `place`; returns sentences on what was written, measured, and how it is loaded.

    Args:
        form: monai, timm or onnx.
        backbone: for timm: without the last layer.

    Raises:
        ExportError, ModelError: the run can't be exported so, or `place` can't be written to.
    """
    checkpoint, name = load_checkpoint(run), checkpoint_file(run).resolve().parent.name
    try:
        lines = _write(form, checkpoint, name, place, backbone)
    except OSError as error:
        said = f"--output {place} can't be written: {error.strerror}" if error.strerror else f"--output {error}"
        raise ExportError(said) from None
    without_head = "features only: the last layer and its calibration are not in the file"
    return [f"wrote {place}", *lines, without_head if backbone else reading(checkpoint), notice(checkpoint)]


def _write(form: str, checkpoint: Checkpoint, name: str, place: Path, backbone: bool) -> list[str]:
    # Each is imported when it is asked for: MONAI is slow, ONNX is an extra.
    if form == "monai":
        from training.export.monai_bundle import export_monai

        difference = export_monai(checkpoint, name, place.absolute())
        return [f"logits differ by at most {difference:.1e} on random images", f"see {place}/docs/README.md"]
    if form == "timm":
        from training.export.timm_weights import export_timm

        return [export_timm(checkpoint, name, place, backbone)]
    try:
        from training.export.onnx_model import export_onnx

        difference = export_onnx(checkpoint, name, place.absolute())
    except ModuleNotFoundError as error:  # of ours, or of those that torch's exporter imports when it is called
        raise ExportError(f"{error.name} is not installed: pip install 'end-cxr[export]'") from None
    return [f"features and logits differ by at most {difference:.1e} on random images"]
