"""What a training keeps of itself, to go on from there exactly as it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.atomic import new_file
from model.training.looks import Look

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Checkpoint:
    """How far a training has come.

    All chance is drawn anew from the seed and the iteration, so it holds no random state.

    Parameters
    ----------
    fingerprint
        What makes it this training's.
    module, optimiser
        Their states.
    iteration
        Steps taken.
    at_once, cut, notes
        As in ``Training``.
    seen
        Each look at the inner side, as in ``Looks``; None: the training looks at none.
    best
        The weights that looked best, as in ``Looks``.
    """

    fingerprint: str
    module: dict[str, Tensor]
    optimiser: dict[str, Any]
    iteration: int
    at_once: int
    cut: int | None
    notes: list[str]
    seen: list[Look] | None
    best: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path, fingerprint: str) -> Checkpoint | None:
        """Read a training's checkpoint; None when there is none, or another training's."""
        if not path.exists():
            return None
        values = torch.load(path, map_location="cpu", weights_only=True)
        if values["fingerprint"] != fingerprint:
            return None
        looks = values.pop("seen")
        return cls(**values, seen=None if looks is None else [Look(*look) for look in looks])

    def write(self, path: Path) -> None:
        """Write it, whole or not at all, as tensors and plain values only."""
        looks = None if self.seen is None else [tuple(look) for look in self.seen]
        with new_file(path) as partial:
            torch.save(vars(self) | {"seen": looks}, partial)
