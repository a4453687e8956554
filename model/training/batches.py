"""The batches of a training: each a function of the seed and its number, made ahead for a GPU.

Of several processes that train together each makes its share, and no more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import count
from multiprocessing import current_process
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from model.config import TrainConfig
from model.training.augment import Variation, vary
from model.training.data import Example
from model.training.parallel import ALONE, Ranks, end_with_the_parent

#: Processes that make the batches of one GPU ahead. A CPU that trains has no core to spare.
_HELPERS = 4


class Source(Protocol):
    """What a training learns from, such as ``model.training.data.Examples``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True)
class Batches(Dataset[list[Example]]):
    """What a process learns from in each iteration: its share of a varied batch."""

    examples: Source
    config: TrainConfig
    ranks: Ranks = ALONE

    def __getitem__(self, iteration: int) -> list[Example]:
        rng = np.random.default_rng((self.config.seed, iteration))
        indices, mine = self.indices(iteration), self.ranks.share(self.config.batch)
        chosen = [self.examples[indices[place]] for place in mine]
        return vary(chosen, rng, variation_of(self.config), mine.start)

    def indices(self, iteration: int) -> list[int]:
        """Return which examples make a batch: one shuffled epoch follows another."""
        size, seed, first = len(self.examples), self.config.seed, iteration * self.config.batch
        return [
            int(np.random.default_rng((seed, n // size)).permutation(size)[n % size])
            for n in range(first, first + self.config.batch)
        ]

    def following(self, first: int, device: torch.device) -> Iterator[list[Example]]:
        """Yield the batches of the iterations from ``first`` on, made ahead where a GPU learns.

        Without end: the number of steps may change on the way.
        """
        if not (helpers := helpers_for(device, self.ranks)):
            yield from (self[iteration] for iteration in count(first))
            return
        # Spawned: a fork would take along a CUDA that was begun already.
        yield from DataLoader(
            self,
            batch_size=None,
            sampler=count(first),
            num_workers=helpers,
            collate_fn=_as_it_is,
            worker_init_fn=_help,
            multiprocessing_context="spawn",
        )


def helpers_for(device: torch.device, ranks: Ranks) -> int:
    """Return how many processes make a process's batches ahead; 0: it makes them itself."""
    if device.type != "cuda" or current_process().daemon:  # a daemon may start no processes
        return 0
    return min(_HELPERS, (os.cpu_count() or 1) // (2 * ranks.size))


def _help(_number: int) -> None:
    # Waiting to hand over a batch, it would not notice that nobody takes it any more.
    end_with_the_parent()


def _as_it_is(batch: list[Example]) -> list[Example]:
    return batch


def variation_of(config: TrainConfig) -> Variation:
    """Return how far a training varies its examples."""
    return Variation(**{field.name: getattr(config, field.name) for field in fields(Variation)})
