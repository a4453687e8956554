"""From a snapshot to a candidate in the registry: groups, training, threshold, report.

Importing this imports no torch; making a candidate does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.boxes import CELL
from model.config import PRESETS, DetectorConfig, TrainConfig
from model.errors import BrokenVersion, VersionNotFound
from model.judging.evaluation import evaluate_version
from model.judging.thresholds import threshold_for
from model.keeping.registry import Registry
from model.keeping.version_folder import EXPORTED
from model.labels.examples import DatasetSnapshot, evenly
from model.looking.loaded import LoadedVersion
from model.looking.magnification import learned_sides, mixed
from model.looking.tiling import middle_tile
from model.progress import OnProgress, Progress, ignore, part_of
from model.rcnn.anchors import fits, resolve
from model.rcnn.detecting import Detector
from model.rcnn.scale import near
from model.versions import ModelVersion
from model.wording import counted
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared, prepare, seen_at

if TYPE_CHECKING:
    from model.training.train import Trained

log = logging.getLogger(__name__)

#: Images on which the exported detector must find what PyTorch finds.
_COMPARE_ON = 3
#: Images from which on the first layers learn too: it gains a little (docs/speed.md), and time is
#: no longer what matters.
_TEACH_ALL_LAYERS = 25
_TRAINING = (0.03, 0.90)
_CALIBRATED = 0.95


def make_candidate(
    snapshot: DatasetSnapshot,
    registry: Registry,
    *,
    workdir: Path,
    champion: ModelVersion | None = None,
    project: str | None = None,
    recipe: tuple[DetectorConfig, TrainConfig] = PRESETS["default"],
    device: str = "auto",
    with_report: bool = True,
    processes: int = 0,
    on_progress: OnProgress = ignore,
) -> ModelVersion:
    """Learn from a snapshot and add what came of it to the registry.

    Contrast groups, scale and anchors come from the train side alone. The threshold is
    chosen on the inner side, and on the train side where the inner one is small or missing (see
    ``model.judging.thresholds``). Nothing is promoted.

    Parameters
    ----------
    workdir
        Where the training keeps its checkpoints: called again with the same folder after it was
        killed, the training goes on. The caller removes it in the end.
    champion
        Its weights are the start where its architecture is the recipe's; else those of the
        registry's first version, mostly the starter, are, and a note says so.
    project
        The project that the candidate is for.
    recipe
        What is built and how it is trained; what it leaves open is found.
    with_report
        Whether to judge the candidate on the held-out side, less what its start has seen; a gate
        will do so in any case.
    processes
        That train; 0: as many as are soonest.
    on_progress
        May raise ``TrainingCancelled``, which ends the work without a candidate.

    Returns
    -------
    The candidate, with its report on the held-out side if it is asked for and has images.

    Raises
    ------
    NothingToLearn
        When the train side has not one box.
    TrainingDiverged
        When the loss became NaN or infinite before the first checkpoint.
    MemoryTooSmall
        When memory ran out with a single image in the network.
    """
    start = _start(registry, champion, recipe[0])
    begun = _begun(registry, champion, recipe[0], start)
    detector, training = _resolve(recipe[0], snapshot, start), recipe[1]
    on_progress(Progress("preparing", 0.0, message=_summary(snapshot)))
    groups = _fit_groups(snapshot, training)
    plan = _plan(training, snapshot, start, registry)
    on = workdir, device, part_of(on_progress, *_TRAINING), processes
    trained = _trained(snapshot, groups, detector, plan, start, *on)
    version = _described(registry.new_id("trained"), project, snapshot, start, detector, training)
    on_progress(Progress("exporting", _TRAINING[1]))
    serving = _serving(trained.weights, snapshot, groups, detector, workdir, device)
    notes = (*begun, *trained.notes, *mixed(version.cell_sides_px), *serving.notes)
    version = replace(version, course=trained.course, notes=notes)
    loaded = _calibrated(LoadedVersion(version, groups, serving.detector), snapshot, on_progress)
    version = _judged(loaded, snapshot, start, on_progress) if with_report else loaded.version
    on_progress(Progress("storing", 1.0))
    return registry.add(version, groups, trained.weights, serving.exported)


@dataclass(frozen=True)
class _Start:
    version: ModelVersion
    config: DetectorConfig
    weights: Path

    @property
    def classes(self) -> tuple[str, ...]:
        return self.version.classes or (CELL,)


def _trained(
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    plan: TrainConfig,
    start: _Start | None,
    workdir: Path,
    device: str,
    on_progress: OnProgress,
    processes: int,
) -> Trained:
    from model.rcnn.weights import Start
    from model.training.train import train

    begun = Start(start.weights, start.classes) if start else None
    on = workdir, device, on_progress, processes
    return train(snapshot, groups, detector, plan, begun, *on)


def _start(
    registry: Registry, champion: ModelVersion | None, detector: DetectorConfig
) -> _Start | None:
    """Return the champion to start from, else the registry's first; None where neither fits."""
    for version in (*([champion] if champion else []), registry.get(registry.first)):
        if version.detector and not why_no_start(registry, version, detector):
            return _Start(version, version.detector, registry.weights(version.id))
    return None


