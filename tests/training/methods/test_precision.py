"""Losses are computed in float32 or wider."""

import pytest
import torch

from training.methods.precision import widen


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype: torch.dtype) -> None:
    values = torch.tensor([0.5, -3.0], dtype=dtype, requires_grad=True)
    assert widen(values).dtype == torch.float32 and widen(values).tolist() == [0.5, -3.0]
    (gradient,) = torch.autograd.grad(widen(values).sum(), values)
    assert gradient.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wider_values_are_the_same_tensor(dtype: torch.dtype) -> None:
    values = torch.randn(3, dtype=dtype)
    assert widen(values) is values
