"""What a training begins with: the weights of a version, or nothing; and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model.boxes import CELL
from model.config import DetectorConfig, TrainConfig
from model.errors import BrokenVersion, VersionNotFound
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot
from model.rcnn.anchors import fits, resolve
from model.rcnn.scale import near
from model.versions import ModelVersion

#: Images from which on the first layers learn too: it gains a little (docs/speed.md), and time is
#: no longer what matters.
_TEACH_ALL_LAYERS = 25


@dataclass(frozen=True)
class Start:
    """A version whose weights a training begins with."""

    version: ModelVersion
    config: DetectorConfig
    weights: Path

    @property
    def classes(self) -> tuple[str, ...]:
        return self.version.classes or (CELL,)


def choose_start(
    registry: Registry, champion: ModelVersion | None, detector: DetectorConfig
) -> Start | None:
    """Return the champion to start from, else the registry's first; None where neither fits."""
    for version in (*([champion] if champion else []), registry.get(registry.first)):
        if version.detector and not why_no_start(registry, version, detector):
            return Start(version, version.detector, registry.weights(version.id))
    return None


def why_no_start(registry: Registry, version: ModelVersion, detector: DetectorConfig) -> str:
    """Say why a training cannot begin with a version; empty where it can."""
    if version.detector is None or not registry.weights(version.id).is_file():
        return f"{version.id} has no weights to go on from"
    if not fits(version.detector, detector):
        return f"{version.id} is of another architecture than is trained"
    return ""


def notes_on_start(
    registry: Registry,
    champion: ModelVersion | None,
    detector: DetectorConfig,
    start: Start | None,
) -> tuple[str, ...]:
    """Say what a training began with where a champion that was trained is no start."""
    why = why_no_start(registry, champion, detector) if champion and champion.detector else ""
    return (f"begun from {start.version.id if start else 'nothing'}, since {why}",) if why else ()


def plan_from(
    start: Start | None, training: TrainConfig, snapshot: DatasetSnapshot, registry: Registry
) -> TrainConfig:
    """Return how to learn: all layers do of many images, or where no starter was the beginning.

    After a few images from nothing the first layers have not learned to see yet.
    """
    few = len(snapshot.of_side("train")) < _TEACH_ALL_LAYERS
    taught = start is not None and _from_starter(start.version, registry)
    return replace(training, keep_stem=training.keep_stem and few and taught)


def resolve_from(
    start: Start | None, detector: DetectorConfig, snapshot: DatasetSnapshot
) -> DetectorConfig:
    """Return what to build: what the recipe leaves open as the start has it, else as cells are."""
    if start is None:
        return resolve(detector, snapshot)
    # Weights know the anchors they were trained with, and cells of the size they were trained at:
    # a small difference of scale is not worth a new beginning. What is asked for comes first.
    sizes = detector.anchor_sizes or start.config.anchor_sizes
    resolved = resolve(replace(detector, anchor_sizes=sizes), snapshot)
    if detector.scale or not near(resolved, start.config):
        return resolved
    return replace(resolved, scale=start.config.scale)


def _from_starter(version: ModelVersion, registry: Registry) -> bool:
    try:
        while version.parent and version.kind != "starter":
            version = registry.get(version.parent)
    except (VersionNotFound, BrokenVersion):
        return False
    return version.kind == "starter"
