"""The gradient of a batch: of all images at once, or in parts where memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from model.data import Example

# What is said where no error of its own is raised, by allocators (Linux, Windows), CUDA, cuBLAS
# and oneDNN, which computes the convolutions on a CPU.
_FULL = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "could not create a primitive",
    "could not create a memory",
)


def out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out, the processor's or the GPU's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
    )


def gradient(
    module: FasterRCNN, batch: Sequence[Example], at_once: int, seed: int, device: torch.device
) -> Tensor:
    """Leave the gradient of a batch in the parameters, replacing what was there.

    Each part's loss has the weight of its images, and the running statistics of BatchNorm move
    once, to the mean of what the parts saw: however a batch is cut, a step is one step. When an
    error ends it, the statistics are as before.

    Parameters
    ----------
    at_once
        Images that go through the network together; memory grows with it.
    seed
        Of what is drawn at random in the network.

    Returns
    -------
    The loss, shape (); where it is not finite the gradient means nothing.
    """
    module.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=device)
    with _statistics_moved_once(module) as take:
        for first in range(0, len(batch), at_once):
            part = batch[first : first + at_once]
            # The part's own, so that the same images draw the same whoever goes before them.
            torch.manual_seed(seed + first * 1_009)
            share = len(part) / len(batch)
            of_part = share * _loss(module, part, device)
            of_part.backward()  # type: ignore[no-untyped-call]
            loss += of_part.detach()
            take(share)
    return loss


@contextmanager
def _statistics_moved_once(module: nn.Module) -> Iterator[Callable[[float], None]]:
    """Give a function that takes what a part of that share saw, and undoes it till the end."""
    running = list(module.buffers())
    before = [buffer.clone() for buffer in running]
    seen = [torch.zeros_like(buffer) for buffer in running]

    def take(share: float) -> None:
        for total, now, was in zip(seen, running, before, strict=True):
            if now.is_floating_point():
                total.add_(now, alpha=share)
            else:  # a count of steps
                total.copy_(now)
            now.copy_(was)

    settled = before
    try:
        yield take
        settled = seen
    finally:
        for buffer, value in zip(running, settled, strict=True):
            buffer.copy_(value)


def _loss(module: FasterRCNN, part: Sequence[Example], device: torch.device) -> Tensor:
    images = [_tensor(example).to(device) for example in part]
    targets = [
        {
            "boxes": torch.from_numpy(np.ascontiguousarray(example.xyxy_px)).to(device),
            "labels": torch.from_numpy(example.labels).to(device),
        }
        for example in part
    ]
    return torch.stack(list(module(images, targets).values())).sum()


def _tensor(example: Example) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(example.pixels, np.float32))[None]