def why_no_start(registry: Registry, version: ModelVersion, detector: DetectorConfig) -> str:
    """Say why a training cannot begin with a version; empty where it can."""
    if version.detector is None or not registry.weights(version.id).is_file():
        return f"{version.id} has no weights to go on from"
    if not fits(version.detector, detector):
        return f"{version.id} is of another architecture than is trained"
    return ""


def _begun(
    registry: Registry,
    champion: ModelVersion | None,
    detector: DetectorConfig,
    start: _Start | None,
) -> tuple[str, ...]:
    """Say what a training began with where a champion that was trained is no start."""
    why = why_no_start(registry, champion, detector) if champion and champion.detector else ""
    return (f"begun from {start.version.id if start else 'nothing'}, since {why}",) if why else ()


def _plan(
    training: TrainConfig, snapshot: DatasetSnapshot, start: _Start | None, registry: Registry
) -> TrainConfig:
    """Return how to learn: all layers do of many images, or where no starter was the beginning.

    After a few images from nothing the first layers have not learned to see yet.
    """
    few = len(snapshot.of_side("train")) < _TEACH_ALL_LAYERS
    taught = start is not None and _from_starter(start.version, registry)
    return replace(training, keep_stem=training.keep_stem and few and taught)


def _from_starter(version: ModelVersion, registry: Registry) -> bool:
    try:
        while version.parent and version.kind != "starter":
            version = registry.get(version.parent)
    except (VersionNotFound, BrokenVersion):
        return False
    return version.kind == "starter"


def _resolve(
    detector: DetectorConfig, snapshot: DatasetSnapshot, start: _Start | None
) -> DetectorConfig:
    if start is None:
        return resolve(detector, snapshot)
    # Weights know the anchors they were trained with, and cells of the size they were trained at:
    # a small difference of scale is not worth a new beginning. What is asked for comes first.
    sizes = detector.anchor_sizes or start.config.anchor_sizes
    resolved = resolve(replace(detector, anchor_sizes=sizes), snapshot)
    if detector.scale or not near(resolved, start.config):
        return resolved
    return replace(resolved, scale=start.config.scale)


def _summary(snapshot: DatasetSnapshot) -> str:
    images = snapshot.of_side("train")
    cells = counted(sum(len(image.boxes) for image in images), "cell")
    told = f"learning from {counted(len(images), 'image')} with {cells}"
    inner = snapshot.of_side("inner")
    if any(image.boxes for image in inner):
        return told
    return f"{told}, in all steps: no {'inner image has a cell' if inner else 'image is inner yet'}"


