"""What a starter's training was made of, kept beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.atomic import write_json
from model.config import TrainConfig

FILE = "recipe.json"


@dataclass(frozen=True)
class Recipe:
    """What a training was made of.

    Parameters
    ----------
    sets
        Names of the sets that it learned from.
    detector, training
        Its configurations, as JSON.
    shares
        How often an image of each set is looked at for one generated field.
    fields
        Number of generated fields.
    begun
        SHA-256 of the first tensor that it began with.
    before
        Recipe of the training that it went on from; None: it began with ImageNet weights, or with
        nothing.
    """

    sets: list[str]
    detector: Mapping[str, Any]
    training: Mapping[str, Any]
    shares: Mapping[str, int]
    fields: int
    begun: str
    before: Recipe | None = None

    @property
    def trainings(self) -> tuple[TrainConfig, ...]:
        """All trainings one after the other, this one last."""
        earlier = self.before.trainings if self.before else ()
        return *earlier, TrainConfig.from_json(dict(self.training))

    @property
    def steps(self) -> int:
        """Steps of all trainings together."""
        return sum(training.iterations for training in self.trainings)

    @property
    def text(self) -> str:
        """The recipe as JSON: equal for equal trainings."""
        return json.dumps(asdict(self), sort_keys=True)

    def in_words(self) -> str:
        """Say of how many steps each training was."""
        return ", then ".join(
            f"{training.iterations} steps of {training.batch} windows"
            for training in self.trainings
        )

    def write(self, folder: Path) -> None:
        """Keep it in the folder of a training that has ended."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Recipe | None:
        """Return the recipe of the training that ended in a folder; None if none did.

        One of an earlier form is none: its training is done anew.
        """
        path = folder / FILE
        content = json.loads(path.read_text("utf-8")) if path.is_file() else None
        return _from_json(content) if isinstance(content, dict) else None


def _from_json(content: dict[str, Any]) -> Recipe:
    before = content.pop("before")
    return Recipe(**content, before=_from_json(before) if before else None)
