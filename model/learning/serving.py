"""The engine that will serve a candidate: its exported file where that finds the same boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.config import DetectorConfig
from model.keeping.version_folder import EXPORTED
from model.labels.examples import DatasetSnapshot, evenly
from model.looking.tiling import middle_tile
from model.rcnn.detecting import Detector
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared, prepare, seen_at

log = logging.getLogger(__name__)

#: Images on which the exported detector must find what PyTorch finds.
_COMPARE_ON = 3


@dataclass(frozen=True)
class Serving:
    """The engine that will serve a candidate, and so the one that it is judged with."""

    detector: Detector
    exported: Path | None = None
    notes: tuple[str, ...] = ()


def serving_of(
    weights: Path,
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    workdir: Path,
    device: str,
) -> Serving:
    """Export what was learned, and return what serves it: PyTorch where that fails, or on CUDA."""
    from model.rcnn.detector import load_detector
    from model.rcnn.export import export

    learned, path = load_detector(weights, detector, snapshot.classes, device), workdir / EXPORTED
    try:
        exported = export(learned, path, _samples(snapshot, groups, detector))
    except Exception as error:  # a door: the exporter may fail in any way, and PyTorch serves
        log.exception("the candidate was not exported")
        return Serving(
            learned.folded(), notes=(f"PyTorch serves it, slower: not exported ({error})",)
        )
    return Serving(learned.folded() if learned.device.type == "cuda" else exported, path)


def _samples(
    snapshot: DatasetSnapshot, groups: ContrastGroups, detector: DetectorConfig
) -> Iterator[Prepared]:
    for image in evenly(snapshot.of_side("train"), _COMPARE_ON):
        yield middle_tile(seen_at(prepare(image.read(), groups), detector.scale))