def _fit_groups(snapshot: DatasetSnapshot, training: TrainConfig) -> ContrastGroups:
    from preprocessing.fitting import fit_images

    return fit_images((image.read() for image in snapshot.of_side("train")), training.contrast)


def _described(
    id: str,
    project: str | None,
    snapshot: DatasetSnapshot,
    start: _Start | None,
    detector: DetectorConfig,
    training: TrainConfig,
) -> ModelVersion:
    """Return what is known of a candidate when it has learned; its threshold is still to come."""
    return ModelVersion(
        id=id,
        kind="trained",
        classes=snapshot.classes,
        threshold=0.0,
        detector=detector,
        training=training,
        project=project,
        parent=start.version.id if start else None,
        snapshot=snapshot.sha256,
        lineage=_lineage(snapshot, start),
        cell_sides_px=learned_sides(snapshot.of_side("train")),
    )


def _lineage(snapshot: DatasetSnapshot, start: _Start | None) -> tuple[str, ...]:
    seen = [image.sha256 for image in snapshot.of_side("train", "inner")]
    return tuple(dict.fromkeys([*(start.version.lineage if start else ()), *seen]))


@dataclass(frozen=True)
class _Serving:
    """The engine that will serve a candidate, and so the one that it is judged with."""

    detector: Detector
    exported: Path | None = None
    notes: tuple[str, ...] = ()


def _serving(
    weights: Path,
    snapshot: DatasetSnapshot,
    groups: ContrastGroups,
    detector: DetectorConfig,
    workdir: Path,
    device: str,
) -> _Serving:
    from model.rcnn.detector import load_detector
    from model.rcnn.export import export

    learned, path = load_detector(weights, detector, snapshot.classes, device), workdir / EXPORTED
    try:
        exported = export(learned, path, _samples(snapshot, groups, detector))
    except Exception as error:  # a door: the exporter may fail in any way, and PyTorch serves
        log.exception("the candidate was not exported")
        return _Serving(
            learned.folded(), notes=(f"PyTorch serves it, slower: not exported ({error})",)
        )
    return _Serving(learned.folded() if learned.device.type == "cuda" else exported, path)


def _samples(
    snapshot: DatasetSnapshot, groups: ContrastGroups, detector: DetectorConfig
) -> Iterator[Prepared]:
    for image in evenly(snapshot.of_side("train"), _COMPARE_ON):
        yield middle_tile(seen_at(prepare(image.read(), groups), detector.scale))


def _calibrated(
    loaded: LoadedVersion, snapshot: DatasetSnapshot, on_progress: OnProgress
) -> LoadedVersion:
    on_progress(Progress("calibrating", _TRAINING[1]))
    threshold = threshold_for(loaded, snapshot)
    return replace(loaded, version=replace(loaded.version, threshold=threshold))


def _judged(
    loaded: LoadedVersion,
    snapshot: DatasetSnapshot,
    start: _Start | None,
    on_progress: OnProgress,
) -> ModelVersion:
    """Judge a candidate on held-out images new to it, or on all where its start has seen each."""
    on_progress(Progress("evaluating", _CALIBRATED))
    held_out, version = snapshot.of_side("held-out"), loaded.version
    seen = snapshot.seen_elsewhere(start.version.lineage) if start else set()
    new = [image for image in held_out if image.sha256 not in seen]
    if not held_out:
        return version
    return replace(
        version,
        report=evaluate_version(loaded, new or held_out, snapshot.classes),
        notes=(*version.notes, *_judged_on(len(new), len(held_out), start)),
    )


def _judged_on(new: int, held_out: int, start: _Start | None) -> tuple[str, ...]:
    if start is None or new == held_out:
        return ()
    told = f"{start.version.id} learned from or was chosen by"
    if not new:
        return (f"{told} the images that judge, for want of others: the figures flatter it",)
    return (f"{told} {held_out - new} of the {held_out} images held out, which do not judge",)
