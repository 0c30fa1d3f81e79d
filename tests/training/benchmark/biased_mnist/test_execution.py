"""What goes wrong in one job: an answer of its settings, or something to mend."""

from pathlib import Path

import pytest
import torch

from training.benchmark.biased_mnist.execution import _run
from training.benchmark.biased_mnist.records import Job
from training.console.messages import ERRORS
from training.loop.assembly import Assembly
from training.recipe.candidate import Candidate


def test_a_device_that_is_full_is_told_with_what_to_do(drawn_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Assembly, step: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ERRORS, "quiet", False)  # put back afterwards: the job silences its process
    monkeypatch.setattr(Assembly, "update", full)
    job = Job("short", Candidate.parse("erm:films=200,epochs=1,img_size=8,batch_size=64"), 0.9, 0, "run")
    with pytest.raises(OSError, match="cpu is out of memory: give fewer --jobs"):
        _run(job, drawn_digits, torch.get_num_threads())
