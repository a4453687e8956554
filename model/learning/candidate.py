"""From a snapshot to a candidate in the registry: groups, training, threshold, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.config import PRESETS, DetectorConfig, TrainConfig
from model.judging.evaluation import evaluate_version
from model.judging.thresholds import threshold_for
from model.keeping.registry import Registry
from model.labels.examples import DatasetSnapshot
from model.learning.beginning import (
    Start,
    choose_start,
    notes_on_start,
    plan_from,
    resolve_from,
)
from model.learning.serving import serving_of
from model.looking.loaded import LoadedVersion
from model.looking.magnification import learned_sides, mixed
from model.progress import OnProgress, Progress, ignore, part_of
from model.versions import ModelVersion
from model.wording import counted
from preprocessing.groups import ContrastGroups

if TYPE_CHECKING:
    from model.rcnn.weights import InitialWeights

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
    start = choose_start(registry, champion, recipe[0])
    begun = notes_on_start(registry, champion, recipe[0], start)
    detector, training = resolve_from(start, recipe[0], snapshot), recipe[1]
    on_progress(Progress("preparing", 0.0, message=_summary(snapshot)))
    groups = _fit_groups(snapshot, training)
    from model.training.train import train  # torch, which takes seconds to load

    trained = train(
        snapshot,
        groups,
        detector,
        plan_from(start, training, snapshot, registry),
        start=_weights_of(start),
        workdir=workdir,
        device=device,
        on_progress=part_of(on_progress, *_TRAINING),
        processes=processes,
    )
    version = _described(registry.new_id("trained"), project, snapshot, start, detector, training)
    on_progress(Progress("exporting", _TRAINING[1]))
    serving = serving_of(trained.weights, snapshot, groups, detector, workdir, device)
    notes = (*begun, *trained.notes, *mixed(version.cell_sides_px), *serving.notes)
    version = replace(version, course=trained.course, notes=notes)
    loaded = _calibrated(LoadedVersion(version, groups, serving.detector), snapshot, on_progress)
    version = _judged(loaded, snapshot, start, on_progress) if with_report else loaded.version
    on_progress(Progress("storing", 1.0))
    return registry.add(version, groups, trained.weights, serving.exported)


def _weights_of(start: Start | None) -> InitialWeights | None:
    from model.rcnn.weights import InitialWeights

    return InitialWeights(start.weights, start.classes) if start else None


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
    start: Start | None,
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


def _lineage(snapshot: DatasetSnapshot, start: Start | None) -> tuple[str, ...]:
    seen = [image.sha256 for image in snapshot.of_side("train", "inner")]
    return tuple(dict.fromkeys([*(start.version.lineage if start else ()), *seen]))


def _calibrated(
    loaded: LoadedVersion, snapshot: DatasetSnapshot, on_progress: OnProgress
) -> LoadedVersion:
    on_progress(Progress("calibrating", _TRAINING[1]))
    threshold = threshold_for(loaded, snapshot)
    return replace(loaded, version=replace(loaded.version, threshold=threshold))


def _judged(
    loaded: LoadedVersion,
    snapshot: DatasetSnapshot,
    start: Start | None,
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


def _judged_on(new: int, held_out: int, start: Start | None) -> tuple[str, ...]:
    if start is None or new == held_out:
        return ()
    told = f"{start.version.id} learned from or was chosen by"
    if not new:
        return (f"{told} the images that judge, for want of others: the figures flatter it",)
    return (f"{told} {held_out - new} of the {held_out} images held out, which do not judge",)
