"""The floor: what the boxes cost if the default detector had learned from all of a set already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from backend.labelstudio.interface import LabellingInterface
from backend.replay.correcting import correct
from backend.replay.ledger import Ledger, Row, row_of
from backend.replay.paper import lay_out, paper_loop, start_from
from backend.replay.playing import Play
from backend.services import Services
from backend.serving.predictor import in_classes
from backend.settings import Settings
from backend.store.projects import Project
from model.examples import DatasetSnapshot, LabelledImage, Side, decide_sides
from model.learning import make_candidate
from model.likeness import fingerprint_of, group_alike
from model.loaded import LoadedVersion
from model.policy import Policy
from model.registry import Registry
from model.versions import ModelVersion

FORM = "floor"


def cross_validated(
    settings: Settings,
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    folds: int,
    ledger: Ledger,
    how: Play,
    start: tuple[str, Registry] | None = None,
) -> Iterator[Row]:
    """Correct each image with a version that learned from the truth of the other folds.

    Frames of one field are in one fold. A fold of which every row is there is not trained again;
    a training that was interrupted goes on.

    Parameters
    ----------
    settings
        Say what to train; the home is the floor's own.
    start
        What each training begins with, and the registry that has it; None: as a project would.

    Yields
    ------
    Each new row; ``learned`` is the number of images of the other folds.

    Raises
    ------
    BadRequest
        The rows that are there were played otherwise.
    """
    began = start[0] if start else settings.first_version
    chosen = {"form": FORM, "folds": folds, "start": began}
    ledger.keep_to(chosen | asdict(how.carelessness))
    groups = group_alike([fingerprint_of(image.read().pixels) for image in images])
    rank = {group: n for n, group in enumerate(sorted(set(groups)))}
    fold_of = [rank[group] % folds for group in groups]
    with paper_loop(settings) as services:
        project = lay_out(services, images, classes, "Floor")
        if start:
            start_from(services, project, *start)
        begin = services.registry.champion(str(project.id))
        for fold in range(folds):
            judged = [i for i, f in zip(images, fold_of, strict=True) if f == fold]
            if all(image.sha256 in ledger for image in judged):
                continue
            others = [i for i, f in zip(images, fold_of, strict=True) if f != fold]
            loaded = _taught(services, begin, others, classes, f"fold{fold}")
            for image in judged:
                number = len(ledger.rows) + 1
                row = _row(loaded, project, image, number, len(others), how)
                ledger.add(row)
                yield row


def _taught(
    services: Services,
    begin: ModelVersion,
    images: Sequence[LabelledImage],
    classes: Sequence[str],
    name: str,
) -> LoadedVersion:
    version = make_candidate(
        DatasetSnapshot(_all_teach(images), tuple(classes)),
        services.registry,
        workdir=services.settings.runs_folder / name,
        champion=begin,
        preset=services.settings.recipe,
        device=services.settings.device,
    )
    return services.registry.load(version.id, services.settings.device)


def _all_teach(images: Sequence[LabelledImage]) -> tuple[LabelledImage, ...]:
    """Give the images sides as a run does, but hold none out: the other folds judge."""
    hashes = [image.sha256 for image in images]
    sides = decide_sides(hashes, [None] * len(images), list(range(len(images))))
    taught: list[Side] = ["inner" if side == "inner" else "train" for side in sides]
    return tuple(replace(i, side=side) for i, side in zip(images, taught, strict=True))


def _row(
    loaded: LoadedVersion,
    project: Project,
    image: LabelledImage,
    number: int,
    learned: int,
    how: Play,
) -> Row:
    policy = Policy.of(loaded.version)
    interface = LabellingInterface.parse(project.label_config)
    found = loaded.find([image.read()], default_class=project.default_class)[0].detections
    served = in_classes(policy.shown(found).boxes(), interface, project.default_class)
    return row_of(
        FORM,
        number,
        (image.name, image.sha256),
        (policy.served_name(loaded.version), learned),
        correct(served, image.boxes, image.sha256, how.rules, how.carelessness),
        len(image.boxes),
        how.costs,
    )
