"""The floor: what boxes cost after the default detector has learned from all of a set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from backend.actions import Actions
from backend.labelstudio.interface import LabellingInterface
from backend.learning.showing import MOST_IMAGES, of_least_work, tell_enough
from backend.replay.correcting import correct
from backend.replay.ledger import COSTS, Ledger, Row, row_of
from backend.replay.paper import lay_out, paper_loop, start_from
from backend.replay.playing import LabelledSet, Play
from backend.services import Services
from backend.serving.slot import Served
from backend.settings import Settings
from backend.store.projects import Project
from model.boxes import Box
from model.labels.examples import DatasetSnapshot, LabelledImage, Side
from model.labels.likeness import fingerprint_of, group_alike
from model.labels.sides import content_hash, decide_sides
from model.learning.candidate import make_candidate
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion

FORM = "floor"


def cross_validated(
    settings: Settings, labelled: LabelledSet, ledger: Ledger, how: Play
) -> Iterator[Row]:
    """Correct each image with a version that learned from the truth of the other folds.

    Frames of one field are in one fold. A fold whose rows are complete is not trained again; an
    interrupted training goes on.

    Parameters
    ----------
    settings
        What to train; the home is the floor's own.
    how
        With at least two folds. Each training begins with its ``start``; None: as a project would.

    Yields
    ------
    Each new row; ``learned`` is the number of images of the other folds.

    Raises
    ------
    BadRequest
        The existing rows were played with other choices.
    """
    start = how.begins_with(settings)
    ledger.keep_to(how.chosen(FORM, settings, start=start, folds=how.folds))
    with paper_loop(settings) as services:
        project = lay_out(services, labelled, "Floor")
        if how.start:
            start_from(services, project, *how.start)
        begin = services.registry.champion(str(project.id))
        for fold, (judged, others) in enumerate(_dealt(labelled.images, how.folds)):
            if all(image.sha256 in ledger for image in judged):
                continue
            snapshot = DatasetSnapshot(others, tuple(labelled.classes))
            taught, inner = _taught(services, begin, snapshot, fold), snapshot.of_side("inner")
            served = served_as_in_the_loop(taught, inner, project.default_class)
            for image in judged:
                row = _row(served, project, image, len(ledger.rows) + 1, len(others), how)
                ledger.add(row)
                yield row


def all_teach(images: Sequence[LabelledImage], groups: Sequence[int]) -> tuple[LabelledImage, ...]:
    """Give the images sides as a run does, but hold none out: the other folds judge.

    Parameters
    ----------
    groups
        Images that are alike have the same number.
    """
    hashes = [content_hash(*image.key) for image in images]
    sides = decide_sides(hashes, [None] * len(images), groups)
    taught: list[Side] = ["inner" if side == "inner" else "train" for side in sides]
    return tuple(replace(i, side=side) for i, side in zip(images, taught, strict=True))


def served_as_in_the_loop(
    taught: LoadedVersion, inner: Sequence[LabelledImage], default_class: str
) -> Served:
    """Return a version with the policy that a run would choose for it by its inner side.

    The time of a right box is measured there, with an annotator who is shown the boxes that count.
    """
    inner = inner[-MOST_IMAGES:]
    counted = Served.of(taught)
    if not tell_enough(inner):
        return counted
    done = Actions()
    for image in inner:
        shown = _shown(counted, image, default_class)
        done += correct(shown, image.boxes, image.sha256).actions
    right_s = COSTS.seconds_of_right(done, sum(len(image.boxes) for image in inner))
    policy = of_least_work(taught, inner, default_class, COSTS, right_s)
    return Served.of(taught, policy)


def _dealt(
    images: Sequence[LabelledImage], folds: int
) -> Iterator[tuple[list[LabelledImage], tuple[LabelledImage, ...]]]:
    """Yield the images of each fold, and the teaching images of all other folds."""
    groups = group_alike([fingerprint_of(image.read().pixels) for image in images])
    rank = {group: n for n, group in enumerate(sorted(set(groups)))}
    for fold in range(folds):
        judged = [i for i, group in zip(images, groups, strict=True) if rank[group] % folds == fold]
        others = [(i, g) for i, g in zip(images, groups, strict=True) if rank[g] % folds != fold]
        yield judged, all_teach([image for image, _ in others], [group for _, group in others])


def _taught(
    services: Services, begin: ModelVersion, snapshot: DatasetSnapshot, fold: int
) -> LoadedVersion:
    version = make_candidate(
        snapshot,
        services.registry,
        workdir=services.settings.runs_folder / f"fold{fold}",
        champion=begin,
        recipe=services.settings.recipe,
        device=services.settings.device,
    )
    return services.registry.load(version.id, services.settings.device)


def _shown(served: Served, image: LabelledImage, default_class: str) -> list[Box]:
    (found,) = served.loaded.find([image.read()], default_class=default_class)
    return served.policy.shown(found.detections, found.prepared.group).boxes()


def _row(
    served: Served,
    project: Project,
    image: LabelledImage,
    number: int,
    learned: int,
    how: Play,
) -> Row:
    interface = LabellingInterface.parse(project.label_config)
    found = _shown(served, image, project.default_class)
    shown = interface.named(found, project.default_class)
    return row_of(
        FORM,
        number,
        (image.name, image.sha256),
        (served.name, learned),
        correct(shown, image.boxes, image.sha256, how.carelessness),
        len(image.boxes),
    )
