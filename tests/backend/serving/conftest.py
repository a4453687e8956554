from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from model.boxes import Box, Detections
from model.classical.detector import CLASSICAL_ID
from model.errors import BrokenVersion
from model.keeping.registry import Registry
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared

#: Ten cells in a row.
TEN_CELLS = tuple(Box(6.0 * n, 4, 6.0 * n + 4, 12, "Cell") for n in range(10))


def found_with_false_boxes() -> Detections:
    """Return the ten cells at scores of 0.3 and more, and beside each a false box below 0.3."""
    edges = [box.xyxy_px for box in TEN_CELLS]
    false = [(x, y + 20, right, bottom + 20) for x, y, right, bottom in edges]
    scores = np.concatenate([np.linspace(0.9, 0.3, 10), np.linspace(0.29, 0.05, 10)])
    rows = np.array([*edges, *false], np.float32)
    return Detections(rows, scores.astype(np.float32), np.zeros(20, np.int64), ("Cell",))


@dataclass(frozen=True)
class KnownDetector:
    """Finds the same boxes in every image, so that a test knows what is to come."""

    name: str
    found: Detections

    @property
    def classes(self) -> tuple[str, ...]:
        return self.found.classes

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        return [self.found for _ in images]


@dataclass
class StandIns(Registry):
    """A real registry whose trained versions need no torch, and load when they may."""

    root: Path
    may_load: threading.Event = field(default_factory=threading.Event)
    broken: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    found: dict[str, Detections] = field(default_factory=dict)
    groups: ContrastGroups = field(default_factory=ContrastGroups.none)

    def __post_init__(self) -> None:
        super().__init__(self.root)
        self.may_load.set()

    def load(self, version_id: str, device: str = "auto") -> LoadedVersion:
        self.loads.append(version_id)
        if version_id == CLASSICAL_ID:
            return super().load(version_id, device)
        assert self.may_load.wait(60)
        if version_id in self.broken:
            raise BrokenVersion(f"{version_id} is broken")
        found = self.found.get(version_id, Detections.empty(("Cell",)))
        detector = KnownDetector(version_id, found)
        return LoadedVersion(self.get(version_id), self.groups, detector)


@pytest.fixture
def registry(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path / "registry")


@pytest.fixture
def trained(registry: StandIns) -> Callable[..., ModelVersion]:
    """Return a maker of trained versions with known boxes, kept in the registry."""

    def make(
        id: str, *boxes: tuple[float, ...], classes: tuple[str, ...] = ("Cell", "Debris")
    ) -> ModelVersion:
        """Each box: xmin, ymin, xmax, ymax, score, label."""
        rows = np.array(boxes, np.float32).reshape(-1, 6)
        registry.found[id] = Detections(
            rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), classes
        )
        version = ModelVersion(id=id, kind="trained", classes=classes, threshold=0.5, project="1")
        return registry.add(version, ContrastGroups.none(), None)

    return make
