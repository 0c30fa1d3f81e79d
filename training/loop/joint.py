"""Classifier and method behind one forward pass, and the gradient of a batch, whole or in parts.

DistributedDataParallel wraps the two together, for a method may have networks of its own. With `--accumulate` a batch goes
through the classifier in parts, for less memory, and its terms are still those of the whole batch (Gao, Zhang, Han, Callan,
"Scaling deep contrastive learning batch size under memory limited setup", RepL4NLP 2021):

1. each part is run without a graph, and the features and logits of all are put together;
2. the method's terms give the loss's gradient by features, logits and the method's own parameters;
3. each part is run again with a graph, from the same random numbers, and back-propagates its share of that gradient.

It costs a second forward pass. Batch norm sees one part at a time, as in any accumulation.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from datasets.sample import Sample
from models.classifier import Classifier, Output
from training.methods.precision import widen


class Joint(nn.Module):
    """What is trained: the classifier under autocast, then the method.

    Args:
        detached_head: see `training.methods.Entry`.
        precision: what autocast computes the classifier in; None for no autocast.
        compiled: let torch.compile write the classifier's training step.
    """

    def __init__(
        self, classifier: Classifier, method: nn.Module, detached_head: bool = False,
        layout: torch.memory_format = torch.contiguous_format, precision: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classifier, self.method = classifier, method
        self.detached_head, self.layout, self.precision = detached_head, layout, precision
        # Only training is compiled; a function, unlike a compiled module, adds nothing to the names of the weights.
        self.run = torch.compile(classifier.forward) if compiled else classifier

    def output(self, image: Tensor) -> Output:
        """The classifier's features and logits."""
        with torch.autocast(image.device.type, self.precision, enabled=self.precision is not None):
            output: Output = self.run(image.contiguous(memory_format=self.layout), self.detached_head)
        return output

    def forward(self, batch: Sample, slopes: "Slopes | None" = None) -> dict[str, Tensor]:
        """The terms of a batch; with `slopes` one term whose gradient is theirs."""
        output = self.output(batch.image)
        if slopes is None:
            terms: dict[str, Tensor] = self.method(output, batch)
            return terms
        values = [*output, *(self.method.parameters() if slopes.method else ())]
        pairs = zip(values, [*slopes.output, *slopes.method], strict=True)
        return {"surrogate": torch.stack([(v.to(s.dtype) * s).sum() for v, s in pairs if s is not None]).sum()}


class Slopes:
    """Gradient of the loss by a part's features and logits, and by the method's parameters where the part carries them."""

    def __init__(self, output: list[Tensor | None], method: list[Tensor | None]) -> None:
        self.output, self.method = output, method


def backward(
    joint: Joint, wrapped: nn.Module, batch: Sample, scaler: torch.amp.GradScaler, parts: int
) -> dict[str, Tensor]:
    """Add the gradient of the loss of this process's share of a batch to the parameters', and return its terms.

    Args:
        wrapped: `joint`, or DistributedDataParallel around it.
        parts: equal parts in which the batch goes through the classifier.
    """
    if parts == 1:
        terms: dict[str, Tensor] = wrapped(batch)
        scaler.scale(_sum(terms)).backward()
        return terms
    shares = [Sample(*fields) for fields in zip(*(field.chunk(parts) for field in batch), strict=True)]
    buffers = {name: buffer.clone() for name, buffer in joint.classifier.named_buffers()}
    states, outputs = [], []
    for share in shares:
        states.append(_random_state(batch.image.device))
        with torch.no_grad():
            outputs.append(joint.output(share.image))
    for name, buffer in joint.classifier.named_buffers():  # statistics of batch norm move in the second pass alone
        buffer.copy_(buffers[name])
    # At least float32: the gradient of the terms is not scaled, and would vanish in half precision.
    whole = Output(*(widen(torch.cat(fields)).requires_grad_() for fields in zip(*outputs, strict=True)))
    method_parameters = list(joint.method.parameters())
    terms = joint.method(whole, batch)
    slopes = torch.autograd.grad(_sum(terms), [*whole, *method_parameters], allow_unused=True)
    pieces = [slope.chunk(parts) if slope is not None else (None,) * parts for slope in slopes[:2]]
    for number, (share, state) in enumerate(zip(shares, states, strict=True)):
        last = number == parts - 1
        quiet = not last and isinstance(wrapped, DistributedDataParallel)
        _set_random_state(batch.image.device, state)
        with wrapped.no_sync() if quiet else nullcontext():  # type: ignore[operator]
            share_of = Slopes([piece[number] for piece in pieces], list(slopes[2:]) if last else [])
            scaler.scale(_sum(wrapped(share, share_of))).backward()
    return terms


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def _random_state(device: torch.device) -> list[Tensor]:
    state = [torch.get_rng_state()]
    return [*state, torch.cuda.get_rng_state(device)] if device.type == "cuda" else state


def _set_random_state(device: torch.device, state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
