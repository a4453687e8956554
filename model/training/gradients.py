"""The gradient of a batch: of all images at once, or in parts where memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from model.errors import out_of_memory
from model.training.data import Example
from model.training.parallel import ALONE, Ranks


def gradient(
    module: FasterRCNN,
    share: Sequence[Example],
    *,
    batch: int,
    at_once: int,
    seed: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Leave the gradient of a batch in the parameters, replacing what was there.

    Each part's loss is weighted by its images, and the running statistics of BatchNorm move once,
    to the mean of what the parts saw: into however many parts a batch is cut, a step is one step.
    After an error the statistics are as before.

    Parameters
    ----------
    share
        The images of the batch that are this process's own: all, where it is alone.
    batch
        How many images the batch has.
    at_once
        Images that go through the network together; memory grows with it.
    seed
        Of what is drawn at random in the network.
    ranks
        The processes that share the batch: each finds the gradient of its share, all get the sum.

    Returns
    -------
    The loss, shape (); where it is not finite the gradient means nothing.
    """
    module.zero_grad(set_to_none=True)
    loss, place = torch.zeros((), device=device), ranks.share(batch).start
    with _statistics_moved_once(module) as (seen, take):
        with _memory_of_all(ranks):
            for first in range(0, len(share), at_once):
                part = share[first : first + at_once]
                # Of the part alone, so that an image draws the same whatever goes before it.
                torch.manual_seed(seed + (place + first) * 1_009)
                weight = len(part) / batch
                of_part = weight * _loss(module, part, device)
                of_part.backward()  # type: ignore[no-untyped-call]
                loss += of_part.detach()
                take(weight)
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        ranks.total([loss, *gradients, *(s for s in seen if s.is_floating_point())])
    return loss


@contextmanager
def _memory_of_all(ranks: Ranks) -> Iterator[None]:
    """Raise in all processes where memory runs out in one, so that all go on alike."""
    error = None
    try:
        yield
    except (MemoryError, RuntimeError) as raised:
        if not out_of_memory(raised):
            raise
        error = raised
    try:
        if ranks.most(error is not None):
            raise error or MemoryError("memory ran out in another process")
    finally:
        del error  # A circle with its own frame would hold the failed attempt's tensors.


@contextmanager
def _statistics_moved_once(
    module: nn.Module,
) -> Iterator[tuple[list[Tensor], Callable[[float], None]]]:
    """Yield what the statistics will be, and a function that adds what a part saw, by weight."""
    learning = (part for part in module.modules() if part.training)
    running = [buffer for part in learning for buffer in part.buffers(recurse=False)]
    before = [buffer.clone() for buffer in running]
    seen = [torch.zeros_like(buffer) for buffer in running]

    def take(weight: float) -> None:
        for total, now, was in zip(seen, running, before, strict=True):
            if now.is_floating_point():
                total.add_(now, alpha=weight)
            else:  # a count of steps
                total.copy_(now)
            now.copy_(was)

    settled = before
    try:
        yield seen, take
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
